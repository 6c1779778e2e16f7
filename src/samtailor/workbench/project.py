"""A project on disk: `project.json` (classes, base model) and `annotations/ID.json`, one file per image.

Each change replaces one file atomically, so a process that is killed at any time loses nothing that was confirmed. The
only change of several files, the renaming of a class, is noted in `project.json` first and completed at the next start.
One process at a time opens a project.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samtailor.bases import is_retired
from samtailor.data.writing import sealed, sweep
from samtailor.errors import DataError, InputError, counted, fault_in_words
from samtailor.serve.refusals import Refused, Taken
from samtailor.workbench import records
from samtailor.workbench.file_lock import lock_project
from samtailor.workbench.images import ImageFile, ImageFolder
from samtailor.workbench.records import Object, Record, State
from samtailor.workbench.settings import Class, Settings, make_class, read_settings, updated_aliases, with_color

_log = logging.getLogger("samtailor.workbench")


@dataclass(frozen=True)
class _Summary:
    """Part of a record that is kept in memory, so that listing the images reads no files."""

    record: Record
    labels: Counter[str]
    error: str | None = None

    @classmethod
    def of(cls, record: Record) -> _Summary:
        without_objects = record.model_copy(update={"objects": []})
        return cls(without_objects, Counter(o.class_ for o in record.objects))

    @property
    def untouched(self) -> bool:
        return self.record.state == "proposed" or (self.record.state == "open" and not self.labels)


class Project:
    """Annotations of a folder of images.

    Args:
        home: folder of the project; created if it does not exist.
        images: the images.
        base: name of the base model; must be the same in all sessions of a project, but for a project of a bundled base
            of an earlier version, which is opened with any.
        classes: names of classes to add.

    Raises:
        InputError: another process has the project open, it uses another base model, or a class name is invalid.
        DataError: project.json cannot be read.
    """

    def __init__(self, home: Path, images: ImageFolder, base: str, classes: Sequence[str] = ()) -> None:
        self.home, self.images = home, images
        self._records = home / "annotations"
        self._file_lock = lock_project(home)
        self._lock = threading.RLock()
        try:
            self._open(base, classes)
        except BaseException:
            self.close()
            raise

    def _open(self, base: str, classes: Sequence[str]) -> None:
        self.settings = read_settings(self.home) or Settings(base=base)
        if is_retired(self.settings.base):  # its annotations do not depend on the base
            self.settings.base = base
        if self.settings.base != base:
            raise InputError(
                f"The project in {self.home} uses the base model {self.settings.base!r}, not {base!r}. Use --base "
                f"{self.settings.base}, or start another project with --project DIR."
            )
        if (earlier := self.home / "pictures").is_dir() and not self._records.exists():  # projects of version 0.1
            earlier.rename(self._records)
        if self.settings.hidden:
            self.images.hide(self.settings.hidden)
        self._records.mkdir(exist_ok=True)
        sweep(self.home, self._records, self.images.cache, self.home / "jobs", self.home / "exports")
        self._summaries = {file.stem: self._summarize(file) for file in self._records.glob("*.json")}
        self._finish_renaming()
        self.add_classes([name for name in classes if name not in self.settings.aliases])
        self._save(self.settings)

    def close(self) -> None:
        """Release the project for other processes."""
        self._file_lock.release()

    @property
    def classes(self) -> list[str]:
        """Names of the classes in their order."""
        return [class_.name for class_ in self.settings.classes]

    def rows(self) -> list[dict[str, Any]]:
        """The images as the page lists them, after reading the folder again."""
        return [self._row(image) for image in self.images.refresh().values()]

    def row(self, id: str) -> dict[str, Any]:
        """One entry of `rows`. Raises Unknown if there is no such image."""
        return self._row(self.images.get(id))

    def counts(self) -> dict[str, int]:
        """Number of images in each state."""
        counter = Counter(self._state(image)[0] for image in self.images.all().values())
        return {state: counter[state] for state in ("open", "proposed", "accepted", "failed")}

    def labels(self, state: str = "accepted") -> Counter[str]:
        """Number of objects of each class over the images in a state."""
        ids = (id for id, image in self.images.all().items() if self._state(image)[0] == state)
        summaries = (self._summaries.get(id) for id in ids)
        return Counter(self._present(label) for summary in summaries if summary for label in summary.labels)

    def class_objects(self) -> dict[str, int]:
        """Number of objects of each class over all images, whatever their state."""
        counter = Counter[str]()
        for summary in list(self._summaries.values()):
            counter.update({self._present(label): number for label, number in summary.labels.items()})
        return dict(counter)

    def read(self, id: str) -> Record:
        """Annotations of an image; an empty record if there are none.

        Raises:
            Unknown: no such image. DataError: its record is damaged.
        """
        self.images.get(id)
        file = self._file(id)
        record = records.checked(records.read(file), file) if file.exists() else Record()
        if self.settings.renaming:
            objects = [o.model_copy(update={"class_": self._present(o.class_)}) for o in record.objects]
            record = record.model_copy(update={"objects": objects})
        return record

    def put(self, id: str, revision: int, state: State, objects: Sequence[Object]) -> Record:
        """Save the user's annotations of an image; they are on disk when this returns.

        Args:
            id: id of the image.
            revision: revision that the annotations are based on.
            state: new state of the image.
            objects: all objects of the image.

        Raises:
            Unknown: no such image. InputError: an invalid object. Stale: there is a newer revision.
        """
        image = self.images.get(id)
        checked = self._checked(image, objects)
        with self._lock:
            before = self.read(id)
            if before.revision != revision:
                raise Stale(before)
            new = Record(revision=revision + 1, state=state, objects=checked, **_identity(image))
            return self._write(id, new)

    def propose(self, id: str, objects: Sequence[Object], uncertainty: float, by: str) -> bool:
        """Save the objects that an adapter predicted, unless the user has worked on the image in the meantime.

        Args:
            id: id of the image.
            objects: predicted objects; earlier class names are replaced by the present ones.
            uncertainty: of the image, in [0, 1].
            by: see `Record.by`.

        Returns:
            Whether the objects were saved.
        """
        image = self.images.get(id)
        renamed = [o.model_copy(update={"class_": self.settings.aliases.get(o.class_, o.class_)}) for o in objects]
        with self._lock:
            before = self.read(id)
            if not before.untouched:
                return False
            self.add_classes(list(dict.fromkeys(o.class_ for o in renamed)))
            new = Record(
                revision=before.revision + 1, state="proposed", objects=self._checked(image, renamed),
                uncertainty=uncertainty, by=by, **_identity(image),
            )  # fmt: skip
            self._write(id, new)
            return True

    def restore(self, id: str, before: Record) -> bool:
        """Bring back an earlier record, if exactly one change was saved since. Returns whether it was."""
        with self._lock:
            now = self.read(id)
            if now.revision != before.revision + 1:
                return False
            self._write(id, before.model_copy(update={"revision": now.revision + 1}))
            return True

    def waiting(self, by: str, only: Sequence[str] | None = None) -> list[str]:
        """Ids of the images that a labeling job should process: readable, and without work of the user.

        Args:
            by: see `Record.by`; images with the same value are skipped.
            only: restrict to these ids; images with the same `by` are then labeled again.
        """
        summaries = {id: self._summaries.get(id) for id in (self.images.all() if only is None else only)}
        ids = [
            id
            for id, summary in summaries.items()
            if summary is None or (summary.untouched and (only is not None or summary.record.by != by))
        ]
        return [id for id in ids if self._state(self.images.get(id))[0] != "failed"]

    def records(self, states: Sequence[str]) -> Iterator[tuple[ImageFile, Record]]:
        """Images in these states with their records, in the order of the list."""
        for id, image in self.images.all().items():
            if self._state(image)[0] in states:
                yield image, self.read(id)

    def set_classes(
        self, classes: Sequence[Class], renamed: Mapping[str, str], moved: Mapping[str, str] | None = None
    ) -> None:
        """Replace the list of classes, and rename classes in all records.

        Args:
            classes: the new list.
            renamed: old name to new name.
            moved: class that is removed to the class of the new list that its objects get.

        Raises:
            InputError: a duplicate name, or an invalid renaming or move.
            Taken: a class that is in use would be removed.
        """
        names = [class_.name for class_ in classes]
        if len({name.lower() for name in names}) != len(names):
            raise InputError("Two classes have the same name (upper and lower case are not distinguished).")
        with self._lock:
            old = set(self.classes)
            renamed = {a: b for a, b in renamed.items() if a != b}
            if wrong := [a for a, b in renamed.items() if a not in old or a in names or b not in names or b in old]:
                raise InputError(
                    f"{wrong[0]!r} cannot be renamed to {renamed[wrong[0]]!r}: the old name must be an existing class "
                    "that is not in the new list, and the new name must be new in it."
                )
            moved = dict(moved or {})
            if wrong := [a for a, b in moved.items() if a not in old or a in names or a in renamed or b not in names]:
                raise InputError(
                    f"The objects of {wrong[0]!r} cannot get the class {moved[wrong[0]]!r}: the first must be a class "
                    "that is removed, and the second one of the new list."
                )
            renamed = renamed | moved
            in_use = Counter(self._present(label) for summary in self._summaries.values() for label in summary.labels)
            if removed := [name for name in old if name not in names and name not in renamed and in_use[name]]:
                images = counted(in_use[removed[0]], "image has", "images have")
                raise Taken(f"The class {removed[0]!r} cannot be removed: {images} objects of it.")
            self._finish_renaming()
            changed = {
                "classes": [with_color(class_, i) for i, class_ in enumerate(classes)],
                "aliases": updated_aliases(self.settings.aliases, renamed, names),
                "renaming": dict(renamed),
            }
            self._save(self.settings.model_copy(update=changed))
            try:
                self._finish_renaming()
            except (
                OSError
            ) as error:  # noted in project.json: completed later, and `read` shows the new names until then
                _log.warning("The renaming of classes is not complete: %s", fault_in_words(error))

    def add_classes(self, names: Sequence[str]) -> None:
        """Add classes that do not exist yet. Raises InputError for an invalid name."""
        with self._lock:
            classes = list(self.settings.classes)
            for name in names:
                if name not in [class_.name for class_ in classes]:
                    classes.append(with_color(make_class(name), len(classes)))
            if len(classes) > len(self.settings.classes):
                self._save(self.settings.model_copy(update={"classes": classes}))

    def set_base(self, name: str) -> None:
        """Name of the base model from the next start on. Annotations do not depend on it; adapters do."""
        with self._lock:
            self._save(self.settings.model_copy(update={"base": name}))

    def hide(self, names: Iterable[str], *, dry: bool = False) -> int:
        """Stop listing files as images, except those with annotations.

        Args:
            names: paths relative to the folder of the images.
            dry: only count.

        Returns:
            Number of files that were listed before.
        """
        with self._lock:
            listed = {image.name: id for id, image in self.images.all().items()}
            hidden = [name for name in names if name in listed and listed[name] not in self._summaries]
            if hidden and not dry:
                self._save(self.settings.model_copy(update={"hidden": sorted({*self.settings.hidden, *hidden})}))
                self.images.hide(self.settings.hidden)
        return len(hidden)

    def show_hidden(self) -> None:
        """List all files with an image's suffix as images again."""
        with self._lock:
            self._save(self.settings.model_copy(update={"hidden": []}))
            self.images.hide([])

    def _finish_renaming(self) -> None:
        """Rewrite the records that contain an old name, then note that the renaming is complete."""
        renamed = self.settings.renaming
        if not renamed:
            return
        for id in [id for id, summary in self._summaries.items() if set(summary.labels) & set(renamed)]:
            record = records.read(self._file(id))
            objects = [o.model_copy(update={"class_": renamed.get(o.class_, o.class_)}) for o in record.objects]
            self._write(id, record.model_copy(update={"objects": objects, "revision": record.revision + 1}))
        self._save(self.settings.model_copy(update={"renaming": {}}))

    def _present(self, name: str) -> str:
        """The present name of a class in a record that a renaming has not reached yet."""
        return self.settings.renaming.get(name, name)

    def _checked(self, image: ImageFile, objects: Sequence[Object]) -> list[Object]:
        if image.error is not None:
            raise Refused(f"This image cannot be read: {image.error}")
        if len(objects) > records.MAX_OBJECTS:
            raise InputError(f"An image has at most {records.MAX_OBJECTS} objects, got {len(objects)}.")
        if len({o.id for o in objects}) != len(objects):
            raise InputError("Two objects have the same id.")
        if unknown := [o.class_ for o in objects if o.class_ not in self.classes]:
            raise InputError(f"There is no class {unknown[0]!r}. Classes: {', '.join(self.classes) or 'none'}.")
        return [o.checked((image.height, image.width)) for o in objects]

    def _write(self, id: str, record: Record) -> Record:
        try:
            records.write(self._file(id), record)
        except OSError:
            if self._file(id).exists():  # the file may have been replaced before the fault
                self._summaries[id] = self._summarize(self._file(id))
            raise
        self._summaries[id] = _Summary.of(record)
        return record

    def _file(self, id: str) -> Path:
        return self._records / f"{id}.json"

    def _summarize(self, file: Path) -> _Summary:
        try:
            return _Summary.of(records.read(file))
        except DataError as error:
            return _Summary(Record(state="accepted"), Counter(), str(error))  # protects the file from being overwritten

    def _state(self, image: ImageFile) -> tuple[str, str | None]:
        """State of an image and, if it is "failed", the reason."""
        summary = self._summaries.get(image.id)
        if image.error is not None or summary is None:
            return ("open", None) if image.error is None else ("failed", image.error)
        if summary.error is not None:
            return "failed", summary.error
        if summary.labels and summary.record.size != (image.height, image.width):
            return "failed", f"{image.name}: the size of the image has changed since it was annotated."
        return summary.record.state, None

    def _row(self, image: ImageFile) -> dict[str, Any]:
        summary, (state, error) = self._summaries.get(image.id), self._state(image)
        return {
            "id": image.id, "name": image.name, "width": image.width, "height": image.height, "state": state,
            "objects": 0 if summary is None else sum(summary.labels.values()),
            "uncertainty": summary.record.uncertainty if summary and state == "proposed" else None, "error": error,
        }  # fmt: skip

    def _save(self, settings: Settings) -> None:
        """Write project.json, then use the new settings: a failed write changes neither."""
        records.write_through(self.home / "project.json", sealed(settings.model_dump(mode="json")))
        self.settings = settings


class Stale(Taken):
    """A save was based on an old revision; `record` is the newest one."""

    def __init__(self, record: Record) -> None:
        super().__init__("This image was changed in the meantime, in another tab or by a job.")
        self.record = record


def _identity(image: ImageFile) -> dict[str, Any]:
    return {"size": (image.height, image.width), "image": image.name}


__all__ = ["Project", "Stale"]
