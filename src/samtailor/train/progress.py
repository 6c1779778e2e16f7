"""Where a fit stands, for whoever shows it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from samtailor.train.checkpoint import State


@dataclass(frozen=True)
class Progress:
    """Where a fit stands.

    Args:
        stage: "encode" (images into the cache), "fit", or "settle" (images that choose how to look).
        done, total: images, or steps.
        loss: mean since the last point of the curve.
        miou: held-out mIoU of the last validation, 0 to 1; of clicks, also where regions are judged beside them.
        best_miou: of the state that is the best so far.
        images_per_second: masks (each an image and a prompt) that this run has trained on, or images, per second.
        seconds_left: at the speed of this run.
        name: class, when one adapter is fitted for each class.
    """

    stage: str
    done: int
    total: int
    loss: float | None = None
    miou: float | None = None
    best_miou: float | None = None
    images_per_second: float | None = None
    seconds_left: float | None = None
    name: str | None = None


class Clock:
    """Speed of one run: from its first step on, or from where it was resumed."""

    def __init__(self, first: int, total: int, masks: int) -> None:
        self.first, self.total, self.masks, self.start = first, total, masks, time.monotonic()

    def progress(self, state: State) -> Progress:
        """Progress after a step of this run."""
        seconds = max(time.monotonic() - self.start, 1e-9)
        steps = state.step - self.first
        curve = state.history["train"][-1]["loss"] if state.history["train"] else None
        pending = state.pending["loss"] / state.pending["n"] if state.pending else curve
        validated = state.history["held_out"]
        return Progress(
            stage="fit",
            done=state.step,
            total=self.total,
            loss=pending,
            miou=validated[-1]["miou"] if validated else None,
            best_miou=next((entry["miou"] for entry in validated if entry["step"] == state.best_step), None),
            images_per_second=steps * self.masks / seconds,
            seconds_left=(self.total - state.step) * seconds / steps,
        )


__all__ = ["Clock", "Progress"]
