"""CVAT YOLO 1.1: obj.data, obj.names, train.txt, and images with text files side by side in obj_train_data/."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from samtailor.data.account import count, count_images, leave_out, leave_out_image
from samtailor.data.finder import ImageFinder
from samtailor.data.formats.yolo import lines, read_shapes
from samtailor.data.layout import file_sample
from samtailor.data.listing import chosen, natural_key, read_text
from samtailor.data.parts import part_named
from samtailor.errors import DataError
from samtailor.structures import Sample

_PARTS = ("train", "valid", "test")


def matches(path: Path) -> bool:
    """Whether there are obj.data and obj.names."""
    return (path / "obj.data").is_file() and (path / "obj.names").is_file()


def build(path: Path, *, classes: Sequence[str] | None = None) -> Iterable[Sample]:
    """Samples of an export "YOLO 1.1" of CVAT (darknet). The lists train.txt, valid.txt and test.txt are the parts.

    An image without a text file is left out; with an empty one it has no objects.

    Args:
        path: folder of the data set.
        classes: class names to read; None for all.

    Raises:
        DataError: obj.data or obj.names is missing or invalid, or none of the images exists. Reading an invalid line or
            an unnamed class raises it too.
        InputError: an unknown class.
    """
    if not matches(path):
        raise DataError(f"{path} must contain obj.data and obj.names.")
    settings = _settings(path / "obj.data")
    names = dict(enumerate(line.strip() for line in read_text(path / "obj.names").splitlines() if line.strip()))
    wanted = frozenset(chosen(classes, names.values()))
    finder, samples, missing = ImageFinder(path), {}, []
    unlabeled: set[Path] = set()
    for part in _PARTS:
        file = path / PurePosixPath(settings.get(part, f"{part}.txt")).name
        if not file.is_file():
            continue
        for line in filter(str.strip, read_text(file).splitlines()):
            name = line.strip().removeprefix("data/")  # CVAT writes paths from the folder above
            image = finder.find(name, file)
            if image is None:
                missing.append(f"{file}: the image {line.strip()!r} does not exist and is skipped.")
                continue
            label = image.with_suffix(".txt")
            if not label.is_file():
                unlabeled.add(image)
            elif image not in samples:
                samples[image] = file_sample(
                    _id(path, image), image, read_shapes, label, names, wanted, part=part_named(part)
                )
    if not samples:
        raise DataError(f"{path}: no image of train.txt exists with a text file. Export the task with images.")
    _account(finder, samples, missing, unlabeled, path)
    return list(samples.values())


def _account(
    finder: ImageFinder, samples: dict[Path, Sample], missing: Sequence[str], unlabeled: set[Path], path: Path
) -> None:
    count_images(len(finder.files) + len(missing))
    for sentence in missing:
        leave_out_image("annotation without image", sentence)
    for image in sorted(finder.files.values()):
        if image in samples:
            continue
        why = "no text file" if image in unlabeled else "no line in train.txt, valid.txt or test.txt"
        leave_out_image("image without partner", f"{image} has {why} and is skipped.")
    used = {image.with_suffix(".txt") for image in samples}
    for folder in sorted(path.glob("obj_*_data")):
        for file in sorted(folder.rglob("*.txt"), key=lambda f: natural_key(f.name)):
            if file not in used:
                number = sum(1 for _ in lines(file))
                count(number)
                leave_out("annotation without image", f"{file} belongs to no image that is read.", number)


def _settings(file: Path) -> dict[str, str]:
    pairs = (line.partition("=") for line in read_text(file).splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _id(root: Path, image: Path) -> str:
    parts = PurePosixPath(image.relative_to(root).as_posix()).with_suffix("").parts
    return "/".join(part for part in parts if part != "obj_train_data")


__all__ = ["build", "matches"]
