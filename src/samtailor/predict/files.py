"""Images on disk with prompts to files: COCO JSON with run-length encoded masks, mask PNGs, overlays."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from samtailor import __version__
from samtailor.data.image import SUFFIXES, header, read_image, write_json, write_png
from samtailor.data.listing import natural_key
from samtailor.errors import DataError, InputError
from samtailor.masks.overlay import overlay
from samtailor.masks.rle import to_json
from samtailor.predict.instances import answer_asks, objects
from samtailor.predict.predictor import Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.prompts.file import read


def find_images(paths: Sequence[Path]) -> dict[str, Path]:
    """Images by a name that is unique in the result ("trip/img1"), from files and folders, in natural order.

    Raises:
        DataError: a path is missing, a folder holds no image, or two images would get the same name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            inside = (p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
            files = {p.relative_to(path).with_suffix("").as_posix(): p for p in sorted(inside)}
            if not files:
                raise DataError(f"The folder {path} holds no image.")
        elif path.is_file():
            files = {path.stem: path}
        else:
            raise DataError(f"There is no image or folder {path}.")
        for name, file in files.items():
            if name in found and found[name] != file:
                raise DataError(f"{found[name]} and {file} would both be called {name!r} in the result. Rename one.")
            found[name] = file
    return dict(sorted(found.items(), key=lambda item: natural_key(item[0])))


def read_prompts(path: Path) -> dict[str, list[ObjectPrompt]]:
    """Prompts of many images, by the names in a file as `prompts/file.py` describes it.

    Raises:
        InputError: the file is not of that form.
    """
    found: dict[str, list[ObjectPrompt]] = {}
    for name, entries in read(path).items():
        for entry in entries:
            labels = entry.labels or (1,) * len(entry.points)
            clicks = tuple((x, y, label) for (x, y), label in zip(entry.points, labels, strict=True))
            found.setdefault(name, []).append(ObjectPrompt(clicks, entry.box, entry.label or None))
    return found


def answer(
    predictor: Predictor,
    images: Mapping[str, Path],
    asks: Mapping[str, Sequence[ObjectPrompt]],
    out: Path,
    *,
    adapters: Sequence[str | None] = (None,),
    automatic: Mapping[str | None, Callable[[Predictor, np.ndarray], Sequence[ObjectPrompt]]] | None = None,
    tiles: Mapping[str | None, int] | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Ask every image and write the answers to a folder, all or nothing.

    Args:
        images: name to file, see `find_images`.
        asks: name to prompts; an image without prompts gets none. All are checked before the first is answered.
        out: new folder: `predictions.json` (COCO), `masks/NAME_OBJECT_ADAPTER.png`, `overlays/NAME.png`.
        adapters: who answers, in turn, on one embedding; None is the base.
        automatic: what asks for each of `adapters`, see `automatic.py`; goes with empty `asks`. Of answers that come
            out empty, and of several that come out as one object, nothing or the best is kept.
        tiles: for each of `adapters` the tiles a side in which `automatic` looks, see `instances.objects`; 1 if absent.
        overwrite: replace `out` when it is there.

    Returns:
        what stands in `predictions.json`. `score` is the proposer's where there is one, else the predicted IoU; each
        image has the number of its `objects`.

    Raises:
        InputError: a prompt outside its image, or `out` is there already.
    """
    for name, path in images.items():
        for ask in asks.get(name, ()):
            try:
                ask.check(header(path).size)
            except InputError as error:
                raise InputError(f"{path}: {error}") from error
    labels = dict.fromkeys(_label(ask, a) for name in images for ask in asks.get(name, ()) for a in adapters)
    coco: dict[str, Any] = {
        "info": {"description": f"samtailor {__version__}", "base": predictor.base.name},
        "images": [],
        "annotations": [],
        "categories": [],
    }
    ids = {label: i for i, label in enumerate(labels, 1)}
    with new_folder(out, "predictions.json" if overwrite else None) as folder:
        for number, (name, path) in enumerate(images.items(), 1):
            image = read_image(path)
            height, width = image.shape[:2]
            coco["images"].append({"id": number, "file_name": str(path), "height": height, "width": width})
            found: list[InstanceMask] = []
            if asks.get(name) or automatic is not None:
                predictor.set_image(image)
                if automatic is None:
                    found += [one for adapter in adapters for one in _answers(predictor, asks[name], adapter)]
                else:
                    found += _found(predictor, image, automatic, tiles or {}, adapters)
                _write(folder, name, image, found, len(adapters) > 1)
            for one in found:
                row = _annotation(one.mask, number, ids.setdefault(_label(one.ask, one.adapter), len(ids) + 1))
                row |= {"id": len(coco["annotations"]) + 1, "score": round(one.score, 6)}
                row |= {"predicted_iou": round(one.iou, 6), "adapter": one.adapter, "prompt": _plain(one.ask)}
                coco["annotations"].append(row)
            coco["images"][-1]["objects"] = len(found)
            if progress:
                progress(number, len(images))
        coco["categories"] += [{"id": i, "name": label} for label, i in ids.items()]
        write_json(folder / "predictions.json", coco)
    return coco


@contextmanager
def new_folder(path: Path, replace: str | None = None) -> Iterator[Path]:
    """A folder to fill that takes its place at once when the block ends well and leaves nothing when it does not.

    Args:
        path: the folder; may exist if it is empty.
        replace: a folder that holds a file of this name is an earlier result and is replaced; None never replaces.

    Raises:
        InputError: something else is there.
    """
    path = Path(path)
    empty = path.is_dir() and not any(path.iterdir())
    if path.exists() and not empty and (replace is None or not (path / replace).is_file()):
        why = "" if replace is None else f" It holds no {replace}, so it is not an earlier result to be replaced."
        raise InputError(f"{path} is there already.{why} Choose another place, or give --overwrite for a result.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    temporary.mkdir()
    try:
        yield temporary
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@dataclass(frozen=True)
class InstanceMask:
    """One answer: who gave it, to which prompt (`index` among those of the image), its mask, score, predicted IoU."""

    adapter: str | None
    index: int
    ask: ObjectPrompt
    mask: np.ndarray
    score: float
    iou: float


def _answers(predictor: Predictor, asks: Sequence[ObjectPrompt], adapter: str | None) -> list[InstanceMask]:
    """Of each prompt the mask with the highest predicted IoU."""
    answered = enumerate(answer_asks(predictor, asks, adapter))
    return [
        InstanceMask(adapter, i, ask, mask, iou if ask.score is None else ask.score, iou)
        for i, (ask, mask, iou) in answered
    ]


def _found(
    predictor: Predictor,
    image: np.ndarray,
    automatic: Mapping[str | None, Callable[[Predictor, np.ndarray], Sequence[ObjectPrompt]]],
    tiles: Mapping[str | None, int],
    adapters: Sequence[str | None],
) -> list[InstanceMask]:
    """Of each adapter the objects that it finds in the image that is set."""
    found = []
    for adapter in sorted(adapters, key=lambda adapter: tiles.get(adapter, 1)):  # tiles take the image's place
        count = tiles.get(adapter, 1)
        seen = objects(predictor, image, automatic[adapter], adapter, tiles=count, ready=True)
        found += [InstanceMask(adapter, i, one.ask, one.mask, one.score, one.iou) for i, one in enumerate(seen)]
        if count > 1:
            predictor.set_image(image)
    return found


def _write(folder: Path, name: str, image: np.ndarray, found: Sequence[InstanceMask], several: bool) -> None:
    asks = {id(one.ask): one.ask for one in found}.values()
    for adapter in dict.fromkeys(one.adapter for one in found):
        end = f"_{adapter or 'base'}" if several else ""
        own = [one for one in found if one.adapter == adapter]
        for one in own:
            write_png(folder / "masks" / f"{name}_{one.index:03d}{end}.png", one.mask)
        clicks = [click for ask in asks for click in ask.clicks]
        boxes = [ask.box for ask in asks if ask.box is not None]
        drawn = overlay(image, [one.mask for one in own], points=clicks, boxes=boxes)
        write_png(folder / "overlays" / f"{name}{end}.png", drawn)


def _annotation(mask: np.ndarray, image: int, category: int) -> dict[str, Any]:
    from pycocotools import mask as coco

    rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        "id": 0,
        "image_id": image,
        "category_id": category,
        "segmentation": to_json(rle),
        "bbox": [float(v) for v in coco.toBbox(rle)],
        "area": int(coco.area(rle)),
        "iscrowd": 0,
    }


def _label(ask: ObjectPrompt, adapter: str | None) -> str:
    return ask.label or adapter or "object"


def _plain(ask: ObjectPrompt) -> dict[str, Any]:
    points, labels = [list(c[:2]) for c in ask.clicks], [c[2] for c in ask.clicks]
    plain = {"points": points, "labels": labels, "box": None if ask.box is None else list(ask.box)}
    return plain if ask.score is None else plain | {"score": round(ask.score, 6)}


__all__ = ["ObjectPrompt", "answer", "find_images", "new_folder", "read_prompts"]
