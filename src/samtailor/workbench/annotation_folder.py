"""The records of a project on disk, with a summary of each in memory, so that listing the images reads no files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from samtailor.errors import DataError
from samtailor.serve.refusals import Taken
from samtailor.workbench import records
from samtailor.workbench.images import ImageFile
from samtailor.workbench.records import Record


@dataclass(frozen=True)
class Summary:
    """Part of a record that is kept in memory.

    Args:
        record: the record without its objects.
        labels: number of objects of each class.
        match: highest score of the objects that a search has found; None without one.
        error: why the file cannot be read; None if it can.
    """

    record: Record
    labels: Counter[str]
    match: float | None = None
    error: str | None = None

    @classmethod
    def of(cls, record: Record) -> Summary:
        """Summary of a record."""
        without_objects = record.model_copy(update={"objects": []})
        match = max((o.score or 0.0 for o in record.objects if o.source == "find"), default=None)
        return cls(without_objects, Counter(o.class_ for o in record.objects), match)

    @property
    def untouched(self) -> bool:
        """Whether the record holds no work of the user."""
        return self.record.state == "proposed" or (self.record.state == "open" and not self.labels)

    def state(self, image: ImageFile) -> tuple[str, str | None]:
        """State of the image and, if it is "failed", the reason."""
        if self.error is not None:
            return "failed", self.error
        if self.labels and self.record.size != (image.height, image.width):
            return "failed", f"{image.name}: the size of the image has changed since it was annotated."
        return self.record.state, None


class AnnotationFolder:
    """A folder with one record per image, ID.json.

    Args:
        folder: an existing folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._summaries = {file.stem: _summarize(file) for file in folder.glob("*.json")}

    @property
    def summaries(self) -> Mapping[str, Summary]:
        """Summaries by id of the image, of the images that have a record."""
        return self._summaries

    def read(self, id: str) -> Record:
        """The record of an image; an empty one if there is none. Raises DataError if it is damaged."""
        file = self._file(id)
        return records.checked(records.read(file), file) if file.exists() else Record()

    def write(self, id: str, record: Record) -> Record:
        """Save a record; it is on disk when this returns."""
        try:
            records.write(self._file(id), record)
        except OSError:
            if self._file(id).exists():  # the file may have been replaced before the fault
                self._summaries[id] = _summarize(self._file(id))
            raise
        self._summaries[id] = Summary.of(record)
        return record

    def rename(self, renamed: Mapping[str, str]) -> None:
        """Replace names of classes in all records that have them."""
        for id in [id for id, summary in self._summaries.items() if set(summary.labels) & set(renamed)]:
            record = with_classes(records.read(self._file(id)), renamed)
            self.write(id, record.model_copy(update={"revision": record.revision + 1}))

    def _file(self, id: str) -> Path:
        return self._folder / f"{id}.json"


class Stale(Taken):
    """A save was based on an old revision; `record` is the newest one."""

    def __init__(self, record: Record) -> None:
        super().__init__("This image was changed in the meantime, in another tab or by a job.")
        self.record = record


def with_classes(record: Record, renamed: Mapping[str, str]) -> Record:
    """The record with some names of classes replaced."""
    objects = [o.model_copy(update={"class_": renamed.get(o.class_, o.class_)}) for o in record.objects]
    return record.model_copy(update={"objects": objects})


def _summarize(file: Path) -> Summary:
    try:
        return Summary.of(records.read(file))
    except DataError as error:  # "accepted" protects the file from being overwritten
        return Summary(Record(state="accepted"), Counter(), error=str(error))


__all__ = ["AnnotationFolder", "Stale", "Summary", "with_classes"]
