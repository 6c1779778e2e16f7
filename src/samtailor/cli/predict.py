"""`samtailor predict`: images and prompts to masks on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samtailor.cli import options
from samtailor.errors import InputError

if TYPE_CHECKING:
    from samtailor.predict.predictor import Predictor
    from samtailor.predict.prompt import ObjectPrompt

Adapters = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter", metavar="[NAME=]DIR", help="Adapter folder; give it again for more. None: the base alone."
    ),
]


def predict_command(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Image files and folders.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="New folder for the result.")] = Path("predictions"),
    adapter: Adapters = None,
    base: Annotated[
        str | None, typer.Option(metavar="BASE", help="Base model; default: the adapter's own, else nano.")
    ] = None,
    click: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X,Y[,LABEL]",
            help="A click in pixels; LABEL 1 object (default), 0 not the object. Give it again for more clicks on "
            "the same object.",
        ),
    ] = None,
    box: Annotated[str | None, typer.Option(metavar="X0,Y0,X1,Y1", help="A box in pixels.")] = None,
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
        typer.Option(metavar="auto", help="auto: no human prompt; proposals or a detector say where to look."),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Detector for auto: an .onnx file, or hub id or folder of transformers."),
    ] = None,
    detector_classes: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="Only these classes of the detector; its text, where it takes one."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, metavar="T", help="Lowest score of a proposal for auto.")
    ] = None,
    give: Annotated[
        str | None,
        typer.Option(metavar="points|boxes", help="What auto asks with; default: as the adapter was fitted."),
    ] = None,
    with_base: Annotated[bool, typer.Option("--with-base", help="Also the answer of the base alone.")] = False,
    device: options.Device = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Masks for clicks or boxes: COCO JSON with run-length encoded masks, mask PNGs, overlays.

    One prompt for all images with --click or --box, one file with prompts of each image, or --prompt auto.
    """
    if prompt is not None or detector is not None:
        if prompt not in (None, "auto") or click or box or prompts:
            raise InputError("--prompt takes auto, and goes without --click, --box and --prompts.")
        return _automatic(
            images, out, adapter or [], base, with_base, device, overwrite,
            detector=detector, classes=options.names(detector_classes), threshold=threshold, give=give,
        )  # fmt: skip
    asked = _asks(click or [], box, prompts)
    from samtailor.cli.screen import counting, say
    from samtailor.predict.files import find_images, predict_files

    found = find_images(images)
    per_image = {name: asked for name in found} if isinstance(asked, list) else _matched(asked, found)
    predictor, names = load_predictor(adapter or [], base, device)
    with counting("images") as progress:
        coco = predict_files(
            predictor,
            found,
            per_image,
            out,
            adapters=[*([None] if with_base or not names else []), *names],
            overwrite=overwrite,
            progress=progress,
        )
    say(f"{len(coco['annotations'])} masks of {len(coco['images'])} images are in {out}.")


def _automatic(
    images: list[Path],
    out: Path,
    adapters: list[str],
    base: str | None,
    with_base: bool,
    device: str | None,
    overwrite: bool,
    **asked: Any,
) -> None:
    """Masks of what is proposed; images in which nothing is found are named."""
    from samtailor.cli.screen import counting, say
    from samtailor.predict.files import find_images, predict_files
    from samtailor.predict.source import AdapterSource

    found = find_images(images)
    predictor, names = load_predictor(adapters, base, device)
    folders = dict(zip(names, (text.rpartition("=")[2] for text in adapters), strict=True))
    who: list[str | None] = [*([None] if with_base or not names else []), *names]
    asked["prompt_type"] = asked.pop("give")
    sources = [AdapterSource.of(predictor, name, folders.get(name) if name else None, **asked) for name in who]
    with counting("images") as progress:
        coco = predict_files(
            predictor, found, {}, out, sources=sources, overwrite=overwrite, progress=progress,
        )  # fmt: skip
    empty = [image["file_name"] for image in coco["images"] if not image["objects"]]
    say(f"{len(coco['annotations'])} masks of {len(coco['images'])} images are in {out}.")
    if empty:
        more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
        say(f"Nothing was found in {len(empty)} of {len(coco['images'])}: {', '.join(empty[:5])}{more}.")


def load_predictor(adapters: list[str], base: str | None, device: str | None) -> tuple[Predictor, list[str]]:
    """A predictor with adapters given as DIR or NAME=DIR, and their names."""
    from samtailor.artefact import base_of
    from samtailor.predict.predictor import Predictor

    named: dict[str, str] = {}
    for text in adapters:
        name, equals, folder = text.partition("=")
        name, folder = (name, folder) if equals else (Path(text).name, text)
        if name in named:
            raise InputError(f"Two adapters are called {name!r}; name them: --adapter one=DIR --adapter two=DIR.")
        named[name] = folder
    base = base or (base_of(next(iter(named.values()))) if named else "nano")
    return Predictor.from_pretrained(base, named, device=device), list(named)


def _asks(
    clicks: list[str], box: str | None, prompts: Path | None
) -> list[ObjectPrompt] | dict[str, list[ObjectPrompt]]:
    from samtailor.predict.files import read_prompts
    from samtailor.predict.prompt import ObjectPrompt

    if prompts is not None:
        if clicks or box:
            raise InputError("Give prompts either with --prompts or with --click and --box, not both.")
        return read_prompts(prompts)
    if not clicks and box is None:
        raise InputError("Say what to segment: --click X,Y or --box X0,Y0,X1,Y1 or --prompts FILE or --prompt auto.")
    points = []
    for text in clicks:
        x, y, *label = options.numbers(text, (2, 3), "a click as X,Y or X,Y,LABEL in pixels")
        if label and label[0] not in (0, 1):
            raise InputError(f"The label of a click is 1 (object) or 0 (not the object), got {text!r}.")
        points.append((x, y, int(label[0]) if label else 1))
    corners = None if box is None else tuple(options.numbers(box, (4,), "a box as X0,Y0,X1,Y1 in pixels"))
    return [ObjectPrompt(tuple(points), corners)]


def _matched(asks: dict[str, list[ObjectPrompt]], images: dict[str, Path]) -> dict[str, list[ObjectPrompt]]:
    """Prompts by the images' names; the file may say "street.jpg", "trip/street" or "street"."""
    keys = {key: name for name, path in images.items() for key in (name, path.name, path.stem, str(path))}
    unknown = [key for key in asks if key not in keys]
    if unknown:
        raise InputError(f"The prompts name {unknown[0]!r}, which is not among the images ({', '.join(images)}).")
    return {keys[key]: entries for key, entries in asks.items()}
