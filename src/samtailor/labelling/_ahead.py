"""Images read, cut and answered in threads of their own, a little ahead of whoever takes the answers.

One thread reads. Several answer, each an image or tile at a time and with few threads of torch: a small encoder is a
row of small products, and two images beside each other use two cores better than two cores use one product.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
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

Answer = TypeVar("Answer")
_READY = 2  # read or answered views that wait: enough to never starve, few enough for large images
_SMALL = 512  # side of the model frame up to which one encode does not fill a core's share of memory and products
_MOST = 8  # views at a time


@dataclass(frozen=True)
class View:
    """An image or a tile of it.

    Args:
        name, path: of the image file.
        size: (height, width) of the whole image.
        pixels: uint8 RGB of the view.
        tile: None for the whole image.
        last: no other view of this image comes after.
    """

    name: str
    path: Path
    size: tuple[int, int]
    pixels: np.ndarray
    tile: Tile | None
    last: bool


@dataclass(frozen=True)
class Unreadable:
    """An image that cannot be read, and why."""

    name: str
    path: Path
    reason: DataError


@dataclass(frozen=True)
class Cut:
    """Into tiles of images larger than `side` pixels (None: not at all), overlapping by a share, beyond the image
    filled with a colour."""

    side: int | None
    overlap: float
    fill: Sequence[float]


@dataclass(frozen=True)
class Share:
    """How the processor is shared: views answered at a time, and torch's threads for each; None leaves those."""

    views: int
    threads: int | None

    @classmethod
    def of(cls, base: Base) -> Share:
        """For a base on its device: on a GPU two, so that it computes while masks are made."""
        if next(base.model.parameters()).device.type != "cpu":
            return cls(2, None)
        threads = torch.get_num_threads()
        count = min(max(threads, 2), _MOST) if base.size <= _SMALL else 2
        return cls(count, max(threads // count, 1))


def ahead(
    jobs: Iterable[tuple[str, Path]],
    cut: Cut,
    answer: Callable[[View], Answer],
    share: Share,
) -> Iterator[tuple[View, Answer] | Unreadable]:
    """The views of all images in order with the answer to each.

    Args:
        jobs: names and files.
        cut: into tiles.
        answer: called in several threads at once.
        share: of the processor.

    Raises:
        whatever `answer` raised, in its turn; what came before it is given, and nothing new is begun.
    """
    ready: Queue[Any] = Queue(share.views + _READY)
    stop, failed, before = threading.Event(), threading.Event(), torch.get_num_threads()
    pool = ThreadPoolExecutor(share.views, "samtailor-label", _begin, (share.threads,))

    def one(view: View) -> tuple[View, Answer] | None:
        if failed.is_set():
            return None
        try:
            return view, answer(view)
        except BaseException:
            failed.set()
            raise

    def read() -> None:
        try:
            for view in _read(jobs, cut):
                _put(ready, view if isinstance(view, Unreadable) else pool.submit(one, view), stop)
                if stop.is_set():
                    return
            _put(ready, None, stop)
        except BaseException as error:  # told in the thread that asks
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
        if share.threads is not None:
            torch.set_num_threads(before)  # what the threads set holds for threads that are still to come


def _begin(threads: int | None) -> None:
    """What holds for a thread that answers. Numbers below 1e-38 come out of sharp attention, say nothing, and cost a
    processor many times what others do."""
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


def _read(jobs: Iterable[tuple[str, Path]], cut: Cut) -> Iterator[View | Unreadable]:
    for name, path in jobs:
        try:
            image = read_image(path)
        except DataError as error:
            yield Unreadable(name, path, error)
            continue
        height, width = image.shape[:2]
        large = cut.side is not None and max(height, width) > cut.side
        cuts: list[Tile | None] = [*tiles(height, width, cut.side, cut.overlap)] if large else [None]
        for tile in cuts:
            pixels = image if tile is None else tile.cut(image, cut.fill)
            yield View(name, path, (height, width), pixels, tile, tile is cuts[-1])


__all__ = ["Cut", "Share", "Unreadable", "View", "ahead"]
