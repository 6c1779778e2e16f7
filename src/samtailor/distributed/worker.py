"""What a worker process does: read images, and compute results with a model that it loads once."""

from __future__ import annotations

import faulthandler
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from samtailor.distributed import fetch, results, tasks
from samtailor.distributed.fetch import Decoded
from samtailor.distributed.items import Item
from samtailor.distributed.job import Job
from samtailor.distributed.results import Result

if TYPE_CHECKING:
    from samtailor.distributed.tasks import Predict

_log = logging.getLogger("samtailor.distributed")


class Worker:
    """Process images with one model.

    Args:
        job: what to do. The model is loaded here.

    Raises:
        SamtailorError: the model or an adapter cannot be loaded.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        prepare(job)
        options = job.unpacked()
        self._predict: Predict = tasks.task_module(job.task).open_task(options).predict
        shutil.rmtree(options["folder"], ignore_errors=True)

    def read(self, items: Sequence[Item]) -> list[Decoded]:
        """Read images, each within the time limit."""
        return read(items, self._job)

    def predict(self, images: Sequence[Decoded]) -> list[Result]:
        """Compute the results of images."""
        usable = [one for one in images if one.error is None and one.retry is None]
        arrived = [refused(one) for one in images if one.error is not None or one.retry is not None]
        reason = None
        try:
            following = iter(self._predict(usable))
            while usable and (result := self._next(following)) is not None:
                arrived.append(result)
        except MemoryError:
            raise
        except Exception as error:  # of any library, on any image: it is tried alone, then listed
            _log.debug("prediction failed", exc_info=True)
            reason = f"{type(error).__name__}: {error}"
        known = {one.id for one in arrived}
        return arrived + [results.postponed(one.item, reason or "") for one in usable if one.item.id not in known]

    def _next(self, following: Iterator[Result]) -> Result | None:
        """The next result, within the time limit of an image."""
        with limited(self._job.timeout):
            return next(following, None)


def read(items: Sequence[Item], job: Job) -> list[Decoded]:
    """Read images, each within the time limit; the process ends if one takes longer."""
    if not tasks.task_module(job.task).READS:
        return [Decoded(item) for item in items]
    images = []
    for item in items:
        with limited(job.timeout):
            images += fetch.read([item])
    return images


def prepare(job: Job) -> None:
    """Settings of the process: threads, limit of pixels."""
    from samtailor.data.image import allow_pixels

    if job.max_pixels is not None:
        allow_pixels(job.max_pixels)
    if job.threads is not None:
        import torch

        torch.set_num_threads(job.threads)


def refused(image: Decoded) -> Result:
    """The result of an image that was not read."""
    if image.error is not None:
        return results.unreadable(image.item, image.error)
    return results.postponed(image.item, image.retry or "")


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """End the process if the block takes longer, even if a library holds the interpreter lock all the time."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


__all__ = ["Worker", "limited", "prepare", "read", "refused"]
