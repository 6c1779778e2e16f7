"""What workers compute, one task a file.

TABLE: str                          folder of the task's table
COLUMNS: dict[str, str]             its columns, see `tables`
READS: bool                         whether images are read and decoded before `predict`
open_task(options) -> Task          loads the model
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from samtailor.distributed.fetch import Decoded
from samtailor.distributed.results import Result

NAMES = ("label", "find", "embed", "evaluate")
Predict = Callable[[Sequence[Decoded]], Iterable[Result]]


@dataclass(frozen=True)
class Task:
    """A task with its model.

    Args:
        predict: images that were read, to their results, one after the other.
        settings: what the results depend on; JSON-compatible. A run continues only with equal settings.
        classes: in their order, where the task has some.
    """

    predict: Predict
    settings: dict[str, Any]
    classes: list[str] = field(default_factory=list)


def task_module(name: str) -> Any:
    """The module of a task: one of `NAMES`, or the dotted name of a module elsewhere."""
    return importlib.import_module(f"samtailor.distributed.tasks.{name}" if name in NAMES else name)


__all__ = ["NAMES", "Predict", "Task", "task_module"]
