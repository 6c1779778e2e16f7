"""The mask decoder for a training batch: the sums of `sums.py` with gradients.

The vendor's forward passes tensors of several memory formats to its upscaling, which on a CPU costs the backward pass
more than all its matrix products. Here everything stays in rows of channels. `supports` says where this applies; the
reference handles the rest: several prompts per image, GPUs, half precision, decoders with exchanged parts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from samtailor.bases.decoder.sums import affine, as_matrix, run_transformer, upscale_once
from samtailor.structures import Features, Output, Tokens

_PROJECTIONS = 4  # of an attention: queries, keys, values, output


def supports(decoder: Any, features: Features, tokens: Tokens) -> bool:
    """Whether `decode` applies to this decoder (see `is_standard`) and to these inputs."""
    one_prompt = tokens.sparse.shape[1] == 1
    return one_prompt and is_cpu_full_precision(features.main) and has_frozen_key_biases(decoder)


def is_cpu_full_precision(tensor: Tensor) -> bool:
    """Whether a computation on a tensor runs on a CPU without autocast, where the order of the sums saves time."""
    return tensor.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


def is_standard(decoder: Any) -> bool:
    """Whether `sums.py` can read the weights of every part of a mask decoder."""
    return all(_has_projections(attention) for attention in _attentions(decoder)) and all(
        type(conv) is nn.ConvTranspose2d and conv.kernel_size == conv.stride == (2, 2)
        for conv in (decoder.upscale_conv1, decoder.upscale_conv2)
    )


def has_frozen_key_biases(decoder: Any) -> bool:
    """Whether no bias of keys is trained. It cancels in the softmax and is left out, so it would get no gradient."""
    return not any(attention.k_proj.bias.requires_grad for attention in _attentions(decoder))


def decode(decoder: Any, features: Features, tokens: Tokens, positions: Tensor) -> Output:
    """All mask tokens of B images with one prompt each.

    Args:
        decoder: the vendor's mask decoder, see `is_standard`.
        features: of B images.
        tokens: sparse (B, 1, N, D).
        positions: (1, D, G, G) positional encoding of the grid.
    """
    cell_positions = positions.flatten(2).mT.contiguous()
    iou, hyper, cells = run_transformer(
        decoder, features, tokens.dense, tokens.sparse[:, 0], cell_positions, flush_denormals=False
    )
    upscaled = _upscale(decoder, cells, features)
    grid, low = features.main.shape[-1], 4 * features.main.shape[-1]
    logits = (upscaled @ hyper.mT).mT.contiguous().unflatten(2, (low, low))  # contiguous, as the gradient will be
    keys, upscaled = cells.mT.unflatten(2, (grid, grid)), upscaled.mT.unflatten(2, (low, low))
    return Output(
        logits[:, None],
        iou[:, None],
        keys=keys[:, None],
        upscaled=upscaled[:, None],
        hyper=hyper[:, None],
        candidates=tuple(range(1, iou.shape[1])),
    )


def _upscale(decoder: Any, cells: Tensor, features: Features) -> Tensor:
    """Cells (B, G G, D) to (B, 16 G G, c), row by row of the mask."""
    grid = features.main.shape[-1]
    x = upscale_once(decoder, cells, features, as_matrix(decoder.upscale_conv1))
    x = affine(x, as_matrix(decoder.upscale_conv2), None)
    x = x.reshape(len(x), grid, grid, 2, 2, 2, 2, -1).permute(0, 1, 3, 5, 2, 4, 6, 7)  # y and its parts, then x
    x = x.reshape(len(x), 16 * grid**2, -1)
    if features.skips:
        x = x + features.skips[0].flatten(2).mT.contiguous()  # a sum over two memory formats is ten times as slow
    return decoder.activation(x)


def _attentions(decoder: Any) -> list[Any]:
    """The attentions between tokens and cells."""
    attentions = [decoder.transformer.final_attn_token_to_image]
    for layer in decoder.transformer.layers:
        attentions += [layer.cross_attn_token_to_image, layer.cross_attn_image_to_token]
    return attentions


def _has_projections(attention: Any) -> bool:
    parts = list(attention.children())
    return len(parts) == _PROJECTIONS and all({"weight", "bias"} <= set(dir(part)) for part in parts)


__all__ = ["decode", "has_frozen_key_biases", "is_cpu_full_precision", "is_standard", "supports"]
