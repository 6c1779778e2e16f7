"""Find similar: search the images of a project for objects like those of a few references, as a job.

What is found becomes proposed objects of a class. Images that the user has worked on are never changed, and proposals
of adapters stay. An image in which nothing is alike stays as it is.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from samtailor.errors import InputError, SamtailorError, counted
from samtailor.masks.nms import duplicates
from samtailor.serve.refusals import Refused
from samtailor.workbench.jobs import Job, Jobs, Message
from samtailor.workbench.masks import mask_of_runs
from samtailor.workbench.project import Project
from samtailor.workbench.records import Object, Record, Runs
from samtailor.workbench.snapshot import image_row

MAX_REFERENCES = 64
"""Largest number of reference images."""
_log = logging.getLogger("samtailor.workbench")


@dataclass(frozen=True)
class ReferenceMarks:
    """What is marked in a reference image.

    Args:
        image: id of the image.
        rle: mask of one object; None: all objects of the class, or for `alike` False those of other classes, and the
            whole image if it has none.
        alike: whether it shows what to find.
    """

    image: str
    rle: Runs | None = None
    alike: bool = True


@dataclass
class _Outcome:
    images: int = 0
    objects: int = 0
    nothing: int = 0
    unreadable: int = 0
    here: dict[str, Any] | None = None


@dataclass
class _Marked:
    masks: list[dict[str, Any]] = field(default_factory=list)
    complete: bool = False


class Finding:
    """Searches of a project.

    Args:
        project: an open project.
        jobs: jobs of the session.
        environment: the part of a job's input that all jobs share.
        image_changed: called with the id of an image whose annotations or state have changed.
        project_changed: called at the end of a search.
    """

    def __init__(
        self, project: Project, jobs: Jobs, environment: Callable[[], dict[str, Any]],
        image_changed: Callable[[str], object], project_changed: Callable[[], object],
    ) -> None:  # fmt: skip
        self._project, self._jobs, self._environment = project, jobs, environment
        self._image_changed, self._project_changed = image_changed, project_changed

    def start(
        self, name: str, references: Sequence[ReferenceMarks], threshold: float | None = None, here: str | None = None
    ) -> Job:
        """Start a search.

        The finished job has a `report`: "images" and "objects" (numbers of what was found), "nothing" (images in which
        nothing is alike), "unreadable", and "here" ("image" and its "objects", which are not saved).

        Args:
            name: class of what is found.
            references: at least one that is alike.
            threshold: lowest score, 0 to 1; None: calibrated on the references.
            here: search this image alone; None: all images without work of the user.

        Raises:
            InputError: an unknown class, or a mask that does not fit its image. Refused: no or too many references, a
                reference without objects, or no image to search. Taken: a job is in progress. Unknown: no such image.
        """
        self._jobs.check_free()
        if name not in self._project.classes:
            raise InputError(f"There is no class {name!r}. Classes: {', '.join(self._project.classes) or 'none'}.")
        rows = self._reference_rows(name, references)
        by = f"find:{_digest([name, rows, threshold, self._environment()['base']])}"
        images = self._project.images
        images.refresh()
        ids = [here] if here is not None else self._project.waiting(by)
        if not ids:
            raise Refused(
                "There is no image left to search: all are accepted, have a draft, or were searched like this."
            )
        work = {
            "references": rows, "samples": [image_row(images.get(id)) for id in ids], "class": name,
            "threshold": threshold,
        } | self._environment()  # fmt: skip
        outcome = _Outcome()
        return self._jobs.start(
            "find", "objects", work,
            on_message=lambda message: self._save(message, name, by, outcome, here),
            on_done=lambda result: self._ended(outcome, float(result["threshold"])),
        )  # fmt: skip

    def _reference_rows(self, name: str, references: Sequence[ReferenceMarks]) -> list[dict[str, Any]]:
        """The references by image, as the job reads them."""
        by_image: dict[tuple[str, bool], _Marked] = {}
        for one in references:
            marked = by_image.setdefault((one.image, one.alike), _Marked())
            if one.rle is None:
                masks = self._saved_masks(name, one)
                marked.complete = one.alike and self._project.read(one.image).state == "accepted"
            else:
                masks = [self._checked_mask(one.image, one.rle)]
            marked.masks += [mask for mask in masks if mask not in marked.masks]
        if not any(alike for _, alike in by_image):
            raise Refused("Choose at least one reference that shows what to find.")
        if len(by_image) > MAX_REFERENCES:
            raise Refused(f"A search takes at most {MAX_REFERENCES} reference images, got {len(by_image)}.")
        images = self._project.images
        return [
            {**image_row(images.get(id)), "alike": alike, "masks": marked.masks, "complete": marked.complete}
            for (id, alike), marked in by_image.items()
        ]

    def _saved_masks(self, name: str, one: ReferenceMarks) -> list[dict[str, Any]]:
        objects = self._project.read(one.image).objects
        masks = [o.rle.model_dump(mode="json") for o in objects if (o.class_ == name) == one.alike]
        if one.alike and not masks:
            image = self._project.images.get(one.image)
            raise Refused(f"{image.name} has no object of the class {name!r}, so that it shows nothing to find.")
        return masks

    def _checked_mask(self, id: str, rle: Runs) -> dict[str, Any]:
        image = self._project.images.get(id)
        if not mask_of_runs(rle, (image.height, image.width), "mask of a reference", "references").any():
            raise InputError(f"{image.name}: the mask of a reference is empty.")
        return rle.model_dump(mode="json")

    def _save(self, message: Message, name: str, by: str, outcome: _Outcome, here: str | None) -> None:
        """Handle a message of the job: what was found in an image, or why it cannot be read."""
        if "failed" in message:
            outcome.unreadable += 1
            self._project.images.fail(message["failed"], message["error"])
            self._image_changed(message["failed"])
            return
        objects = [Object.model_validate(row) for row in message["objects"]]
        outcome.images += bool(objects)
        outcome.nothing += not objects
        outcome.objects += len(objects)
        if here is not None:
            outcome.here = {"image": here, "objects": message["objects"]}
            return
        try:
            changed = self._project.revise(message["image"], by, lambda before: merged(before, objects, name))
        except SamtailorError as error:  # the other images go on
            _log.warning("The objects of image %s cannot be saved: %s", message["image"], error)
            return
        if changed:
            self._image_changed(message["image"])

    def _ended(self, outcome: _Outcome, threshold: float) -> dict[str, Any]:
        self._project_changed()
        keys = ("images", "objects", "nothing", "unreadable", "here")
        where = f" in {counted(outcome.images, 'image')}" if outcome.images else ""
        sentence = f"Found {counted(outcome.objects, 'object')}{where} (lowest score {threshold:.2f})."
        if outcome.nothing:
            sentence += f" Nothing alike in {counted(outcome.nothing, 'image')}."
        if outcome.unreadable:
            sentence += f" {counted(outcome.unreadable, 'image')} cannot be read."
        return {"report": {key: getattr(outcome, key) for key in keys}, "message": sentence}


def merged(before: Record, objects: Sequence[Object], name: str) -> Record | None:
    """A record with what was found, or None if nothing changes.

    Objects of the class from earlier searches are replaced; new ones that are proposed already are left out.

    Args:
        before: the present record.
        objects: what was found.
        name: its class.
    """
    kept = [o for o in before.objects if o.source != "find" or o.class_ != name]
    same = [o.rle.packed for o in kept if o.class_ == name]
    new = [o for o in objects if not duplicates(o.rle.packed, same)]
    if not new and len(kept) == len(before.objects):
        return None
    names = {o.id for o in kept}
    new = [o.model_copy(update={"id": f"{o.id}-{name}"[:64]}) if o.id in names else o for o in new]
    both = [*kept, *new]
    uncertainty = max((o.uncertainty or 0.0 for o in both), default=None)
    return before.model_copy(
        update={"objects": both, "uncertainty": uncertainty, "state": "proposed" if both else "open"}
    )


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


__all__ = ["MAX_REFERENCES", "Finding", "ReferenceMarks", "merged"]
