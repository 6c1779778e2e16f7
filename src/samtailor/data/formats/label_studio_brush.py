"""Label Studio brush PNGs: task-1-annotation-2-by-3-tag-CLASS-0.png, and images named by task, or a CSV export."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from samtailor.data.account import OTHER_CLASS, count, leave_out
from samtailor.data.drawn import without_image
from samtailor.data.finder import ImageFinder, image_id
from samtailor.data.image import header, read_index
from samtailor.data.json_kinds import of_kind
from samtailor.data.layout import file_sample, mask_annotation
from samtailor.data.listing import chosen, folders_in, natural_key, read_text
from samtailor.data.placement import to_image_frame
from samtailor.errors import DataError, InputError
from samtailor.structures import Annotation, Sample

# the annotator is an address or a number without dashes; the rest is the control, the labels and a counter
_NAME = re.compile(r"^task-(\d+)-annotation-(\d+)-by-[^-]*-(.+)-(\d+)\.png$", re.IGNORECASE)


@dataclass(frozen=True)
class _Layer:
    task: int
    annotation: int
    label: str
    file: Path


def matches(path: Path) -> bool:
    """Whether there are PNGs with such names in the top folder or one below, and no JSON export (which has it all)."""
    return next(_files(path), None) is not None and not of_kind(path, "label-studio", most=16)


def build(
    path: Path, *, classes: Sequence[str] | None = None, tasks: str | None = None, tag: str | None = None
) -> Iterable[Sample]:
    """Samples of an export "Brush labels to PNG" of Label Studio: one annotation for each PNG.

    The PNGs do not name their image. It is listed in a CSV export (columns id and image) beside them; without one,
    images must be named by their task: 1.jpg or task-1.jpg. Of several annotations of a task the newest is read.

    Args:
        path: folder of the data set.
        classes: class names to read; None for all.
        tasks: CSV file with the columns id and image relative to `path`; None detects it.
        tag: name of the brush control in the labeling configuration, if it contains dashes.

    Raises:
        DataError: no such file, or the images of the tasks are not known.
        InputError: an unknown class, or no such CSV file.
    """
    layers = [_layer(file, tag) for file in _files(path)]
    if not layers:
        raise DataError(f"{path} has no files named task-1-annotation-2-by-3-tag-CLASS-0.png.")
    known = sorted({layer.label for layer in layers}, key=natural_key)
    wanted = frozenset(chosen(classes, known))
    finder = ImageFinder(path)
    for place in [place for place, file in finder.files.items() if _NAME.match(file.name)]:
        del finder.files[place]
    by_task: dict[int, list[_Layer]] = {}
    for layer in layers:
        by_task.setdefault(layer.task, []).append(layer)
    images = _images(path, finder, tasks)
    samples: dict[Path, Sample] = {}
    missing = []
    for task, rows in sorted(by_task.items()):
        image = images.get(task)
        if image is None:
            sentence = f"{rows[0].file}: the image of task {task} is not known; {len(rows)} masks are skipped."
            missing.append(without_image(len(rows), sentence))
        else:
            samples[image] = file_sample(image_id(path, image), image, _annotations, tuple(rows), wanted)
    if not samples:
        raise DataError(
            f"{path}: the masks of Label Studio do not name their images. Put the CSV or JSON export of the project "
            "beside them, or name the images by task: task-1.jpg."
        )
    finder.account(samples, missing, "mask of its task")
    return list(samples.values())


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        return
    folders = [path, *folders_in(path)[:64]]
    for folder in folders:
        yield from (folder / name for name in sorted(filter(_NAME.match, os.listdir(folder))))


def _layer(file: Path, tag: str | None) -> _Layer:
    match = _NAME.match(file.name)
    if match is None:
        raise DataError(f"{file}: not the name of a brush PNG of Label Studio.")
    rest = match[3]
    start = f"{tag}-" if tag is not None else f"{rest.partition('-')[0]}-"
    if not rest.startswith(start) or len(rest) == len(start):
        raise InputError(f"{file}: no class after the name of the control {start[:-1]!r}. Set the option tag.")
    return _Layer(int(match[1]), int(match[2]), rest[len(start) :], file)


def _images(path: Path, finder: ImageFinder, tasks: str | None) -> dict[int, Path]:
    """Images by task: from a CSV export, else by their names."""
    if tasks is not None and not (path / tasks).is_file():
        raise InputError(f"There is no file {tasks!r} in {path}.")
    sheets = [path / tasks] if tasks is not None else sorted(path.glob("*.csv"))[:16]
    for sheet in sheets:
        rows = list(csv.DictReader(read_text(sheet).splitlines()))
        if rows and {"id", "image"} <= rows[0].keys():
            pairs = [(row["id"], finder.find(row["image"] or "", sheet)) for row in rows]
            return {int(id): image for id, image in pairs if image is not None and (id or "").isdecimal()}
        if tasks is not None:
            raise DataError(f"{sheet}: the first line must name the columns id and image.")
    named: dict[int, Path] = {}
    for image in finder.files.values():
        match = re.fullmatch(r"(?:task[-_]?)?0*(\d{1,12})", image.stem, re.IGNORECASE)
        if match and named.setdefault(int(match[1]), image) != image:
            raise DataError(f"{named[int(match[1])]} and {image} are both named by task {match[1]}.")
    return named


def _annotations(image: Path, layers: Sequence[_Layer], wanted: frozenset[str]) -> Iterator[Annotation]:
    frame, newest = header(image), max(layer.annotation for layer in layers)
    for layer in layers:
        count()
        if layer.annotation != newest:
            leave_out("other annotation", f"{layer.file} is of an earlier annotation of the task and is skipped.")
        elif layer.label not in wanted:
            leave_out(OTHER_CLASS, f"{layer.file}: the class is not requested.", quiet=True)
        else:
            mask = to_image_frame(read_index(layer.file), frame, layer.file) > 127  # opacity, as in the browser
            yield from mask_annotation(layer.label, mask, layer.file)


__all__ = ["build", "matches"]
