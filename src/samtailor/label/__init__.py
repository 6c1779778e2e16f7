"""Label many pictures with several adapters, one embedding a picture (or tile), and write them in a format.

Nobody clicks: each adapter's own proposals, or a detector, say where to look (see `automatic`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samtailor.data.picture import read_picture, write_json
from samtailor.errors import DataError, InputError
from samtailor.label._answers import Source, Windows, pieces
from samtailor.label._journal import Journal
from samtailor.label._tiles import Piece, merged, tiles
from samtailor.registry import find
from samtailor.writers import Destination, LabelledObject, LabelledPicture

if TYPE_CHECKING:
    from samtailor.predict import Predictor

DOUBLE = 0.8
"""IoU above which two answers of a class are one object, whoever gave them; the better score stays."""
REPORT = "label.json"


@dataclass(frozen=True)
class Tiling:
    """Cut pictures larger than `side` pixels into tiles of that side, overlapping by the share `overlap`."""

    side: int
    overlap: float = 0.25


@dataclass
class Labelled:
    """What a run did.

    Args:
        pictures: with an answer, also those of an earlier run.
        objects: number by class.
        earlier: pictures that were done before.
        empty: names of the pictures in which nothing was found.
        unreadable: file to the reason.
    """

    pictures: int = 0
    objects: Counter[str] = field(default_factory=Counter)
    earlier: int = 0
    empty: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)


def label(
    predictor: Predictor,
    sources: Sequence[Source],
    pictures: Mapping[str, Path],
    out: str | Path,
    *,
    format: str = "coco",
    classes: Sequence[str] = (),
    vertices: int | None = None,
    tiling: Tiling | None = None,
    put: str = "copy",
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Labelled:
    """Label pictures and write them.

    A picture that is done is kept in `out` at once; the files of the format are written at the end, also of what an
    earlier, stopped run did. A picture that cannot be read is told in the result, and the rest is done.

    Args:
        predictor: with the adapters.
        sources: who answers, see `Source`.
        pictures: name to file, see `answers.find_pictures`.
        out: folder; new, or of a run with the same `settings`.
        format: a file of `samtailor.writers`.
        classes: order of the classes; those that are found and not named come after.
        vertices: budget of an object's polygons.
        tiling: for large pictures.
        put: "copy", "link" or "none": the pictures in the result.
        settings: what else the answers depend on (which adapters, which detector).
        overwrite: begin anew.
        progress: called with (done, all) after each picture.

    Raises:
        InputError: an unknown format, a budget below 3, or `out` holds something else.
    """
    writer = find("writers", format)
    if vertices is not None and vertices < 3:
        raise InputError(f"A polygon needs at least 3 vertices, got a budget of {vertices}.")
    cut = None if tiling is None else [tiling.side, tiling.overlap]
    if tiling is not None:
        tiles(1, 1, tiling.side, tiling.overlap)  # refuses before anything is made
    everything = {"base": predictor.base.fingerprint, **(settings or {}), "tiling": cut}
    everything |= {"format": format.replace("_", "-"), "vertices": vertices, "pictures": put}
    destination = Destination(Path(out), vertices, put)
    journal, done, windows = Journal(Path(out), everything, overwrite=overwrite), Labelled(), Windows()
    for number, (name, path) in enumerate(pictures.items(), 1):
        try:
            if journal.done(name, path):
                done.earlier += 1
            else:
                journal.add(find_objects(predictor, sources, name, path, tiling=tiling, windows=windows))
        except DataError as error:
            done.unreadable[str(path)] = str(error)
            journal.forget(name)
        if progress:
            progress(number, len(pictures))
    for picture in journal.pictures(pictures):
        done.pictures += 1
        done.objects.update(one.label for one in picture.objects)
        done.empty += [] if picture.objects else [picture.name]
    names = list(dict.fromkeys([*classes, *sorted(done.objects)]))
    writer.write(destination, journal.pictures(pictures), names)
    write_json(Path(out) / REPORT, _report(done, names, everything))
    return done


def find_objects(
    predictor: Predictor,
    sources: Sequence[Source],
    name: str,
    path: Path,
    *,
    tiling: Tiling | None = None,
    windows: Windows | None = None,
) -> LabelledPicture:
    """All objects of a picture file, each once, by falling score.

    Raises:
        DataError: the picture cannot be read.
    """
    picture = read_picture(path)
    height, width = picture.shape[:2]
    windows = windows or Windows()
    if tiling is None or max(height, width) <= tiling.side:
        predictor.set_image(picture)
        found = [piece for source in sources for piece in pieces(predictor, picture, source, windows)]
    else:
        found = _in_tiles(predictor, sources, picture, tiling, windows)
    predictor.reset_image()
    return LabelledPicture(name, path, height, width, _objects(found, (height, width)))


def _in_tiles(
    predictor: Predictor, sources: Sequence[Source], picture: np.ndarray, tiling: Tiling, windows: Windows
) -> list[Piece]:
    """One embedding a tile for all sources; then the pieces of each source are put together."""
    by_source: list[list[Piece]] = [[] for _ in sources]
    for tile in tiles(*picture.shape[:2], tiling.side, tiling.overlap):
        part = tile.cut(picture, predictor.base.mean)
        predictor.set_image(part)
        x0, y0, x1, y1 = tile.box
        for source, kept in zip(sources, by_source, strict=True):
            for piece in pieces(predictor, part, source, windows):
                inside = piece.mask[: max(y1 - y0 - piece.y, 0), : max(x1 - x0 - piece.x, 0)]  # not the filled rest
                if inside.any():
                    place = {"x": piece.x + x0, "y": piece.y + y0}
                    kept.append(Piece(inside, **place, label=piece.label, score=piece.score,
                                      adapter=piece.adapter, tile=tile))  # fmt: skip
    regions = [one.adapter is not None and predictor.segmenter(one.adapter).regions for one in sources]
    return [one for kept, whole in zip(by_source, regions, strict=True) for one in merged(kept, regions=whole)]


def _objects(found: Sequence[Piece], size: tuple[int, int]) -> tuple[LabelledObject, ...]:
    """Each object of a class once: of several the one with the best score."""
    from pycocotools import mask as coco

    kept: dict[str, list[dict[str, Any]]] = {}
    objects = []
    for piece in sorted(found, key=lambda piece: -piece.score):
        rle = _encoded(piece, size)
        others = kept.setdefault(piece.label, [])
        if others and float(np.max(coco.iou([rle], others, [0] * len(others)))) > DOUBLE:
            continue
        others.append(rle)
        objects.append(LabelledObject(piece.label, rle, piece.score, piece.adapter))
    return tuple(objects)


def _encoded(piece: Piece, size: tuple[int, int]) -> dict[str, Any]:
    """Run lengths of the whole picture from the window alone: only its columns are looked at."""
    from pycocotools import mask as coco

    height, width = size
    columns = piece.within((piece.box[0], 0, piece.box[2], height))
    flat = columns.ravel(order="F")
    turns = (np.flatnonzero(flat[1:] != flat[:-1]) + 1).tolist()
    turns = [0, *turns] if flat[0] else turns
    bounds = [0, *(turn + piece.x * height for turn in turns), height * width]
    if len(turns) % 2:  # the last run of the object ends with the window
        bounds.insert(-1, (piece.x + columns.shape[1]) * height)
    counts = np.diff(bounds).tolist()
    counts = counts[:-1] if counts[-1] == 0 else counts
    return coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)


def _report(done: Labelled, classes: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "settings": dict(settings),
        "classes": {name: done.objects.get(name, 0) for name in classes},
        "pictures": done.pictures,
        "nothing_found": done.empty,
        "unreadable": done.unreadable,
    }


__all__ = ["DOUBLE", "Labelled", "Source", "Tiling", "find_objects", "label"]
