"""SA-1B: a JSON file for each image, sa_1.jpg + sa_1.json, with "image" and "annotations" (run lengths, no classes)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from samtailor.data.drawn import Shape, drawn, without_image
from samtailor.data.finder import ImageFinder, image_id
from samtailor.data.image import header
from samtailor.data.json_kinds import MAX_FILES, of_kind
from samtailor.data.layout import file_sample
from samtailor.data.listing import chosen, natural_key, read_json, single_class
from samtailor.data.placement import declared_size
from samtailor.errors import DataError
from samtailor.masks.rle import from_polygons, validated
from samtailor.structures import Annotation, Sample


def matches(path: Path) -> bool:
    """Whether a JSON file of SA-1B is in the top folder or in annotations/ and the like."""
    return bool(of_kind(path, "sa-1b", most=MAX_FILES))


def build(path: Path, *, classes: Sequence[str] | None = None) -> Iterable[Sample]:
    """Samples of a folder in the layout of SA-1B.

    Args:
        path: folder of the data set.
        classes: one name for the objects; None is "object". If annotations have a `label`, as samtailor writes them:
            labels to read; None for all.

    Raises:
        DataError: no file, or none of the images exists. Reading an invalid file, or run lengths of another size than
            the image, raises it too.
    """
    sheets = of_kind(path, "sa-1b")
    known = {_label(row) for file in sheets for row in _content(file)[1]}
    if known <= {None}:
        default = single_class(classes, "object")
        wanted = frozenset([default])
    else:
        default = "object"
        wanted = frozenset(chosen(classes, sorted((label or default for label in known), key=natural_key)))
    if not sheets:
        raise DataError(f"{path} has no JSON file of SA-1B (keys image and annotations).")
    finder, samples, missing = ImageFinder(path), {}, []
    for file in sheets:
        entry, rows = _content(file)
        name = str(entry.get("file_name") or file.stem)
        image = finder.find(name, file, stem=True)
        if image is None:
            missing.append(without_image(len(rows), f"{file}: its image {name!r} does not exist and is skipped."))
        elif image in samples:
            raise DataError(f"{file}: the image {name!r} has two files.")
        else:
            samples[image] = file_sample(image_id(path, image), image, _annotations, file, wanted, default)
    if not samples:
        raise DataError(f"None of the images of {len(sheets)} files exists (first file: {sheets[0]}).")
    finder.account(samples, missing, "JSON file")
    return list(samples.values())


def _content(file: Path) -> tuple[dict[str, Any], list[Any]]:
    content = read_json(file)
    image = content.get("image") if isinstance(content, dict) else None
    rows = content.get("annotations", []) if isinstance(content, dict) else None
    if not isinstance(image, dict) or not isinstance(rows, list):
        raise DataError(f'{file}: a file of SA-1B must have an object "image" and a list "annotations".')
    return image, rows


def _label(row: Any) -> str | None:
    """The class of an annotation, an extension of samtailor."""
    label = row.get("label") if isinstance(row, dict) else None
    return label if isinstance(label, str) else None


def _annotations(image: Path, file: Path, wanted: frozenset[str], default: str) -> Iterator[Annotation]:
    frame, (entry, rows) = header(image), _content(file)
    size = declared_size(entry.get("height"), entry.get("width"), frame, file)
    shapes = (
        Shape(_label(row) or default, "mask", partial(_draw, row), f"annotation {i}") for i, row in enumerate(rows)
    )
    yield from drawn(shapes, wanted, size, frame, file)


def _draw(row: dict[str, Any], size: tuple[int, int]) -> dict[str, Any] | None:
    segmentation = row["segmentation"]
    if not isinstance(segmentation, dict):
        return from_polygons(segmentation, size)
    if list(segmentation["size"]) != list(size):
        raise DataError(f"run lengths for {segmentation['size']} (height, width), but the image has size {size}.")
    return validated(segmentation, "run lengths")


__all__ = ["build", "matches"]
