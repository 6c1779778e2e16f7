"""`samtailor.find`: find objects like those of a few references in many images, as `samtailor find` does it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samtailor import labelling
from samtailor.data.image import read_levels
from samtailor.labelling import Labelled, Tiling
from samtailor.labelling.api import Prepared
from samtailor.matchers import DEFAULT
from samtailor.predict.files import find_images
from samtailor.predict.find import LABEL, Finder
from samtailor.predict.inputs import as_image
from samtailor.predict.load import load_predictor
from samtailor.predict.predictor import Predictor
from samtailor.predict.references import Reference
from samtailor.predict.source import AdapterSource
from samtailor.train.progress_lines import ProgressLines, count_lines


def find(
    images: str | Path | Sequence[str | Path],
    like: Reference | Sequence[Reference],
    out: str | Path,
    format: str = "coco",
    *,
    not_like: Reference | Sequence[Reference] = (),
    name: str = LABEL,
    base: str | Path | None = None,
    matcher: str = DEFAULT,
    matcher_options: Mapping[str, Any] | None = None,
    threshold: float | None = None,
    vertices: int | None = None,
    tile: int | None = None,
    overlap: float = 0.25,
    image_files: str = "copy",
    options: Mapping[str, Any] | None = None,
    device: str | None = None,
    overwrite: bool = False,
    verbose: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Labelled:
    """Find objects like those of a few references, without a fit, and write them as `samtailor.label` does.

    A run that was interrupted continues if it is started again with the same arguments.

    Args:
        images: image file or folder, or several of them.
        like: what to find: images with masks, boxes or clicks.
        out: folder of the result.
        format: as of `samtailor.label`.
        not_like: what not to find.
        name: class of what is found.
        base: base model; None: the bundled one.
        matcher: "multiscale", "persam", "persam-f", or a plug-in.
        matcher_options: options of the matcher.
        threshold: minimum score, 0 to 1; None: calibrated on the references.
        vertices, tile, overlap, image_files, options, device, overwrite: as of `samtailor.label`.
        verbose: print progress on standard error; has no effect if `progress` is given.
        progress: called with (images done, images in total).

    Returns:
        Numbers of images and objects, names of images in which nothing is alike, unreadable files, and in `report`
        what the format could not hold.

    Raises:
        InputError: no reference, a reference that marks nothing, an unknown matcher, format or option, or `out` holds
            something else.
        DataError: an image, mask or folder does not exist, or a mask does not fit its image.

    Example:
        ```python
        import samtailor

        samtailor.find("photos", samtailor.Reference("photo.jpg", mask="mask.png"), "found", format="yolo")
        ```
    """
    files = find_images(images)
    ready = prepare(
        like, not_like, name=name, base=base, matcher=matcher, matcher_options=matcher_options, threshold=threshold,
        device=device,
    )  # fmt: skip
    if progress is None and verbose:
        progress = count_lines(ProgressLines(), "Finding objects")
    return labelling.label(
        ready.predictor, ready.sources, files, out, format=format, classes=ready.classes, vertices=vertices,
        tiling=None if tile is None else Tiling(tile, overlap), put=image_files, options=options,
        settings=ready.settings, overwrite=overwrite, progress=progress,
    )  # fmt: skip


def prepare(
    like: Reference | Sequence[Reference],
    not_like: Reference | Sequence[Reference] = (),
    *,
    name: str = LABEL,
    base: str | Path | None = None,
    matcher: str = DEFAULT,
    matcher_options: Mapping[str, Any] | None = None,
    threshold: float | None = None,
    device: str | None = None,
) -> Prepared:
    """Load the base model and encode the references; arguments as of `find`."""
    predictor = load_predictor({}, base, device)
    shown = {"like": _listed(like), "not_like": _listed(not_like)}
    finder = Finder.of(
        lambda: Predictor(predictor.base), shown["like"], shown["not_like"],
        matcher=matcher, settings=matcher_options, threshold=threshold, label=name,
    )  # fmt: skip
    source = AdapterSource(None, finder.propose, name, tiles=finder.matcher.tiles, threshold=lambda _: finder.threshold)
    settings = {
        "matcher": matcher,
        "matcher_options": dict(matcher_options or {}),
        "threshold": threshold,
        "name": name,
        **{key: [_digest(one) for one in references] for key, references in shown.items()},
    }
    return Prepared(predictor, [source], [name], settings)


def _listed(references: Reference | Sequence[Reference]) -> list[Reference]:
    return [references] if isinstance(references, Reference) else list(references)


def _digest(one: Reference) -> str:
    """Identity of a reference, independent of where its files are."""
    digest = hashlib.sha256(as_image(one.image).tobytes())
    if one.mask is not None:
        mask = read_levels(Path(one.mask)) if isinstance(one.mask, str | Path) else np.asarray(one.mask)
        digest.update(np.ascontiguousarray(mask).tobytes())
    digest.update(repr((one.box and list(one.box), [list(click) for click in one.clicks], one.complete)).encode())
    return digest.hexdigest()[:16]


__all__ = ["find", "prepare"]
