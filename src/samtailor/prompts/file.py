"""`file`: a user's own prompts from JSON, image by image.

    {"images/a.jpg": [
        {"points": [[120, 40], [10, 12]], "labels": [1, 0], "box": [90, 20, 160, 80], "label": "banner"}
    ]}

Coordinates are pixels of the image, x to the right, y down. `labels` are 1 (on the object, the default) or 0;
`points` or `box` may be left out, not both. An image is named by its sample id or by its file name.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from samtailor.errors import InputError
from samtailor.prompts import Source
from samtailor.registry import refuse_unknown
from samtailor.structures import Prompts, Sample


class Entry(BaseModel):
    """One prompt of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] | None = None
    box: tuple[float, float, float, float] | None = None
    label: str = ""


CLICK = True


def read(path: Path | str) -> dict[str, tuple[Entry, ...]]:
    """The entries of each image.

    Raises:
        InputError: the file cannot be read, is not of the form above, or an entry has neither points nor box.
    """
    path = Path(path)
    try:
        entries = TypeAdapter(dict[str, tuple[Entry, ...]]).validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"The prompts file {path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = " > ".join(str(part) for part in first["loc"]) or "the top level"
        raise InputError(
            f"The prompts file {path} is not as expected at {where}: {first['msg']}. Expected "
            + json.dumps({"image.jpg": [{"points": [[120, 40]], "labels": [1], "box": [90, 20, 160, 80]}]})
        ) from error
    for name, prompts in entries.items():
        for entry in prompts:
            _check(name, entry)
    return entries


def build(*, path: Path | str, **unknown: Any) -> Source:
    """The source. Without masks, all entries of the image are taken in order.

    Given as many masks as the image has entries, entry i belongs to mask i; given fewer (an evaluation mask by mask),
    each takes the one entry that points at it: every point labelled 1 on the mask, the middle of the box on it. The
    prompts are always of the image frame, whatever frame the masks have.

    Args:
        path: the JSON file.
        **unknown: refused with an InputError.
    """
    refuse_unknown(build, unknown)
    entries = read(path)

    def source(sample: Sample, masks: Sequence[np.ndarray], rng: np.random.Generator | None = None) -> Prompts:
        found, frame = of(sample, entries), sample.size
        if len(masks) and len(masks) != len(found):
            if masks[0].shape != frame:
                raise InputError(
                    f"{sample.id!r} has {len(found)} prompts in the file; to train on one mask of it at a time, one."
                )
            found = tuple(_pointing_at(mask, found, sample.id) for mask in masks)
        return prompts_of(sample.id, found, frame)

    source.of_image = True  # its coordinates are the image's: ask it with masks of the image frame
    return source


def _pointing_at(mask: np.ndarray, entries: Sequence[Entry], name: str) -> Entry:
    fitting = [entry for entry in entries if _points_at(entry, mask)]
    if len(fitting) != 1:
        raise InputError(
            f"One prompt of {name!r} should point at each mask; {len(fitting)} of {len(entries)} do at one."
        )
    return fitting[0]


def _points_at(entry: Entry, mask: np.ndarray) -> bool:
    labels = entry.labels or (1,) * len(entry.points)
    places = [point for point, label in zip(entry.points, labels, strict=True) if label == 1]
    if entry.box is not None:
        places.append(((entry.box[0] + entry.box[2]) / 2, (entry.box[1] + entry.box[3]) / 2))
    height, width = mask.shape
    return all(0 <= x < width and 0 <= y < height and mask[int(y), int(x)] for x, y in places)


def of(sample: Sample, entries: dict[str, tuple[Entry, ...]]) -> tuple[Entry, ...]:
    """Entries of an image, by id, else by file name.

    Raises:
        InputError: there are none.
    """
    names = [sample.id, *([str(sample.source), sample.source.name] if sample.source else [])]
    found = next((entries[name] for name in names if entries.get(name)), None)
    if found is None:
        raise InputError(f"The prompts file has nothing for the image {sample.id!r}; it names {list(entries)[:3]}.")
    return found


def prompts_of(name: str, entries: Sequence[Entry], frame: tuple[int, int]) -> Prompts:
    """Entries as Prompts of one image. Shorter lists of points are filled with SAM's own padding point (label -1).

    Raises:
        InputError: some entries of the image have a box and others none, or some have points and others none.
    """
    boxes, points = [entry.box for entry in entries], [entry.points for entry in entries]
    for what, given in (("a box", [box is not None for box in boxes]), ("points", [bool(p) for p in points])):
        if any(given) and not all(given):
            raise InputError(f"Either all prompts of {name!r} have {what} or none; {sum(given)} of {len(given)} have.")
    kwargs: dict[str, torch.Tensor] = {}
    if boxes[0] is not None:
        kwargs["boxes"] = torch.tensor([boxes], dtype=torch.float32)
    if points[0]:
        most = max(len(p) for p in points)
        filled = [[*p, *[(0.0, 0.0)] * (most - len(p))] for p in points]
        labels = [[*(e.labels or [1] * len(e.points)), *[-1] * (most - len(e.points))] for e in entries]
        kwargs |= {"points": torch.tensor([filled], dtype=torch.float32), "labels": torch.tensor([labels])}
    return Prompts(frame, **kwargs)


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
