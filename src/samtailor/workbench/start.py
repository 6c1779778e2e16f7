"""Opening a session from the options of the command line."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from samtailor.data.synth.samples import samples
from samtailor.errors import DataError, InputError
from samtailor.registry import BUNDLED_BASE
from samtailor.serve.engine import Engine
from samtailor.serve.limits import Limits
from samtailor.workbench import session
from samtailor.workbench.adapter_info import adapter_meta
from samtailor.workbench.images import ImageFolder
from samtailor.workbench.project import Project
from samtailor.workbench.session import Session, embeddings
from samtailor.workbench.settings import DEFAULT_CLASS, read_settings

HOME = ".samtailor"
"""Default folder of a project, in the folder of the images."""
DEMO_IMAGES = 24
"""Number of images of the demo."""


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
    """Open the project of a folder of images, or create one.

    Args:
        images: folder of the images.
        home: folder of the project; None: `HOME` in the folder of the images.
        base: base model; None: that of the project, else of the first adapter, else the bundled one.
        adapters: name to folder or hub id, in addition to those fitted in the project.
        classes: names of classes to add.
        device: None uses a GPU if there is one.
        bytes, pixels: limits of one image.

    Raises:
        DataError: no such folder, or it contains no image. InputError: another base model or process, see
            `Project`, or no `base` for a project of a bundled base of an earlier version.
        ArtefactError: an adapter is damaged or belongs to another base model.
    """
    from samtailor.artefact import base_of
    from samtailor.bases import load_on, retired_base

    home = (images / HOME if home is None else home).resolve()
    limits = Limits(bytes=bytes, pixels=pixels, decodes=3, encode_queue=32)
    folder = ImageFolder(images, home / "cache", limits)
    if not len(folder):
        raise DataError(f"The folder {images} contains no image.")
    sources, settings = dict(adapters or {}), read_settings(home)
    default = base_of(next(iter(sources.values()))) if sources and settings is None else BUNDLED_BASE
    if settings and base is None and (advice := retired_base(settings.base)):
        raise InputError(
            f"The project in {home} uses {settings.base!r}. {advice} With --base {BUNDLED_BASE} the project keeps its "
            "annotations, and its adapters have to be fitted again."
        )
    model = load_on(base or (settings.base if settings else default), device)
    project = Project(home, folder, model.name, classes)
    try:
        engine = Engine(model, limits=limits, cache=embeddings(home), root=session.adapters(home))
        return _make_session(project, engine, sources, device)
    except BaseException:
        project.close()
        raise


def _make_session(project: Project, engine: Engine, sources: Mapping[str, str], device: str | None) -> Session:
    for name, source in sources.items():
        engine.adapters.add(name, source)
    if not project.classes:
        fitted = dict.fromkeys(label for loaded in engine.adapters.all() for label in adapter_meta(loaded).classes)
        project.add_classes(list(fitted) or [DEFAULT_CLASS])
    return Session(project, engine, device)


def draw(folder: Path | None, count: int = DEMO_IMAGES, size: tuple[int, int] = (360, 480)) -> Path:
    """Write synthetic street scenes with banners as JPEG files, unless the folder already contains JPEG files.

    Args:
        folder: None creates a temporary folder.
        count: number of images.
        size: (height, width), pixels.

    Returns:
        The folder.
    """
    from PIL import Image

    folder = Path(tempfile.mkdtemp(prefix="samtailor-demo-")) if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    if not any(path.suffix == ".jpg" for path in folder.iterdir()):
        for sample in samples(count, 0, kind="banners", size=size):
            Image.fromarray(sample.image).save(folder / f"{sample.id}.jpg", quality=92)
    return folder


__all__ = ["DEFAULT_CLASS", "DEMO_IMAGES", "HOME", "draw", "open_session"]
