"""Packages of annotation programs: used by tests where they are installed, here or in an environment of their own.

They are no dependencies of the project. SAMTAILOR_SDKS names the site-packages of an environment of the same Python
that has them; see CONTRIBUTING.md.
"""

from __future__ import annotations

import importlib.util
import os
import sys

import pytest

PLACE = os.environ.get("SAMTAILOR_SDKS")


def needs(**packages: str) -> list[pytest.MarkDecorator]:
    """Marks of a test file that needs packages: slow, and skipped with a reason where one is missing.

    Args:
        packages: name of the module to name in the registry.
    """
    if PLACE and PLACE not in sys.path:
        sys.path.append(PLACE)  # behind everything that is installed here
    missing = [name for module, name in packages.items() if importlib.util.find_spec(module) is None]
    reason = f"no {', '.join(missing)}: pip install elsewhere, and name the site-packages in SAMTAILOR_SDKS"
    warnings = ("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")  # of those packages
    return [
        pytest.mark.slow,
        pytest.mark.skipif(bool(missing), reason=reason),
        *map(pytest.mark.filterwarnings, warnings),
    ]
