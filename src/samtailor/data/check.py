"""Check a data set for errors and peculiarities before training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from samtailor.data.account import Record
from samtailor.data.check_report import ClassStatistics, Finding, Report, findings_of
from samtailor.data.dataset import Dataset, detect, open_dataset
from samtailor.data.image import Header, header
from samtailor.data.listing import natural_key
from samtailor.data.notices import Notice, collected
from samtailor.data.shape_statistics import shape_statistics
from samtailor.data.split import group
from samtailor.errors import DataError
from samtailor.structures import Account, Annotation, LeftOut, Sample, Tally
from samtailor.structures.account import summed

TINY = 16 * 16
"""Masks with fewer pixels are reported as tiny."""
WHOLE = 0.99
"""Masks that cover at least this share of the image are reported."""


def check(path: str | Path, format: str | None = None, **options: Any) -> Report:
    """Read a whole data set and report findings. Files are not changed.

    Args:
        path: folder of the data set.
        format: name of the layout; None detects it.
        options: as for `open_dataset`.

    Raises:
        InputError: an unknown format, class or option. Problems of the data are reported, not raised.
    """
    cases: dict[str, list[str]] = defaultdict(list)
    samples: Dataset | list[Sample] = []
    unreadable: list[LeftOut] = []
    masks: list[tuple[Sample, Header, Annotation]] = []
    headers: list[Header] = []
    readable: list[Sample] = []
    read: list[Sample] = []
    with collected() as notices:
        try:
            format = format or detect(Path(path))
            samples = open_dataset(path, format=format, **options)
        except DataError as error:
            cases["refused"].append(str(error))
        for sample in samples:
            try:
                frame = _image(sample, cases)
                headers.append(frame)
                readable.append(sample)
                annotations = sample.annotations
            except DataError as error:
                cases["unreadable"].append(str(error))
                unreadable.append(LeftOut("unreadable", 1, str(error)))
                continue
            read.append(sample)
            masks += [(sample, frame, annotation) for annotation in annotations]
            _annotations(sample, frame, annotations, cases)
    _noticed(notices, masks, cases)
    _alike(readable, cases)
    account = _account(samples, read, unreadable)
    sizes = sorted((frame.size for frame in headers), key=lambda size: (size[0] * size[1], size))
    return Report(
        path=str(path),
        format=format,
        images=len(samples),
        classes=_classes(masks),
        sizes=(sizes[0], sizes[-1]) if sizes else None,
        findings=findings_of(cases, account),
        account=account,
        shapes=shape_statistics([sample.annotations for sample in read]) if read else None,
    )


def _account(samples: Sequence[Sample], read: Sequence[Sample], unreadable: Sequence[LeftOut]) -> Account:
    """Account of the data set, in which unreadable images and their annotation files are left out too."""
    record = samples.record if isinstance(samples, Dataset) else Record()
    pages = samples.further_pages() if isinstance(samples, Dataset) else Tally()
    lost = summed([Tally(left_out=tuple(unreadable))]).left_out
    images = record.image_tally(len(samples))
    images = replace(images, read=len(read), left_out=(*images.left_out, *lost))
    broken = Tally(len(unreadable), 0, lost)
    listed = record.annotation_tally(0)
    return Account(
        images=summed([images, pages]),
        annotations=summed([listed, *(sample.tally for sample in read), broken]),
        objects=sum(len(sample.annotations) for sample in read),
        layout=tuple(record.layout),
    )


def _image(sample: Sample, cases: dict[str, list[str]]) -> Header:
    """Read an image and record peculiarities of its file."""
    height, width = sample.image.shape[:2]
    if sample.source is None:
        return Header((height, width), (height, width), 1, "RGB", "")
    frame = header(sample.source)
    if frame.mode in ("1", "L", "LA"):
        cases["gray image"].append(sample.id)
    if frame.mode.startswith(("I", "F")) or frame.mode.endswith(";16"):
        cases["deep image"].append(sample.id)
    if frame.mode.partition(";")[0] in ("RGBA", "LA", "PA"):
        cases["transparent image"].append(sample.id)
    if frame.orientation != 1:
        cases["turned image"].append(sample.id)
    return frame


def _annotations(sample: Sample, frame: Header, annotations: Sequence[Annotation], cases: dict[str, list[str]]) -> None:
    pixels = frame.size[0] * frame.size[1]
    for annotation in annotations:
        area = annotation.area
        if area >= WHOLE * pixels:
            cases["mask covers everything"].append(f"{sample.id}: {annotation.label}")
        elif area > pixels / 2 and _has_corners(annotation.mask):
            cases["background as mask"].append(f"{sample.id}: {annotation.label}, {area / pixels:.0%} of the image")
        if 0 < area < TINY:
            cases["tiny mask"].append(f"{sample.id}: {annotation.label}, {area} px")
    if not any(not a.crowd for a in annotations):
        cases["no target"].append(sample.id)


def _has_corners(mask: np.ndarray) -> bool:
    return bool(mask[[0, 0, -1, -1], [0, -1, 0, -1]].all())


def _noticed(
    notices: Iterable[Notice], masks: Sequence[tuple[Sample, Header, Annotation]], cases: dict[str, list[str]]
) -> None:
    present = {annotation.label for _, _, annotation in masks}
    for one in dict.fromkeys(notices):
        if one.kind != "class":
            cases[one.kind].append(one.message)
        elif masks and one.message not in present:
            cases["class without masks"].append(one.message)


def _alike(samples: Sequence[Sample], cases: dict[str, list[str]]) -> None:
    plain = [replace(sample, group=None) for sample in samples]  # explicit groups are not reported
    cases["near-duplicates"] += [", ".join(ids) for ids in group(plain) if len(ids) > 1]


def _classes(masks: Sequence[tuple[Sample, Header, Annotation]]) -> dict[str, ClassStatistics]:
    by_class: dict[str, list[tuple[str, int, float]]] = defaultdict(list)
    for sample, frame, annotation in masks:
        if not annotation.crowd:
            area = annotation.area
            by_class[annotation.label].append((sample.id, area, area / (frame.size[0] * frame.size[1])))
    statistics = {}
    for name in sorted(by_class, key=natural_key):
        ids, areas, shares = zip(*by_class[name], strict=True)
        statistics[name] = ClassStatistics(
            len(areas), len(set(ids)), min(areas), median(areas), max(areas), median(shares)
        )
    return statistics


__all__ = ["ClassStatistics", "Finding", "Report", "check"]
