"""`auto`: candidates are compared by cross-validation on the given masks, separately for clicks, boxes and images
without a prompt, and the best of each goes into one adapter (`fitting.contest`). Not from a paper; among the candidates
is the prompt learning module of Kim et al. (arXiv 2403.09199). The adapter that it writes is one of the method `tailor`
or `plm`."""

from __future__ import annotations

from typing import Any

from samtailor.bases import Base
from samtailor.methods import tailor
from samtailor.registry import refuse_unknown
from samtailor.segmenter import Segmenter

TITLE = "auto"
STARTS_AT_BASE = True
CONTEST = True
"""It is fitted by a contest of candidates instead of a single run."""
DEFAULTS: dict[str, Any] = {"views": 8, "val": 0.0, "steps": 1000}


def build(
    base: Base, *, workers: int | None = None, clock: str = "wall", candidates: Any = None, **unknown: Any
) -> tuple[Segmenter, Any]:
    """The segmenter that a contest fills: that of `tailor`.

    Args:
        base: frozen base.
        workers: processes of the contest; default: one per core, as many as the memory holds.
        clock: what the budget counts, "wall" or "cpu" time (CPU seconds divided by the number of processes).
        candidates: names of the candidates that take part; default: all.
        **unknown: any other option is an InputError.
    """
    refuse_unknown(build, unknown)
    return tailor.build(base, **tailor.DEFAULTS["options"])
