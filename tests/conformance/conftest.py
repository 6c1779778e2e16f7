"""Every family of bases; those beyond SAM, SAM 2 and the bundled one only in the slow tests."""

from __future__ import annotations

import pytest

_FURTHER = ("sam_hq", "edgetam", "sam3_tracker")


@pytest.fixture(
    scope="session", params=["sam", "sam2", "lite", *(pytest.param(n, marks=pytest.mark.slow) for n in _FURTHER)]
)
def tiny_base(request):
    """Every family in turn."""
    return request.getfixturevalue(f"tiny_{request.param}")
