"""A project on disk: `project.json` (classes, base) and `images/ID.json`, and what is done to them.

Each change is one file that appears whole, so there is no moment at which a kill loses or halves anything. The only
change of many files, the renaming of a class, is noted in `project.json` before it begins and finished at the next
start. One process owns a project at a time.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samtailor.errors import DataError, InputError
from samtailor.serve.refusals import Refused, Taken
from samtailor.workbench import records
from samtailor.workbench.file_lock import hold
from samtailor.workbench.images import ImageFile, ImageFolder
from samtailor.workbench.records import Object, Record
from samtailor.workbench.settings import Class, Settings, aliases, coloured, named, read_settings


@dataclass(frozen=True)
class _Known:
    """What the list of images tells of a record, so that it need not be read."""

    record: Record
    labels: Counter[str]
    error: str | None = None

    @classmethod
    def of(cls, record: Record) -> _Known:
        bare = record.model_copy(update={"objects": []})
        return cls(bare, Counter(one.class_ for one in record.objects))

    @property
    def untouched(self) -> bool:
        return self.record.state == "proposed" or (self.record.state == "open" and not self.labels)


class Project:
    """See the head of the file.

    Args:
        home: its folder; made when it is not there.
        images: that it is about.
        base: name of the base; must be the one that an earlier session had.
        classes: names to begin with; added where there are some already.

    Raises:
        InputError: another process has it open, it stands on another base, or a name is no class.
        DataError: project.json cannot be read.
    """

    def __init__(self, home: Path, images: ImageFolder, base: str, classes: Sequence[str] = ()) -> None:
        self.home, self.images = home, images
        self._records = home / "annotations"
        home.mkdir(parents=True, exist_ok=True)
        self._held = hold(home / "lock")
        self._lock = threading.RLock()
        try:
            self._open(base, classes)
        except BaseException:
            self.close()
            raise

    def _open(self, base: str, classes: Sequence[str]) -> None:
        self.settings = read_settings(self.home) or Settings(base=base)
        if self.settings.base != base:
            raise InputError(
                f"The project in {self.home} stands on the base {self.settings.base!r}, not {base!r}: start it with "
                f"--base {self.settings.base}, or begin another with --project DIR."
            )
        if (earlier := self.home / "pictures").is_dir() and not self._records.exists():  # projects of version 0.1
            earlier.rename(self._records)
        self._records.mkdir(exist_ok=True)
        for left in self._records.glob(".*"):  # half-written when an earlier session was killed
            left.unlink()
        self._known = {file.stem: self._first_look(file) for file in self._records.glob("*.json")}
        if self.settings.renaming:
            self._rename(self.settings.renaming)
        self.add_classes([name for name in classes if name not in self.settings.aliases])
        self._save()

    def close(self) -> None:
        """Let another process have it."""
        self._held.close()

    @property
    def classes(self) -> list[str]:
        """Names, in their order."""
        return [one.name for one in self.settings.classes]

    def rows(self) -> list[dict[str, Any]]:
        """The images as the page lists them; looks at the folder again."""
        return [self._row(one) for one in self.images.refresh().values()]

    def row(self, id: str) -> dict[str, Any]:
        """One of `rows`."""
        return self._row(self.images.get(id))

    def counts(self) -> dict[str, int]:
        """Images in each state."""
        found = Counter(self._state(one)[0] for one in self.images.all().values())
        return {state: found[state] for state in ("open", "proposed", "accepted", "failed")}

    def labels(self, state: str = "accepted") -> Counter[str]:
        """Number of images in that state that have an object of a class."""
        rows = (self._known.get(id) for id, one in self.images.all().items() if self._state(one)[0] == state)
        return Counter(label for known in rows if known for label in known.labels)

    def read(self, id: str) -> Record:
        """What is known of an image.

        Raises:
            Unknown: no such image. DataError: its record is damaged.
        """
        self.images.get(id)
        file = self._file(id)
        return records.read(file) if file.exists() else Record()

    def put(self, id: str, revision: int, state: str, objects: Sequence[Object]) -> Record:
        """Save what a human made of an image; on disk when this returns.

        Raises:
            Unknown: no such image. InputError: an object is not sound. Stale: there is a newer revision.
        """
        one = self.images.get(id)
        checked = self._checked(one, objects)
        with self._lock:
            before = self.read(id)
            if before.revision != revision:
                raise Stale(before)
            new = Record(revision=revision + 1, state=state, objects=checked, **_of(one))
            return self._write(id, new)

    def propose(self, id: str, objects: Sequence[Object], uncertainty: float, by: str) -> bool:
        """Keep what an adapter found in an image, unless a human has been at it meanwhile; whether it was kept."""
        one = self.images.get(id)
        renamed = [o.model_copy(update={"class_": self.settings.aliases.get(o.class_, o.class_)}) for o in objects]
        with self._lock:
            before = self.read(id)
            if not before.untouched:
                return False
            self.add_classes(dict.fromkeys(o.class_ for o in renamed))
            new = Record(
                revision=before.revision + 1, state="proposed", objects=self._checked(one, renamed),
                uncertainty=uncertainty, by=by, **_of(one),
            )  # fmt: skip
            self._write(id, new)
            return True

    def waiting(self, by: str, only: Sequence[str] | None = None) -> list[str]:
        """Ids of the images that an adapter is to label: no human has been at them, and nor has it.

        Args:
            by: see `Record.by`; with `only`, images that it has labelled are labelled again.
        """
        known = {id: self._known.get(id) for id in (self.images.all() if only is None else only)}
        fresh = [
            id for id, k in known.items() if k is None or (k.untouched and (only is not None or k.record.by != by))
        ]
        return [id for id in fresh if self._state(self.images.get(id))[0] != "failed"]

    def records(self, states: Sequence[str]) -> Iterator[tuple[ImageFile, Record]]:
        """Images in these states with their records, in the order of the list."""
        for id, one in self.images.all().items():
            if self._state(one)[0] in states:
                yield one, self.read(id)

    def set_classes(self, classes: Sequence[Class], renamed: Mapping[str, str]) -> None:
        """Replace the list of classes; those that are renamed are so in all images.

        Raises:
            InputError: a name twice, or a renaming that makes no sense. Taken: a class that goes is used.
        """
        names = [one.name for one in classes]
        if len({name.lower() for name in names}) != len(names):
            raise InputError("Two classes have the same name (upper and lower case count as one).")
        with self._lock:
            old = set(self.classes)
            renamed = {a: b for a, b in renamed.items() if a != b}
            if wrong := [a for a, b in renamed.items() if a not in old or a in names or b not in names or b in old]:
                raise InputError(f"{wrong[0]!r} cannot be renamed: the old name goes, and the new one comes.")
            used = Counter(label for known in self._known.values() for label in known.labels)
            if gone := [name for name in old if name not in names and name not in renamed and used[name]]:
                raise Taken(f"{used[gone[0]]} image(s) have objects of the class {gone[0]!r}: it cannot go.")
            self.settings.classes = [coloured(one, i) for i, one in enumerate(classes)]
            self.settings.aliases = aliases(self.settings.aliases, renamed, names)
            self.settings.renaming = dict(renamed)
            self._save()
            self._rename(renamed)

    def add_classes(self, names: Sequence[str] | Mapping[str, Any]) -> None:
        """Add those that are not there.

        Raises:
            InputError: not a name.
        """
        with self._lock:
            for name in names:
                if name not in self.classes:
                    self.settings.classes.append(coloured(named(name), len(self.settings.classes)))
                    self._save()

    def _rename(self, renamed: Mapping[str, str]) -> None:
        """Write the records that have one of the names, and say that it is done."""
        for id in [id for id, known in self._known.items() if set(known.labels) & set(renamed)]:
            record = records.read(self._file(id))
            objects = [o.model_copy(update={"class_": renamed.get(o.class_, o.class_)}) for o in record.objects]
            self._write(id, record.model_copy(update={"objects": objects, "revision": record.revision + 1}))
        self.settings.renaming = {}
        self._save()

    def _checked(self, one: ImageFile, objects: Sequence[Object]) -> list[Object]:
        if one.error is not None:
            raise Refused(f"This image cannot be read: {one.error}")
        if len(objects) > records.MOST:
            raise InputError(f"An image has at most {records.MOST} objects, got {len(objects)}.")
        if len({o.id for o in objects}) != len(objects):
            raise InputError("Two objects have the same id.")
        if strange := [o.class_ for o in objects if o.class_ not in self.classes]:
            raise InputError(f"There is no class {strange[0]!r}. Classes: {', '.join(self.classes) or 'none'}.")
        return [o.checked((one.height, one.width)) for o in objects]

    def _write(self, id: str, record: Record) -> Record:
        records.write(self._file(id), record)
        self._known[id] = _Known.of(record)
        return record

    def _file(self, id: str) -> Path:
        return self._records / f"{id}.json"

    def _first_look(self, file: Path) -> _Known:
        try:
            return _Known.of(records.read(file))
        except DataError as error:
            return _Known(Record(state="accepted"), Counter(), str(error))  # nothing may write over it

    def _state(self, one: ImageFile) -> tuple[str, str | None]:
        known = self._known.get(one.id)
        if one.error is not None or known is None:
            return ("open", None) if one.error is None else ("failed", one.error)
        if known.error is not None:
            return "failed", known.error
        if known.labels and known.record.size != (one.height, one.width):
            return "failed", f"{one.name}: the image has another size than when it was marked."
        return known.record.state, None

    def _row(self, one: ImageFile) -> dict[str, Any]:
        known, (state, error) = self._known.get(one.id), self._state(one)
        proposed = known is not None and state == "proposed"
        return {
            "id": one.id, "name": one.name, "width": one.width, "height": one.height, "state": state,
            "objects": 0 if known is None else sum(known.labels.values()),
            "uncertainty": known.record.uncertainty if proposed else None, "error": error,
        }  # fmt: skip

    def _save(self) -> None:
        records.write_through(self.home / "project.json", self.settings.model_dump(mode="json"))


class Stale(Taken):
    """There is a newer revision; `record` is it."""

    def __init__(self, record: Record) -> None:
        super().__init__("This image was changed meanwhile, in another tab or by a job; its newer state is here.")
        self.record = record


def _of(one: ImageFile) -> dict[str, Any]:
    return {"size": (one.height, one.width), "image": one.name}


__all__ = ["Project", "Stale"]
