"""What the scenarios of `samtailor demo` have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.report import Section
    from samtailor.train.progress import Progress


@dataclass(frozen=True)
class Setup:
    """Where and how a scenario runs.

    Args:
        out: folder of the demo.
        base: base model.
        store: cached embeddings.
        seed: seed of the split, initialization, order and clicks, and of drawn images.
        steps: training steps of each fit; None takes the number of the scenario.
        workers: processes that draw, encode and fit.
        watch: called with (name of the task, progress).
    """

    out: Path
    base: Base
    store: EmbeddingCache
    seed: int = 0
    steps: int | None = None
    workers: int = 1
    watch: Callable[[str, Progress], None] | None = None


@dataclass(frozen=True)
class Scenario:
    """Result of a scenario.

    Args:
        figures: its part of report.json.
        lead: one sentence with the main result.
        sections: of the report.
    """

    figures: dict[str, Any]
    lead: str
    sections: Sequence[Section | None]


__all__ = ["Scenario", "Setup"]
