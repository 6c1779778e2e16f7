"""`samtailor iou-map`: click everywhere, colour by what comes back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from samtailor.cli import options
from samtailor.cli.predict import load_predictor
from samtailor.errors import InputError, counted

if TYPE_CHECKING:
    import numpy as np


def iou_map_command(
    pixels: Annotated[Path | None, typer.Argument(metavar="[IMAGE]", help="An image file, with --mask.")] = None,
    mask: Annotated[Path | None, typer.Option(metavar="FILE", help="Its mask, as an image.")] = None,
    data: Annotated[Path | None, typer.Option(metavar="DATA", help="Or a data set, with --id.")] = None,
    id: Annotated[str | None, typer.Option(metavar="ID", help="Image of the data set.")] = None,
    classes: options.Classes = None,
    index: Annotated[int, typer.Option(min=0, metavar="N", help="Which mask of the image, counted from 0.")] = 0,
    adapter: Annotated[str | None, typer.Option(metavar="[NAME=]DIR", help="Adapter beside the base.")] = None,
    base: Annotated[
        str | None, typer.Option(metavar="BASE", help="Base model; default: the adapter's own, else nano.")
    ] = None,
    cells: Annotated[int, typer.Option(min=1, max=256, metavar="N", help="Clicks along the longer side.")] = 32,
    out: Annotated[Path, typer.Option(metavar="FILE", help="PNG to write.")] = Path("iou-map.png"),
    json: options.Json = None,
    format: options.Format = None,
    device: options.Device = None,
) -> None:
    """IoU map of one mask (Kim et al., Fig. 2b and 9): base and adapter side by side."""
    image, truth = _target(pixels, mask, data, id, options.names(classes), index, format)
    from samtailor.cli.screen import percent, results
    from samtailor.data.writing import write_json
    from samtailor.evaluation import iou_map as maps

    predictor, names = load_predictor([adapter] if adapter else [], base, device)
    predictor.set_image(image)
    found = {
        name or "base": maps.iou_map(predictor, truth, adapter=name or "base", cells=cells) for name in (None, *names)
    }
    maps.save(maps.draw(image, truth, found), out)
    if json is not None:
        write_json(json, {name: one.to_json() for name, one in found.items()})
    for name, one in found.items():
        clicks = counted(int(one.inside.sum()), "click")
        results().print(f"{name}: mean IoU {percent(one.mean)} over {clicks} inside the mask")
    results().print(f"The map is in {out}.", soft_wrap=True)


def _target(
    image: Path | None,
    mask: Path | None,
    data: Path | None,
    id: str | None,
    classes: list[str] | None,
    index: int,
    format: str | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 RGB (height, width, 3) and mask bool (height, width)."""
    if (image is None) == (data is None):
        raise InputError("Give either IMAGE with --mask FILE, or --data DATA with --id ID.")
    if image is not None:
        if mask is None:
            raise InputError("An IoU map needs the true mask: give it with --mask FILE.")
        from samtailor.data.image import read_image, read_mask

        return read_image(image), read_mask(mask)
    from samtailor.data.dataset import open_dataset

    samples = {sample.id: sample for sample in open_dataset(data, format=format, classes=classes)}
    if id not in samples:
        some = ", ".join(list(samples)[:5])
        raise InputError(f"{data} has no image {id!r}. Its images are {some}, ... Give one with --id.")
    targets = samples[id].of(classes)
    if index >= len(targets):
        has = counted(len(targets), "mask")
        raise InputError(f"{id} has {has}; --index {index} is beyond them (they count from 0).")
    return samples[id].image, targets[index].mask
