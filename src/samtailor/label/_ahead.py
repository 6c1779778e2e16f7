"""Reading, cutting and encoding in a thread of its own, a little ahead of the questions: the encoder never waits for
decoder, masks or disk, and the other way round."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Full, Queue
from typing import TYPE_CHECKING, Any

import numpy as np

from samtailor.data.picture import read_picture
from samtailor.errors import DataError
from samtailor.label._tiles import Tile, tiles
from samtailor.predict import Predictor
from samtailor.types import Features

if TYPE_CHECKING:
    from samtailor.bases import Base

_READY = 2  # encoded views that wait: enough to never starve, few enough for large embeddings


@dataclass(frozen=True)
class View:
    """A picture or a tile of it, ready to be asked about.

    Args:
        name, path: of the picture file.
        size: (height, width) of the whole picture.
        pixels: uint8 RGB of the view.
        features: embedding of the view; None when it was not asked for.
        tile: None for the whole picture.
        last: no other view of this picture comes after.
    """

    name: str
    path: Path
    size: tuple[int, int]
    pixels: np.ndarray
    features: Features | None
    tile: Tile | None
    last: bool


@dataclass(frozen=True)
class Unreadable:
    """A picture that cannot be read, and why."""

    name: str
    path: Path
    reason: DataError


def views(
    base: Base, jobs: Iterable[tuple[str, Path]], side: int | None, overlap: float, *, encode: bool
) -> Iterator[View | Unreadable]:
    """The views of all pictures in order, made by a thread.

    Args:
        base: encodes.
        jobs: names and files.
        side: tiles of pictures larger than this; None: no tiles.
        overlap: of tiles.
        encode: give embeddings.
    """
    ready: Queue[Any] = Queue(_READY)
    stop = threading.Event()

    def work() -> None:
        try:
            for view in _made(base, jobs, side, overlap, encode):
                _put(ready, view, stop)
                if stop.is_set():
                    return
            _put(ready, None, stop)
        except BaseException as error:  # told in the thread that asks
            _put(ready, error, stop)

    thread = threading.Thread(target=work, name="samtailor-encode", daemon=True)
    thread.start()
    try:
        while (view := ready.get()) is not None:
            if isinstance(view, BaseException):
                raise view
            yield view
    finally:
        stop.set()
        thread.join()


def _put(ready: Queue[Any], view: Any, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            ready.put(view, timeout=0.1)
            return
        except Full:
            continue


def _made(
    base: Base, jobs: Iterable[tuple[str, Path]], side: int | None, overlap: float, encode: bool
) -> Iterator[View | Unreadable]:
    encoder = Predictor(base)  # holds one picture at a time, hence one a thread
    for name, path in jobs:
        try:
            picture = read_picture(path)
        except DataError as error:
            yield Unreadable(name, path, error)
            continue
        height, width = picture.shape[:2]
        large = side is not None and max(height, width) > side
        cuts: list[Tile | None] = [*tiles(height, width, side, overlap)] if large else [None]
        for tile in cuts:
            pixels = picture if tile is None else tile.cut(picture, base.mean)
            if encode:
                encoder.set_image(pixels)
            features = encoder.features if encode else None
            yield View(name, path, (height, width), pixels, features, tile, tile is cuts[-1])


__all__ = ["Unreadable", "View", "views"]
