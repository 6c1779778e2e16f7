"""The network: transformers' SAM 2 classes in small, their initialisation, and two equal but cheaper forward passes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, Sam2Config, Sam2Model
from transformers.models.sam2.configuration_sam2 import (
    Sam2HieraDetConfig,
    Sam2MaskDecoderConfig,
    Sam2PromptEncoderConfig,
    Sam2VisionConfig,
)

SIZE = 256
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def configuration(size: int = SIZE) -> Sam2Config:
    """Configuration of nano for images of ``size`` px; no parameter's shape depends on ``size``."""
    backbone = Sam2HieraDetConfig(
        hidden_size=32,
        num_attention_heads=1,
        image_size=[size, size],
        blocks_per_stage=[1, 2, 5, 1],
        embed_dim_per_stage=[32, 64, 160, 256],
        num_attention_heads_per_stage=[1, 2, 5, 8],
        window_size_per_stage=[8, 8, 8, 8],
        window_positional_embedding_background_size=[8, 8],
        global_attention_blocks=[4, 5, 6, 7],
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[256, 160, 64, 32],
        fpn_hidden_size=256,
        backbone_feature_sizes=[[size // 4] * 2, [size // 8] * 2, [size // 16] * 2],
        fpn_top_down_levels=[0, 1, 2, 3],
    )
    prompt = Sam2PromptEncoderConfig(hidden_size=256, image_size=size, patch_size=16)
    decoder = Sam2MaskDecoderConfig(hidden_size=256, mlp_dim=1024, iou_head_hidden_dim=256)
    return Sam2Config(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)


def build(seed: int = 0) -> Sam2Model:
    """A freshly initialised nano.

    transformers draws every weight with std 0.02, with which decoder and prompt encoder do not learn:
    they and the neck get PyTorch's own initialisation. The Fourier matrix is standard normal, the same
    in both places that hold it, and never learns.
    """
    torch.manual_seed(seed)
    model = Sam2Model(configuration())
    model.set_attn_implementation("nano")
    for part in (model.mask_decoder, model.prompt_encoder, model.vision_encoder):
        for module in part.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.LayerNorm, nn.Embedding)):
                module.reset_parameters()
    for module in model.vision_encoder.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=module.in_features**-0.5)
            nn.init.zeros_(module.bias)
    with torch.no_grad():
        nn.init.normal_(model.vision_encoder.backbone.pos_embed, std=0.02)
        nn.init.normal_(model.vision_encoder.backbone.pos_embed_window, std=0.02)
        fourier = torch.randn_like(model.shared_image_embedding.positional_embedding)
        model.shared_image_embedding.positional_embedding.copy_(fourier)
        model.prompt_encoder.shared_embedding.positional_embedding.copy_(fourier)
        _look_at_the_click(model.mask_decoder.transformer)
        # Nothing here teaches absence: the object score says "present", always.
        head = model.mask_decoder.pred_obj_score_head.proj_out
        nn.init.zeros_(head.weight)
        nn.init.constant_(head.bias, 5.0)
    return model


def _look_at_the_click(transformer: nn.Module, gain: float = 2.4) -> None:
    """Let equal positions attend to each other from the first step on.

    Query and key projections between prompt and image start out equal, so that their product is
    largest where the Fourier codes of click and pixel agree; otherwise finding the click in the
    image is the first thing to be learnt, and takes long.
    """
    pairs = [transformer.final_attn_token_to_image]
    pairs += [
        a for layer in transformer.layers for a in (layer.cross_attn_token_to_image, layer.cross_attn_image_to_token)
    ]
    for attention in pairs:
        attention.q_proj.weight.mul_(gain)
        attention.k_proj.weight.copy_(attention.q_proj.weight)
        nn.init.zeros_(attention.q_proj.bias)
        nn.init.zeros_(attention.k_proj.bias)


def set_size(model: Sam2Model, size: int) -> None:
    """Let the same model take images of ``size`` px; only bookkeeping depends on it."""
    grid = size // 16
    model.prompt_encoder.input_image_size = size
    model.prompt_encoder.image_embedding_size = (grid, grid)
    model.prompt_encoder.mask_input_size = (4 * grid, 4 * grid)
    model.backbone_feature_sizes = [[size // 4] * 2, [size // 8] * 2, [size // 16] * 2]


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention on ``(B, heads, T, d)``.

    On a CPU with bf16 the backward pass of PyTorch's fused kernel is up to eight times slower than
    two plain matrix products (109 ms against 13 ms for 256 queries on 7 keys); elsewhere it is best.
    """
    if query.device.type != "cpu":
        return F.scaled_dot_product_attention(query, key, value)
    with torch.autocast("cpu", enabled=False):
        weights = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        return weights.softmax(-1) @ value


def _attend_for_transformers(module, query, key, value, attention_mask=None, **_) -> tuple[Tensor, None]:
    return attend(query, key, value).transpose(1, 2), None


AttentionInterface.register("nano", _attend_for_transformers)


class Features(nn.Module):
    """Image -> decoder inputs at strides 4, 8, 16; the same function as ``get_image_features``.

    The neck is linear, so the 1x1 convolutions of the decoder (256 -> 32 and 256 -> 64) can be taken
    through it: nothing 256 wide is ever computed at strides 4 and 8.
    """

    def __init__(self, model: Sam2Model):
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """pixels ``(B, 3, S, S)`` normalised -> ``(B, 32 / 64 / 256, ...)`` at strides 4 / 8 / 16."""
        encoder, decoder = self.model.vision_encoder, self.model.mask_decoder
        levels = encoder.backbone(pixels).intermediate_hidden_states
        h4, h8, h16, h32 = levels
        c32, c16, c8, c4 = encoder.neck.convs
        deep = _map(h16, c16) + _twice(_map(h32, c32))
        s8 = _through(h8, c8, decoder.conv_s1) + _twice(_map(deep, decoder.conv_s1, bias=False))
        s4 = _through(h4, c4, decoder.conv_s0)
        s4 = s4 + _twice(
            _through(h8, c8, decoder.conv_s0, bias=False) + _twice(_map(deep, decoder.conv_s0, bias=False))
        )
        embedding = deep + self.model.no_memory_embedding.reshape(1, 1, 1, -1)
        return tuple(x.permute(0, 3, 1, 2) for x in (s4, s8, embedding))


def _map(x: Tensor, conv: nn.Conv2d, *, bias: bool = True) -> Tensor:
    return F.linear(x, conv.weight.flatten(1), conv.bias if bias else None)


def _through(x: Tensor, first: nn.Conv2d, second: nn.Conv2d, *, bias: bool = True) -> Tensor:
    """Two 1x1 convolutions in a row as one."""
    outer = second.weight.flatten(1)
    offset = outer @ first.bias
    return F.linear(x, outer @ first.weight.flatten(1), offset + second.bias if bias else offset)


def _twice(x: Tensor) -> Tensor:
    """Nearest up-sampling by 2 of ``(B, H, W, C)``."""
    b, h, w, c = x.shape
    return x[:, :, None, :, None].expand(b, h, 2, w, 2, c).reshape(b, 2 * h, 2 * w, c)


class Decode(nn.Module):
    """Features and prompts -> logits and predicted IoU of all four mask tokens."""

    def __init__(self, model: Sam2Model):
        super().__init__()
        self.model = model

    def forward(
        self, s4: Tensor, s8: Tensor, embedding: Tensor, points: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """points ``(B, P, N, 2)`` px, labels ``(B, P, N)`` -> ``(B, P, 4, S/4, S/4)``, ``(B, P, 4)``.

        Labels as in SAM: 1 inside, 0 outside, 2 and 3 the corners of a box.
        """
        model = self.model
        sparse, dense = model.prompt_encoder(points, labels, None, None)
        positions = model.get_image_wide_positional_embeddings().repeat(embedding.shape[0], 1, 1, 1)
        return _all_tokens(model.mask_decoder, s4, s8, embedding + dense, positions, sparse)


def _all_tokens(
    decoder: nn.Module, s4: Tensor, s8: Tensor, image: Tensor, positions: Tensor, sparse: Tensor
) -> tuple[Tensor, Tensor]:
    """``Sam2MaskDecoder.forward`` for all four tokens at once, without copying an image's inputs per prompt."""
    b, p = sparse.shape[:2]
    own = torch.cat([decoder.obj_score_token.weight, decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([own.expand(b, p, *own.shape), sparse], dim=2)
    tokens, keys = _two_way(decoder.transformer, tokens, image, positions)
    h, w = image.shape[2:]
    up = _upscale(decoder, keys, s4, s8, (h, w))
    hyper = torch.stack([mlp(tokens[:, :, 2 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], dim=2)
    masks = (hyper @ up.flatten(3)).unflatten(-1, (4 * h, 4 * w))
    return masks, decoder.iou_prediction_head(tokens[:, :, 1])


def _two_way(transformer: nn.Module, tokens: Tensor, image: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """The two-way transformer; what its first layer does to the image alone is done once for all prompts."""
    keys = image.flatten(2).transpose(1, 2).unsqueeze(1)
    where = positions.flatten(2).transpose(1, 2).unsqueeze(1)
    queries = tokens
    for layer in transformer.layers:
        mixed = queries if layer.skip_first_layer_pe else queries + tokens
        out = _attend(layer.self_attn, mixed, mixed, queries)
        queries = layer.layer_norm1(out if layer.skip_first_layer_pe else queries + out)
        placed = keys + where
        queries = layer.layer_norm2(queries + _attend(layer.cross_attn_token_to_image, queries + tokens, placed, keys))
        queries = layer.layer_norm3(queries + layer.mlp(queries))
        keys = layer.layer_norm4(keys + _attend(layer.cross_attn_image_to_token, placed, queries + tokens, queries))
    out = _attend(transformer.final_attn_token_to_image, queries + tokens, keys + where, keys)
    return transformer.layer_norm_final_attn(queries + out), keys


def _attend(attention: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """``Sam2Attention`` on ``(B, P or 1, T, C)`` each; a 1 is broadcast after the projection."""
    heads = (attention.num_attention_heads, attention.head_dim)
    q, k, v = (
        f(x).unflatten(-1, heads).transpose(2, 3)
        for f, x in ((attention.q_proj, query), (attention.k_proj, key), (attention.v_proj, value))
    )
    prompts = max(q.shape[1], k.shape[1])
    q, k, v = (x.expand(-1, prompts, -1, -1, -1).flatten(0, 1) for x in (q, k, v))
    out = attend(q, k, v)
    return attention.o_proj(out.transpose(1, 2).flatten(2).unflatten(0, (-1, prompts)))


def _upscale(decoder: nn.Module, keys: Tensor, s4: Tensor, s8: Tensor, grid: tuple[int, int]) -> Tensor:
    """Keys ``(B, P, HW, C)`` -> ``(B, P, C/8, 4H, 4W)``; a stride-2, 2x2 transposed convolution is a matrix product."""
    h, w = grid
    x = _unfold(keys, decoder.upscale_conv1, h, w) + s8.permute(0, 2, 3, 1).unsqueeze(1)
    norm = decoder.upscale_layer_norm
    x = decoder.activation(F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps))
    x = _unfold(x.flatten(2, 3), decoder.upscale_conv2, 2 * h, 2 * w) + s4.permute(0, 2, 3, 1).unsqueeze(1)
    return decoder.activation(x).permute(0, 1, 4, 2, 3)


def _unfold(x: Tensor, conv: nn.ConvTranspose2d, h: int, w: int) -> Tensor:
    """``(B, P, HW, C)`` through a 2x2, stride-2 transposed convolution -> ``(B, P, 2H, 2W, C')``."""
    b, p = x.shape[:2]
    out = conv.weight.shape[1]
    weight = conv.weight.permute(2, 3, 1, 0).reshape(4 * out, -1)  # (dy, dx, C') x C
    y = F.linear(x, weight, conv.bias.repeat(4)).view(b, p, h, w, 2, 2, out)
    return y.permute(0, 1, 2, 4, 3, 5, 6).reshape(b, p, 2 * h, 2 * w, out)
