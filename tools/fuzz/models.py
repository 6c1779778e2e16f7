"""Readers of base models, adapters and proposals, and the valid files that are damaged for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from fuzz.layouts import Reader


def without_seal(file: Path) -> None:
    """Drop the checksum of a file, since nearly every change would be refused for it alone."""
    values = json.loads(file.read_text())
    values.pop("crc32")
    file.write_text(json.dumps(values))


@cache
def _base() -> Any:
    import torch
    from transformers import SamConfig, SamModel

    from samtailor.bases.sam import Sam
    from tiny import SAM

    torch.manual_seed(0)
    return Sam(SamModel(SamConfig(**SAM)).eval(), "tiny")


def _base_folder(folder: Path) -> None:
    _base().model.save_pretrained(folder)


def _load_base(name: str) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        from samtailor.bases import load_base

        load_base(folder / name if name else folder)

    return read


_META = {  # names of transformers to Meta's, replaced in this order
    "vision_encoder.patch_embed.projection": "image_encoder.patch_embed.proj",
    "vision_encoder.layers": "image_encoder.blocks",
    "vision_encoder.neck.conv1": "image_encoder.neck.0",
    "vision_encoder.neck.layer_norm1": "image_encoder.neck.1",
    "vision_encoder.neck.conv2": "image_encoder.neck.2",
    "vision_encoder.neck.layer_norm2": "image_encoder.neck.3",
    "vision_encoder": "image_encoder",
    "prompt_encoder.point_embed": "prompt_encoder.point_embeddings",
    "mask_embed.conv1": "mask_downscaling.0",
    "mask_embed.layer_norm1": "mask_downscaling.1",
    "mask_embed.conv2": "mask_downscaling.3",
    "mask_embed.layer_norm2": "mask_downscaling.4",
    "mask_embed.conv3": "mask_downscaling.6",
    "layer_norm_final_attn": "norm_final_attn",
    "layer_norm": "norm",
    "upscale_conv1": "output_upscaling.0",
    "upscale_norm": "output_upscaling.1",
    "upscale_conv2": "output_upscaling.3",
    ".layers.0.weight": ".layers.1.weight",
    ".layers.0.bias": ".layers.1.bias",
    "proj_in": "layers.0",
    "proj_out": "layers.2",
}


def _pth(folder: Path) -> None:
    import torch
    from transformers import SamConfig, SamModel

    from samtailor.bases._meta import FOURIER
    from tiny import SAM

    decoder = SAM["mask_decoder_config"] | {"num_attention_heads": 8}  # always 8 in Meta's code
    state = {}
    for name, value in SamModel(SamConfig(**SAM | {"mask_decoder_config": decoder})).state_dict().items():
        for ours, theirs in _META.items():
            name = name.replace(ours, theirs)
        state[FOURIER if "positional_embedding" in name else name] = value.clone()
    torch.save(state, folder / "model.pth")


def _adapter(folder: Path) -> None:
    from saved import save

    save(folder, _base(), "plm", heads=4, mlp_dim=16)
    without_seal(folder / "adapter.json")


def _read_adapter(folder: Path) -> None:
    from samtailor import artefact
    from samtailor.cli.info import _adapter as rows

    rows(artefact.read_meta(folder))
    artefact.load(folder, _base())


def _proposals(folder: Path) -> None:
    from saved import save

    save(folder, _base(), "plm", heads=4, mlp_dim=16, proposals=True)
    without_seal(folder / "proposals.json")


def _read_proposals(folder: Path) -> None:
    from samtailor.proposals import disk

    disk.load(folder, _base())


MODEL_READERS = {
    "proposals": Reader(
        "proposals", _proposals, {"proposals.json": "json", "proposals.safetensors": "safetensors"}, _read_proposals
    ),
    "pth": Reader("Meta's .pth", _pth, {"model.pth": "binary"}, _load_base("model.pth")),
    "base": Reader(
        "base folder", _base_folder, {"config.json": "json", "model.safetensors": "safetensors"}, _load_base("")
    ),
    "adapter": Reader(
        "adapter", _adapter, {"adapter.json": "json", "adapter.safetensors": "safetensors"}, _read_adapter
    ),
}
"""Readers that build a model for each input."""
