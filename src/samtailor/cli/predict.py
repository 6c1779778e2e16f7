"""`samtailor predict`: predict masks for clicks, boxes, or without prompts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samtailor.cli import options
from samtailor.cli.encoder_options import EncoderPrecision
from samtailor.errors import InputError, counted

if TYPE_CHECKING:
    from samtailor.predict.prompt import ObjectPrompt


def predict_command(
    images: options.Images,
    out: Annotated[Path, typer.Option(metavar="DIR", help="New folder for the result.")] = Path("predictions"),
    adapter: options.Adapters = None,
    base: options.AdapterBase = None,
    click: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X,Y[,LABEL]",
            help="Click in pixels; LABEL 1: object (default), 0: background. Repeat for more clicks on the same "
            "object.",
        ),
    ] = None,
    box: Annotated[str | None, typer.Option(metavar="X0,Y0,X1,Y1", help="Box in pixels.")] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help='JSON: {"street.jpg": [{"points": [[320, 240]], "labels": [1], "box": [300, 200, 400, 300], '
            '"label": "banner"}]}',
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="auto",
            help="auto: find the objects with proposals or a detector; default with an adapter and no other prompt.",
        ),
    ] = None,
    detector: options.Detector = None,
    detector_classes: options.DetectorClasses = None,
    threshold: options.Threshold = None,
    prompt_type: options.PromptType = None,
    with_base: Annotated[bool, typer.Option("--with-base", help="Also predict with the base model alone.")] = False,
    format: Annotated[
        str | None, typer.Option(metavar="NAME", help="Also write a data set to OUT/NAME: {writers}.")
    ] = None,
    rle: options.RunLengths = False,
    setting: options.FormatOption = None,
    device: options.Device = None,
    precision: EncoderPrecision = "fp32",
    max_pixels: options.MaxPixels = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Masks for clicks or boxes: COCO JSON with run-length encoded masks, mask PNGs, overlays.

    The same prompt for all images with --click or --box, or prompts for each image from a file. Without any of them
    the adapter finds the objects by itself (--prompt auto).
    """
    options.allow_pixels(max_pixels)
    if format is None and (rle or setting):
        raise InputError("--rle and --set are options of an output format: give --format NAME too.")
    written: dict[str, Any] = {"format": format, "options": options.format_options(rle, setting)}
    promptless = not (click or box or prompts)
    if prompt is not None or detector is not None or (promptless and adapter):
        if prompt not in (None, "auto") or click or box or prompts:
            raise InputError("--prompt must be auto, and excludes --click, --box and --prompts.")
        automatic: dict[str, Any] = {
            "detector": detector,
            "classes": options.names(detector_classes),
            "threshold": threshold,
            "prompt_type": prompt_type,
        }
        return _automatic(images, out, adapter or [], base, with_base, device, precision, overwrite, automatic, written)
    given = _prompts(click or [], box, prompts)
    from samtailor.cli.progress import counting
    from samtailor.cli.screen import say
    from samtailor.predict.files import find_images, predict_files
    from samtailor.predict.load import load_predictor

    files = find_images(images)
    per_image = {name: given for name in files} if isinstance(given, list) else _matched(given, files)
    adapters = options.adapters_by_name(adapter or [])
    predictor = load_predictor(adapters, base, device, precision)
    with counting("Predicting masks") as progress:
        coco = predict_files(
            predictor,
            files,
            per_image,
            out,
            adapters=[*([None] if with_base or not adapters else []), *adapters],
            overwrite=overwrite,
            progress=progress,
            **written,
        )
    _say(coco, out)
    types = {"click" if one.box is None else "box" for prompts in per_image.values() for one in prompts}
    for sentence in adapter_notes(adapters, coco, types):
        say(sentence)


def _automatic(
    images: list[Path],
    out: Path,
    adapters: list[str],
    base: str | None,
    with_base: bool,
    device: str | None,
    precision: str,
    overwrite: bool,
    automatic: dict[str, Any],
    written: dict[str, Any],
) -> None:
    """Masks of proposed objects; images without objects are listed."""
    from samtailor.cli.progress import counting
    from samtailor.cli.screen import say
    from samtailor.predict.files import find_images, predict_files
    from samtailor.predict.load import load_predictor
    from samtailor.predict.source import AdapterSource

    files = find_images(images)
    named = options.adapters_by_name(adapters)
    predictor = load_predictor(named, base, device, precision)
    folders: dict[str | None, str] = {name: folder for name, folder in named.items()}
    used: list[str | None] = [*([None] if with_base or not named else []), *named]
    sources = [AdapterSource.of(predictor, name, folders.get(name), **automatic) for name in used]
    with counting("Predicting masks") as progress:
        coco = predict_files(
            predictor, files, {}, out, sources=sources, overwrite=overwrite, progress=progress, **written
        )
    empty = [image["file_name"] for image in coco["images"] if not image["objects"]]
    _say(coco, out)
    if empty:
        more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
        say(f"No objects in {len(empty)} of {counted(len(coco['images']), 'image')}: {', '.join(empty[:5])}{more}.")


def adapter_notes(adapters: Mapping[str, str], coco: Mapping[str, Any], types: Collection[str]) -> Iterator[str]:
    """Sentences for prompts that the base model answered, and for classes that an adapter was not fitted to.

    Args:
        adapters: name to folder.
        coco: content of predictions.json.
        types: types of the prompts, "click" and "box".
    """
    from samtailor import artefact

    names = {one["id"]: one["name"] for one in coco["categories"]}
    for adapter, folder in adapters.items():
        meta = artefact.read_meta(artefact.folder_of(folder))
        if base := [name for name in meta.inference.base_prompts if name in types]:
            plural = " and ".join({"click": "clicks", "box": "boxes"}[name] for name in base)
            yield f"The base model answers {plural}: the adapter {adapter} was not better there."
        labels = dict.fromkeys(names[a["category_id"]] for a in coco["annotations"] if a["adapter"] == adapter)
        known = (*meta.classes, adapter, "object")
        if others := [label for label in labels if meta.classes and label not in known]:
            yield f"The adapter {adapter} segments {', '.join(meta.classes)}; it was not fitted to {', '.join(others)}."


def _say(coco: dict[str, Any], out: Path) -> None:
    from samtailor.cli.screen import say
    from samtailor.masks.rle import from_json, is_box

    number, boxes = len(coco["annotations"]), sum(is_box(from_json(a["segmentation"])) for a in coco["annotations"])
    masks = counted(number, "box", "boxes") if number and boxes == number else counted(number, "mask")
    say(f"{masks} in {counted(len(coco['images']), 'image')} written to {out}.")
    if coco["empty"]:
        files = {image["id"]: image["file_name"] for image in coco["images"]}
        where = list(dict.fromkeys(files[one["image_id"]] for one in coco["empty"]))
        more = f" and {len(where) - 5} more" if len(where) > 5 else ""
        say(f"{counted(len(coco['empty']), 'prompt')} with an empty mask, left out: {', '.join(where[:5])}{more}.")
    if "dataset" in coco:
        about = coco["dataset"]
        say(f"A data set in the format {about['format']} with {counted(about['written'], 'object')} is in "
            f"{out / about['format']}.")  # fmt: skip
        for sentence in about["sentences"]:
            say(sentence)


def _prompts(
    clicks: Sequence[str], box: str | None, prompts: Path | None
) -> list[ObjectPrompt] | dict[str, list[ObjectPrompt]]:
    from samtailor.predict.files import read_prompts
    from samtailor.predict.prompt import ObjectPrompt

    if prompts is not None:
        if clicks or box:
            raise InputError("Prompts come either from --prompts or from --click and --box, not both.")
        return read_prompts(prompts)
    if not clicks and box is None:
        raise InputError(
            "A prompt is missing: --click X,Y or --box X0,Y0,X1,Y1 or --prompts FILE. With --adapter DIR or --detector "
            "FILE objects are found without one."
        )
    points = []
    for text in clicks:
        x, y, *label = options.numbers(text, (2, 3), "a click as X,Y or X,Y,LABEL in pixels")
        if label and label[0] not in (0, 1):
            raise InputError(f"The label of a click must be 1 (object) or 0 (background), got {text!r}.")
        points.append((x, y, int(label[0]) if label else 1))
    if box is None:
        return [ObjectPrompt(tuple(points))]
    x0, y0, x1, y1 = options.numbers(box, (4,), "a box as X0,Y0,X1,Y1 in pixels")
    return [ObjectPrompt(tuple(points), (x0, y0, x1, y1))]


def _matched(prompts: dict[str, list[ObjectPrompt]], images: dict[str, Path]) -> dict[str, list[ObjectPrompt]]:
    """Prompts by name of the image; the file may contain "street.jpg", "trip/street" or "street"."""
    keys = {key: name for name, path in images.items() for key in (name, path.name, path.stem, str(path))}
    unknown = [key for key in prompts if key not in keys]
    if unknown:
        raise InputError(f"The prompts contain {unknown[0]!r}, which is not one of the images ({', '.join(images)}).")
    return {keys[key]: entries for key, entries in prompts.items()}
