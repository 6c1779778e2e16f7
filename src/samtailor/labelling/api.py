"""`samtailor.label`: label images with adapters and write a data set, as `samtailor label` does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
        adapters: folder or hub id of an adapter, several of them, or a mapping from name to folder; None uses the
            base model alone, which needs a detector.
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
    folders = _named(adapters)
    predictor = load_predictor(folders, base, device, precision)
    classes = {name: _classes(folder) for name, folder in folders.items()}
    prompting = {"detector": detector, "classes": detector_classes, "threshold": threshold}
    sources = _sources(predictor, folders, classes, {**prompting, "prompt_type": prompt_type}, refine)
    if progress is None and verbose:
        progress = count_lines(ProgressLines(), "Labeling images")
    return labelling.label(
        predictor, sources, files, out, format=format,
        classes=list(dict.fromkeys(name for names in classes.values() for name in names)),
        vertices=vertices, tiling=None if tile is None else Tiling(tile, overlap), put=image_files, options=options,
        # "give": the name in results of version 0.1, which must stay comparable
        settings={"adapters": _digests(folders), **prompting, "give": prompt_type, "refine": refine},
        overwrite=overwrite, progress=progress,
    )  # fmt: skip


def _named(adapters: Adapters) -> dict[str, str]:
    if adapters is None:
        return {}
    if isinstance(adapters, Mapping):
        return {name: str(folder) for name, folder in adapters.items()}
    folders = [adapters] if isinstance(adapters, str | Path) else adapters
    named = {Path(folder).name: str(folder) for folder in folders}
    if len(named) != len(folders):
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
    return artefact.read_meta(folder).classes if Path(folder).is_dir() else ()


def _digests(folders: Mapping[str, str]) -> dict[str, list[str]]:
    """Identity of each adapter and its proposals, independent of where the folder is."""
    digests = {}
    for name, folder in folders.items():
        digest = artefact.read_meta(folder).sha256 if Path(folder).is_dir() else folder
        digests[name] = [digest, disk.read_meta(folder).sha256 if disk.exists(folder) else ""]
    return digests


__all__ = ["Adapters", "label"]
