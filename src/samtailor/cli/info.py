"""`samtailor info`: what an adapter or a base is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from samtailor.cli import options


def info_command(
    source: Annotated[str, typer.Argument(metavar="ADAPTER|BASE", help="Adapter folder, or a base model.")] = "nano",
    json: options.Json = None,
) -> None:
    """What an adapter was fitted on and how good it is, or what a base model weighs (Kim et al., Table 4)."""
    from samtailor.cli.screen import table
    from samtailor.data.writing import write_json

    content = _adapter(source) if (Path(source) / "adapter.json").is_file() else _base(source)
    rows = [[name.replace("_", " "), _text(value)] for name, value in content.items() if value not in (None, {}, [])]
    table(source, ["", ""], rows)
    if json is not None:
        write_json(json, content)


def _adapter(source: str) -> dict[str, Any]:
    from samtailor import artefact

    return artefact.read_meta(source).model_dump(mode="json")


def _base(source: str) -> dict[str, Any]:
    from samtailor.bases import load_base
    from samtailor.compare import parameters

    base = load_base(source)
    return {
        "name": base.name,
        "fingerprint": base.fingerprint,
        "model_frame": f"{base.size} x {base.size} px, " + ("squashed" if base.squash else "padded"),
        "token_width": base.dim,
        "embedding": f"{base.grid} x {base.grid} cells",
        "parameters": parameters(base),
        "adapter_sites": ", ".join(base.sites),
    }


def _text(value: Any) -> str:
    if isinstance(value, dict):
        width = max(len(str(key)) for key in value) if value else 0
        return "\n".join(f"{str(key).replace('_', ' '):<{width}}  {_text(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
