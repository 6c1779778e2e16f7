"""`python -m samtailor` runs the command line."""

import os
import sys
from pathlib import Path

# `-m` lets every import look into the current folder first, and a folder of images from someone else may hold a json.py
_package = str(Path(__file__).resolve().parents[1])
if not getattr(sys.flags, "safe_path", False) and sys.path[:1] == [os.getcwd()] != [_package]:
    del sys.path[0]

from samtailor.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
