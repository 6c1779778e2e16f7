"""`samtailor label`: many images labelled by several adapters, written in a format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samtailor.cli import options
from samtailor.cli.predict import Adapters, load_predictor
from samtailor.errors import InputError

if TYPE_CHECKING:
    from samtailor.labelling import Labelled
    from samtailor.predict.predictor import Predictor
    from samtailor.predict.source import AdapterSource


def label_command(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Image files and folders.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the result; of a stopped run to go on.")],
    adapter: Adapters = None,
    format: Annotated[
        str, typer.Option(metavar="NAME", help="coco, yolo, voc, labelme, masks, label-studio or cvat.")
    ] = "coco",
    base: Annotated[
        str | None, typer.Option(metavar="BASE", help="Base model; default: the adapter's own, else nano.")
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Where to look: an .onnx file, hub id or folder; default: own proposals."),
    ] = None,
    detector_classes: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Only these classes of the detector; its text.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, metavar="T", help="Lowest score.")] = None,
    give: Annotated[
        str | None, typer.Option(metavar="points|boxes", help="What is asked with; default: as the adapter was fitted.")
    ] = None,
    vertices: Annotated[
        int | None, typer.Option(min=3, metavar="N", help="At most so many vertices an object; default: half a pixel.")
    ] = None,
    refine: Annotated[
        bool, typer.Option("--refine", help="Move outlines by the PMM of adapters that have one.")
    ] = False,
    tile: Annotated[
        int | None, typer.Option(min=32, metavar="SIDE", help="Cut larger images into tiles of so many pixels.")
    ] = None,
    overlap: Annotated[float, typer.Option(min=0, max=0.9, metavar="SHARE", help="Overlap of tiles.")] = 0.25,
    put: Annotated[str, typer.Option("--images", metavar="copy|link|none", help="The images in the result.")] = "copy",
    device: options.Device = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Label images with no click at all; each adapter's proposals or a detector say where to look.

    Stopped, the same command goes on. Images that cannot be read are listed at the end (exit code 1).
    """
    from samtailor.cli.screen import counting
    from samtailor.labelling import Tiling, label
    from samtailor.predict.files import find_images

    found = find_images(images)
    predictor, names = load_predictor(adapter or [], base, device)
    folders = dict(zip(names, (text.rpartition("=")[2] for text in adapter or []), strict=True))
    classes = _classes(folders)
    asked = {
        "detector": detector,
        "classes": options.names(detector_classes),
        "threshold": threshold,
        "give": give,
    }
    sources = _sources(predictor, folders, classes, asked, refine)
    with counting("images") as progress:
        done = label(
            predictor, sources, found, out, format=format,
            classes=list(dict.fromkeys(name for own in classes.values() for name in own)),
            vertices=vertices, tiling=None if tile is None else Tiling(tile, overlap), put=put,
            settings={"adapters": _digests(folders), **asked, "refine": refine},
            overwrite=overwrite, progress=progress,
        )  # fmt: skip
    _tell(done, out)
    if done.unreadable:
        raise typer.Exit(1)


def _sources(
    predictor: Predictor, folders: Mapping[str, str], classes: Mapping[str, tuple[str, ...]],
    asked: dict[str, Any], refine: bool,
) -> list[AdapterSource]:  # fmt: skip
    """One for each adapter, or the base alone. What an adapter of one class answers is of that class."""
    from samtailor.predict.source import AdapterSource

    with_pmm = {name for name in folders if "pmm" in predictor.segmenter(name).adapters}
    if refine and not with_pmm:
        raise InputError("--refine needs an adapter with a PMM (method plm-pmm); none of these has one.")
    sources = []
    for name in [*folders] or [None]:
        own = classes.get(name, ()) if name else ()
        folder = folders.get(name) if name else None
        source = AdapterSource.of(
            predictor, name, folder, detector=asked["detector"], classes=asked["classes"],
            threshold=asked["threshold"], prompt_type=asked["give"], label=own[0] if len(own) == 1 else None,
            refine=refine and name in with_pmm,
        )  # fmt: skip
        sources.append(source)
    return sources


def _classes(folders: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    from samtailor.artefact import read_meta

    return {name: read_meta(folder).classes for name, folder in folders.items() if Path(folder).is_dir()}


def _digests(folders: Mapping[str, str]) -> dict[str, list[str]]:
    """What tells one adapter and its proposals from another, wherever its folder lies."""
    from samtailor.artefact import read_meta
    from samtailor.proposals import disk

    found = {}
    for name, folder in folders.items():
        digest = read_meta(folder).sha256 if Path(folder).is_dir() else folder
        found[name] = [digest, disk.read_meta(folder).sha256 if disk.exists(folder) else ""]
    return found


def _tell(done: Labelled, out: Path) -> None:
    from samtailor.cli.screen import say
    from samtailor.errors import counted

    earlier = f" ({done.earlier} of an earlier run)" if done.earlier else ""
    objects = ", ".join(f"{number} {name}" for name, number in sorted(done.objects.items())) or "no object"
    say(f"{counted(done.images, 'image')}{earlier} with {objects} in {out}.")
    if done.empty:
        more = f" and {len(done.empty) - 5} more" if len(done.empty) > 5 else ""
        say(f"Nothing was found in {len(done.empty)}: {', '.join(done.empty[:5])}{more}.")
    if done.unreadable:
        say(f"{counted(len(done.unreadable), 'image')} could not be read:")
        for path, reason in done.unreadable.items():
            say(f"  {reason if path in reason else f'{path}: {reason}'}")
