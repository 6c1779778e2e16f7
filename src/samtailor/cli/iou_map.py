"""`samtailor iou-map`: IoU of the predicted mask for each click position."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from samtailor.cli import options
from samtailor.errors import InputError, counted

if TYPE_CHECKING:
    import numpy as np


def iou_map_command(
    pixels: Annotated[Path | None, typer.Argument(metavar="[IMAGE]", help="Image file, with --mask.")] = None,
    mask: Annotated[Path | None, typer.Option(metavar="FILE", help="True mask, as an image file.")] = None,
    data: Annotated[Path | None, typer.Option(metavar="DATA", help="Or a data set, with --id.")] = None,
    id: Annotated[str | None, typer.Option(metavar="ID", help="Image of the data set.")] = None,
    classes: options.Classes = None,
    index: Annotated[int, typer.Option(min=0, metavar="N", help="Mask of the image, counted from 0.")] = 0,
    adapter: options.Adapter = None,
    base: options.AdapterBase = None,
    cells: Annotated[
        int, typer.Option(min=1, max=256, metavar="N", help="Number of clicks along the longer side.")
    ] = 32,
    out: Annotated[Path, typer.Option(metavar="FILE", help="PNG file to write.")] = Path("iou-map.png"),
    json: options.Json = None,
    format: options.Format = None,
    setting: options.DataSetting = None,
    device: options.Device = None,
) -> None:
    """IoU maps of base model and adapter for one mask (Kim et al., Fig. 2b and 9)."""
    image, truth = _target(pixels, mask, data, id, options.names(classes), index, format, setting)
    from samtailor.cli.screen import percent, results
    from samtailor.data.writing import write_json
    from samtailor.evaluation import iou_map as maps
    from samtailor.predict.load import load_predictor
    from samtailor.predict.predictor import BASE

    adapters = options.adapters_by_name([adapter] if adapter else [])
    predictor = load_predictor(adapters, base, device)
    predictor.set_image(image)
    iou_maps = {name: maps.iou_map(predictor, truth, adapter=name, cells=cells) for name in (BASE, *adapters)}
    maps.save(maps.draw(image, truth, iou_maps), out)
    if json is not None:
        write_json(json, {name: one.to_json() for name, one in iou_maps.items()})
    for name, one in iou_maps.items():
        clicks = counted(int(one.inside.sum()), "click")
        results().print(f"{name}: mean IoU {percent(one.mean)} % for {clicks} inside the mask")
    results().print(f"The map is in {out}.", soft_wrap=True)


def _target(
    image: Path | None,
    mask: Path | None,
    data: Path | None,
    id: str | None,
    classes: list[str] | None,
    index: int,
    format: str | None,
    setting: list[str] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 RGB (height, width, 3) and mask bool (height, width)."""
    if image is not None and data is None:
        if mask is None:
            raise InputError("An IoU map needs the true mask; pass it with --mask FILE.")
        from samtailor.data.image import read_image, read_mask

        return read_image(image), read_mask(mask)
    if image is not None or data is None:
        raise InputError("Expected either IMAGE with --mask FILE, or --data DATA with --id ID.")
    from samtailor.data.dataset import open_dataset

    more = options.data_options(setting)
    samples = {sample.id: sample for sample in open_dataset(data, format=format, classes=classes, **more)}
    if id is None or id not in samples:
        some = ", ".join(list(samples)[:5])
        raise InputError(f"{data} has no image {id!r}. Its images are {some}, ... Choose one with --id.")
    targets = samples[id].of(classes)
    if index >= len(targets):
        raise InputError(f"{id} has {counted(len(targets), 'mask')}; --index counts from 0, got {index}.")
    return samples[id].image, targets[index].mask
