"""`samtailor.label`: label images with adapters and write a data set, as `samtailor label` does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor import artefact, labelling
from samtailor.errors import InputError
from samtailor.labelling import Labelled, Tiling
from samtailor.predict.files import find_images
from samtailor.predict.load import load_predictor
from samtailor.predict.source import AdapterSource
from samtailor.proposals import disk
from samtailor.train.progress_lines import ProgressLines, count_lines

if TYPE_CHECKING:
    from samtailor.predict.predictor import Predictor

Adapters = str | Path | Sequence[str | Path] | Mapping[str, str | Path] | None


def label(
    images: str | Path | Sequence[str | Path],
    adapters: Adapters,
    out: str | Path,
    format: str = "coco",
    *,
    base: str | Path | None = None,
    detector: str | None = None,
    detector_classes: Sequence[str] | None = None,
    threshold: float | None = None,
    prompt_type: str | None = None,
    vertices: int | None = None,
    refine: bool = False,
    tile: int | None = None,
    overlap: float = 0.25,
    image_files: str = "copy",
    options: Mapping[str, Any] | None = None,
    device: str | None = None,
    precision: str = "fp32",
    overwrite: bool = False,
    verbose: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Labelled:
    """Label images without prompts and write them in the format of an annotation tool or data set.

    Each image is encoded once for all adapters. Where to look comes from the proposals of each adapter, from a
    detector, or from the adapter itself if it works without prompts. A run that was interrupted continues if it is
    started again with the same arguments.

    Args:
        images: image file or folder, or several of them.
        adapters: folder or hub id of an adapter, several of them, or a mapping from name to folder; the folder of a
            fit with `per_class` stands for the adapters of its classes. None uses the base model alone, which needs a
            detector.
        out: folder of the result.
        format: "coco", "yolo", "voc", "labelme", "masks", "labelmap", "instances", "sa-1b", "label-studio", "cvat", or
            a plug-in.
        base: base model; None uses the one of the first adapter.
        detector: ONNX file, .pt file, or hub id or folder of transformers; None uses the proposals of the adapters.
        detector_classes: use only these classes of the detector; the text prompt of an open-vocabulary detector.
        threshold: minimum score, 0 to 1; None uses the threshold of each class.
        prompt_type: "points" or "boxes"; None: as the adapter was fitted.
        vertices: maximum number of vertices of an object; None keeps outlines within half a pixel.
        refine: refine outlines with the PMM of adapters that have one (method "plm-pmm").
        tile: side of the tiles into which larger images are cut, pixels; None does not cut.
        overlap: overlap of the tiles as a fraction of their side, 0 to 0.9.
        image_files: "copy", "link" or "none": how the images get into the result.
        options: options of the format: {"rle": True} writes masks in place of polygons (coco, cvat, label-studio),
            {"val": 0.2} is the share of the images in val/ (yolo).
        device: "cpu", "cuda", ...; None uses a GPU if there is one.
        precision: of the image encoder: "fp32", "bf16", "fp16", or "auto" for the fastest one of this machine that does
            not change masks.
        overwrite: replace an earlier result in `out`.
        verbose: print progress on standard error; has no effect if `progress` is given.
        progress: called with (images done, images in total).

    Returns:
        Numbers of images and objects, names of images without objects, unreadable files, and in `report` what the
        format could not hold.

    Raises:
        InputError: nothing can propose objects, an unknown format, or `out` holds something else.
        DataError: an image or folder does not exist.

    Example:
        ```python
        import samtailor

        samtailor.label("photos", "adapters/banner", "labeled", format="yolo")
        ```
    """
    files = find_images(images)
    ready = prepare(
        adapters, base=base, detector=detector, detector_classes=detector_classes, threshold=threshold,
        prompt_type=prompt_type, refine=refine, device=device, precision=precision,
    )  # fmt: skip
    if progress is None and verbose:
        progress = count_lines(ProgressLines(), "Labeling images")
    return labelling.label(
        ready.predictor, ready.sources, files, out, format=format, classes=ready.classes, vertices=vertices,
        tiling=None if tile is None else Tiling(tile, overlap), put=image_files, options=options,
        settings=ready.settings, overwrite=overwrite, progress=progress,
    )  # fmt: skip


@dataclass(frozen=True)
class Prepared:
    """Loaded models that label images.

    Args:
        predictor: with the adapters loaded.
        sources: adapters with their prompt sources.
        classes: of the adapters, in order.
        settings: what the predictions depend on besides the base model; JSON-compatible.
    """

    predictor: Predictor
    sources: list[AdapterSource]
    classes: list[str]
    settings: dict[str, Any]


def prepare(
    adapters: Adapters,
    *,
    base: str | Path | None = None,
    detector: str | None = None,
    detector_classes: Sequence[str] | None = None,
    threshold: float | None = None,
    prompt_type: str | None = None,
    refine: bool = False,
    device: str | None = None,
    precision: str = "fp32",
) -> Prepared:
    """Load base model and adapters; arguments as of `label`."""
    folders = _named(adapters)
    predictor = load_predictor(folders, base, device, precision)
    classes = {name: _classes(folder) for name, folder in folders.items()}
    prompting = {"detector": detector, "classes": detector_classes, "threshold": threshold}
    encoder = {} if predictor.precision == "fp32" else {"encoder": predictor.precision}  # 0.2 did not have it
    return Prepared(
        predictor,
        _sources(predictor, folders, classes, {**prompting, "prompt_type": prompt_type}, refine),
        list(dict.fromkeys(name for names in classes.values() for name in names)),
        # "give": the name in results of version 0.1, which must stay comparable
        {"adapters": _digests(folders), **prompting, "give": prompt_type, "refine": refine, **encoder},
    )


def _named(adapters: Adapters) -> dict[str, str]:
    if adapters is None:
        return {}
    if isinstance(adapters, Mapping):
        given = [artefact.named_members(name, folder) for name, folder in adapters.items()]
    else:
        folders = [adapters] if isinstance(adapters, str | Path) else adapters
        given = [artefact.members(folder) or {Path(folder).name: str(folder)} for folder in folders]
    named = {name: folder for one in given for name, folder in one.items()}
    if len(named) != sum(map(len, given)):
        raise InputError("Two adapters have the same name. Give a mapping from name to folder.")
    return named


def _sources(
    predictor: Predictor, folders: Mapping[str, str], classes: Mapping[str, tuple[str, ...]],
    prompting: Mapping[str, Any], refine: bool,
) -> list[AdapterSource]:  # fmt: skip
    """One source for each adapter, or the base model alone. All masks of an adapter of one class have that class."""
    with_pmm = {name for name in folders if "pmm" in predictor.segmenter(name).adapters}
    if refine and not with_pmm:
        raise InputError("refine needs an adapter with a PMM (method plm-pmm); none of these adapters has one.")
    if not folders:
        return [AdapterSource.of(predictor, None, None, **prompting)]
    return [
        AdapterSource.of(
            predictor,
            name,
            folder,
            label=classes[name][0] if len(classes[name]) == 1 else None,
            refine=refine and name in with_pmm,
            **prompting,
        )
        for name, folder in folders.items()
    ]


def _classes(folder: str) -> tuple[str, ...]:
    return artefact.read_meta(artefact.folder_of(folder)).classes


def _digests(folders: Mapping[str, str]) -> dict[str, list[str]]:
    """Identity of each adapter and its proposals, independent of where the folder is."""
    digests: dict[str, list[str]] = {}
    for name, folder in folders.items():
        meta = artefact.read_meta(folder) if Path(folder).is_dir() else None
        digest = folder if meta is None else meta.sha256
        digests[name] = [digest, disk.read_meta(folder).sha256 if disk.exists(folder) else ""]
        if meta is not None and meta.inference.exclusive:  # not in the tensors
            digests[name].append(str(sorted(meta.inference.exclusive)))
        if meta is not None and meta.inference.postprocess:
            digests[name].append(str(sorted((way, str(how)) for way, how in meta.inference.postprocess.items())))
    return digests


__all__ = ["Adapters", "Prepared", "label", "prepare"]
