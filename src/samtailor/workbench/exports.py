"""Exports of a project in the formats of other tools, each as a folder and as a zip file."""

from __future__ import annotations

import re
import shutil
import threading
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from samtailor.data.writers import Destination, LabelledImage, LabelledObject, check_options, write_dataset
from samtailor.data.writing import replacing, temporary_beside
from samtailor.errors import InputError, counted
from samtailor.serve.refusals import Refused, Unknown
from samtailor.workbench.export_parts import TRAIN, VAL, divide, loading, splits_itself
from samtailor.workbench.images import by_name
from samtailor.workbench.project import Project
from samtailor.workbench.records import Record

_NAME = re.compile(r"[a-z0-9-]{1,32}-\d{3,9}")
_COMPRESSED = {
    ".jpg",
    ".jpeg",
    ".png",
    ".webp",
    ".gif",
    ".jfif",
}  # already compressed

_WHY = {
    "open": "their objects are drafts, {}",
    "proposed": "their objects are proposed and not accepted, {}",
    "accepted": "accepted images were not chosen, {}",
    "failed": "they cannot be read, {}",
}
"""Why images with objects are not in an export, by state."""


class Exports:
    """Exports of one project.

    Args:
        folder: each export is a folder FORMAT-NNN in it.
        project: the project to export.
    """

    def __init__(self, folder: Path, project: Project) -> None:
        self._folder, self._project = folder, project
        self._lock = threading.Lock()

    def write(
        self, format: str, states: Sequence[str], images: str = "link", options: Mapping[str, Any] | None = None,
        classes: Sequence[str] | None = None, val: float = 0.0,
    ) -> dict[str, Any]:  # fmt: skip
        """Write a new export. Its folder appears only when it is complete.

        Args:
            format: name of a writer.
            states: states of the images to export: "accepted", "proposed", "open" (drafts, if they have objects).
            images: "link" (copied if the export is on another file system), "copy" or "none".
            options: options of the format, for example {"rle": True}.
            classes: classes to export; None: all.
            val: share of the images for validation, in [0, 1]. Formats without parts of their own are written as two
                data sets, in train/ and val/.

        Returns:
            Name, folder and URL of the export, the numbers of files, images and objects in it, `loading` (how to load
            it), and `notes`: sentences about drafts and objects that are not in it, or changed.

        Raises:
            InputError: unknown format or option. Refused: no image has one of the states.
        """
        options = dict(options or {})
        check_options(format, options)
        if unknown := [name for name in classes or () if name not in self._project.classes]:
            raise InputError(f"There is no class {unknown[0]!r}. Classes: {', '.join(self._project.classes)}.")
        chosen = [name for name in self._project.classes if classes is None or name in classes]
        labeled, other = _of_classes(self._labeled_images(states), chosen)
        if not labeled:
            states_in_words = " or ".join("a draft with objects" if one == "open" else one for one in states)
            raise Refused(f"Nothing to export: no image is {states_in_words}.")
        parts, notes = _parts(format, labeled, val, options)
        with self._lock:
            name = self._next_name(format.replace("_", "-"))
            temporary = temporary_beside(self._folder / name)
            temporary.mkdir(parents=True)
            try:
                reports = [
                    write_dataset(format, Destination(temporary / part, images=images), iter(some), chosen, options)
                    for part, some in parts.items()
                ]
                temporary.rename(self._folder / name)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        folder = self._folder / name
        return {
            "name": name, "files": sum(path.is_file() for path in folder.rglob("*")), "images": len(labeled),
            "objects": sum(report.written for report in reports), "url": f"/api/exports/{name}.zip",
            "folder": str(folder), "loading": loading(format, folder, divided=len(parts) > 1),
            "notes": [*self._not_exported(states), *other, *notes, *(s for r in reports for s in r.sentences())],
        }  # fmt: skip

    def packed(self, name: str) -> Path:
        """Zip file of an export; written at the first call.

        Raises:
            Unknown: no such export.
        """
        folder, file = self._folder / name, self._folder / f"{name}.zip"
        if not _NAME.fullmatch(name) or not folder.is_dir():
            raise Unknown("No such export.")
        with self._lock:
            if not file.exists():
                with replacing(file) as temporary, zipfile.ZipFile(temporary, "w") as archive:
                    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                        method = zipfile.ZIP_STORED if path.suffix.lower() in _COMPRESSED else zipfile.ZIP_DEFLATED
                        archive.write(path, f"{name}/{path.relative_to(folder).as_posix()}", method)
        return file

    def _labeled_images(self, states: Sequence[str]) -> list[LabelledImage]:
        records = {image.id: record for image, record in self._project.records(states)}
        images = self._project.images
        return [
            LabelledImage(name, images.source(image.id), image.height, image.width, _objects(records[image.id]))
            for name, image in by_name(images.all()).items()
            if image.id in records and (records[image.id].state != "open" or records[image.id].objects)
        ]

    def _not_exported(self, states: Sequence[str]) -> list[str]:
        """Sentences about images with objects that are not in an export of these states, by state."""
        by_state: dict[str, list[str]] = {}
        for row in self._project.rows():
            if row["objects"] and row["state"] not in states:
                by_state.setdefault(row["state"], []).append(row["name"])
        return [
            f"Not exported, because {_WHY[state].format(counted(len(names), 'image'))}: {', '.join(names[:3])}"
            + (f" and {len(names) - 3} more." if len(names) > 3 else ".")
            for state, names in by_state.items()
        ]

    def _next_name(self, format: str) -> str:
        numbers = [int(f.name.rpartition("-")[2]) for f in self._folder.glob(f"{format}-*") if _NAME.fullmatch(f.name)]
        return f"{format}-{max(numbers, default=0) + 1:03d}"


def _of_classes(images: Sequence[LabelledImage], classes: Sequence[str]) -> tuple[list[LabelledImage], list[str]]:
    """The images with the objects of some classes, and a sentence about the other objects."""
    kept = [replace(image, objects=tuple(o for o in image.objects if o.label in classes)) for image in images]
    missing = sum(len(one.objects) - len(other.objects) for one, other in zip(images, kept, strict=True))
    return kept, [f"Not exported: {counted(missing, 'object')} of classes that were not chosen."] if missing else []


def _parts(
    format: str, images: Sequence[LabelledImage], val: float, options: dict[str, Any]
) -> tuple[dict[str, list[LabelledImage]], list[str]]:
    """Images by folder of the export, and notes. For a format with parts of its own its option `val` is set."""
    if splits_itself(format):
        options.setdefault("val", val)
        return {"": list(images)}, []
    held_out, notes = divide(images, val)
    if not held_out:
        return {"": list(images)}, notes
    train = [image for image in images if image.name not in held_out]
    return {TRAIN: train, VAL: [image for image in images if image.name in held_out]}, notes


def _objects(record: Record) -> tuple[LabelledObject, ...]:
    """Objects in descending order of score, as the writers expect. Objects drawn by the user have score 1."""
    objects = [
        LabelledObject(o.class_, o.rle.packed, o.score if o.predicted and o.score is not None else 1.0, o.adapter)
        for o in record.objects
    ]
    return tuple(sorted(objects, key=lambda o: -o.score))


__all__ = ["Exports"]
