"""Forward passes of neck and mask decoder for training: equal to transformers', all four mask tokens at once.

`samtailor.bases.decoder` orders the sums in the same way for rows of one prompt each; here each of B images has P
prompts that share its cells, in mixed precision.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Sam2Model

Levels = tuple[Tensor, Tensor, Tensor]


class Neck(nn.Module):
    """Maps of the trunk to the decoder's inputs at strides 4, 8 and 16, as `get_image_features` gives them."""

    def __init__(self, model: Sam2Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, maps: list[Tensor]) -> Levels:
        """(B, h, w, C) at strides 4, 8, 16 and 32 to (B, C, h, w): D / 8, D / 4 and D channels."""
        encoder, decoder = self.model.vision_encoder, self.model.mask_decoder
        f4, f8, f16 = encoder.backbone.fusion(maps)
        c16, c8, c4 = encoder.neck.convs
        s4, s8 = _through(f4, c4, decoder.conv_s0), _through(f8, c8, decoder.conv_s1)
        embedding = F.linear(f16, c16.weight.flatten(1), c16.bias) + self.model.no_memory_embedding.reshape(1, 1, 1, -1)
        return tuple(x.permute(0, 3, 1, 2) for x in (s4, s8, embedding))


def _through(x: Tensor, first: nn.Conv2d, second: nn.Conv2d) -> Tensor:
    """Two 1x1 convolutions in a row as one."""
    outer = second.weight.flatten(1)
    return F.linear(x, outer @ first.weight.flatten(1), outer @ first.bias + second.bias)


class Decode(nn.Module):
    """Features and prompts to logits, predicted IoU and object score of all four mask tokens."""

    def __init__(self, model: Sam2Model) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, levels: Levels, points: Tensor, labels: Tensor, masks: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decode P prompts of each image.

        Args:
            levels: of B images.
            points: (B, P, N, 2) pixels.
            labels: (B, P, N); 1 inside, 0 outside, 2 and 3 the corners of a box, -1 none.
            masks: (B, P, 4G, 4G) logits of the masks before; None for none.

        Returns:
            (B, P, 4, 4G, 4G) logits, (B, P, 4) predicted IoU, (B, P) logits of the object score.
        """
        s4, s8, embedding = levels
        encoder, decoder = self.model.prompt_encoder, self.model.mask_decoder
        sparse, dense = encoder(points, labels, None, None)
        image = embedding.flatten(2).mT[:, None]
        if masks is None:
            image = image + dense[:1, :, :1, :1].flatten(1)
        else:
            image = image + encoder.mask_embed(masks.flatten(0, 1)[:, None]).flatten(2).mT.unflatten(0, masks.shape[:2])
        positions = self.model.get_image_wide_positional_embeddings().flatten(2).mT[:, None]
        own = [decoder.obj_score_token.weight, decoder.iou_token.weight, decoder.mask_tokens.weight]
        own = torch.cat(own).expand(*sparse.shape[:2], -1, -1)
        tokens, keys = _two_way(decoder.transformer, torch.cat([own, sparse], dim=2), image, positions)
        side = embedding.shape[-1]
        fine = _upscale(decoder, keys, s4, s8)
        hyper = [mlp(tokens[:, :, 2 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)]
        logits = _in_place(fine @ torch.stack(hyper, dim=2).mT, side)
        iou, presence = decoder.iou_prediction_head(tokens[:, :, 1]), decoder.pred_obj_score_head(tokens[:, :, 0])
        return logits, iou, presence[..., 0]


def _two_way(transformer: nn.Module, tokens: Tensor, keys: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """The two-way transformer on tokens (B, P, N, D) and cells (B, 1 or P, K, D)."""
    queries = tokens
    for layer in transformer.layers:
        mixed = queries if layer.skip_first_layer_pe else queries + tokens
        out = _self(layer.self_attn, mixed, queries)
        queries = layer.layer_norm1(out if layer.skip_first_layer_pe else queries + out)
        seen = _read(layer.cross_attn_token_to_image, queries + tokens, keys + where, keys)
        queries = layer.layer_norm2(queries + seen)
        queries = layer.layer_norm3(queries + layer.mlp(queries))
        written = _write(layer.cross_attn_image_to_token, keys + where, queries + tokens, queries)
        keys = layer.layer_norm4(keys + written)
    out = _read(transformer.final_attn_token_to_image, queries + tokens, keys + where, keys)
    return transformer.layer_norm_final_attn(queries + out), keys


def _self(attention: nn.Module, query: Tensor, value: Tensor) -> Tensor:
    """Attention among the tokens (B, P, N, D)."""
    heads = (attention.num_attention_heads, attention.head_dim)
    q, k = (f(query).unflatten(-1, heads).transpose(2, 3) for f in (attention.q_proj, attention.k_proj))
    v = attention.v_proj(value).unflatten(-1, heads).transpose(2, 3)
    weights = ((q * attention.head_dim**-0.5) @ k.mT).softmax(-1)
    return attention.o_proj((weights.to(v.dtype) @ v).transpose(2, 3).flatten(3))


def _read(attention: nn.Module, query: Tensor, placed: Tensor, cells: Tensor) -> Tensor:
    """What tokens (B, P, N, D) read from cells (B, 1 or P, K, D).

    Tokens are few and cells are many, so the projections of the cells are applied to the tokens instead: of each
    query what its product with an unprojected key needs, of each read value its projection. The bias of the keys
    cancels in the softmax.
    """
    count, heads, width = query.shape[2], attention.num_attention_heads, attention.head_dim
    q = attention.q_proj(query).unflatten(-1, (heads, width)).transpose(2, 3) * width**-0.5
    rows = (q @ attention.k_proj.weight.unflatten(0, (heads, width))).flatten(2, 3)
    seen = _product(_product(rows, placed.mT).float().softmax(-1), cells)
    seen = seen.unflatten(2, (heads, count)) @ attention.v_proj.weight.unflatten(0, (heads, width)).mT
    return attention.o_proj(seen.transpose(2, 3).flatten(3) + attention.v_proj.bias)


def _write(attention: nn.Module, placed: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """What cells (B, 1 or P, K, D) read from tokens (B, P, N, D), by products with the tokens as in `_read`."""
    count, heads, width = key.shape[2], attention.num_attention_heads, attention.head_dim
    k = attention.k_proj(key).unflatten(-1, (heads, width)).transpose(2, 3) * width**-0.5
    rows = (k @ attention.q_proj.weight.unflatten(0, (heads, width))).flatten(2, 3)
    same = (k @ attention.q_proj.bias.view(heads, width, 1)).flatten(2)
    scores = (_product(rows, placed.mT) + same[..., None]).float()
    weights = scores.unflatten(2, (heads, count)).softmax(3).flatten(2, 3)  # the inner axis of the cells vectorizes
    v = attention.v_proj(value).unflatten(-1, (heads, width)).transpose(2, 3)
    given = (v @ attention.o_proj.weight.unflatten(1, (heads, width)).permute(1, 2, 0)).flatten(2, 3)
    return _product(weights.mT, given) + attention.o_proj.bias


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Product of (B, 1 or P, ., .) with (B, P or 1, ., .).

    Cells that all prompts share are multiplied with all of them at once.
    """
    rows, prompts = left.shape[0], left.shape[1]
    if prompts > 1 and right.shape[1] == 1:
        return (left.flatten(1, 2) @ right[:, 0]).unflatten(1, (prompts, -1))
    if prompts == 1 and right.shape[1] > 1:
        found = left[:, 0] @ right.transpose(1, 2).flatten(2)
        return found.view(rows, left.shape[2], right.shape[1], -1).transpose(1, 2)
    return left @ right


def _upscale(decoder: nn.Module, keys: Tensor, s4: Tensor, s8: Tensor) -> Tensor:
    """Keys (B, P, G G, D) to (B, P, 16 G G, D / 8): of each cell 2 x 2 parts, of each part 2 x 2 places.

    Transposed convolutions of size and stride 2 are products, and nothing is moved to its place in the image: skips
    are sorted by cell instead, once for all prompts.
    """
    side = s8.shape[-1] // 2
    first, second = decoder.upscale_conv1, decoder.upscale_conv2
    skip = s8.unflatten(3, (side, 2)).unflatten(2, (side, 2)).permute(0, 2, 4, 3, 5, 1).flatten(3, 5).flatten(1, 2)
    x = F.linear(keys, first.weight.permute(2, 3, 1, 0).flatten(0, 2), first.bias.repeat(4)) + skip[:, None]
    norm = decoder.upscale_layer_norm
    x = x.unflatten(3, (4, -1)).flatten(2, 3)
    x = decoder.activation(F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps))
    skip = s4.unflatten(3, (side, 2, 2)).unflatten(2, (side, 2, 2)).permute(0, 2, 5, 3, 6, 4, 7, 1)
    skip = skip.flatten(5, 7).flatten(1, 4)
    x = F.linear(x, second.weight.permute(2, 3, 1, 0).flatten(0, 2), second.bias.repeat(4)) + skip[:, None]
    return decoder.activation(x).unflatten(3, (4, -1)).flatten(2, 3)


def _in_place(x: Tensor, side: int) -> Tensor:
    """(B, P, 16 G G, M) in the order of `_upscale` to (B, P, M, 4 G, 4 G)."""
    x = x.unflatten(2, (side, side, 2, 2, 2, 2)).permute(0, 1, 8, 2, 4, 6, 3, 5, 7)
    return x.flatten(6, 8).flatten(3, 5)
