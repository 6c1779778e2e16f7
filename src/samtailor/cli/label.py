"""`samtailor label`: label images with adapters, without prompts."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from samtailor.cli import options
from samtailor.cli.encoder_options import EncoderPrecision
from samtailor.errors import counted

if TYPE_CHECKING:
    from samtailor.labelling import Labelled


def label_command(
    images: options.Images,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the result; an interrupted run continues.")
    ] = Path("labels"),
    adapter: options.Adapters = None,
    format: Annotated[str, typer.Option(metavar="NAME", help="Output format: {writers}.")] = "coco",
    base: options.AdapterBase = None,
    detector: options.Detector = None,
    detector_classes: options.DetectorClasses = None,
    threshold: options.Threshold = None,
    prompt_type: options.PromptType = None,
    vertices: options.Vertices = None,
    refine: options.Refine = False,
    tile: options.TileSide = None,
    overlap: options.TileOverlap = 0.25,
    image_files: options.ImageFiles = "copy",
    rle: options.RunLengths = False,
    setting: options.FormatOption = None,
    device: options.Device = None,
    precision: EncoderPrecision = "fp32",
    max_pixels: options.MaxPixels = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Label images without prompts: objects are found by the proposals of each adapter or by a detector.

    Run the same command again to continue an interrupted run. Unreadable images are listed at the end (exit code 1).
    """
    from samtailor.cli.progress import counting
    from samtailor.labelling.api import label

    options.allow_pixels(max_pixels)
    with counting("Labeling images") as progress:
        result = label(
            images, options.adapters_by_name(adapter or []), out, format, base=base, detector=detector,
            detector_classes=options.names(detector_classes), threshold=threshold, prompt_type=prompt_type,
            vertices=vertices, refine=refine, tile=tile, overlap=overlap, image_files=image_files,
            options=options.format_options(rle, setting), device=device,
            precision=precision, overwrite=overwrite, progress=progress,
        )  # fmt: skip
    print_result(result, out, format, image_files)
    if result.unreadable:
        raise typer.Exit(1)


def print_result(result: Labelled, out: Path, format: str, image_files: str) -> None:
    """Print what was labeled, what could not be read, and how to look at the result, if its format can be read."""
    from samtailor.cli.screen import say
    from samtailor.registry import find, names

    earlier = f" ({result.earlier} from an earlier run)" if result.earlier else ""
    total = result.objects.total()
    what = " (boxes)" if total and result.boxes == total else ""
    objects = ", ".join(f"{number} {name}{what}" for name, number in sorted(result.objects.items())) or "no objects"
    say(f"{counted(result.images, 'image')}{earlier} with {objects} in {out}.")
    if total and result.images > 1:
        each = "; ".join(f"{name} {result.per_image(name)}" for name in sorted(result.objects))
        say(f"Objects per image: {each} (counts of every image: label.json).")
    if result.empty:
        more = f" and {len(result.empty) - 5} more" if len(result.empty) > 5 else ""
        say(f"{counted(len(result.empty), 'image')} without objects: {', '.join(result.empty[:5])}{more}.")
    if result.boxes:
        say(f"The masks of {result.boxes} of {counted(total, 'object')} are boxes, not outlines.")
    if result.empty_masks:
        say(f"{counted(result.empty_masks, 'prediction')} without a pixel left out.")
    for sentence in result.report.sentences():
        say(sentence)
    if result.unreadable:
        say(f"{counted(len(result.unreadable), 'image')} could not be read:")
        for path, reason in result.unreadable.items():
            say(f"  {reason if path in reason else f'{path}: {reason}'}")
    if total and image_files != "none" and format in names("formats"):
        settings = getattr(find("writers", format), "READ_WITH", {})
        words = [str(out), *(f"--set=data_options.{key}={value}" for key, value in settings.items())]
        say(f"To look at the masks: samtailor check {shlex.join([*words, '--html', f'{out}.html'])}")
