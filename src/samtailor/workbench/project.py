"""A project on disk: `project.json` (classes, base model) and `annotations/ID.json`, one file per image.

Each change replaces one file atomically, so a process that is killed at any time loses nothing that was confirmed. The
only change of several files, the renaming of a class, is noted in `project.json` first and completed at the next start.
One process at a time opens a project.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from samtailor.bases import is_retired
from samtailor.data.writing import sealed, sweep
from samtailor.errors import InputError, fault_in_words
from samtailor.serve.refusals import Refused
from samtailor.workbench import records
from samtailor.workbench.annotation_folder import AnnotationFolder, Stale, with_classes
from samtailor.workbench.class_change import ClassChange
from samtailor.workbench.file_lock import lock_project
from samtailor.workbench.images import ImageFile, ImageFolder
from samtailor.workbench.overview import Overview
from samtailor.workbench.records import Object, Record, State
from samtailor.workbench.settings import Class, Settings, make_class, read_settings, with_color

_log = logging.getLogger("samtailor.workbench")


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
        folder = self.home / "annotations"
        if (earlier := self.home / "pictures").is_dir() and not folder.exists():  # projects of version 0.1
            earlier.rename(folder)
        if self.settings.hidden:
            self.images.hide(self.settings.hidden)
        folder.mkdir(exist_ok=True)
        sweep(self.home, folder, self.images.cache, self.home / "jobs", self.home / "exports")
        self._annotations = AnnotationFolder(folder)
        self._overview = Overview(self.images, self._annotations, self._present)
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
        return [self._overview.row(image) for image in self.images.refresh().values()]

    def row(self, id: str) -> dict[str, Any]:
        """One entry of `rows`. Raises Unknown if there is no such image."""
        return self._overview.row(self.images.get(id))

    def counts(self) -> dict[str, int]:
        """Number of images in each state."""
        return self._overview.counts()

    def labels(self, state: str = "accepted") -> Counter[str]:
        """Number of images with objects of each class, of the images in a state."""
        return self._overview.labels(state)

    def class_objects(self) -> dict[str, int]:
        """Number of objects of each class over all images, whatever their state."""
        return self._overview.objects_of()

    def read(self, id: str) -> Record:
        """Annotations of an image; an empty record if there are none.

        Raises:
            Unknown: no such image. DataError: its record is damaged.
        """
        self.images.get(id)
        record = self._annotations.read(id)
        return with_classes(record, self.settings.renaming) if self.settings.renaming else record

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
            return self._annotations.write(id, new)

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
        return self.revise(
            id, by, lambda before: Record(state="proposed", objects=list(objects), uncertainty=uncertainty)
        )

    def revise(self, id: str, by: str, change: Callable[[Record], Record | None]) -> bool:
        """Change what was predicted for an image, unless the user has worked on it in the meantime.

        Args:
            id: id of the image.
            by: see `Record.by`.
            change: gets the present record and returns state, objects and uncertainty of the new one, or None to leave
                it as it is. Earlier class names are replaced by the present ones.

        Returns:
            Whether a record was saved.
        """
        image = self.images.get(id)
        with self._lock:
            before = self.read(id)
            new = change(before) if before.untouched else None
            if new is None:
                return False
            new = with_classes(new, self.settings.aliases)
            self.add_classes(list(dict.fromkeys(o.class_ for o in new.objects)))
            changed = {"revision": before.revision + 1, "objects": self._checked(image, new.objects), "by": by}
            self._annotations.write(id, new.model_copy(update=changed | _identity(image)))
            return True

    def restore(self, id: str, before: Record) -> bool:
        """Bring back an earlier record, if exactly one change was saved since. Returns whether it was."""
        with self._lock:
            now = self.read(id)
            if now.revision != before.revision + 1:
                return False
            self._annotations.write(id, before.model_copy(update={"revision": now.revision + 1}))
            return True

    def waiting(self, by: str, only: Sequence[str] | None = None) -> list[str]:
        """Ids of the images that a labeling job should process: readable, and without work of the user.

        Args:
            by: see `Record.by`; images with the same value are skipped.
            only: restrict to these ids; images with the same `by` are then labeled again.
        """
        summaries = {id: self._annotations.summaries.get(id) for id in (self.images.all() if only is None else only)}
        ids = [
            id
            for id, summary in summaries.items()
            if summary is None or (summary.untouched and (only is not None or summary.record.by != by))
        ]
        return [id for id in ids if self._overview.state(self.images.get(id))[0] != "failed"]

    def records(self, states: Sequence[str]) -> Iterator[tuple[ImageFile, Record]]:
        """Images in these states with their records, in the order of the list."""
        for image in self._overview.in_states(tuple(states)):
            yield image, self.read(image.id)

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
        with self._lock:
            change = ClassChange(self.classes, classes, renamed, moved or {})
            change.check(self._overview.images_with())
            self._finish_renaming()
            self._save(change.applied(self.settings))
            try:
                self._finish_renaming()
            except OSError as error:  # noted in project.json: completed later; `read` shows the new names until then
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
            hidden = [name for name in names if name in listed and listed[name] not in self._annotations.summaries]
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
        self._annotations.rename(renamed)
        self._save(self.settings.model_copy(update={"renaming": {}}))

    def _present(self, name: str) -> str:
        """The present name of a class in a record that a renaming has not reached yet."""
        return self.settings.renaming.get(name, name)

    def _checked(self, image: ImageFile, objects: Sequence[Object]) -> list[Object]:
        if image.error is not None:
            raise Refused(f"This image cannot be read: {image.error}")
        return records.checked_objects(objects, (image.height, image.width), self.classes)

    def _save(self, settings: Settings) -> None:
        """Write project.json, then use the new settings: a failed write changes neither."""
        records.write_through(self.home / "project.json", sealed(settings.model_dump(mode="json")))
        self.settings = settings


def _identity(image: ImageFile) -> dict[str, Any]:
    return {"size": (image.height, image.width), "image": image.name}


__all__ = ["Project", "Stale"]
