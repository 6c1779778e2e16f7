"""What is wrong or noteworthy about a data set, in words, before a run pays for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from samtailor.data.dataset import detect, open_dataset
from samtailor.data.image import Header, header
from samtailor.data.listing import natural_key
from samtailor.data.notices import Notice, collected
from samtailor.data.split import group as together
from samtailor.errors import DataError, counted
from samtailor.structures import Annotation, Sample

SEVERITIES = ("error", "warning", "note")
TINY = 16 * 16
"""Pixels below which a mask is called tiny."""
WHOLE = 0.99
"""Share of the image from which on a mask is said to cover everything."""
_EXAMPLES = 5

_SEVERITY = {
    "unreadable": "error",
    "refused": "error",
    "image without partner": "warning",
    "annotation without image": "warning",
    "class without masks": "warning",
    "empty mask": "warning",
    "gray mask": "warning",
    "mask turned": "warning",
    "mask covers everything": "warning",
    "no class names": "warning",
    "tiny mask": "warning",
    "near-duplicates": "warning",
}
_SUMMARY = {
    "unreadable": "Images or annotations that cannot be read: {n}.",
    "refused": "The data set cannot be opened.",
    "image without partner": "Images without an annotation file, left out: {n}.",
    "annotation without image": "Annotations without an image, left out: {n}.",
    "class without masks": "Named classes without a mask: {n}.",
    "empty mask": "Empty masks or shapes, left out: {n}.",
    "gray mask": "Masks with shades of gray, all above 0 is object: {n}.",
    "mask resized": "Masks of another size than their image (same aspect), resized to it (nearest): {n}.",
    "mask turned": "Masks drawn before the EXIF rotation of their image, turned along: {n}.",
    "mask covers everything": "Masks that cover their whole image: {n}.",
    "tiny mask": "Masks of fewer than 256 pixels (16 x 16): {n}.",
    "near-duplicates": "Groups of near-duplicate images, which a split keeps together: {n}.",
    "box as mask": "Objects with a box only, whose rectangle is taken as the mask: {n}.",
    "no class names": "The classes have no names.",
    "no target": "Images without an object: {n}.",
    "gray image": "Gray images, read as RGB with three equal channels: {n}.",
    "deep image": "Images with more than 8 bits a channel, scaled down to 8: {n}.",
    "transparent image": "Images with transparency, laid over white: {n}.",
    "turned image": "Images turned as their EXIF rotation says: {n}.",
    "shape beyond image": "Shapes that reach beyond their image, cut off at its edge: {n}.",
    "shape without area": "Points and lines, left out: {n}.",
}


@dataclass(frozen=True)
class Finding:
    """One kind of thing found.

    Args:
        severity: "error" (a run would fail or be wrong), "warning" (look at it), "note" (good to know).
        kind: short stable name.
        message: one sentence.
        count: how many of them.
        examples: up to five, each a sentence or id.
    """

    severity: str
    kind: str
    message: str
    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassStatistics:
    """Masks of one class: their number, images that have one, and smallest, median, largest area in pixels."""

    masks: int
    images: int
    area_min: int
    area_median: float
    area_max: int
    share_median: float
    """Median share of the image that a mask covers, 0 to 1."""


@dataclass(frozen=True)
class Report:
    """Result of a check. `ok` says that nothing is an error.

    Args:
        path: folder of the data set.
        format: name of its layout; None when none fits.
        images: how many were opened.
        classes: statistics by class name, in natural order.
        sizes: (height, width) of the smallest and of the largest image by area; None without images.
        findings: errors first, then warnings, then notes.
    """

    path: str
    format: str | None
    images: int = 0
    classes: dict[str, ClassStatistics] = field(default_factory=dict)
    sizes: tuple[tuple[int, int], tuple[int, int]] | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is an error."""
        return all(finding.severity != "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Plain lists, dicts, numbers and texts."""
        return {"ok": self.ok, **asdict(self)}

    def render(self) -> str:
        """The report as text, for a terminal."""
        lines = [f"{self.path}: {self.format or 'unknown layout'}, {counted(self.images, 'image')}"]
        if self.sizes:
            (h, w), (H, W) = self.sizes
            lines.append(f"image sizes from {w}x{h} to {W}x{H} px (width x height)")
        if self.classes:
            width = max(len("class"), *map(len, self.classes))
            lines += ["", f"{'class':<{width}}  masks  images  area px: min / median / max      median share"]
            for name, c in self.classes.items():
                areas = f"{c.area_min} / {c.area_median:.0f} / {c.area_max}"
                lines.append(f"{name:<{width}}  {c.masks:>5}  {c.images:>8}  {areas:<31} {c.share_median:>8.2%}")
        for finding in self.findings:
            lines += ["", f"{finding.severity.upper()}: {finding.message}"]
            lines += [f"  {example}" for example in finding.examples]
            if finding.count > len(finding.examples) > 0:
                lines.append(f"  ... and {finding.count - len(finding.examples)} more")
        return "\n".join([*lines, "", "No errors." if self.ok else "There are errors: mend them first."])


def check(path: str | Path, format: str | None = None, **options: Any) -> Report:
    """Open a data set, read all of it, and report. Nothing on disk is changed.

    Args:
        path: folder of the data set.
        format: name of the layout; None finds it out.
        options: as for `open_dataset`.

    Raises:
        InputError: an unknown format, class or option. What is wrong with the data is in the report instead.
    """
    found: dict[str, list[str]] = defaultdict(list)
    samples: list[Sample] = []
    masks: list[tuple[Sample, Header, Annotation]] = []
    headers: list[Header] = []
    readable: list[Sample] = []
    with collected() as notices:
        try:
            format = format or detect(Path(path))
            samples = open_dataset(path, format=format, **options)
        except DataError as error:
            found["refused"].append(str(error))
        for sample in samples:
            try:
                frame = _image(sample, found)
                headers.append(frame)
                readable.append(sample)
                annotations = sample.annotations
            except DataError as error:
                found["unreadable"].append(str(error))
                continue
            masks += [(sample, frame, annotation) for annotation in annotations]
            _annotations(sample, frame, annotations, found)
    _noticed(notices, masks, found)
    _alike(readable, found)
    sizes = sorted((frame.size for frame in headers), key=lambda size: (size[0] * size[1], size))
    return Report(
        path=str(path),
        format=format,
        images=len(samples),
        classes=_classes(masks),
        sizes=(sizes[0], sizes[-1]) if sizes else None,
        findings=_findings(found),
    )


def _image(sample: Sample, found: dict[str, list[str]]) -> Header:
    """Read an image and note what is special about its file."""
    shape = sample.image.shape[:2]
    if sample.source is None:
        return Header(shape, shape, 1, "RGB", "")
    frame = header(sample.source)
    if frame.mode in ("1", "L", "LA"):
        found["gray image"].append(sample.id)
    if frame.mode.startswith(("I", "F")):
        found["deep image"].append(sample.id)
    if frame.mode in ("RGBA", "LA", "PA"):
        found["transparent image"].append(sample.id)
    if frame.orientation != 1:
        found["turned image"].append(sample.id)
    return frame


def _annotations(sample: Sample, frame: Header, annotations: Sequence[Annotation], found: dict[str, list[str]]) -> None:
    pixels = frame.size[0] * frame.size[1]
    for annotation in annotations:
        area = annotation.area
        if area >= WHOLE * pixels:
            found["mask covers everything"].append(f"{sample.id}: {annotation.label}")
        if 0 < area < TINY:
            found["tiny mask"].append(f"{sample.id}: {annotation.label}, {area} px")
    if not any(not a.crowd for a in annotations):
        found["no target"].append(sample.id)


def _noticed(
    notices: Iterable[Notice], masks: Sequence[tuple[Sample, Header, Annotation]], found: dict[str, list[str]]
) -> None:
    present = {annotation.label for _, _, annotation in masks}
    for one in dict.fromkeys(notices):
        if one.kind != "class":
            found[one.kind].append(one.message)
        elif masks and one.message not in present:
            found["class without masks"].append(one.message)


def _alike(samples: Sequence[Sample], found: dict[str, list[str]]) -> None:
    plain = [replace(sample, group=None) for sample in samples]  # explicit groups are no finding
    found["near-duplicates"] += [", ".join(ids) for ids in together(plain) if len(ids) > 1]


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


def _findings(found: dict[str, list[str]]) -> tuple[Finding, ...]:
    findings = [
        Finding(
            severity=_SEVERITY.get(kind, "note"),
            kind=kind,
            message=_SUMMARY.get(kind, kind.capitalize() + ": {n}.").format(n=len(entries)),
            count=len(entries),
            examples=tuple(entries[:_EXAMPLES]),
        )
        for kind, entries in found.items()
        if entries
    ]
    return tuple(sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), finding.kind)))


__all__ = ["ClassStatistics", "Finding", "Report", "check"]
