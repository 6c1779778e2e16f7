"""YOLO: images/ + labels/NAME.txt (boxes or polygons, relative to the size), names in data.yaml or classes.txt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from samtailor.data.account import OTHER_CLASS, count, leave_out
from samtailor.data.image import header
from samtailor.data.layout import file_sample, rle_annotation
from samtailor.data.listing import chosen, files, has_files, paired, read_text, subfolder
from samtailor.data.notices import notice
from samtailor.errors import DataError, InputError, counted
from samtailor.limits import parse_yaml, read_bytes
from samtailor.masks.rle import from_box, from_polygons
from samtailor.structures import Annotation, Sample

_PARTS = ("train", "valid", "val", "test")
_NOT_LABELS = frozenset({"classes", "labels", "readme", "obj", "train", "val", "test"})
_SAMPLED = 20  # label files that are read to recognize pose files
_POSE = -1  # any number of keypoints
_SLACK = 0.01  # coordinates this far outside the image count as rounding


def matches(path: Path) -> bool:
    """Whether there are images/ and labels/*.txt, in the top folder or in train/, valid/, val/, test/."""
    return bool(_places(path))


def build(
    path: Path,
    *,
    classes: Sequence[str] | None = None,
    names: str | None = None,
    part: str | None = None,
    keypoints: str | None = None,
    unlabeled: str = "skip",
) -> Iterable[Sample]:
    """Samples of a YOLO data set. Images with an empty label file have no objects.

    Args:
        path: folder of the data set.
        classes: class names to read; None for all.
        names: YAML file (key "names": a list or {index: name}) or text file (one name per line) relative to `path`.
            None uses data.yaml, another *.yaml with names, or classes.txt.
        part: part to read ("train", "val", ...); None for all, with the part in the id.
        keypoints: for pose files, number and dimensions of the keypoints after each box ("17x3"); they are not read.
            None uses kpt_shape of the YAML file, or decides by the visibilities 0, 1, 2.
        unlabeled: "skip" leaves out images without a label file; "negative" reads them as images without objects, as
            YOLO trains on them.

    Raises:
        DataError: no images and labels. Reading invalid lines, unnamed classes or absolute coordinates raises it too.
        InputError: an unknown class or option.
    """
    images, labels = _listed(path, part)
    return labeled(path, images, labels, class_table(path, names), classes, keypoints, unlabeled)


def labeled(
    path: Path,
    images: Mapping[str, Path],
    labels: Mapping[str, Path],
    table: Mapping[int, str] | None,
    classes: Sequence[str] | None,
    keypoints: str | None = None,
    unlabeled: str = "skip",
) -> list[Sample]:
    """Samples of images and YOLO text files by stem, for layouts that store them in other places too.

    Args:
        path: folder of the data set, for messages and for kpt_shape of its YAML files.
        images, labels: image and text files by stem.
        table: class names by index; None uses the numbers.
        classes: class names to read; None for all.
        keypoints, unlabeled: see `build`.

    Raises:
        DataError, InputError: see `build`.
    """
    values = _keypoints(keypoints) if keypoints is not None else _stated_keypoints(path)
    if values is None and _is_pose(list(labels.values())):
        values = _POSE
    if values:
        notice("keypoints", f"{path}: pose files; the boxes are read, the keypoints are not.")
    rows = partial(lines, keypoints=values or 0)
    stems = paired(images, labels, "label file", unlabeled=unlabeled, content=lambda file: sum(1 for _ in rows(file)))
    if table is None:
        used = [labels[stem] for stem in stems if stem in labels]
        table = {i: str(i) for i in sorted({int(n) for file in used for n, *_ in rows(file)})}
        notice("no class names", f"{path}: no class names in data.yaml or classes.txt; numbers are used as names.")
    wanted = frozenset(chosen(classes, table.values()))
    return [
        file_sample(stem, images[stem], read_shapes, labels.get(stem), table, wanted, values or 0) for stem in stems
    ]


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
        images |= {start + stem: file for stem, file in files(image_folder, role="image").items()}
        labels |= {start + stem: file for stem, file in files(label_folder, [".txt"], role="annotation").items()}
    labels = {stem: file for stem, file in labels.items() if stem in images or file.stem.lower() not in _NOT_LABELS}
    if part is not None:
        images = {stem: file for stem, file in images.items() if stem.startswith(f"{part}/")}
        labels = {stem: file for stem, file in labels.items() if stem.startswith(f"{part}/")}
    if not images or not labels:
        which = f" of the part {part!r}" if part else ""
        raise DataError(f"{path} has no YOLO images and labels{which}. Expected images/NAME.jpg and labels/NAME.txt.")
    return images, labels


def class_table(path: Path, given: str | None) -> dict[int, str] | None:
    """Class names by index, from the file `given` or the usual ones of a data set; None if there is none.

    Raises:
        DataError: an invalid file, or `given` has no names.
    """
    texts = [f for f in (path / "classes.txt", path / "labels" / "classes.txt", path / "obj.names") if f.is_file()]
    for file in [path / given] if given is not None else [*_sheets(path), *texts]:
        if file.suffix not in (".yaml", ".yml"):
            return dict(enumerate(line.strip() for line in read_text(file).splitlines() if line.strip()))
        table = _table(file)
        if table:
            return table
    if given is not None:
        raise DataError(f"{path / given}: no class names under the key 'names'.")
    return None


def _sheets(path: Path) -> list[Path]:
    return sorted([*path.glob("*.yaml"), *path.glob("*.yml")], key=lambda f: (f.name != "data.yaml", f.name))


def _yaml(file: Path) -> dict[str, Any]:
    """Values of a YAML file, all as text: `no` is a name, not false."""
    content = parse_yaml(read_bytes(file, "yaml_bytes"), str(file), as_text=True)
    return content if isinstance(content, dict) else {}


def _table(file: Path) -> dict[int, str] | None:
    value = _yaml(file).get("names")
    pairs = list(enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ())
    if value and not (pairs and all(isinstance(name, str) and str(index).isdecimal() for index, name in pairs)):
        raise DataError(f"{file}: 'names' must be a list of names, or a mapping from index to name.")
    return {int(index): name for index, name in pairs} or None


def _stated_keypoints(path: Path) -> int | None:
    """Numbers of keypoints after each box, from kpt_shape of a YAML file; None without one."""
    for file in _sheets(path):
        shape = _yaml(file).get("kpt_shape")
        if isinstance(shape, list) and len(shape) == 2 and all(isinstance(side, str) for side in shape):
            return _keypoints("x".join(shape))
    return None


def _keypoints(text: str) -> int:
    """ "17x3" to 51 numbers."""
    match = re.fullmatch(r"(\d{1,4})\s*x\s*([23])", text.strip())
    if match is None:
        raise InputError(f"keypoints must be a number of points and 2 or 3 dimensions, as in 17x3, got {text[:40]!r}.")
    return int(match[1]) * int(match[2])


def _is_pose(files: Sequence[Path]) -> bool:
    """Whether the lines of the first files are boxes with keypoints (x, y, visibility 0, 1 or 2), not polygons."""
    rows = [line.split() for file in files[:_SAMPLED] for line in read_text(file).splitlines() if line.strip()]
    if not rows or len({len(row) for row in rows}) != 1 or len(rows[0]) < 8 or (len(rows[0]) - 5) % 3:
        return False
    try:
        visible = {float(word) for row in rows for word in row[7::3]}
    except ValueError:
        return False
    return visible <= {0.0, 1.0, 2.0} and (len(rows) > 1 or len(rows[0]) > 8)


def lines(file: Path, keypoints: int = 0) -> Iterator[tuple[float, ...]]:
    """Class and coordinates of every line of a label file.

    Args:
        file: the label file.
        keypoints: numbers after each box that are not read; -1 for any number of them.

    Raises:
        DataError: a line that is neither a box nor a polygon.
    """
    for number, line in enumerate(read_text(file).splitlines(), 1):
        if not line.strip():
            continue
        try:
            values = tuple(float(word) for word in line.split())
        except ValueError as error:
            raise DataError(f"{file}, line {number}: expected numbers, got {line.strip()[:60]!r}.") from error
        if keypoints and (keypoints == _POSE or len(values) == 5 + keypoints):
            values = values[:5]
        if len(values) != 5 and (len(values) < 7 or len(values) % 2 == 0 or keypoints):
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


def read_shapes(
    image: Path, file: Path | None, names: Mapping[int, str], wanted: frozenset[str], keypoints: int = 0
) -> Iterator[Annotation]:
    """Annotations of a label file; none without a file.

    Args:
        image: the image.
        file: its label file.
        names: class names by number.
        wanted: classes to read.
        keypoints: as in `lines`.
    """
    frame = header(image)
    for number, *coordinates in lines(file, keypoints) if file is not None else ():
        count()
        if number not in names:
            raise DataError(f"{file}: the class {int(number)} has no name. Named classes: {sorted(names)[:50]}.")
        label = names[int(number)]
        if label not in wanted:
            leave_out(OTHER_CLASS, f"{file}: the class {label!r} is not requested.", quiet=True)
            continue
        boxed = len(coordinates) == 4
        if boxed:
            notice("box as mask", f"{file}: boxes, which are used as rectangular masks.")
        mask = _mask(coordinates, frame.size)
        yield from rle_annotation(label, mask, frame, str(file), drawn="box" if boxed else "polygon")


def _mask(values: Sequence[float], size: tuple[int, int]) -> dict[str, Any] | None:
    height, width = size
    if len(values) == 4:
        x, y, w, h = values[0] * width, values[1] * height, values[2] * width, values[3] * height
        return from_box((x - w / 2, y - h / 2, x + w / 2, y + h / 2), size)
    return from_polygons([[v * (height if i % 2 else width) for i, v in enumerate(values)]], size)


__all__ = ["build", "class_table", "labeled", "lines", "matches", "read_shapes"]
