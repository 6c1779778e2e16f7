"""Damaged input for every reader: seeded mutations and Hypothesis-made values. See `measure_fuzzing.py`."""
