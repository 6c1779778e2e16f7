"""Damaged input for every reader: seeded mutations and Hypothesis-made values. See `measure_fuzzing.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))  # the small data sets of the tests
