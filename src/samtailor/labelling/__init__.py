"""Label many images with several adapters, one embedding an image (or tile), and write them in a format.

Nobody clicks: each adapter's own proposals, or a detector, say where to look (see `automatic`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samtailor.data.image import write_json
from samtailor.data.writers import Destination, LabelledImage, LabelledObject
from samtailor.errors import InputError
from samtailor.labelling._ahead import Cut, Share, Unreadable, ahead
from samtailor.labelling._answers import MultiAdapterPredictor, Source
from samtailor.labelling._journal import Journal
from samtailor.labelling._tiles import Piece, Tile, merged, tiles
from samtailor.registry import find

if TYPE_CHECKING:
    from samtailor.predict.predictor import Predictor

DOUBLE = 0.8
"""IoU above which two answers of a class are one object, whoever gave them; the better score stays."""
REPORT = "label.json"


@dataclass(frozen=True)
class Tiling:
    """Cut images larger than `side` pixels into tiles of that side, overlapping by the share `overlap`."""

    side: int
    overlap: float = 0.25


@dataclass
class Labelled:
    """What a run did.

    Args:
        images: with an answer, also those of an earlier run.
        objects: number by class.
        earlier: images that were done before.
        empty: names of the images in which nothing was found.
        unreadable: file to the reason.
    """

    images: int = 0
    objects: Counter[str] = field(default_factory=Counter)
    earlier: int = 0
    empty: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)


def label(
    predictor: Predictor,
    sources: Sequence[Source],
    images: Mapping[str, Path],
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
    """Label images and write them.

    An image that is done is kept in `out` at once; the files of the format are written at the end, also of what an
    earlier, stopped run did. An image that cannot be read is told in the result, and the rest is done.

    Args:
        predictor: with the adapters.
        sources: who answers, see `Source`.
        images: name to file, see `answers.find_images`.
        out: folder; new, or of a run with the same `settings`.
        format: a file of `samtailor.data.writers`.
        classes: order of the classes; those that are found and not named come after.
        vertices: budget of an object's polygons.
        tiling: for large images.
        put: "copy", "link" or "none": the images in the result.
        settings: what else the answers depend on (which adapters, which detector).
        overwrite: begin anew.
        progress: called with (done, all) after each image.

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
    everything |= {"format": format.replace("_", "-"), "vertices": vertices, "images": put}
    destination = Destination(Path(out), vertices, put)
    journal, done = Journal(Path(out), everything, overwrite=overwrite), Labelled()
    waiting = [(name, path) for name, path in images.items() if not journal.done(name, path)]
    done.earlier = len(images) - len(waiting)
    answered = _answered(predictor, sources, waiting, tiling)
    with closing(answered):
        for number, found in enumerate(answered, done.earlier + 1):
            if isinstance(found, Unreadable):
                done.unreadable[str(found.path)] = str(found.reason)
                journal.forget(found.name)
            else:
                # now, beside the images that are being answered: at the end nothing else would be at work
                drawn = (destination.drawn(one, getattr(writer, "POLYGONS", None)) for one in found.objects)
                journal.add(replace(found, objects=tuple(drawn)))
            if progress:
                progress(number, len(images))
    for image in journal.images(images):
        done.images += 1
        done.objects.update(one.label for one in image.objects)
        done.empty += [] if image.objects else [image.name]
    names = list(dict.fromkeys([*classes, *sorted(done.objects)]))
    writer.write(destination, journal.images(images), names)
    write_json(Path(out) / REPORT, _report(done, names, everything))
    return done


def find_objects(
    predictor: Predictor, sources: Sequence[Source], name: str, path: Path, *, tiling: Tiling | None = None
) -> LabelledImage:
    """All objects of an image file, each once, by falling score.

    Raises:
        DataError: the image cannot be read.
    """
    (found,) = _answered(predictor, sources, [(name, path)], tiling)
    if isinstance(found, Unreadable):
        raise found.reason
    return found


def _answered(
    predictor: Predictor, sources: Sequence[Source], jobs: Sequence[tuple[str, Path]], tiling: Tiling | None
) -> Iterator[LabelledImage | Unreadable]:
    """Images in order; one embedding a view for all sources, then the pieces of each source are put together."""
    asking, side, overlap = MultiAdapterPredictor(predictor, sources), None, 0.0
    if tiling is not None:
        side, overlap = tiling.side, tiling.overlap
    regions = [one.adapter is not None and predictor.segmenter(one.adapter).inference.regions for one in sources]
    share = Share(1, None) if len(jobs) == 1 and tiling is None else Share.of(predictor.base)
    made = ahead(jobs, Cut(side, overlap, predictor.base.mean), lambda view: asking.pieces(view.pixels), share)
    by_source: list[list[Piece]] = [[] for _ in sources]
    with closing(made):
        for given in made:
            if isinstance(given, Unreadable):
                yield given
                continue
            view, parts = given
            for kept, found in zip(by_source, parts, strict=True):
                kept += (_placed(piece, view.tile) for piece in found)
            if view.last:
                if view.tile is not None:
                    by_source = [
                        merged((one for one in kept if one.mask.any()), regions=whole)
                        for kept, whole in zip(by_source, regions, strict=True)
                    ]
                pieces = [one for kept in by_source for one in kept]
                yield LabelledImage(view.name, view.path, *view.size, _objects(pieces, view.size))
                by_source = [[] for _ in sources]


def _placed(piece: Piece, tile: Tile | None) -> Piece:
    """A piece of a tile at its place in the image, without what lies beyond the image."""
    if tile is None:
        return piece
    x0, y0, x1, y1 = tile.box
    inside = piece.mask[: max(y1 - y0 - piece.y, 0), : max(x1 - x0 - piece.x, 0)]
    return replace(piece, mask=inside, x=piece.x + x0, y=piece.y + y0, tile=tile, rle=None)


def _objects(found: Sequence[Piece], size: tuple[int, int]) -> tuple[LabelledObject, ...]:
    """Each object of a class once: of several the one with the best score."""
    from pycocotools import mask as coco

    kept: dict[str, list[dict[str, Any]]] = {}
    objects = []
    for piece in sorted(found, key=lambda piece: -piece.score):
        rle = piece.encoded(size) if piece.rle is None else piece.rle
        others = kept.setdefault(piece.label, [])
        if others and float(np.max(coco.iou([rle], others, [0] * len(others)))) > DOUBLE:
            continue
        others.append(rle)
        objects.append(LabelledObject(piece.label, rle, piece.score, piece.adapter))
    return tuple(objects)


def _report(done: Labelled, classes: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "settings": dict(settings),
        "classes": {name: done.objects.get(name, 0) for name in classes},
        "images": done.images,
        "nothing_found": done.empty,
        "unreadable": done.unreadable,
    }


__all__ = ["DOUBLE", "Labelled", "Source", "Tiling", "find_objects", "label"]
