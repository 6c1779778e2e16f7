"""Predict images on disk and write COCO JSON with run-length encoded masks, mask PNGs and overlays."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from samtailor.data.augment import UNTOUCHED
from samtailor.data.image import header, read_image, write_json, write_png
from samtailor.data.listing import files_by_stem, natural_key
from samtailor.data.notices import notice
from samtailor.data.writers import Destination, LabelledImage, LabelledObject, check_options, write_dataset
from samtailor.data.writers.coco import annotation, skeleton
from samtailor.data.writing import sweep, temporary_beside
from samtailor.errors import DataError, InputError
from samtailor.masks.overlay import overlay
from samtailor.masks.rle import to_json
from samtailor.predict.competition import compete, exclusive_pairs
from samtailor.predict.instances import InstanceMask, in_image, predict_instances, predict_prompts, with_image
from samtailor.predict.predictor import Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.predict.source import AdapterSource
from samtailor.prompts.file import read

RESULT = "predictions.json"


def find_images(paths: str | Path | Sequence[str | Path]) -> dict[str, Path]:
    """List the images in a file or folder, or in several of them, by names that are unique in the result ("trip/img1").

    Names are in natural order.

    Links are followed. Pipes, sockets and names that are not UTF-8 are skipped with a notice. Files of a folder that
    differ only in their suffix have it in their name: a.jpg and a.png are "a_jpg" and "a_png", which is a notice.

    Raises:
        DataError: a path is missing, a folder holds no image, or two images would have the same name.
    """
    listed: dict[str, list[Path]] = {}
    for path in map(Path, [paths] if isinstance(paths, str | Path) else paths):
        if path.is_dir():
            files = files_by_stem(path)
            if not files:
                raise DataError(f"The folder {path} contains no image.")
        elif path.is_file():
            files = {path.stem: [path]}
        else:
            raise DataError(f"There is no image or folder {path}.")
        for name, same in files.items():
            listed.setdefault(name, []).extend(same)
    images: dict[str, Path] = {}
    for name, same in listed.items():
        for own, file in _apart(name, list(dict.fromkeys(same))).items():
            if own in images:
                raise DataError(
                    f"{images[own]} and {file} would have the same name {own!r} in the result. Rename one of them."
                )
            images[own] = file
    return dict(sorted(images.items(), key=lambda item: natural_key(item[0])))


def _apart(name: str, same: Sequence[Path]) -> dict[str, Path]:
    """Names of files with the same stem."""
    if len(same) == 1:
        return {name: same[0]}
    apart = {f"{name}_{file.suffix[1:].lower()}": file for file in same}
    if len({file.parent for file in same}) > 1 or len(apart) < len(same):
        raise DataError(f"{same[0]} and {same[1]} would have the same name {name!r} in the result. Rename one of them.")
    notice(
        "same stem",
        f"{same[0]} and {same[1].name} differ only in their suffix. Names in the result: {', '.join(apart)}.",
    )
    return apart


def read_prompts(path: Path) -> dict[str, list[ObjectPrompt]]:
    """Read the prompts of many images, by name; `prompts/file.py` describes the format.

    Raises:
        InputError: the file does not have this format.
    """
    prompts: dict[str, list[ObjectPrompt]] = {}
    for name, entries in read(path).items():
        for entry in entries:
            labels = entry.labels or (1,) * len(entry.points)
            clicks = tuple((x, y, label) for (x, y), label in zip(entry.points, labels, strict=True))
            prompts.setdefault(name, []).append(ObjectPrompt(clicks, entry.box, entry.label or None))
    return prompts


def predict_files(
    predictor: Predictor,
    images: Mapping[str, Path],
    prompts: Mapping[str, Sequence[ObjectPrompt]],
    out: Path,
    *,
    adapters: Sequence[str | None] = (None,),
    sources: Sequence[AdapterSource] | None = None,
    overwrite: bool = False,
    format: str | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Predict every image and write the results to a folder, all or nothing.

    Args:
        predictor: with the adapters loaded.
        images: name to file, see `find_images`.
        prompts: name to prompts; an image without prompts has no predictions. All prompts are checked before the
            first image is predicted.
        out: new folder: `predictions.json` (COCO), `masks/NAME_OBJECT_ADAPTER.png`, `overlays/NAME.png`.
        adapters: names; None is the base. All predict from the same embedding.
        sources: automatic mode: adapters with their prompt sources, in place of `prompts` and `adapters`. Empty masks
            and duplicates are dropped.
        overwrite: replace an earlier result in `out`.
        format: also write a data set in this output format (see `data.writers`) to `out`/FORMAT, with the images.
        options: options of the format.
        progress: called with (images done, images in all).

    Returns:
        the content of `predictions.json`. `score` is that of the proposal, or the predicted IoU of a user's prompt;
        each image has the number of its `objects`. `empty` lists the prompts of a user whose mask has no pixel, with
        `image_id`, `prompt` and `adapter`: they are no objects and have no annotation. With `format`, `dataset` has
        its account, see `WriteReport`.

    Raises:
        InputError: a prompt outside its image, an unknown format or option, or `out` exists already.
    """
    adapters = adapters if sources is None else [source.adapter for source in sources]
    _check(images, prompts)
    if format is not None:
        check_options(format, options or {})
    labels = dict.fromkeys(_label(one, name) for image in images for one in prompts.get(image, ()) for name in adapters)
    ids = {label: i for i, label in enumerate(labels, 1)}
    coco = skeleton([], base=predictor.base.name) | {"empty": []}
    labeled: list[LabelledImage] = []
    with new_folder(out, RESULT if overwrite else None) as folder:
        for number, (name, path) in enumerate(images.items(), 1):
            image = read_image(path)
            height, width = image.shape[:2]
            predictions: list[_Prediction] = []
            if prompts.get(name) or sources is not None:
                predictor.set_image(image)
                if sources is None:
                    predictions += [one for adapter in adapters for one in _prompted(predictor, prompts[name], adapter)]
                else:
                    predictions += _automatic(predictor, image, sources)
                none = [one for one in predictions if not one.area]
                coco["empty"] += [_empty(one, number) for one in none]
                predictions = [one for one in predictions if one.area]
                _write(folder, name, image, predictions, len(adapters) > 1)
            for one in predictions:
                category = ids.setdefault(_label(one.prompt, one.adapter), len(ids) + 1)
                coco["annotations"].append(_annotation(one, len(coco["annotations"]) + 1, number, category))
            entry = {"id": number, "file_name": str(path), "height": height, "width": width}
            coco["images"].append(entry | {"objects": len(predictions)})
            labeled.append(LabelledImage(name, path, height, width, _labeled(predictions)))
            if progress:
                progress(number, len(images))
        coco["categories"] += [{"id": i, "name": label} for label, i in ids.items()]
        if format is not None:
            report = write_dataset(format, Destination(folder / format), labeled, list(ids), options)
            coco["dataset"] = {"format": format, **report.to_json(), "sentences": report.sentences()}
        write_json(folder / RESULT, coco)
    return coco


@contextmanager
def new_folder(path: Path, replace: str | None = None) -> Iterator[Path]:
    """A temporary folder that takes its final name when the block ends, and is deleted if the block raises.

    Args:
        path: the folder; it may exist if it is empty.
        replace: name of a file that marks an earlier result: a folder that contains it is replaced. None never
            replaces.

    Raises:
        InputError: the folder exists and is not to be replaced.
    """
    path = Path(path)
    earlier = path.with_name(f".{path.name}.earlier")
    if earlier.is_dir():  # left by a process that was killed while it replaced a result
        shutil.rmtree(earlier) if path.exists() else earlier.replace(path)
    empty = path.is_dir() and not any(path.iterdir())
    if path.exists() and not empty and (replace is None or not (path / replace).is_file()):
        why = "" if replace is None else f" It contains no {replace}, so that it is not an earlier result."
        raise InputError(f"{path} exists already.{why} Choose another folder, or give --overwrite to replace a result.")
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    temporary = temporary_beside(path)
    temporary.mkdir()
    try:
        yield temporary
        if path.is_dir() and not path.is_symlink():
            path.replace(earlier)  # a process that is killed now leaves the earlier result, see above
        temporary.replace(path)
        shutil.rmtree(earlier, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@dataclass(frozen=True)
class _Prediction(InstanceMask):
    """A mask with the adapter that predicted it (None: the base) and the index of its prompt in the image."""

    adapter: str | None = None
    index: int = 0

    @classmethod
    def of(cls, one: InstanceMask, adapter: str | None, index: int) -> _Prediction:
        """From the mask alone."""
        return cls(one.prompt, one.rle, one.iou, one.complete, adapter, index)


def _check(images: Mapping[str, Path], prompts: Mapping[str, Sequence[ObjectPrompt]]) -> None:
    for name, path in images.items():
        for prompt in prompts.get(name, ()):
            try:
                prompt.check(header(path).size)
            except InputError as error:
                raise InputError(f"{path}: {error}") from error


def _prompted(predictor: Predictor, prompts: Sequence[ObjectPrompt], adapter: str | None) -> list[_Prediction]:
    """The best mask of each prompt."""
    size = (predictor.frame.height, predictor.frame.width)
    return [
        _Prediction.of(in_image(prompt, mask, iou, UNTOUCHED, size), adapter, index)
        for index, (prompt, mask, iou) in enumerate(predict_prompts(predictor, prompts, adapter))
    ]


def _automatic(predictor: Predictor, image: np.ndarray, sources: Sequence[AdapterSource]) -> list[_Prediction]:
    """The objects that each adapter predicts in the current image; competing classes share no pixel."""
    predictions = [
        _Prediction.of(one, source.adapter, index)
        for source in with_image(predictor, image, sources)
        for index, one in enumerate(predict_instances(predictor, image, source, image_is_set=True))
    ]
    return compete(predictions, exclusive_pairs(sources), certainty=lambda one: one.prompt.certainty)


def _write(folder: Path, name: str, image: np.ndarray, predictions: Sequence[_Prediction], several: bool) -> None:
    """Mask PNGs and overlays; with several adapters their names are part of the file names."""
    prompts = {id(one.prompt): one.prompt for one in predictions}.values()
    clicks = [click for prompt in prompts for click in prompt.clicks]
    boxes = [prompt.box for prompt in prompts if prompt.box is not None]
    for adapter in dict.fromkeys(one.adapter for one in predictions):
        suffix = f"_{adapter or 'base'}" if several else ""
        masks = {one.index: one.mask for one in predictions if one.adapter == adapter}
        for index, mask in masks.items():
            write_png(folder / "masks" / f"{name}_{index:03d}{suffix}.png", mask)
        drawn = overlay(image, list(masks.values()), points=clicks, boxes=boxes)
        write_png(folder / "overlays" / f"{name}{suffix}.png", drawn)


def _empty(prediction: _Prediction, image: int) -> dict[str, Any]:
    """A prompt without a mask."""
    return {"image_id": image, "prompt": _plain(prediction.prompt), "adapter": prediction.adapter}


def _annotation(prediction: _Prediction, number: int, image: int, category: int) -> dict[str, Any]:
    """COCO annotation with `score`, `predicted_iou`, `adapter` and `prompt`."""
    return annotation(number, image, category, to_json(prediction.rle), prediction) | {
        "score": round(prediction.score, 6),
        "predicted_iou": round(prediction.iou, 6),
        "adapter": prediction.adapter,
        "prompt": _plain(prediction.prompt),
    }


def _labeled(predictions: Sequence[_Prediction]) -> tuple[LabelledObject, ...]:
    """The predictions as a writer takes them, by falling score."""
    objects = [LabelledObject(_label(one.prompt, one.adapter), one.rle, one.score, one.adapter) for one in predictions]
    return tuple(sorted(objects, key=lambda one: -one.score))


def _label(prompt: ObjectPrompt, adapter: str | None) -> str:
    return prompt.label or adapter or "object"


def _plain(prompt: ObjectPrompt) -> dict[str, Any]:
    """A prompt as JSON."""
    points, labels = [list(c[:2]) for c in prompt.clicks], [c[2] for c in prompt.clicks]
    plain = {"points": points, "labels": labels, "box": None if prompt.box is None else list(prompt.box)}
    return plain if prompt.score is None else plain | {"score": round(prompt.score, 6)}


__all__ = ["RESULT", "find_images", "new_folder", "predict_files", "read_prompts"]
