"""Projects and sessions on small synthetic images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from samtailor.masks.rle import encode, to_json
from samtailor.serve.engine import Engine
from samtailor.serve.limits import Limits
from samtailor.workbench.images import ImageFolder
from samtailor.workbench.project import Project
from samtailor.workbench.records import Object
from samtailor.workbench.session import Session, adapters
from tiny import disc_sample

LIMITS = Limits(bytes=200_000, pixels=50_000)


def images_folder(root: Path, count: int = 6) -> Path:
    """PNG files p0.png, p1.png, ... of 80 x 48 px (width x height) with a disc each."""
    root.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(disc_sample(i).image).save(root / f"p{i}.png")
    return root


def open_project(root: Path, classes: tuple[str, ...] = ("disc", "square"), limits: Limits = LIMITS) -> Project:
    home = root / ".samtailor"
    return Project(home, ImageFolder(root, home / "cache", limits), "tiny-sam2", classes)


def open_session(root: Path, base, **project) -> Session:
    opened = open_project(root, **project)
    return Session(opened, Engine(base, limits=opened.images.limits, root=adapters(opened.home)))


def ids(project: Project) -> list[str]:
    return [row["id"] for row in project.rows()]


def objects_of(index: int) -> list[Object]:
    """Ground truth of image number `index`."""
    return [
        Object(id=f"o{i}", class_=annotation.label, rle=to_json(annotation.rle), clicks=1)
        for i, annotation in enumerate(disc_sample(index).annotations)
    ]


def objects_to_json(objects: list[Object]) -> list[dict]:
    return [o.model_dump(mode="json", by_alias=True) for o in objects]


def square(top: int, left: int, side: int = 6, size: tuple[int, int] = (48, 80)) -> dict:
    """Run lengths of a filled square, size (height, width)."""
    mask = np.zeros(size, bool)
    mask[top : top + side, left : left + side] = True
    return to_json(encode(mask))
