"""Progress of a fit."""

from __future__ import annotations

import time
from dataclasses import dataclass

from samtailor.train.checkpoint import State


@dataclass(frozen=True)
class Progress:
    """Progress of a fit.

    Args:
        stage: "encode" (images are encoded into the cache), "fit" (training), or "select" (tiled inference is
            selected); evaluations of a comparison have "evaluate".
        done, total: images, or steps of training.
        loss: mean since the last point of the loss curve.
        miou: held-out mIoU of clicks at the last validation, in [0, 1].
        best_miou: held-out mIoU of the best state so far.
        images_per_second: images, or masks trained on, per second.
        seconds_left: estimate from the speed of this run.
        name: class name, with one adapter per class.
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
    """Speed of one run since its first step, or since it was resumed."""

    def __init__(self, first: int, total: int, masks: int) -> None:
        self.first, self.total, self.masks, self.start = first, total, masks, time.monotonic()

    def progress(self, state: State) -> Progress:
        """Progress after a step."""
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
