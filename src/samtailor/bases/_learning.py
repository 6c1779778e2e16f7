"""The mask decoder for a training batch: the sums of `_cells.py` with gradients.

The vendor's forward hands tensors of several memory orders to its own upscaling, which costs the backward pass on a CPU
more than all its products. Here all stays in rows of channels. A batch has one prompt an image; whatever is not a
plain step on a CPU is the vendor's: another number of prompts, half precision, a decoder with unknown parts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from samtailor.bases._cells import attended, halfway, matrix, product
from samtailor.structures import Features, Output, Tokens

_PROJECTIONS = 4  # of an attention, in this order: of the queries, the keys, the values, and of what was found


def learning(tensor: Tensor) -> bool:
    """Whether gradients are kept, on a CPU and in full precision: where the order of the sums pays."""
    return torch.is_grad_enabled() and tensor.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


def readable(decoder: Any) -> bool:
    """Whether every part of the mask decoder is one whose weights `_cells.py` knows how to read."""
    return all(_plain(attention) for attention in _attentions(decoder)) and all(
        type(conv) is nn.ConvTranspose2d and conv.kernel_size == conv.stride == (2, 2)
        for conv in (decoder.upscale_conv1, decoder.upscale_conv2)
    )


def frozen_keys(decoder: Any) -> bool:
    """Whether no bias of keys learns: it cancels in the softmax, and would be missing in the graph."""
    return not any(attention.k_proj.bias.requires_grad for attention in _attentions(decoder))


def decode(decoder: Any, features: Features, tokens: Tokens, positions: Tensor) -> Output:
    """All mask tokens of B images with one prompt each."""
    placed = positions.flatten(2).mT.contiguous()
    iou, hyper, cells = attended(decoder, features, tokens.dense, tokens.sparse[:, 0], placed)
    upscaled = _upscaled(decoder, cells, features)
    grid, low = features.main.shape[-1], 4 * features.main.shape[-1]
    logits = (upscaled @ hyper.mT).mT.contiguous().unflatten(2, (low, low))  # the gradient comes back in this order
    keys, upscaled = cells.mT.unflatten(2, (grid, grid)), upscaled.mT.unflatten(2, (low, low))
    whole = (part[:, None] for part in (logits, iou, keys, upscaled, hyper))
    return Output(*whole, candidates=tuple(range(1, iou.shape[1])))


def _upscaled(decoder: Any, cells: Tensor, features: Features) -> Tensor:
    """Cells (B, G G, D) to (B, 16 G G, c), row by row of the mask."""
    grid = features.main.shape[-1]
    x = halfway(decoder, cells, features, matrix(decoder.upscale_conv1))
    x = product(x, matrix(decoder.upscale_conv2), None)
    x = x.reshape(len(x), grid, grid, 2, 2, 2, 2, -1).permute(0, 1, 3, 5, 2, 4, 6, 7)  # y and its parts, x likewise
    x = x.reshape(len(x), 16 * grid**2, -1)
    if features.skips:
        x = x + features.skips[0].flatten(2).mT.contiguous()  # two orders in one sum take ten times as long
    return decoder.activation(x)


def _attentions(decoder: Any) -> list[Any]:
    """Those between tokens and cells."""
    found = [decoder.transformer.final_attn_token_to_image]
    for layer in decoder.transformer.layers:
        found += [layer.cross_attn_token_to_image, layer.cross_attn_image_to_token]
    return found


def _plain(attention: Any) -> bool:
    parts = list(attention.children())
    return len(parts) == _PROJECTIONS and all({"weight", "bias"} <= set(dir(part)) for part in parts)


__all__ = ["decode", "frozen_keys", "learning", "readable"]
