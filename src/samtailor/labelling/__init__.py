"""Label many images with several adapters and write the result in a data set format.

Each image (or tile) is encoded once for all adapters. The prompts come from each adapter's learned proposals or from a
detector (`predict.source`).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor.data.folder_lock import locked
from samtailor.data.image import read_image, write_json
from samtailor.data.writers import (
    Destination,
    LabelledImage,
    WriteReport,
    check_options,
    write_dataset,
)
from samtailor.errors import InputError
from samtailor.labelling._journal import Journal
from samtailor.labelling._objects import objects_of
from samtailor.labelling._pipeline import Cut, Unreadable, Workers, predict_ahead
from samtailor.labelling._predict import MultiAdapterPredictor
from samtailor.labelling._tiles import Piece, Tile, merged, tiles
from samtailor.masks.rle import is_box
from samtailor.predict.source import AdapterSource
from samtailor.structures.notebook import table_html

if TYPE_CHECKING:
    import numpy as np

    from samtailor.predict.predictor import Predictor

REPORT = "label.json"


@dataclass(frozen=True)
class Tiling:
    """Split images larger than `side` pixels into tiles of that side, overlapping by the share `overlap`."""

    side: int
    overlap: float = 0.25


@dataclass
class Labelled:
    """Summary of a run.

    Args:
        images: labeled images, those of an earlier run included.
        objects: number by class.
        counts: number by class in each image, by name.
        earlier: images that an earlier run labeled.
        empty: names of the images without any object.
        empty_masks: number of predictions without a pixel; they are no objects.
        boxes: number of objects whose mask is exactly its box.
        unreadable: file to the error.
        report: what the format could not hold.
    """

    images: int = 0
    objects: Counter[str] = field(default_factory=Counter)
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    earlier: int = 0
    empty: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    empty_masks: int = 0
    boxes: int = 0
    report: WriteReport = field(default_factory=WriteReport)

    def __repr__(self) -> str:
        """Number of images, and of objects by class."""
        objects = ", ".join(f"{number} {name}" for name, number in sorted(self.objects.items())) or "no objects"
        unreadable = f", {len(self.unreadable)} unreadable" if self.unreadable else ""
        return f"Labelled({self.images} images: {objects}; {len(self.empty)} without objects{unreadable})"

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        rows = [
            [name, f"{number} (per image: {self.per_image(name)})"] for name, number in sorted(self.objects.items())
        ]
        rows += [["empty masks, left out", str(self.empty_masks)]] if self.empty_masks else []
        rows += [["images", str(self.images)], ["images without objects", str(len(self.empty))]]
        rows += [["unreadable images", str(len(self.unreadable))]] if self.unreadable else []
        rows += [["objects that the format could not hold", str(n)]] if (n := self.report.left_out.total()) else []
        return table_html(["class", "objects"], rows, "Labeled images")

    def per_image(self, name: str) -> str:
        """Number of objects of a class per image in words: "12.3 on average, 0 to 97"."""
        numbers = [one[name] for one in self.counts.values()] or [0]
        return f"{sum(numbers) / len(numbers):.1f} on average, {min(numbers)} to {max(numbers)}"


def label(
    predictor: Predictor,
    sources: Sequence[AdapterSource],
    images: Mapping[str, Path],
    out: str | Path,
    *,
    format: str = "coco",
    classes: Sequence[str] = (),
    vertices: int | None = None,
    tiling: Tiling | None = None,
    put: str = "copy",
    options: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Labelled:
    """Label images and write them.

    Every labeled image is saved in `out` at once, so that a stopped run can be continued; the files of the format are
    written at the end. Images that cannot be read are listed in the result, and the others are labeled.

    Args:
        predictor: with the adapters loaded.
        sources: adapters with their prompt sources.
        images: name to file, see `predict.files.find_images`.
        out: folder; new, or of a run with the same `settings`.
        format: name of a file in `samtailor.data.writers`.
        classes: order of the classes; other predicted classes follow by name.
        vertices: maximum number of vertices of an object's polygons; None: no limit.
        tiling: for large images.
        put: "copy", "link" or "none": whether the images become part of the result.
        options: options of the format, for example {"rle": True}.
        settings: what else the predictions depend on (adapters, detector).
        overwrite: delete an earlier result and start again.
        progress: called with (images done, images in all).

    Raises:
        InputError: an unknown format or option, fewer than 3 vertices, or `out` contains something else.
    """
    chosen = dict(options or {})
    check_options(format, chosen)
    if vertices is not None and vertices < 3:
        raise InputError(f"A polygon needs at least 3 vertices, got a maximum of {vertices}.")
    if tiling is not None:
        tiles(1, 1, tiling.side, tiling.overlap)  # raises before anything is written
    everything = {
        "base": predictor.base.fingerprint,
        **(settings or {}),
        "tiling": None if tiling is None else [tiling.side, tiling.overlap],
        "format": format.replace("_", "-"),
        "vertices": vertices,
        "images": put,
        "options": chosen or None,
    }
    if Path(out).exists() and not Path(out).is_dir():
        raise InputError(f"{out} is a file; labels need a folder.")
    with locked(Path(out), "labels"):
        return _label(
            predictor, sources, images, Path(out), format, classes, vertices, tiling, put, chosen, everything,
            overwrite, progress,
        )  # fmt: skip


def _label(
    predictor: Predictor,
    sources: Sequence[AdapterSource],
    images: Mapping[str, Path],
    out: Path,
    format: str,
    classes: Sequence[str],
    vertices: int | None,
    tiling: Tiling | None,
    put: str,
    chosen: Mapping[str, Any],
    everything: Mapping[str, Any],
    overwrite: bool,
    progress: Callable[[int, int], None] | None,
) -> Labelled:
    """`label`, with checked arguments and the lock held."""
    polygons = None if chosen.get("rle") else getattr(check_options(format, chosen), "POLYGONS", None)
    destination = Destination(out, vertices, put)
    journal, result = Journal(Path(out), everything, overwrite=overwrite), Labelled()
    waiting = [(name, path) for name, path in images.items() if not journal.done(name, path)]
    result.earlier = len(images) - len(waiting)
    with closing(predict_images(predictor, sources, waiting, tiling)) as predicted:
        for number, image in enumerate(predicted, result.earlier + 1):
            if isinstance(image, Unreadable):
                result.unreadable[str(image.path)] = str(image.reason)
                journal.forget(image.name)
            else:
                # polygons are computed now, while the next images are predicted, rather than at the end
                objects = tuple(destination.drawn(one, polygons) for one in image.objects)
                journal.add(replace(image, objects=objects))
            if progress:
                progress(number, len(images))
    _count(result, journal, images)
    names = list(dict.fromkeys([*classes, *sorted(result.objects)]))
    result.report = write_dataset(format, destination, journal.images(images), names, chosen)
    write_json(Path(out) / REPORT, _report(result, names, everything))
    return result


def find_objects(
    predictor: Predictor, sources: Sequence[AdapterSource], name: str, path: Path, *, tiling: Tiling | None = None
) -> LabelledImage:
    """Predict all objects of an image file, each once, sorted by falling score.

    Raises:
        DataError: the image cannot be read.
    """
    (image,) = predict_images(predictor, sources, [(name, path)], tiling)
    if isinstance(image, Unreadable):
        raise image.reason
    return image


def predict_images(
    predictor: Predictor,
    sources: Sequence[AdapterSource],
    images: Iterable[tuple[str, Path]],
    tiling: Tiling | None = None,
    *,
    read_file: Callable[[Path], np.ndarray] = read_image,
    stop: threading.Event | None = None,
) -> Generator[LabelledImage | Unreadable, None, None]:
    """Predict images in order; each view is encoded once, and the pieces of each source are merged per image.

    Args:
        predictor, sources, tiling: as of `label`.
        images: names and files; read in a thread, a few images ahead.
        read_file: reads an image file, see `data.image.read_image`.
        stop: set at the end, also after an error; `images` that wait for something must end then.
    """
    model, cut = MultiAdapterPredictor(predictor, sources), Cut(None, 0.0, predictor.base.mean)
    if tiling is not None:
        cut = replace(cut, side=tiling.side, overlap=tiling.overlap)
    regions = [one.adapter is not None and predictor.segmenter(one.adapter).inference.regions for one in sources]
    single = isinstance(images, Sequence) and len(images) == 1 and tiling is None
    workers = Workers(1, None) if single else Workers.for_base(predictor.base)
    by_source: list[list[Piece]] = [[] for _ in sources]
    empty = 0
    ahead = predict_ahead(images, cut, lambda view: model.predict(view.pixels), workers, read_file, stop)
    with closing(ahead) as predicted:
        for result in predicted:
            if isinstance(result, Unreadable):
                yield result
                continue
            view, (predictions, none) = result
            empty += none
            for kept, pieces in zip(by_source, predictions, strict=True):
                kept += (_in_image(piece, view.tile) for piece in pieces)
            if view.last:
                if view.tile is not None:
                    by_source = [
                        merged((piece for piece in kept if piece.mask.any()), regions=whole)
                        for kept, whole in zip(by_source, regions, strict=True)
                    ]
                objects = objects_of(by_source, sources, view.size)
                yield LabelledImage(view.name, view.path, *view.size, objects, empty)
                by_source, empty = [[] for _ in sources], 0


def _in_image(piece: Piece, tile: Tile | None) -> Piece:
    """Convert a piece to the frame of the image, without the part outside the image."""
    if tile is None:
        return piece
    x0, y0, x1, y1 = tile.box
    inside = piece.mask[: max(y1 - y0 - piece.y, 0), : max(x1 - x0 - piece.x, 0)]
    return replace(piece, mask=inside, x=piece.x + x0, y=piece.y + y0, tile=tile, rle={}, certainty=None)


def _count(result: Labelled, journal: Journal, images: Mapping[str, Path]) -> None:
    for image in journal.images(images):
        result.images += 1
        result.counts[image.name] = Counter(one.label for one in image.objects)
        result.objects.update(result.counts[image.name])
        result.empty += [] if image.objects else [image.name]
        result.empty_masks += image.empty
        result.boxes += sum(is_box(one.rle) for one in image.objects)


def _report(result: Labelled, classes: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "settings": dict(settings),
        "classes": {name: result.objects.get(name, 0) for name in classes},
        "counts": {image: {name: one[name] for name in classes} for image, one in result.counts.items()},
        "images": result.images,
        "nothing_found": result.empty,
        "empty_masks": result.empty_masks,
        "boxes": result.boxes,
        "unreadable": result.unreadable,
        "written": result.report.to_json(),
    }


__all__ = ["AdapterSource", "Labelled", "Tiling", "Unreadable", "find_objects", "label", "predict_images"]
