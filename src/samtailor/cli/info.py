"""`samtailor info`: describe an adapter or a base model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samtailor.cli import options
from samtailor.errors import InputError
from samtailor.registry import BUNDLED_BASE

if TYPE_CHECKING:
    from samtailor.artefact import AdapterMeta

FIGURES = {
    "start_miou": "held-out mIoU before the fit",
    "held_out_miou": "held-out mIoU",
    "held_out_oracle_miou": "held-out mIoU of the best candidate",
    "held_out_region_miou": "held-out mIoU without a prompt",
    "region_dice": "Dice without a prompt",
}
"""Scores in `AdapterMeta.figures` that `info` shows, in percent; all of them are in the JSON file."""


def info_command(
    source: Annotated[
        str, typer.Argument(metavar="ADAPTER|BASE", help="Adapter folder, also of several classes, or a base model.")
    ] = BUNDLED_BASE,
    json: options.Json = None,
) -> None:
    """Classes, method, scores and settings of an adapter; or size and number of parameters of a base model."""
    from samtailor import artefact
    from samtailor.cli.screen import table
    from samtailor.data.writing import write_json

    described: dict[str, tuple[list[tuple[str, str]], dict[str, Any]]] = {}
    path = Path(source)
    folders = list(artefact.members(path).values()) if path.is_dir() else []
    if path.is_dir() and not folders and not (path / "config.json").is_file():
        raise InputError(
            f"{source} is neither an adapter nor a base model: it has no {artefact.METADATA} and no config.json. "
            "Expected a folder that samtailor fit or save_pretrained has written. For a data set: samtailor check "
            f"{source}."
        )
    for folder in folders:
        meta = artefact.read_meta(folder)
        described[str(folder)] = _adapter(meta), meta.model_dump(mode="json")
    described = described or {source: _base(source)}
    for title, (rows, _) in described.items():
        table(title, ["", ""], [[name, value] for name, value in rows if value])
    if json is not None:
        contents = {title: content for title, (_, content) in described.items()}
        write_json(json, next(iter(contents.values())) if len(contents) == 1 else contents)


def _adapter(meta: AdapterMeta) -> list[tuple[str, str]]:
    inference = meta.inference
    scores = [
        (words, f"{100 * meta.figures[key]:.1f} %")
        for key, words in FIGURES.items()
        if meta.figures.get(key) is not None
    ]
    predicts = "one region per image" if inference.regions else "one object per prompt"
    return [
        ("method", meta.method),
        ("classes", ", ".join(meta.classes)),
        ("base model", f"{meta.base.name} ({meta.base.parameters:,} parameters)"),
        (
            "companion",
            "" if meta.companion is None else f"{meta.companion.name} ({meta.companion.parameters:,} parameters)",
        ),
        ("adapter parameters", f"{sum(meta.parameters.values()):,}"),
        ("prompt", inference.prompt or "clicks"),
        ("predicts", predicts),
        ("postprocessing", "; ".join(f"{way}: {how}" for way, how in inference.postprocess.items() if not how.nothing)),
        *scores,
        ("click adapter strength", f"{meta.figures['alpha']:g}" if meta.figures.get("alpha") is not None else ""),
        ("training steps", f"{meta.steps:,}"),
        ("seed", str(meta.seed)),
        ("options", ", ".join(f"{name}={value}" for name, value in meta.options.items())),
        ("created", meta.created),
        ("samtailor version", meta.versions.get("samtailor", "")),
    ]


def _base(source: str) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    from samtailor.bases import load_base
    from samtailor.compare import parameters

    base = load_base(source)
    counts = parameters(base)
    content = {
        "name": base.name,
        "fingerprint": base.fingerprint,
        "model_frame": f"{base.size} x {base.size} px, " + ("squashed" if base.squash else "padded"),
        "token_width": base.dim,
        "embedding": f"{base.grid} x {base.grid} cells",
        "parameters": counts,
        "adapter_sites": ", ".join(base.sites),
    }
    titles = {
        "base": "parameters",
        "image_encoder": "of the image encoder",
        "prompt_encoder": "of the prompt encoder",
        "mask_decoder": "of the mask decoder",
        "plm": "of a PLM adapter",
        "plm_paper": "of the PLM of the paper",
        "pmm": "of a PMM",
    }
    how = "stretched to a square" if base.squash else "resized and padded to a square"
    rows = [
        ("name", base.name),
        ("input", f"{base.size} x {base.size} px, {how}"),
        ("image embedding", f"{base.grid} x {base.grid} cells of {base.dim} channels"),
        *((titles[key], f"{counts[key]:,}") for key in titles if key in counts),
        ("fingerprint", base.fingerprint),
    ]
    return rows, content


__all__ = ["FIGURES", "info_command"]
