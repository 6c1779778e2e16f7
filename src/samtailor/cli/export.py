"""`samtailor export`: export an adapter for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from samtailor.cli import options


def export_command(
    adapter: Annotated[str, typer.Argument(metavar="ADAPTER", help="Adapter folder or hub id.")],
    to: Annotated[str, typer.Option(metavar="NAME", help="Target: {export}.")] = "onnx",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="New folder; default: name of the adapter and of the target.")
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Also write files with 8-bit weights, and report their loss of IoU.")
    ] = False,
    all_masks: Annotated[
        bool,
        typer.Option(
            "--all-masks",
            help="SAM 1: output all candidate masks instead of the best one. Annotation tools show the first.",
        ),
    ] = False,
    overwrite: options.Overwrite = False,
) -> None:
    """Encoder and adapted decoder as ONNX, with configuration files for X-AnyLabeling, AnyLabeling and CVAT.

    The export is verified: nothing is written unless onnxruntime reproduces the masks of the adapter.
    """
    from samtailor import artefact
    from samtailor.cli.screen import percent, say
    from samtailor.registry import find

    module = find("export", to)
    loaded = artefact.load(adapter)
    name = Path(adapter).name
    folder = out or Path(f"{name}-{to}")
    report = module.export(
        loaded.segmenter,
        folder,
        name=name,
        classes=loaded.meta.classes,
        int8=int8,
        all_masks=all_masks,
        overwrite=overwrite,
        progress=say,
    )
    say(_agreement(report["parity"]))
    for part, loss in report.get("int8", {}).items():
        mean, lowest = percent(loss["mean_iou"]), percent(loss["lowest_iou"])
        say(f"int8 {part}: IoU with the float32 masks {mean} % on average, {lowest} % minimum ({loss['masks']} masks).")
    for program, file in report["annotators"].items():
        say(f"{program}: {file}")
    say(f"The export is in {folder}.")


def _agreement(parity: dict[str, Any]) -> str:
    worst = max(parity["largest_difference"].values())
    return (
        f"onnxruntime agrees with torch on {parity['prompts']} prompts: largest difference {worst:.1e} of the largest "
        f"value (tolerance {parity['tolerance']:g})."
    )
