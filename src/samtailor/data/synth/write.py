"""Write a synthetic data set atomically, in COCO format.

Mask files with one file per class would merge several banners of an image, and parts with their object.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import PIL
from PIL import Image

from samtailor import __version__
from samtailor.data.children import end_with_parent
from samtailor.data.synth.own_images import images
from samtailor.data.synth.samples import KINDS, SIDES, samples
from samtailor.data.writing import write_json
from samtailor.errors import InputError, counted
from samtailor.masks.rle import to_json
from samtailor.structures import Annotation, Sample

Progress = Callable[[int, int], None]

_QUALITY = 95  # JPEG quality; a PNG file with camera noise is six times larger


def build_dataset(
    out: Path,
    *,
    kind: str = "banners",
    count: int,
    seed: int = 0,
    size: tuple[int, int] | None = None,
    banners: Path | None = None,
    backgrounds: Path | None = None,
    test: int = 0,
    workers: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Generate a data set and write it to `out`, which `data.dataset.open_dataset` reads without options.

    `out`, or `out/train` and `out/test` with a test part, contains `images/` and `annotations/instances.json`.
    `out/dataset.json` and `out/README.md` describe how it was made. Everything is written to a hidden folder beside
    `out`, which is renamed at the end, or removed after an error.

    Args:
        out: folder that does not exist or is empty; its parents are created.
        kind: "banners" or "scenes".
        count: number of training images, at least 1.
        seed: random seed, at least 0. The same seed, versions and files give the same data set.
        size: (height, width) in pixels; None for the default of the kind.
        banners: folder of the user's banners. Training and test images share no banner file.
        backgrounds: folder of the user's backgrounds; not shared either if there are at least two.
        test: number of test images.
        workers: number of processes; the images do not depend on it.
        progress: called with (done, total) after each image.

    Returns:
        the content of `dataset.json`: kind, seed, size, counts of images and masks, versions, files of the user.

    Raises:
        InputError: an argument out of range, a folder that is not empty, or too few banners to split.
        DataError: an image of the user cannot be read.
    """
    out = Path(out)
    _check(out, kind, count, test)
    own = _divided(banners, "banners", seed, count, test), _divided(backgrounds, "backgrounds", seed, count, test)
    wanted = {"train": count, "test": test}
    parts = {
        side: samples(
            wanted[side], seed, kind=kind, size=size, side=side, banners=own[0][side], backgrounds=own[1][side]
        )
        for side in SIDES
        if wanted[side]
    }
    with _whole(out) as folder:
        written, total, masks = 0, count + test, {}
        for side, part in parts.items():
            place = folder / side if test else folder
            report = partial(_after, progress, written, total)
            masks[side] = _write(place, part, workers, report)
            written += len(part)
        about = _about(kind, seed, size, parts, masks, own)
        write_json(folder / "dataset.json", about)
        (folder / "README.md").write_text(_readme(about), encoding="utf-8")
    return about


def _check(out: Path, kind: str, count: int, test: int) -> None:
    if kind not in KINDS:
        raise InputError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}.")
    if count < 1 or test < 0:
        raise InputError(f"count must be at least 1 and test at least 0, got {count} and {test}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not empty. Choose another folder or remove it first.")


def _divided(folder: Path | None, what: str, seed: int, count: int, test: int) -> dict[str, list[Path]]:
    """Files of a folder for each side, in proportion to the images, shuffled by the seed."""
    if folder is None:
        return {side: [] for side in SIDES}
    files = images(folder, what)
    if not test:
        return {"train": files, "test": []}
    if len(files) < 2:
        if what == "banners":
            raise InputError(f"{folder} has only one banner, which training and test would share. Add another.")
        return {side: files for side in SIDES}
    order = np.random.default_rng([seed, len(files)]).permutation(len(files))
    first = int(np.clip(round(len(files) * test / (count + test)), 1, len(files) - 1))
    return {"test": [files[i] for i in sorted(order[:first])], "train": [files[i] for i in sorted(order[first:])]}


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A hidden folder beside `out`, renamed to `out` on success and removed on failure."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = out.parent / f".{out.name}.{os.getpid()}.{uuid4().hex[:8]}"
        temporary.mkdir()
    except OSError as error:
        raise InputError(f"{out} cannot be created ({error}).") from error
    try:
        yield temporary
        try:
            if out.exists():
                out.rmdir()  # removes empty folders only
            temporary.rename(out)
        except OSError as error:
            raise InputError(f"{out} was changed by another process ({error}). Choose another folder.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _after(progress: Progress | None, before: int, total: int, done: int) -> None:
    if progress is not None:
        progress(before + done, total)


def _write(folder: Path, part: Sequence[Sample], workers: int, progress: Callable[[int], Any]) -> dict[str, int]:
    """Write images and one COCO file; returns the number of masks per class."""
    (folder / "images").mkdir(parents=True)
    images_: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    numbers: Counter[str] = Counter()
    classes: dict[str, int] = {}
    for index, (image, drawn) in enumerate(_drawn(folder / "images", part, workers), 1):
        images_.append({"id": index, **image})
        for annotation in drawn:
            category = classes.setdefault(annotation.label, len(classes) + 1)
            annotations.append(_entry(len(annotations) + 1, index, category, annotation))
            numbers[annotation.label] += 1
        progress(index)
    categories = [{"id": number, "name": name} for name, number in classes.items()]
    content = {"categories": categories, "images": images_, "annotations": annotations}
    write_json(folder / "annotations" / "instances.json", content)
    return dict(sorted(numbers.items()))


def _drawn(folder: Path, part: Sequence[Sample], workers: int) -> Iterator[tuple[dict[str, Any], list[Annotation]]]:
    """Draw and save all samples; yields their COCO entries without id, and their annotations, in order."""
    if workers == 1:
        yield from map(partial(_draw, folder), part)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), end_with_parent) as pool:
        yield from pool.map(partial(_draw, folder), part, chunksize=4)


def _draw(folder: Path, sample: Sample) -> tuple[dict[str, Any], list[Annotation]]:
    image = sample.image
    name = f"{sample.id}.jpg"
    Image.fromarray(image).save(folder / name, quality=_QUALITY, subsampling=0)
    return {"file_name": name, "height": image.shape[0], "width": image.shape[1]}, list(sample.annotations)


def _entry(number: int, image: int, category: int, annotation: Any) -> dict[str, Any]:
    x0, y0, x1, y1 = annotation.box
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "iscrowd": 0,
        "area": annotation.area,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "segmentation": to_json(annotation.rle),
    }


def _about(kind: str, seed: int, size: tuple[int, int] | None, parts: dict, masks: dict, own: tuple) -> dict[str, Any]:
    """How the data set was made. Keys differ from those of COCO, so that the file is not read as a COCO file."""
    height, width = size or parts["train"][0].image.shape[:2]
    about: dict[str, Any] = {
        "made_by": f"samtailor {__version__}",
        "kind": kind,
        "seed": seed,
        "size": [int(height), int(width)],
        "images": {side: len(part) for side, part in parts.items()},
        "masks": masks,
        "versions": _versions(),
    }
    for what, by_side in zip(("own_banners", "own_backgrounds"), own, strict=True):
        if any(by_side.values()):
            about[what] = {side: [str(file) for file in by_side[side]] for side in parts}
    return about


def _versions() -> dict[str, str]:
    """Versions that single pixels depend on. OpenCV is read from its module, since its package has several names."""
    import cv2

    try:
        fonts = version("matplotlib")
    except PackageNotFoundError:
        fonts = "none"
    return {"numpy": np.__version__, "opencv": cv2.__version__, "pillow": PIL.__version__, "matplotlib": fonts}


def _readme(about: dict[str, Any]) -> str:
    places = "\n".join(
        f"* `{side + '/' if len(about['images']) > 1 else ''}images/`: {counted(count, 'image')}, "
        f"{counted(sum(about['masks'][side].values()), 'mask')}"
        for side, count in about["images"].items()
    )
    height, width = about["size"]
    return (
        f"# Synthetic {about['kind']}\n\nMade by {about['made_by']} with seed {about['seed']}, {height} x {width} px "
        f"(height x width). Masks of the visible parts of objects are in `annotations/instances.json` (COCO format)."
        f"\n\n{places}\n\nAll settings are in `dataset.json`.\n"
    )


__all__ = ["build_dataset"]
