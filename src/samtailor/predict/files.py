"""Pictures on disk with prompts to files: COCO JSON with run-length encoded masks, mask PNGs, overlays."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from samtailor import __version__
from samtailor.data.listing import natural_key
from samtailor.data.picture import SUFFIXES, header, read_picture, write_json, write_png
from samtailor.errors import DataError, InputError
from samtailor.masks.overlay import overlay
from samtailor.masks.rle import plain_runs
from samtailor.predict.inputs import box_tensor, click_tensors
from samtailor.predict.instances import answer_asks, objects
from samtailor.predict.predictor import Predictor
from samtailor.prompts.file import read
from samtailor.structures import Prompts


@dataclass(frozen=True)
class Ask:
    """One object that is asked for in one picture.

    Args:
        clicks: (x, y, label) each, pixels of the picture; label 1 object, 0 not the object.
        box: (x0, y0, x1, y1), pixels of the picture.
        label: name of the object in the result; None: the adapter's name.
        score: of whoever proposed it, in [0, 1]; None for a human.
        whole: ask without a prompt, as adapters are asked that were fitted so.
        given: the object's mask where whoever proposes it knows it already, run-length encoded in the picture (or view)
            that is looked at: then nobody is asked, and the clicks only show where it is.
    """

    clicks: tuple[tuple[float, float, int], ...] = ()
    box: tuple[float, float, float, float] | None = None
    label: str | None = None
    score: float | None = None
    whole: bool = False
    given: Mapping[str, Any] | None = None

    @property
    def mask(self) -> np.ndarray:
        """bool (height, width): what is given."""
        from pycocotools import mask as coco

        return coco.decode(dict(self.given)).astype(bool)

    def moved(self, x: float, y: float) -> Ask:
        """The same, its clicks and its box so many pixels further right and down: as another view of the picture has
        it. What is given is left out, its run lengths are of one view."""
        clicks = tuple((column + x, row + y, label) for column, row, label in self.clicks)
        box = None if self.box is None else tuple(value + by for value, by in zip(self.box, (x, y) * 2, strict=True))
        return replace(self, clicks=clicks, box=box, given=None)

    def check(self, size: tuple[int, int]) -> None:
        """Raise InputError unless there is something, and inside a picture of (height, width)."""
        if not self.clicks and self.box is None and not self.whole:
            raise InputError("A prompt needs at least one click or a box.")
        self.prompts(size)

    def prompts(self, size: tuple[int, int]) -> Prompts:
        """As prompts of a picture of (height, width); the empty one where `whole` is asked."""
        points, labels = None, None
        if self.clicks:
            points, labels = click_tensors([c[:2] for c in self.clicks], [c[2] for c in self.clicks], size)
        return Prompts(size, points, labels, None if self.box is None else box_tensor(self.box, size))


def find_pictures(paths: Sequence[Path]) -> dict[str, Path]:
    """Pictures by a name that is unique in the result ("trip/img1"), from files and folders, in natural order.

    Raises:
        DataError: a path is missing, a folder holds no picture, or two pictures would get the same name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            inside = (p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
            files = {p.relative_to(path).with_suffix("").as_posix(): p for p in sorted(inside)}
            if not files:
                raise DataError(f"The folder {path} holds no picture.")
        elif path.is_file():
            files = {path.stem: path}
        else:
            raise DataError(f"There is no picture or folder {path}.")
        for name, file in files.items():
            if name in found and found[name] != file:
                raise DataError(f"{found[name]} and {file} would both be called {name!r} in the result. Rename one.")
            found[name] = file
    return dict(sorted(found.items(), key=lambda item: natural_key(item[0])))


def read_asks(path: Path) -> dict[str, list[Ask]]:
    """Prompts of many pictures, by the names in a file as `prompts/file.py` describes it.

    Raises:
        InputError: the file is not of that form.
    """
    found: dict[str, list[Ask]] = {}
    for name, entries in read(path).items():
        for entry in entries:
            labels = entry.labels or (1,) * len(entry.points)
            clicks = tuple((x, y, label) for (x, y), label in zip(entry.points, labels, strict=True))
            found.setdefault(name, []).append(Ask(clicks, entry.box, entry.label or None))
    return found


def answer(
    predictor: Predictor,
    pictures: Mapping[str, Path],
    asks: Mapping[str, Sequence[Ask]],
    out: Path,
    *,
    adapters: Sequence[str | None] = (None,),
    automatic: Mapping[str | None, Callable[[Predictor, np.ndarray], Sequence[Ask]]] | None = None,
    tiles: Mapping[str | None, int] | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Ask every picture and write the answers to a folder, all or nothing.

    Args:
        pictures: name to file, see `find_pictures`.
        asks: name to prompts; a picture without prompts gets none. All are checked before the first is answered.
        out: new folder: `predictions.json` (COCO), `masks/NAME_OBJECT_ADAPTER.png`, `overlays/NAME.png`.
        adapters: who answers, in turn, on one embedding; None is the base.
        automatic: what asks for each of `adapters`, see `automatic.py`; goes with empty `asks`. Of answers that come
            out empty, and of several that come out as one object, nothing or the best is kept.
        tiles: for each of `adapters` the tiles a side in which `automatic` looks, see `instances.objects`; 1 if absent.
        overwrite: replace `out` when it is there.

    Returns:
        what stands in `predictions.json`. `score` is the proposer's where there is one, else the predicted IoU; each
        picture has the number of its `objects`.

    Raises:
        InputError: a prompt outside its picture, or `out` is there already.
    """
    for name, path in pictures.items():
        for ask in asks.get(name, ()):
            try:
                ask.check(header(path).size)
            except InputError as error:
                raise InputError(f"{path}: {error}") from error
    labels = dict.fromkeys(_label(ask, a) for name in pictures for ask in asks.get(name, ()) for a in adapters)
    coco: dict[str, Any] = {
        "info": {"description": f"samtailor {__version__}", "base": predictor.base.name},
        "images": [],
        "annotations": [],
        "categories": [],
    }
    ids = {label: i for i, label in enumerate(labels, 1)}
    with new_folder(out, "predictions.json" if overwrite else None) as folder:
        for number, (name, path) in enumerate(pictures.items(), 1):
            picture = read_picture(path)
            height, width = picture.shape[:2]
            coco["images"].append({"id": number, "file_name": str(path), "height": height, "width": width})
            found: list[Found] = []
            if asks.get(name) or automatic is not None:
                predictor.set_image(picture)
                if automatic is None:
                    found += [one for adapter in adapters for one in _answers(predictor, asks[name], adapter)]
                else:
                    found += _found(predictor, picture, automatic, tiles or {}, adapters)
                _write(folder, name, picture, found, len(adapters) > 1)
            for one in found:
                row = _annotation(one.mask, number, ids.setdefault(_label(one.ask, one.adapter), len(ids) + 1))
                row |= {"id": len(coco["annotations"]) + 1, "score": round(one.score, 6)}
                row |= {"predicted_iou": round(one.iou, 6), "adapter": one.adapter, "prompt": _plain(one.ask)}
                coco["annotations"].append(row)
            coco["images"][-1]["objects"] = len(found)
            if progress:
                progress(number, len(pictures))
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
class Found:
    """One answer: who gave it, to which prompt (`index` among those of the picture), its mask, score, predicted IoU."""

    adapter: str | None
    index: int
    ask: Ask
    mask: np.ndarray
    score: float
    iou: float


def _answers(predictor: Predictor, asks: Sequence[Ask], adapter: str | None) -> list[Found]:
    """Of each prompt the mask with the highest predicted IoU."""
    answered = enumerate(answer_asks(predictor, asks, adapter))
    return [
        Found(adapter, i, ask, mask, iou if ask.score is None else ask.score, iou) for i, (ask, mask, iou) in answered
    ]


def _found(
    predictor: Predictor,
    picture: np.ndarray,
    automatic: Mapping[str | None, Callable[[Predictor, np.ndarray], Sequence[Ask]]],
    tiles: Mapping[str | None, int],
    adapters: Sequence[str | None],
) -> list[Found]:
    """Of each adapter the objects that it finds in the picture that is set."""
    found = []
    for adapter in sorted(adapters, key=lambda adapter: tiles.get(adapter, 1)):  # tiles take the picture's place
        count = tiles.get(adapter, 1)
        seen = objects(predictor, picture, automatic[adapter], adapter, tiles=count, ready=True)
        found += [Found(adapter, i, one.ask, one.mask, one.score, one.iou) for i, one in enumerate(seen)]
        if count > 1:
            predictor.set_image(picture)
    return found


def _write(folder: Path, name: str, picture: np.ndarray, found: Sequence[Found], several: bool) -> None:
    asks = {id(one.ask): one.ask for one in found}.values()
    for adapter in dict.fromkeys(one.adapter for one in found):
        end = f"_{adapter or 'base'}" if several else ""
        own = [one for one in found if one.adapter == adapter]
        for one in own:
            write_png(folder / "masks" / f"{name}_{one.index:03d}{end}.png", one.mask)
        clicks = [click for ask in asks for click in ask.clicks]
        boxes = [ask.box for ask in asks if ask.box is not None]
        drawn = overlay(picture, [one.mask for one in own], points=clicks, boxes=boxes)
        write_png(folder / "overlays" / f"{name}{end}.png", drawn)


def _annotation(mask: np.ndarray, image: int, category: int) -> dict[str, Any]:
    from pycocotools import mask as coco

    rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        "id": 0,
        "image_id": image,
        "category_id": category,
        "segmentation": plain_runs(rle),
        "bbox": [float(v) for v in coco.toBbox(rle)],
        "area": int(coco.area(rle)),
        "iscrowd": 0,
    }


def _label(ask: Ask, adapter: str | None) -> str:
    return ask.label or adapter or "object"


def _plain(ask: Ask) -> dict[str, Any]:
    points, labels = [list(c[:2]) for c in ask.clicks], [c[2] for c in ask.clicks]
    plain = {"points": points, "labels": labels, "box": None if ask.box is None else list(ask.box)}
    return plain if ask.score is None else plain | {"score": round(ask.score, 6)}


__all__ = ["Ask", "answer", "find_pictures", "new_folder", "read_asks"]
