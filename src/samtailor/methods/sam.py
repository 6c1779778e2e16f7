"""`sam`: the unchanged base model (Kirillov et al., arXiv 2304.02643). It has no trained parameters."""

from __future__ import annotations

from typing import Any

from samtailor.bases import Base
from samtailor.registry import refuse_unknown
from samtailor.segmenter import Segmenter
from samtailor.train.joint import Joint

TITLE = "SAM"
STARTS_AT_BASE = True
DEFAULTS: dict[str, Any] = {"steps": 0}


def build(base: Base, **unknown: Any) -> tuple[Segmenter, type[Joint]]:
    """The frozen base without adapters; it has no options."""
    refuse_unknown(build, unknown)
    return Segmenter(base), Joint
