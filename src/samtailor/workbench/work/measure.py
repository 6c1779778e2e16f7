"""Load a base model and measure how long it takes for an image and for a click."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from samtailor.bases import load_on
from samtailor.predict.predictor import Predictor
from samtailor.workbench.work.downloading import download_progress

if TYPE_CHECKING:
    from samtailor.workbench.worker import Channel

_SIZE = (480, 640)  # height and width of the image; the time depends on the base's own size
_REPEATS = 3


def run(job: Mapping[str, Any], channel: Channel) -> None:
    """Send the number of parameters, the side of the model frame in pixels, and the median times in seconds.

    Raises:
        BaseUnavailableError, InputError: the base model cannot be loaded.
    """
    channel.progress(stage="start", done=0, total=1)
    with download_progress(job["base"], lambda done, total: channel.progress(stage="download", done=done, total=total)):
        base = load_on(job["base"], job["device"])
    channel.check_stop()
    channel.progress(stage="measure", done=0, total=1)
    predictor = Predictor(base)
    image = np.random.default_rng(0).integers(0, 256, (*_SIZE, 3), np.uint8)
    encode = _seconds(base.model, lambda: predictor.set_image(image), channel)
    click = _seconds(base.model, lambda: predictor.predict([[320, 240]], [1]), channel)
    parameters = sum(one.numel() for one in base.model.parameters())
    device = next(base.model.parameters()).device.type
    measured = {"parameters": parameters, "size": base.size, "encode_seconds": encode, "click_seconds": click}
    channel.send(done={"measured": {**measured, "device": device}})


def _seconds(model: torch.nn.Module, call: Callable[[], object], channel: Channel) -> float:
    """Median time of a call in seconds, after one call that is not counted."""
    device = next(model.parameters()).device
    times = []
    for _ in range(_REPEATS + 1):
        channel.check_stop()
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return round(statistics.median(times[1:]), 4)


__all__ = ["run"]
