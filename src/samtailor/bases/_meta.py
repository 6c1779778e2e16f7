"""Meta's original SAM 1 checkpoints (`sam_vit_{b,l,h}_*.pth`) as transformers' SamModel.

The configuration is derived from the shapes of the tensors, so any SAM 1 in Meta's key layout loads, not only the three
published sizes.
"""

from __future__ import annotations

import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samtailor.errors import BaseUnavailableError, DataError, InputError, SamtailorError
from samtailor.limits import MALFORMED
from samtailor.limits.model_files import check_size, refuse_not_finite

RENAMES: tuple[tuple[str, str], ...] = (
    (r"^image_encoder\.patch_embed\.proj\.", "vision_encoder.patch_embed.projection."),
    (r"^image_encoder\.blocks\.(\d+)\.norm(\d)\.", r"vision_encoder.layers.\1.layer_norm\2."),
    (r"^image_encoder\.blocks\.", "vision_encoder.layers."),
    (r"^image_encoder\.neck\.0\.", "vision_encoder.neck.conv1."),
    (r"^image_encoder\.neck\.1\.", "vision_encoder.neck.layer_norm1."),
    (r"^image_encoder\.neck\.2\.", "vision_encoder.neck.conv2."),
    (r"^image_encoder\.neck\.3\.", "vision_encoder.neck.layer_norm2."),
    (r"^image_encoder\.", "vision_encoder."),
    (r"^prompt_encoder\.point_embeddings\.", "prompt_encoder.point_embed."),
    (r"^prompt_encoder\.mask_downscaling\.0\.", "prompt_encoder.mask_embed.conv1."),
    (r"^prompt_encoder\.mask_downscaling\.1\.", "prompt_encoder.mask_embed.layer_norm1."),
    (r"^prompt_encoder\.mask_downscaling\.3\.", "prompt_encoder.mask_embed.conv2."),
    (r"^prompt_encoder\.mask_downscaling\.4\.", "prompt_encoder.mask_embed.layer_norm2."),
    (r"^prompt_encoder\.mask_downscaling\.6\.", "prompt_encoder.mask_embed.conv3."),
    (r"^mask_decoder\.transformer\.layers\.(\d+)\.norm(\d)\.", r"mask_decoder.transformer.layers.\1.layer_norm\2."),
    (r"^mask_decoder\.transformer\.norm_final_attn\.", "mask_decoder.transformer.layer_norm_final_attn."),
    (r"^mask_decoder\.output_upscaling\.0\.", "mask_decoder.upscale_conv1."),
    (r"^mask_decoder\.output_upscaling\.1\.", "mask_decoder.upscale_layer_norm."),
    (r"^mask_decoder\.output_upscaling\.3\.", "mask_decoder.upscale_conv2."),
    (r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))\.layers\.0\.", r"\1.proj_in."),
    (r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))\.layers\.1\.", r"\1.layers.0."),
    (r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))\.layers\.2\.", r"\1.proj_out."),
)
FOURIER = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
FOURIER_HOMES = ("shared_image_embedding.positional_embedding", "prompt_encoder.shared_embedding.positional_embedding")


def load(path: Path) -> nn.Module:
    """Read a checkpoint without unpickling code.

    Raises:
        BaseUnavailableError: no such file, or not a checkpoint that `weights_only` can read.
        InputError: tensors missing or left over.
    """
    state = _read(path)
    try:
        return _model(path, state)
    except SamtailorError:
        raise
    except MALFORMED as error:
        raise InputError(f"{path.name} is not a SAM 1 checkpoint that can be read ({error!r:.200}).") from error
    except RuntimeError as error:  # tensors of other shapes
        raise InputError(f"{path.name} does not fit SAM 1: {str(error).splitlines()[0][:200]}") from error


def _model(path: Path, state: dict[str, Tensor]) -> nn.Module:
    if FOURIER not in state or "image_encoder.patch_embed.proj.weight" not in state:
        raise InputError(
            f"{path.name} is not a SAM 1 checkpoint in Meta's layout: image_encoder.*, prompt_encoder.* and "
            f"mask_decoder.* were expected, the file begins with {next(iter(state), 'nothing')!r}."
        )
    from transformers import SamModel

    config = _config(state)
    with torch.device("meta"):
        declared = sum(parameter.numel() for parameter in SamModel(config).parameters())
    try:
        check_size(declared, path.stat().st_size, path.name)
        refuse_not_finite(state, path.name)
    except DataError as error:
        raise InputError(str(error)) from error
    model = SamModel(config)
    renamed = {rename(key): value for key, value in state.items() if key != FOURIER}
    renamed |= dict.fromkeys(FOURIER_HOMES, state[FOURIER])
    result = model.load_state_dict(renamed, strict=False)
    if result.missing_keys or result.unexpected_keys:
        raise InputError(
            f"{path.name} does not fit SAM 1: missing {result.missing_keys[:3]}, unknown {result.unexpected_keys[:3]}."
        )
    return model


def rename(key: str) -> str:
    """The name in transformers of a tensor of Meta."""
    for pattern, new in RENAMES:
        key, changed = re.subn(pattern, new, key)
        if changed:
            break
    return key


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise BaseUnavailableError(f"No checkpoint at {path}. Expected the path of Meta's sam_vit_*.pth.")
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 6):
        raise BaseUnavailableError(
            "A .pth file is read only with torch 2.6 or newer, since `weights_only` of earlier versions can be made to "
            "run code (CVE-2025-32434). Upgrade torch, or use the same model from the hub."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the protocol of a pickle that is refused anyway
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, *MALFORMED) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BaseUnavailableError(
            f"{path.name} is damaged or holds more than tensors, and samtailor never runs pickled code: {reason}"
        ) from error
    good = isinstance(state, dict) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items())
    # a tensor may claim more numbers than are stored, by strides of 0
    if not good or sum(value.numel() for value in state.values()) > path.stat().st_size:
        raise BaseUnavailableError(f"{path.name} is not a checkpoint: expected a dictionary of names and tensors.")
    return state


def _config(state: dict[str, Tensor]) -> Any:
    from transformers import SamConfig

    hidden, _, patch, _ = state["image_encoder.patch_embed.proj.weight"].shape
    rel_pos = {
        int(match[1]): tensor
        for key, tensor in state.items()
        if (match := re.match(r"image_encoder\.blocks\.(\d+)\.attn\.rel_pos_h$", key))
    }
    size = state["image_encoder.pos_embed"].shape[1] * patch
    window = min(tensor.shape[0] for tensor in rel_pos.values()) // 2 + 1
    dim = state["image_encoder.neck.0.weight"].shape[0]
    heads = hidden // rel_pos[0].shape[1]
    decoder = "mask_decoder."
    return SamConfig(
        vision_config={
            "hidden_size": hidden,
            "output_channels": dim,
            "num_hidden_layers": len(rel_pos),
            "num_attention_heads": heads,
            "image_size": size,
            "patch_size": patch,
            "mlp_dim": state["image_encoder.blocks.0.mlp.lin1.weight"].shape[0],
            "window_size": window,
            "global_attn_indexes": [i for i, tensor in rel_pos.items() if tensor.shape[0] // 2 + 1 != window],
            "num_pos_feats": dim // 2,
        },
        prompt_encoder_config={"hidden_size": dim, "image_size": size, "patch_size": patch},
        mask_decoder_config={
            "hidden_size": dim,
            "mlp_dim": state[decoder + "transformer.layers.0.mlp.lin1.weight"].shape[0],
            "iou_head_hidden_dim": state[decoder + "iou_prediction_head.layers.0.weight"].shape[0],
        },
    )
