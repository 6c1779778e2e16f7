"""`file`: the user's prompts from a JSON file.

    {"images/a.jpg": [
        {"points": [[120, 40], [10, 12]], "labels": [1, 0], "box": [90, 20, 160, 80], "label": "banner"}
    ]}

Coordinates are pixels of the image, x to the right, y down. `labels` are 1 (on the object, the default) or 0 (not on
it). Every prompt needs `points` or a `box` or both. An image is named by its sample id or by its file name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from samtailor.errors import DataError, InputError
from samtailor.limits import read_bytes
from samtailor.registry import refuse_unknown
from samtailor.structures import Prompts, Sample


class Entry(BaseModel):
    """One prompt of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] | None = None
    box: tuple[float, float, float, float] | None = None
    label: str = ""


TYPE = "points"
_EXAMPLE = json.dumps({"image.jpg": [{"points": [[120, 40]], "labels": [1], "box": [90, 20, 160, 80]}]})


def read(path: Path | str) -> dict[str, tuple[Entry, ...]]:
    """The prompts of each image.

    Raises:
        InputError: the file cannot be read or has another form than above, or a prompt has neither points nor a box.
    """
    path = Path(path)
    try:
        entries = TypeAdapter(dict[str, tuple[Entry, ...]]).validate_json(read_bytes(path, "annotation_bytes"))
    except DataError as error:
        raise InputError(f"The prompts file cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = " > ".join(str(part) for part in first["loc"]) or "the top level"
        raise InputError(
            f"The prompts file {path} is invalid at {where}: {first['msg']}. Expected {_EXAMPLE}"
        ) from error
    for name, prompts in entries.items():
        for entry in prompts:
            _check(name, entry)
    return entries


def build(*, path: Path | str | None = None, **unknown: Any) -> FileSource:
    """The source.

    Args:
        path: the JSON file, required.
        **unknown: refused with an InputError.

    Raises:
        InputError: no path, or as in `read`.
    """
    refuse_unknown(build, unknown)
    if not isinstance(path, Path | str):
        raise InputError(f"The prompt source 'file' needs path=FILE, a JSON file such as {_EXAMPLE}")
    return FileSource(read(path))


class FileSource:
    """Prompts by image. They are always of the image frame, whatever frame the masks have.

    Without masks, all prompts of the image are returned in order. With as many masks as prompts, prompt i belongs to
    mask i. With fewer masks (evaluation mask by mask), each mask gets the one prompt that points at it: every point
    labeled 1 and the center of the box lie on the mask.

    Args:
        entries: of each image, see `read`.
    """

    of_image = True

    def __init__(self, entries: Mapping[str, tuple[Entry, ...]]) -> None:
        self._entries = entries

    def __call__(
        self, sample: Sample, masks: Sequence[np.ndarray] = (), rng: np.random.Generator | None = None
    ) -> Prompts:
        """Prompts (1, P).

        Raises:
            InputError: the file has no prompts for the image, or not exactly one of them points at a mask.
        """
        entries, frame = of(sample, self._entries), sample.size
        if len(masks) and len(masks) != len(entries):
            if masks[0].shape != frame:
                raise InputError(
                    f"{sample.id!r} has {len(entries)} prompts in the file. To train on one mask of it at a time, it "
                    "must have one prompt."
                )
            entries = tuple(_pointing_at(mask, entries, sample.id) for mask in masks)
        return prompts_of(sample.id, entries, frame)


def of(sample: Sample, entries: Mapping[str, tuple[Entry, ...]]) -> tuple[Entry, ...]:
    """Prompts of an image, by its id, else by its file name.

    Raises:
        InputError: there are none.
    """
    names = [sample.id, *([str(sample.source), sample.source.name] if sample.source else [])]
    for name in names:
        if entries.get(name):
            return entries[name]
    raise InputError(
        f"The prompts file has no prompts for the image {sample.id!r}. Its first images are {list(entries)[:3]}."
    )


def prompts_of(name: str, entries: Sequence[Entry], frame: tuple[int, int]) -> Prompts:
    """Prompts of one image. Shorter lists of points are padded with SAM's padding point (label -1).

    Raises:
        InputError: some prompts of the image have a box and others none, or some have points and others none.
    """
    boxes, points = [entry.box for entry in entries], [entry.points for entry in entries]
    for what, present in (("a box", [box is not None for box in boxes]), ("points", [bool(p) for p in points])):
        if any(present) and not all(present):
            raise InputError(
                f"Either all prompts of {name!r} need {what} or none; {sum(present)} of {len(present)} have."
            )
    box_tensor = None if boxes[0] is None else torch.tensor([boxes], dtype=torch.float32)
    if not points[0]:
        return Prompts(frame, boxes=box_tensor)
    most = max(len(p) for p in points)
    padded = [[*p, *[(0.0, 0.0)] * (most - len(p))] for p in points]
    labels = [[*(e.labels or [1] * len(e.points)), *[-1] * (most - len(e.points))] for e in entries]
    return Prompts(frame, torch.tensor([padded], dtype=torch.float32), torch.tensor([labels]), box_tensor)


def _pointing_at(mask: np.ndarray, entries: Sequence[Entry], name: str) -> Entry:
    matching = [entry for entry in entries if _points_at(entry, mask)]
    if len(matching) != 1:
        raise InputError(
            f"Exactly one prompt of {name!r} must point at each mask; {len(matching)} of {len(entries)} point at one."
        )
    return matching[0]


def _points_at(entry: Entry, mask: np.ndarray) -> bool:
    labels = entry.labels or (1,) * len(entry.points)
    places = [point for point, label in zip(entry.points, labels, strict=True) if label == 1]
    if entry.box is not None:
        places.append(((entry.box[0] + entry.box[2]) / 2, (entry.box[1] + entry.box[3]) / 2))
    height, width = mask.shape
    return all(0 <= x < width and 0 <= y < height and mask[int(y), int(x)] for x, y in places)


def _check(name: str, entry: Entry) -> None:
    if not entry.points and entry.box is None:
        raise InputError(f"A prompt of {name!r} has neither points nor a box.")
    if entry.labels is not None and len(entry.labels) != len(entry.points):
        raise InputError(f"A prompt of {name!r} has {len(entry.points)} points and {len(entry.labels)} labels.")
    if any(label not in (0, 1) for label in entry.labels or ()):
        raise InputError(
            f"Labels of {name!r} must be 1 (on the object) or 0 (not on it), got {list(entry.labels or ())}."
        )
    if entry.box is not None and not (entry.box[0] < entry.box[2] and entry.box[1] < entry.box[3]):
        raise InputError(f"A box of {name!r} must be x0, y0, x1, y1 with x0 < x1 and y0 < y1, got {list(entry.box)}.")


__all__ = ["TYPE", "Entry", "FileSource", "build", "of", "prompts_of", "read"]
