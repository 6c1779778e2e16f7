"""A project's objects in the formats of other programs, and the result as one file to take away."""

from __future__ import annotations

import re
import shutil
import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from samtailor.data.writers import Destination, LabelledImage, LabelledObject
from samtailor.data.writing import replacing
from samtailor.registry import find
from samtailor.serve.refusals import Refused, Unknown
from samtailor.workbench.images import by_name
from samtailor.workbench.project import Project
from samtailor.workbench.records import Record

_NAME = re.compile(r"[a-z-]{1,32}-\d{3,9}")
_PACKED = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".jfif"}  # packing them again takes time and gains nothing


class Exports:
    """See the head of the file.

    Args:
        folder: each export is a folder FORMAT-NNN below it.
        project: what is exported.
    """

    def __init__(self, folder: Path, project: Project) -> None:
        self._folder, self._project = folder, project
        self._lock = threading.Lock()

    def write(self, format: str, states: Sequence[str], images: str = "link") -> dict[str, Any]:
        """Write a new export; it appears whole.

        Args:
            format: a file of `writers`.
            states: "accepted", or that and "proposed".
            images: "link" (copied where the disk is another), "copy" or "none".

        Raises:
            InputError: an unknown format. Refused: there is no image in these states.
        """
        writer, classes = find("writers", format), self._project.classes
        chosen = self._chosen(states)
        if not chosen:
            raise Refused(f"There is no image that is {' or '.join(states)}: nothing to export.")
        with self._lock:
            name = self._free(format.replace("_", "-"))
            making = self._folder / f".{name}.{uuid4().hex[:8]}"
            making.mkdir(parents=True)
            try:
                writer.write(Destination(making, images=images), iter(chosen), classes)
                making.rename(self._folder / name)
            finally:
                shutil.rmtree(making, ignore_errors=True)
        folder = self._folder / name
        return {
            "name": name, "files": sum(path.is_file() for path in folder.rglob("*")), "images": len(chosen),
            "objects": sum(len(one.objects) for one in chosen), "url": f"/api/exports/{name}.zip",
            "folder": str(folder),
        }  # fmt: skip

    def packed(self, name: str) -> Path:
        """An export as one file, made when it is first asked for.

        Raises:
            Unknown: no such export.
        """
        folder, file = self._folder / name, self._folder / f"{name}.zip"
        if not _NAME.fullmatch(name) or not folder.is_dir():
            raise Unknown("There is no such export.")
        with self._lock:
            if not file.exists():
                with replacing(file) as temporary, zipfile.ZipFile(temporary, "w") as archive:
                    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                        how = zipfile.ZIP_STORED if path.suffix.lower() in _PACKED else zipfile.ZIP_DEFLATED
                        archive.write(path, f"{name}/{path.relative_to(folder).as_posix()}", how)
        return file

    def _chosen(self, states: Sequence[str]) -> list[LabelledImage]:
        known = {one.id: record for one, record in self._project.records(states)}
        images = self._project.images
        return [
            LabelledImage(name, images.path(one.name), one.height, one.width, _objects(known[one.id]))
            for name, one in by_name(images.all()).items()
            if one.id in known
        ]

    def _free(self, format: str) -> str:
        numbers = [int(f.name.rpartition("-")[2]) for f in self._folder.glob(f"{format}-*") if _NAME.fullmatch(f.name)]
        return f"{format}-{max(numbers, default=0) + 1:03d}"


def _objects(record: Record) -> tuple[LabelledObject, ...]:
    """By falling score, as the writers have them; what a human made counts as sure."""
    found = [
        LabelledObject(o.class_, o.rle.packed, 1.0 if o.score is None or o.source != "auto" else o.score, o.adapter)
        for o in record.objects
    ]
    return tuple(sorted(found, key=lambda one: -one.score))


__all__ = ["Exports"]
