"""What a data set contains, what of it is read, and what is left out for which reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LeftOut:
    """Images or annotations that are not read, for one reason.

    Args:
        kind: the reason, a short stable name ("image without partner").
        count: number of images or annotations.
        example: one case, a sentence that names the file.
    """

    kind: str
    count: int
    example: str


@dataclass(frozen=True)
class Tally:
    """Number of images or annotations that a data set contains, and what became of them.

    Args:
        total: number in the files, counted independently of what is read.
        read: number that is read.
        left_out: the others, by reason.
    """

    total: int = 0
    read: int = 0
    left_out: tuple[LeftOut, ...] = ()

    @property
    def missing(self) -> int:
        """Number that is left out, for any reason."""
        return sum(entry.count for entry in self.left_out)

    @property
    def agrees(self) -> bool:
        """Whether the sum of what is read and what is left out is the total."""
        return self.total == self.read + self.missing

    def to_json(self) -> dict[str, Any]:
        """The tally as JSON-compatible values: found, read, left_out."""
        left_out = [{"kind": e.kind, "count": e.count, "example": e.example} for e in self.left_out]
        return {"found": self.total, "read": self.read, "left_out": left_out}


@dataclass(frozen=True)
class Account:
    """The tallies of a data set.

    Args:
        images: images in the files, or listed in an annotation file.
        annotations: shapes, masks, boxes and values of maps in the files. Several that form one object are counted
            singly.
        objects: number of annotations of the samples.
        layout: sentences about which files are taken for what.
    """

    images: Tally = Tally()
    annotations: Tally = Tally()
    objects: int = 0
    layout: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether the sums of both tallies agree."""
        return self.images.agrees and self.annotations.agrees

    def lines(self) -> list[str]:
        """The account as lines of text: one for images, one for annotations, one for each reason."""
        lines = []
        for noun, tally in (("images", self.images), ("annotations", self.annotations)):
            lines.append(f"{noun}: {tally.total} found, {tally.read} read, {tally.missing} left out")
            lines += [f"  left out: {e.count} ({e.kind}), for example: {e.example}" for e in tally.left_out]
        return lines

    def to_json(self) -> dict[str, Any]:
        """The account as JSON-compatible values."""
        return {
            "images": self.images.to_json(),
            "annotations": self.annotations.to_json(),
            "objects": self.objects,
            "layout": list(self.layout),
        }


def summed(tallies: Iterable[Tally]) -> Tally:
    """Sum of tallies; reasons of one kind are added, the first example is kept."""
    total = read = 0
    reasons: dict[str, LeftOut] = {}
    for tally in tallies:
        total, read = total + tally.total, read + tally.read
        for entry in tally.left_out:
            before = reasons.get(entry.kind)
            reasons[entry.kind] = (
                entry if before is None else LeftOut(entry.kind, before.count + entry.count, before.example)
            )
    return Tally(total, read, tuple(reasons.values()))


__all__ = ["Account", "LeftOut", "Tally", "summed"]
