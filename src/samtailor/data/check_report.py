"""What `check` reports: findings, statistics of the classes, and their text."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from samtailor.data.account import OTHER_CLASS
from samtailor.data.shape_statistics import ShapeStatistics
from samtailor.errors import counted
from samtailor.structures import Account
from samtailor.structures.account import summed

SEVERITIES = ("error", "warning", "note")
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
    "background as mask": "warning",
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
        *(OTHER_CLASS, "shape without area", "void region", "index without class", "label without class"),
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
    OTHER_CLASS: "Annotations of classes that are not requested (left out): {n}.",
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
    "background as mask": "Masks of more than half of the image, with all its corners: {n}. If the objects are black "
    "in the mask files, use the option values=inverted.",
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


def findings_of(cases: dict[str, list[str]], account: Account) -> tuple[Finding, ...]:
    """Findings of the cases that were met, by kind, and of all that was left out; the worst first."""
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


__all__ = ["SEVERITIES", "ClassStatistics", "Finding", "Report", "findings_of"]
