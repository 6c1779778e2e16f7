"""Count what readers read and what they leave out. Nothing is left out of a data set without a reason and an example.

A reader calls, in `build`:

* `count_images(n)`: number of image files and of images that are only listed;
* `leave_out_image(kind, sentence)`: one of them makes no sample;
* `count(n)` and `leave_out(kind, sentence, n)`: annotations that belong to no sample;
* `describe(sentence)`: which files are taken for what, and how sure that is.

In the function that reads the annotations of an image (see `layout.file_sample`):

* `count(n)`: number of annotations in the file, before any of them is judged;
* `leave_out(kind, sentence, n)`: some of them are not yielded;
* `join(n)`: some of them became part of a yielded annotation.

Then total = yielded + joined + left out, for every image and for the data set. A reader that counts nothing counts what
it yields. Every reason is also a notice (`data.notices`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from samtailor.data.notices import notice
from samtailor.structures import Sample
from samtailor.structures.account import Account, LeftOut, Tally, summed

OTHER_CLASS = "class not requested"
"""The reason of annotations that are left out since their class is not read."""


@dataclass
class Record:
    """What a reader reported inside `recording()`. None: nothing was counted."""

    images: int | None = None
    annotations: int | None = None
    joined: int = 0
    images_left_out: list[LeftOut] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    layout: list[str] = field(default_factory=list)

    def image_tally(self, read: int) -> Tally:
        """Tally of the images, of which `read` became samples."""
        return _tally(self.images, read, self.images_left_out)

    def annotation_tally(self, objects: int) -> Tally:
        """Tally of the annotations, from which `objects` annotations were made."""
        return _tally(self.annotations, objects + self.joined, self.left_out)


_current: ContextVar[Record | None] = ContextVar("samtailor_record", default=None)


@contextmanager
def recording() -> Iterator[Record]:
    """Collect what readers report inside the block."""
    record = Record()
    token = _current.set(record)
    try:
        yield record
    finally:
        _current.reset(token)


def count_images(number: int = 1) -> None:
    """Add to the number of images of the data set."""
    if (record := _current.get()) is not None:
        record.images = (record.images or 0) + number


def count(number: int = 1) -> None:
    """Add to the number of annotations."""
    if (record := _current.get()) is not None:
        record.annotations = (record.annotations or 0) + number


def join(number: int = 1) -> None:
    """State that counted annotations became part of another one, as shapes of one group."""
    if (record := _current.get()) is not None:
        record.joined += number


def leave_out_image(kind: str, message: str, *, quiet: bool = False) -> None:
    """State that an image is left out.

    Args:
        kind: the reason, a short stable name.
        message: a sentence that names the file. It is also a notice of this kind.
        quiet: never show the notice as a warning.
    """
    if (record := _current.get()) is not None:
        record.images_left_out.append(LeftOut(kind, 1, message))
    notice(kind, message, quiet=quiet)


def leave_out(kind: str, message: str, number: int = 1, *, quiet: bool = False) -> None:
    """State that `number` annotations are left out; arguments as for `leave_out_image`. Nothing happens for 0."""
    if number < 1:
        return
    if (record := _current.get()) is not None:
        record.left_out.append(LeftOut(kind, number, message))
    notice(kind, message, quiet=quiet)


def describe(sentence: str) -> None:
    """State which files are taken for what; `samtailor check` shows it."""
    if (record := _current.get()) is not None:
        record.layout.append(sentence)


def account(samples: Sequence[Sample], record: Record) -> Account:
    """Account of a data set. Reads all annotations.

    Args:
        samples: the samples that the reader returned.
        record: what it reported while it listed them.

    Raises:
        DataError: the annotations of an image cannot be read.
    """
    tallies = [_tally(record.annotations or 0, record.joined, record.left_out)]
    tallies += [sample.tally for sample in samples]
    return Account(
        images=record.image_tally(len(samples)),
        annotations=summed(tallies),
        objects=sum(len(sample.annotations) for sample in samples),
        layout=tuple(record.layout),
    )


def _tally(total: int | None, read: int, left_out: Sequence[LeftOut]) -> Tally:
    reasons = summed([Tally(left_out=tuple(left_out))]).left_out
    missing = sum(entry.count for entry in reasons)
    return Tally(read + missing if total is None else total, read, reasons)


__all__ = [
    "OTHER_CLASS",
    "Record",
    "account",
    "count",
    "count_images",
    "describe",
    "join",
    "leave_out",
    "leave_out_image",
    "recording",
]
