"""What a fit is about: the accepted images as they are when it begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from samtailor.errors import InputError, counted
from samtailor.registry import find
from samtailor.serve.refusals import Refused
from samtailor.train.config import FitConfig, load, resolve
from samtailor.workbench.images import ImageFile
from samtailor.workbench.project import Project
from samtailor.workbench.records import Record

MINIMUM = 4
"""Accepted images with an object that a fit needs."""


def snapshot(
    project: Project, classes: Sequence[str] | None, method: str | None, steps: int | None, seed: int | None
) -> dict[str, Any]:
    """Images, objects and settings of a new fit, for `work.fit`.

    Args:
        project: with accepted images.
        classes: None: all that they have.
        method, steps, seed: None: as `samtailor fit` has it.

    Raises:
        Refused: too few accepted images, or none of a class. InputError: a setting that makes no sense.
    """
    known = project.labels()
    names = [name for name in project.classes if known[name] and (classes is None or name in classes)]
    if missing := [name for name in classes or () if name not in names]:
        raise Refused(f"No accepted image has an object of the class {missing[0]!r}.")
    rows = [_row(one, record) for one, record in project.records(["accepted"])]
    full = sum(any(o["class"] in names for o in row["objects"]) for row in rows)
    if full < MINIMUM:
        raise Refused(
            f"A fit needs {MINIMUM} accepted images with an object, there are {full}: "
            f"accept {counted(MINIMUM - full, 'more image')}."
        )
    given = {"method": method, "steps": steps, "seed": seed}
    settings = {key: value for key, value in given.items() if value is not None}
    config = resolve(load(None, settings))  # refuses what makes no sense before anything begins
    _refuse_several(config, names)
    return {"samples": rows, "classes": names, "settings": settings,
            "names": {row["id"]: row["file"] for row in rows}}  # fmt: skip


def _row(one: ImageFile, record: Record) -> dict[str, Any]:
    objects = [{"class": o.class_, "rle": o.rle.model_dump(mode="json")} for o in record.objects]
    return {"id": one.id, "file": one.name, "objects": objects}


def _refuse_several(config: FitConfig, names: Sequence[str]) -> None:
    if getattr(find("methods", config.method), "REGIONS", False) and len(names) > 1:
        raise InputError(f"{config.method} segments one class, and there are {', '.join(names)}. Choose one.")


__all__ = ["MINIMUM", "snapshot"]
