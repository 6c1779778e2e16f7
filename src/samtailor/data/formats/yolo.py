"""YOLO: images/ + labels/NAME.txt (boxes or polygons, relative to the size), names in data.yaml or classes.txt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from samtailor.data.image import header
from samtailor.data.layout import file_sample, rle_annotation
from samtailor.data.listing import chosen, files, has_files, paired, read_text, subfolder
from samtailor.data.notices import notice
from samtailor.errors import DataError, counted
from samtailor.limits import parse_yaml, read_bytes
from samtailor.masks.rle import from_box, from_polygons
from samtailor.structures import Annotation, Sample

_PARTS = ("train", "valid", "val", "test")
_NOT_LABELS = frozenset({"classes", "labels", "readme", "obj", "train", "val", "test"})
_SLACK = 0.01  # coordinates this far outside the image count as rounding


def matches(path: Path) -> bool:
    """Whether there are images/ and labels/*.txt, in the top folder or in train/, valid/, val/, test/."""
    return bool(_places(path))


def build(
    path: Path, *, classes: Sequence[str] | None = None, names: str | None = None, part: str | None = None
) -> Iterable[Sample]:
    """Samples of a YOLO data set. Images with an empty label file have no objects; images without a file are skipped.

    Args:
        path: folder of the data set.
        classes: class names to read; None for all.
        names: YAML file (key "names": a list or {index: name}) or text file (one name per line) relative to `path`.
            None uses data.yaml, another *.yaml with names, or classes.txt.
        part: part to read ("train", "val", ...); None for all, with the part in the id.

    Raises:
        DataError: no images and labels. Reading invalid lines, unnamed classes or absolute coordinates raises it too.
        InputError: an unknown class.
    """
    images, labels = _listed(path, part)
    stems = paired(images, labels, "label file")
    table = _names(path, names)
    if table is None:
        table = {i: str(i) for i in sorted({int(n) for stem in stems for n, *_ in _lines(labels[stem])})}
        notice("no class names", f"{path}: no class names in data.yaml or classes.txt; numbers are used as names.")
    wanted = frozenset(chosen(classes, table.values()))
    return [file_sample(stem, images[stem], _annotations, labels[stem], table, wanted) for stem in stems]


def _places(path: Path) -> list[tuple[str, Path, Path]]:
    """(part, image folder, label folder) of the two usual arrangements."""
    places = []
    for part in ("", *_PARTS):
        images, labels = (subfolder(path / part, name) for name in ("images", "labels"))
        if images and labels and has_files(labels, ".txt"):
            places.append((part, images, labels))
    return places


def _listed(path: Path, part: str | None) -> tuple[dict[str, Path], dict[str, Path]]:
    images: dict[str, Path] = {}
    labels: dict[str, Path] = {}
    for prefix, image_folder, label_folder in _places(path):
        start = f"{prefix}/" if prefix else ""
        images |= {start + stem: file for stem, file in files(image_folder).items()}
        labels |= {start + stem: file for stem, file in files(label_folder, [".txt"]).items()}
    labels = {stem: file for stem, file in labels.items() if stem in images or file.stem.lower() not in _NOT_LABELS}
    if part is not None:
        images = {stem: file for stem, file in images.items() if stem.startswith(f"{part}/")}
        labels = {stem: file for stem, file in labels.items() if stem.startswith(f"{part}/")}
    if not images or not labels:
        which = f" of the part {part!r}" if part else ""
        raise DataError(f"{path} has no YOLO images and labels{which}. Expected images/NAME.jpg and labels/NAME.txt.")
    return images, labels


def _names(path: Path, given: str | None) -> dict[int, str] | None:
    texts = [f for f in (path / "classes.txt", path / "labels" / "classes.txt", path / "obj.names") if f.is_file()]
    sheets = sorted([*path.glob("*.yaml"), *path.glob("*.yml")], key=lambda f: (f.name != "data.yaml", f.name))
    candidates = [path / given] if given is not None else [*sheets, *texts]
    for file in candidates:
        if file.suffix in (".yaml", ".yml"):
            table = _table(file)
            if table:
                return table
        else:
            return dict(enumerate(line.strip() for line in read_text(file).splitlines() if line.strip()))
    if given is not None:
        raise DataError(f"{candidates[0]}: no class names under the key 'names'.")
    return None


def _table(file: Path) -> dict[int, str] | None:
    content = parse_yaml(read_bytes(file, "yaml_bytes"), str(file))
    value: Any = content.get("names") if isinstance(content, dict) else None
    pairs = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    try:
        return {int(index): str(name) for index, name in pairs} or None
    except (TypeError, ValueError) as error:
        raise DataError(f"{file}: 'names' must be a list, or a mapping from index to name, got {value!r}.") from error


def _lines(file: Path) -> Iterator[tuple[float, ...]]:
    for number, line in enumerate(read_text(file).splitlines(), 1):
        if not line.strip():
            continue
        try:
            values = tuple(float(word) for word in line.split())
        except ValueError as error:
            raise DataError(f"{file}, line {number}: expected numbers, got {line.strip()[:60]!r}.") from error
        if len(values) != 5 and (len(values) < 7 or len(values) % 2 == 0):
            raise DataError(
                f"{file}, line {number}: expected `class x y width height` or `class x1 y1 x2 y2 x3 y3 ...`, "
                f"got {counted(len(values), 'number')}. (Predictions with a confidence are not supported.)"
            )
        if values[0] != int(values[0]) or values[0] < 0:
            raise DataError(f"{file}, line {number}: the class must be an integer of at least 0, got {values[0]}.")
        if not all(-0.5 <= value <= 1.5 for value in values[1:]):
            raise DataError(
                f"{file}, line {number}: coordinates must be relative to the image size (0 to 1), not pixels."
            )
        if not all(-_SLACK <= value <= 1 + _SLACK for value in values[1:]):
            notice("shape beyond image", f"{file}, line {number}: the shape extends beyond the image and is clipped.")
        yield values


def _annotations(image: Path, file: Path, names: Mapping[int, str], wanted: frozenset[str]) -> Iterator[Annotation]:
    frame = header(image)
    for number, *coordinates in _lines(file):
        if number not in names:
            raise DataError(f"{file}: the class {int(number)} has no name. Named classes: {sorted(names)}.")
        if names[int(number)] in wanted:
            yield from rle_annotation(names[int(number)], _mask(coordinates, frame.size), frame, file)


def _mask(values: Sequence[float], size: tuple[int, int]) -> dict[str, Any] | None:
    height, width = size
    if len(values) == 4:
        x, y, w, h = values[0] * width, values[1] * height, values[2] * width, values[3] * height
        return from_box((x - w / 2, y - h / 2, x + w / 2, y + h / 2), size)
    return from_polygons([[v * (height if i % 2 else width) for i, v in enumerate(values)]], size)


__all__ = ["build", "matches"]
