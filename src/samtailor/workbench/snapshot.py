"""Input of a fit: the accepted images at the time it starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from samtailor.errors import InputError, counted
from samtailor.fitting import by_contest
from samtailor.fitting.contest.classes import annotator_budget
from samtailor.registry import find
from samtailor.serve.refusals import Refused
from samtailor.train.config import FitConfig, load, resolve
from samtailor.workbench.images import ImageFile
from samtailor.workbench.project import Project
from samtailor.workbench.records import Record

MIN_IMAGES = 1
"""Number of accepted images with an object that a fit by the default method needs."""
GOOD_IMAGES = 4
"""The same of a fit by a single method, which holds one out; from as many on, a first fit is useful."""
_WAITING = 200
"""Images without annotations that a fit is given at most; it suggests one of them to be marked next."""


def snapshot(
    project: Project, classes: Sequence[str] | None, method: str | None, steps: int | None, seed: int | None,
    budget: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Images, objects and settings of a new fit, the input of `work.fit`.

    Args:
        project: project with accepted images.
        classes: classes to fit; None: all classes of the accepted images.
        method, steps, seed: None: the default of `samtailor fit`.
        budget: time of a contest; None: two minutes, or a minute for each class if that is more.

    Raises:
        Refused: too few accepted images, or none with an object of a class. InputError: an invalid setting.
    """
    labels = project.labels()
    names = [name for name in project.classes if labels[name] and (classes is None or name in classes)]
    if missing := [name for name in classes or () if name not in names]:
        raise Refused(f"No accepted image has an object of the class {missing[0]!r}.")
    rows = [_row(image, record) for image, record in project.records(["accepted"])]
    usable = sum(any(o["class"] in names for o in row["objects"]) for row in rows)
    chosen = {"method": method, "steps": steps, "seed": seed, "budget": budget}
    settings = {key: value for key, value in chosen.items() if value is not None}
    config = resolve(load(None, settings))  # invalid settings are refused before the job starts
    contest = by_contest(config)
    least = MIN_IMAGES if contest else GOOD_IMAGES
    if usable < least:
        by = "A fit" if contest else f"A fit by {config.method}"
        raise Refused(
            f"{by} needs {counted(least, 'accepted image')} with objects, the project has {usable}. "
            f"Accept {counted(least - usable, 'more image')}."
        )
    _check_single_class(config, names)
    waiting: list[dict[str, Any]] = []
    if contest:
        settings |= {"budget": annotator_budget(budget, names), "per_class": len(names) > 1}
        waiting = [image_row(project.images.get(id)) for id in project.waiting("", None)[:_WAITING]]
    elif budget is not None:
        raise InputError(f"A budget is a setting of the method auto, and the method is {config.method}. Leave it out.")
    shown = {row["id"]: row["name"] for row in (*rows, *waiting)}
    return {"samples": rows, "waiting": waiting, "classes": names, "settings": settings, "names": shown}


def _row(image: ImageFile, record: Record) -> dict[str, Any]:
    objects = [{"class": o.class_, "rle": o.rle.model_dump(mode="json")} for o in record.objects]
    return {**image_row(image), "objects": objects}


def image_row(image: ImageFile) -> dict[str, Any]:
    """What a job needs to read an image; `image_of_row` reads it."""
    return {"id": image.id, "name": image.name, "file": image.file, "frame": image.frame, "pages": image.pages}


def _check_single_class(config: FitConfig, names: Sequence[str]) -> None:
    if getattr(find("methods", config.method), "REGIONS", False) and len(names) > 1:
        raise InputError(f"The method {config.method} fits one class. Choose one of {', '.join(names)}.")


__all__ = ["GOOD_IMAGES", "MIN_IMAGES", "image_row", "snapshot"]
