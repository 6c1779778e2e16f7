"""A workbench from what a command line knows: folders, names, limits."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from samtailor.data.synth.samples import samples
from samtailor.errors import DataError
from samtailor.serve.engine import Engine
from samtailor.serve.limits import Limits
from samtailor.workbench import session
from samtailor.workbench.images import ImageFolder
from samtailor.workbench.project import Project
from samtailor.workbench.session import Session, embeddings
from samtailor.workbench.settings import read_settings

HOME = ".samtailor"
"""Folder of the project in the images' folder."""
FIRST = "object"
"""Class of a new project that is given none."""
DRAWN = 24
"""Images of the demo."""


def open_session(
    images: Path,
    home: Path | None = None,
    *,
    base: str | None = None,
    adapters: Mapping[str, str] | None = None,
    classes: Sequence[str] = (),
    device: str | None = None,
    bytes: int = 64_000_000,
    pixels: int = 50_000_000,
) -> Session:
    """Open the project of a folder of images, or begin one.

    Args:
        images: the folder.
        home: of the project; None: `HOME` in the images' folder.
        base: None: the project's, else the first adapter's, else nano.
        adapters: name to folder or hub id, besides those that were fitted in the project.
        classes: names to begin with.
        device: None takes a GPU where there is one.
        bytes, pixels: of an image, at most.

    Raises:
        DataError: no folder, or no image in it. InputError: another base or process, see `Project`.
        ArtefactError: an adapter is damaged or belongs to another base.
    """
    from samtailor.artefact import base_of
    from samtailor.bases import load_on

    home = (images / HOME if home is None else home).resolve()
    limits = Limits(bytes=bytes, pixels=pixels, decodes=3, encode_queue=32)
    listed = ImageFolder(images, home / "cache", limits)
    if not len(listed):
        raise DataError(f"The folder {images} holds no image.")
    given, known = dict(adapters or {}), read_settings(home)
    source = base or (known.base if known else base_of(next(iter(given.values()))) if given else "nano")
    loaded = load_on(source, device)
    project = Project(home, listed, loaded.name, classes)
    try:
        return _bench(
            project, Engine(loaded, limits=limits, cache=embeddings(home), root=session.adapters(home)), given, device
        )
    except BaseException:
        project.close()
        raise


def _bench(project: Project, engine: Engine, given: Mapping[str, str], device: str | None) -> Session:
    for name, source in given.items():
        engine.adapters.add(name, source)
    if not project.classes:
        fitted = dict.fromkeys(label for slot in engine.adapters.slots() for label in slot.meta.classes)
        project.add_classes(list(fitted) or [FIRST])
    return Session(project, engine, device)


def draw(folder: Path | None, count: int = DRAWN, size: tuple[int, int] = (360, 480)) -> Path:
    """Synthetic outdoor banners as JPEG files; returns their folder. One that has images already is left as it is.

    Args:
        folder: None makes one in the system's folder for temporary files.
        count: number of images.
        size: (height, width), pixels.
    """
    from PIL import Image

    folder = Path(tempfile.mkdtemp(prefix="samtailor-demo-")) if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    if not any(path.suffix == ".jpg" for path in folder.iterdir()):
        for sample in samples(count, 0, kind="banners", size=size):
            Image.fromarray(sample.image).save(folder / f"{sample.id}.jpg", quality=92)
    return folder


__all__ = ["DRAWN", "FIRST", "HOME", "draw", "open_session"]
