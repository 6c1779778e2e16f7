"""Check a data set for errors and peculiarities before training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from samtailor.data.account import Record
from samtailor.data.dataset import Dataset, detect, open_dataset
from samtailor.data.image import Header, header
from samtailor.data.listing import natural_key
from samtailor.data.notices import Notice, collected
from samtailor.data.shape_statistics import ShapeStatistics, shape_statistics
from samtailor.data.split import group
from samtailor.errors import DataError, counted
from samtailor.structures import Account, Annotation, LeftOut, Sample, Tally
from samtailor.structures.account import summed

SEVERITIES = ("error", "warning", "note")
TINY = 16 * 16
"""Masks with fewer pixels are reported as tiny."""
WHOLE = 0.99
"""Masks that cover at least this share of the image are reported."""
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
    "soft mask": "warning",
    "inverted mask": "warning",
    "iscrowd without crowds": "warning",
    "class numbers": "warning",
    "negative": "note",
}
_HARMLESS = frozenset(
    {
        *("class not requested", "shape without area", "void region", "index without class", "label without class"),
        *("folder linked twice",),
    }
)
"""Reasons for leaving out that are notes; all others are warnings."""
_SUMMARY = {
    "unreadable": "Unreadable images or annotations: {n}.",
    "refused": "The data set cannot be opened.",
    "image without partner": "Images without an annotation file (skipped): {n}.",
    "annotation without image": "Annotations without an image (skipped): {n}.",
    "class without masks": "Classes without a mask: {n}.",
    "empty mask": "Empty masks or shapes (skipped): {n}.",
    "gray mask": "Masks with shades of gray; all values above 0 are foreground: {n}.",
    "annotation of an unlisted image": "Annotations of an image that no file lists (left out): {n}.",
    "image id listed twice": "Annotations whose image id belongs to several images (left out): {n}.",
    "image listed twice": "Images listed twice, their annotations joined: {n}.",
    "iscrowd without crowds": "The flag iscrowd is on objects that are no crowds.",
    "crowd region": "Regions of many objects (iscrowd 1), never a target: {n}.",
    "soft mask": "Masks with soft edges or levels, cut at half their range: {n}.",
    "inverted mask": "There are masks whose zero is white.",
    "further page": "Pages after the first of an image or mask file (left out): {n}.",
    "name not UTF-8": "Files whose name is not UTF-8 (left out): {n}.",
    "no regular file": "Pipes, sockets and links to nothing (left out): {n}.",
    "class not requested": "Annotations of classes that are not requested (left out): {n}.",
    "void region": "Regions to be ignored (left out): {n}.",
    "index without class": "Values of class maps that mean no class (left out): {n}.",
    "label without class": "Shapes with a label that means no class (left out): {n}.",
    "unknown shape type": "Shapes of an unknown type (left out): {n}.",
    "file of no role": "Files taken neither for an image nor for a mask (left out): {n}.",
    "negative": "Images without an annotation file, read as images without objects: {n}.",
    "keypoints": "Keypoints are not read.",
    "class numbers": "The numbers of the classes are a guess.",
    "mask resized": "Masks of another size than their image (same aspect ratio), resized (nearest neighbor): {n}.",
    "mask turned": "Masks drawn before the EXIF rotation of their image, rotated with it: {n}.",
    "mask covers everything": "Masks that cover the whole image: {n}.",
    "tiny mask": "Masks of fewer than 256 pixels (16 x 16): {n}.",
    "near-duplicates": "Groups of near-duplicate images, kept together in a split: {n}.",
    "box as mask": "Objects with only a box, used as a rectangular mask: {n}.",
    "no class names": "The classes have no names.",
    "no target": "Images without an object: {n}.",
    "gray image": "Grayscale images, converted to RGB: {n}.",
    "deep image": "Images with more than 8 bits per channel, scaled to 8 bits: {n}.",
    "transparent image": "Images with transparency, composited over white: {n}.",
    "turned image": "Images rotated according to their EXIF orientation: {n}.",
    "shape beyond image": "Shapes that extend beyond their image, clipped: {n}.",
    "shape without area": "Points and lines (skipped): {n}.",
}


@dataclass(frozen=True)
class Finding:
    """All findings of one kind.

    Args:
        severity: "error" (training would fail or be wrong), "warning" (should be checked) or "note".
        kind: short stable name.
        message: one sentence.
        count: number of cases.
        examples: up to five cases, each a sentence or id.
    """

    severity: str
    kind: str
    message: str
    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassStatistics:
    """Statistics of one class: masks, images that contain one, smallest, median and largest area in pixels."""

    masks: int
    images: int
    area_min: int
    area_median: float
    area_max: int
    share_median: float
    """Median share of the image that a mask covers, in [0, 1]."""


@dataclass(frozen=True)
class Report:
    """Result of a check.

    Args:
        path: folder of the data set.
        format: name of its layout; None if none matches.
        images: number of images.
        classes: statistics by class name, in natural order.
        sizes: (height, width) of the smallest and the largest image by area; None without images.
        findings: errors first, then warnings, then notes.
        account: images and annotations in the files, read and left out, and which files are taken for what.
        shapes: what the masks look like.
    """

    path: str
    format: str | None
    images: int = 0
    classes: dict[str, ClassStatistics] = field(default_factory=dict)
    sizes: tuple[tuple[int, int], tuple[int, int]] | None = None
    findings: tuple[Finding, ...] = ()
    account: Account = field(default_factory=Account)
    shapes: ShapeStatistics | None = None

    @property
    def ok(self) -> bool:
        """Whether there are no errors."""
        return all(finding.severity != "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON-compatible values."""
        return {"ok": self.ok, **asdict(self), "account": self.account.to_json()}

    def render(self) -> str:
        """The report as text for a terminal."""
        lines = [f"{self.path}: {self.format or 'unknown layout'}, {counted(self.images, 'image')}"]
        lines += self.account.layout
        lines += self.account.lines() if self.account != Account() else []
        if self.sizes:
            (h, w), (H, W) = self.sizes
            lines.append(f"image sizes from {w}x{h} to {W}x{H} px (width x height)")
        if self.classes:
            width = max(len("class"), *map(len, self.classes))
            lines += ["", f"{'class':<{width}}  masks  images  area px: min / median / max      median share"]
            for name, c in self.classes.items():
                areas = f"{c.area_min} / {c.area_median:.0f} / {c.area_max}"
                lines.append(f"{name:<{width}}  {c.masks:>5}  {c.images:>8}  {areas:<31} {c.share_median:>8.2%}")
            lines += self.shapes.lines() if self.shapes is not None else []
        for finding in self.findings:
            lines += ["", f"{finding.severity.upper()}: {finding.message}"]
            lines += [f"  {example}" for example in finding.examples]
            if finding.count > len(finding.examples) > 0:
                lines.append(f"  ... and {finding.count - len(finding.examples)} more")
        return "\n".join([*lines, "", "No errors." if self.ok else "There are errors. Fix them before training."])


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
        findings=_findings(cases, account),
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
        if 0 < area < TINY:
            cases["tiny mask"].append(f"{sample.id}: {annotation.label}, {area} px")
    if not any(not a.crowd for a in annotations):
        cases["no target"].append(sample.id)


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


def _findings(cases: dict[str, list[str]], account: Account) -> tuple[Finding, ...]:
    left_out = summed([account.images, account.annotations]).left_out
    counts = {entry.kind: entry.count for entry in left_out if entry.kind != "unreadable"}
    for entry in left_out:  # in memory, or without a notice
        cases.setdefault(entry.kind, [entry.example])
    findings = [
        Finding(
            severity=_SEVERITY.get(kind, "warning" if kind in counts and kind not in _HARMLESS else "note"),
            kind=kind,
            message=_SUMMARY.get(kind, kind.capitalize() + ": {n}.").format(n=max(len(entries), counts.get(kind, 0))),
            count=max(len(entries), counts.get(kind, 0)),
            examples=tuple(entries[:_EXAMPLES]),
        )
        for kind, entries in cases.items()
        if entries
    ]
    return tuple(sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), finding.kind)))


__all__ = ["ClassStatistics", "Finding", "Report", "check"]
