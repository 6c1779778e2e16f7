"""Label Studio JSON and JSON-MIN: tasks with polygons, rectangles, ellipses and brush; images in any folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from samtailor.data.account import count, leave_out
from samtailor.data.drawn import Shape, drawn, without_image
from samtailor.data.finder import ImageFinder, image_id
from samtailor.data.image import SUFFIXES, header
from samtailor.data.json_kinds import of_kind
from samtailor.data.layout import file_sample
from samtailor.data.listing import chosen, natural_key, read_json
from samtailor.data.placement import declared_size
from samtailor.data.studio_regions import AREAS, draw, kind
from samtailor.errors import DataError
from samtailor.structures import Annotation, Sample


def matches(path: Path) -> bool:
    """Whether there is a JSON export of Label Studio in the top folder, annotations/ and the like."""
    return bool(of_kind(path, "label-studio", most=16))


def build(
    path: Path, *, classes: Sequence[str] | None = None, predictions: bool = False, image_key: str | None = None
) -> Iterable[Sample]:
    """Samples of a JSON export of Label Studio.

    Of several annotations of a task the newest that was not cancelled is read, the others are counted as left out.
    Coordinates belong to the upright image, also if it was rotated in the editor. Key points, choices, text and other
    results without area are left out and counted. Tasks with an annotation without results are images without objects.

    Args:
        path: folder of the data set.
        classes: labels to read; None for all.
        predictions: read predictions of tasks without an annotation. By default such tasks are left out.
        image_key: key of the task data that holds the image; None detects it.

    Raises:
        DataError: no file, an invalid file, an image in two tasks, or none of the images exists. Reading an invalid
            region raises it too.
        InputError: an unknown class.
    """
    sheets = {file: _tasks(file) for file in of_kind(path, "label-studio")}
    if not sheets:
        raise DataError(f"{path} has no JSON export of Label Studio.")
    rows = [row for tasks in sheets.values() for task in tasks for row in _results(task, predictions)[0] or ()]
    known = {label for row in _joined(rows) if kind(row) in AREAS and (label := _label(row))}
    wanted = frozenset(chosen(classes, sorted(known, key=natural_key)))
    finder, samples, missing = ImageFinder(path), {}, []
    for file, tasks in sheets.items():
        for number, task in enumerate(tasks):
            place = f"{file}, task {task.get('id', number)}"
            name = _image_name(task, image_key, place)
            image = finder.find(name, place)
            results, more = _results(task, predictions)
            if image is None:
                number = len(_joined(results or ())) + more
                sentence = f"{place}: the image {name!r} ({number} regions) does not exist and is skipped."
                missing.append(without_image(number, sentence))
            elif image in samples:
                raise DataError(
                    f"{place}: the image {image} has two tasks. Remove one, or give the images other names."
                )
            elif results is None:
                count(more)
                leave_out(
                    "cancelled annotation", f"{place}: {more} results of cancelled annotations are skipped.", more
                )
            else:
                samples[image] = file_sample(
                    image_id(path, image), image, _annotations, tuple(results), more, wanted, place
                )
    if not samples:
        if not missing:
            raise DataError(f"{next(iter(sheets))}: no task has an annotation. predictions=true reads predictions.")
        raise DataError(f"None of the images of {next(iter(sheets))} exists below {path}. Put them into images/.")
    finder.account(samples, missing, "annotated task")
    return list(samples.values())


def _tasks(file: Path) -> list[dict[str, Any]]:
    content = read_json(file)
    tasks = content if isinstance(content, list) else [content]
    if not all(isinstance(task, dict) for task in tasks):
        raise DataError(f"{file}: a JSON export of Label Studio must be a list of tasks.")
    return tasks


def _results(task: Mapping[str, Any], predictions: bool) -> tuple[list[Any] | None, int]:
    """The results that are read, None without an annotation, and the number of results of its other annotations."""
    if not isinstance(task.get("data"), dict):  # JSON-MIN: lists of values, one for each control
        lists = [value for value in task.values() if isinstance(value, list)]
        return [{"value": v, **v} for rows in lists for v in rows if isinstance(v, dict)], 0
    done = [a for a in task.get("annotations") or task.get("completions") or () if isinstance(a, dict)]
    valid = [a for a in done if not a.get("was_cancelled")]
    if not valid and predictions:
        valid = done = [a for a in task.get("predictions") or () if isinstance(a, dict)]
    if not valid:
        return None, sum(len(a.get("result") or ()) for a in done)
    newest = max(enumerate(valid), key=lambda pair: (str(pair[1].get("updated_at") or ""), pair[0]))[1]
    results = newest.get("result") or []
    others = sum(len(a.get("result") or ()) for a in done if a is not newest)
    return [row for row in results if isinstance(row, dict)], others


def _image_name(task: Mapping[str, Any], key: str | None, place: str) -> str:
    data = task["data"] if isinstance(task.get("data"), dict) else task
    if key is not None:
        values = [data.get(key)]
    else:
        values = [v for k, v in sorted(data.items(), key=lambda item: item[0] not in ("image", "img", "ocr"))]
    for value in values:
        if isinstance(value, str) and _has_image_suffix(value):
            return value
    raise DataError(f"{place}: no image in its data ({', '.join(map(str, data))[:200]}). Choose one: image_key=...")


def _has_image_suffix(value: str) -> bool:
    plain = value.partition("?d=")[2] or value.partition("?")[0]
    return any(plain.lower().endswith(suffix) for suffix in SUFFIXES)


def _joined(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Results without those of type `labels` that name another result of the same id: the shape gets the labels."""
    labels: dict[str, Any] = {}
    shapes: list[dict[str, Any]] = []
    for row in rows:
        id, value = str(row.get("id")), row.get("value")
        if row.get("type") == "labels" and isinstance(value, dict):
            labels[id] = value.get("labels")
        else:
            shapes.append(dict(row))
    named = {str(row.get("id")) for row in shapes}
    alone = [dict(row) for row in rows if row.get("type") == "labels" and str(row.get("id")) not in named]
    return [{**row, "labels": labels.get(str(row.get("id")))} for row in [*shapes, *alone]]


def _label(row: Mapping[str, Any]) -> str:
    """The first label of a region: under the key of its type, of any control for labels, or of a separate result."""
    value = row.get("value")
    names = [v for k, v in value.items() if k.endswith("labels")] if isinstance(value, dict) else []
    return str(next((v[0] for v in [*names, row.get("labels")] if isinstance(v, list) and v), ""))


def _annotations(
    image: Path, rows: Sequence[Mapping[str, Any]], more: int, wanted: frozenset[str], place: str
) -> Iterator[Annotation]:
    count(more)
    leave_out("other annotation", f"{place}: {more} results of other annotations of the task are skipped.", more)
    frame = header(image)
    joined = _joined(rows)
    sizes = [_size(row) for row in joined if kind(row) in AREAS]
    height, width = next((s for s in sizes if s != (None, None)), (None, None))
    size = declared_size(height, width, frame, place)
    if any(s not in ((None, None), size) for s in sizes):
        raise DataError(f"{place}: regions of images of different sizes ({size} and others).")
    yield from drawn((_shape(row, i) for i, row in enumerate(joined)), wanted, size, frame, place)


def _size(row: Mapping[str, Any]) -> tuple[Any, Any]:
    return row.get("original_height"), row.get("original_width")


def _shape(row: Mapping[str, Any], number: int) -> Shape:
    name = kind(row)
    mask = partial(draw, name, row["value"]) if name in AREAS else None
    return Shape(_label(row), name, mask, f"region {row.get('id', number)}")


__all__ = ["build", "matches"]
