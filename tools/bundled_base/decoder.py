"""Forward passes of neck and mask decoder for training: equal to transformers', all four mask tokens at once."""

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
        fine = _upscale(decoder, keys, s4, s8, side)
        hyper = [mlp(tokens[:, :, 2 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)]
        logits = torch.stack(hyper, dim=2) @ fine.mT
        iou, presence = decoder.iou_prediction_head(tokens[:, :, 1]), decoder.pred_obj_score_head(tokens[:, :, 0])
        return logits.unflatten(-1, (4 * side, 4 * side)), iou, presence[..., 0]


def _two_way(transformer: nn.Module, tokens: Tensor, keys: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """The two-way transformer on tokens (B, P, N, D) and cells (B, 1 or P, K, D)."""
    queries = tokens
    for layer in transformer.layers:
        mixed = queries if layer.skip_first_layer_pe else queries + tokens
        out = _attention(layer.self_attn, mixed, mixed, queries)
        queries = layer.layer_norm1(out if layer.skip_first_layer_pe else queries + out)
        seen = _attention(layer.cross_attn_token_to_image, queries + tokens, keys + where, keys)
        queries = layer.layer_norm2(queries + seen)
        queries = layer.layer_norm3(queries + layer.mlp(queries))
        told = _attention(layer.cross_attn_image_to_token, keys + where, queries + tokens, queries)
        keys = layer.layer_norm4(keys + told)
    out = _attention(transformer.final_attn_token_to_image, queries + tokens, keys + where, keys)
    return transformer.layer_norm_final_attn(queries + out), keys


def _attention(attention: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """`Sam2Attention` on (B, P or 1, T, C) each; a 1 is broadcast after the projection."""
    heads = (attention.num_attention_heads, attention.head_dim)
    q, k, v = (
        f(x).unflatten(-1, heads).transpose(2, 3)
        for f, x in ((attention.q_proj, query), (attention.k_proj, key), (attention.v_proj, value))
    )
    prompts = max(q.shape[1], k.shape[1])
    q, k, v = (x.expand(-1, prompts, -1, -1, -1).flatten(0, 1) for x in (q, k, v))
    out = attend(q, k, v)
    return attention.o_proj(out.transpose(1, 2).flatten(2).unflatten(0, (-1, prompts)))


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention on (B, heads, T, d).

    On a CPU the backward pass of PyTorch's fused bf16 kernel is several times slower than two plain products.
    """
    if query.device.type != "cpu":
        return F.scaled_dot_product_attention(query, key, value)
    with torch.autocast("cpu", enabled=False):
        weights = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        return weights.softmax(-1) @ value


def _upscale(decoder: nn.Module, keys: Tensor, s4: Tensor, s8: Tensor, side: int) -> Tensor:
    """Keys (B, P, G G, D) to (B, P, 16 G G, D / 8)."""
    x = _unfold(keys, decoder.upscale_conv1, side) + s8.permute(0, 2, 3, 1).unsqueeze(1)
    norm = decoder.upscale_layer_norm
    x = decoder.activation(F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps))
    x = _unfold(x.flatten(2, 3), decoder.upscale_conv2, 2 * side) + s4.permute(0, 2, 3, 1).unsqueeze(1)
    return decoder.activation(x).flatten(2, 3)


def _unfold(x: Tensor, conv: nn.ConvTranspose2d, side: int) -> Tensor:
    """(B, P, s s, C) through a transposed convolution of size and stride 2 to (B, P, 2s, 2s, C')."""
    rows, prompts = x.shape[:2]
    out = conv.weight.shape[1]
    weight = conv.weight.permute(2, 3, 1, 0).reshape(4 * out, -1)
    y = F.linear(x, weight, conv.bias.repeat(4)).view(rows, prompts, side, side, 2, 2, out)
    return y.permute(0, 1, 2, 4, 3, 5, 6).reshape(rows, prompts, 2 * side, 2 * side, out)
