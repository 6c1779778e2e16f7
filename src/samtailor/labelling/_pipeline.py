"""Read, tile and predict images in background threads, a few images ahead of the consumer.

One thread reads. Several threads predict, one image or tile each and with few torch threads: a small encoder is a
sequence of small matrix products, and two cores are faster on two images than on one product.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Full, Queue
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from samtailor.data.image import read_image
from samtailor.errors import DataError
from samtailor.labelling._tiles import Tile, tiles

if TYPE_CHECKING:
    from samtailor.bases import Base

Result = TypeVar("Result")
_QUEUED = 2  # views read or predicted ahead: enough to keep all threads busy, few enough for large images
_SMALL = 512  # side of the model frame up to which one encode does not use all cores
_MAX_WORKERS = 8


@dataclass(frozen=True)
class View:
    """An image or a tile of it.

    Args:
        name, path: of the image file.
        size: (height, width) of the whole image.
        pixels: uint8 RGB of the view.
        tile: None for the whole image.
        last: the last view of this image.
    """

    name: str
    path: Path
    size: tuple[int, int]
    pixels: np.ndarray
    tile: Tile | None
    last: bool


@dataclass(frozen=True)
class Unreadable:
    """An image that cannot be read, and the error."""

    name: str
    path: Path
    reason: DataError


@dataclass(frozen=True)
class Cut:
    """How images are split into tiles.

    Args:
        side: images with a larger side are split into tiles of this side, pixels; None: no tiles.
        overlap: share of the side that neighboring tiles have in common.
        fill: RGB color outside the image.
    """

    side: int | None
    overlap: float
    fill: Sequence[float]


@dataclass(frozen=True)
class Workers:
    """How the processor is shared.

    Args:
        count: views that are predicted at the same time.
        threads: torch threads for each; None leaves torch's setting.
    """

    count: int
    threads: int | None

    @classmethod
    def for_base(cls, base: Base) -> Workers:
        """For a base on its device; two on a GPU, so that it computes while masks are postprocessed."""
        if next(base.model.parameters()).device.type != "cpu":
            return cls(2, None)
        threads = torch.get_num_threads()
        count = min(max(threads, 2), _MAX_WORKERS) if base.size <= _SMALL else 2
        return cls(count, max(threads // count, 1))


def predict_ahead(
    images: Iterable[tuple[str, Path]],
    cut: Cut,
    predict: Callable[[View], Result],
    workers: Workers,
    read_file: Callable[[Path], np.ndarray] = read_image,
    stop: threading.Event | None = None,
) -> Generator[tuple[View, Result] | Unreadable, None, None]:
    """Yield the views of all images in order, each with its prediction.

    Args:
        images: names and files.
        cut: how images are split into tiles.
        predict: called from several threads at once.
        workers: how the processor is shared.
        read_file: reads an image file, see `data.image.read_image`; called from one thread, in order.
        stop: set at the end, also after an error; `images` that wait for something must end then.

    Raises:
        Any exception of `predict`, after the results before it; no other view is started after it.
    """
    ready: Queue[Any] = Queue(workers.count + _QUEUED)
    stop, failed, before = stop or threading.Event(), threading.Event(), torch.get_num_threads()
    pool = ThreadPoolExecutor(workers.count, "samtailor-label", _initialize, (workers.threads,))

    def predicted(view: View) -> tuple[View, Result] | None:
        if failed.is_set():
            return None
        try:
            return view, predict(view)
        except BaseException:
            failed.set()
            raise

    def read() -> None:
        try:
            for view in _read(images, cut, read_file):
                _put(ready, view if isinstance(view, Unreadable) else pool.submit(predicted, view), stop)
                if stop.is_set():
                    return
            _put(ready, None, stop)
        except BaseException as error:  # raised again in the consumer's thread
            _put(ready, error, stop)

    thread = threading.Thread(target=read, name="samtailor-read", daemon=True)
    thread.start()
    try:
        while (view := ready.get()) is not None:
            if isinstance(view, BaseException):
                raise view
            yield view.result() if isinstance(view, Future) else view
    finally:
        stop.set()
        thread.join()
        pool.shutdown(cancel_futures=True)
        if workers.threads is not None:
            torch.set_num_threads(before)  # the setting of a worker would apply to threads created later


def _initialize(threads: int | None) -> None:
    """Set up a worker. Denormal numbers, which sharp attention produces, are flushed to zero: they make products many
    times slower and do not change the result."""
    torch.set_flush_denormal(True)
    if threads is not None:
        torch.set_num_threads(threads)


def _put(ready: Queue[Any], view: Any, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            ready.put(view, timeout=0.1)
            return
        except Full:
            continue


def _read(
    images: Iterable[tuple[str, Path]], cut: Cut, read_file: Callable[[Path], np.ndarray]
) -> Iterator[View | Unreadable]:
    for name, path in images:
        try:
            image = read_file(path)
        except DataError as error:
            yield Unreadable(name, path, error)
            continue
        height, width = image.shape[:2]
        cuts: list[Tile | None] = [None]
        if cut.side is not None and max(height, width) > cut.side:
            cuts = [*tiles(height, width, cut.side, cut.overlap)]
        for tile in cuts:
            pixels = image if tile is None else tile.crop(image, cut.fill)
            yield View(name, path, (height, width), pixels, tile, tile is cuts[-1])


__all__ = ["Cut", "Unreadable", "View", "Workers", "predict_ahead"]
