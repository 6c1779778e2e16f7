"""`sam`: the base as it is (Kirillov et al., arXiv 2304.02643). Nothing learns; the row every table starts with."""

from __future__ import annotations

from typing import Any

from samtailor.bases import Base
from samtailor.registry import refuse_unknown
from samtailor.segmenter import Segmenter
from samtailor.train.joint import Joint

DEFAULTS: dict[str, Any] = {"steps": 0}


def build(base: Base, **unknown: Any) -> tuple[Segmenter, type[Joint]]:
    """The frozen base without adapters; it has no options."""
    refuse_unknown(build, unknown)
    return Segmenter(base), Joint
