"""Configurations of small random base models, and images with two objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from samtailor.structures import Annotation, Sample

SAM = {
    "vision_config": {
        "hidden_size": 32,
        "output_channels": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 8,
        "window_size": 4,
        "global_attn_indexes": [1],
        "num_pos_feats": 16,
        "mlp_dim": 64,
    },
    "prompt_encoder_config": {"hidden_size": 32, "image_size": 64, "patch_size": 8},
    "mask_decoder_config": {"hidden_size": 32, "mlp_dim": 64, "num_attention_heads": 4, "iou_head_hidden_dim": 32},
}
SAM2 = {
    "vision_config": {
        "backbone_config": {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": 16,
            "image_size": [64, 64],
            "embed_dim_per_stage": [16, 32, 64, 128],
            "num_attention_heads_per_stage": [1, 1, 2, 2],
            "blocks_per_stage": [1, 1, 2, 1],
            "window_size_per_stage": [8, 4, 2, 2],
            "global_attention_blocks": [3],
            "window_positional_embedding_background_size": [2, 2],
        },
        "backbone_channel_list": [128, 64, 32, 16],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": 32,
    },
    "prompt_encoder_config": {"hidden_size": 32, "image_size": 64, "patch_size": 16},
    "mask_decoder_config": {"hidden_size": 32, "mlp_dim": 64, "num_attention_heads": 4, "iou_head_hidden_dim": 32},
}


LITE = {
    "vision_config": {
        "backbone_config": {
            "model_type": "samtailor_efficientnet_lite",
            "image_size": 64,
            "stem": 8,
            "stages": [[3, 1, 1, 8, 1], [3, 2, 2, 8, 2], [5, 2, 2, 16, 1], [3, 2, 2, 16, 2], [5, 2, 2, 24, 1]],
            "fused": [8, 16, 32],
            "fusion_blocks": [1, 1, 1],
        },
        "backbone_channel_list": [32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": 32,
        "fpn_top_down_levels": [],
    },
    "prompt_encoder_config": {"hidden_size": 32, "image_size": 64, "patch_size": 16},
    "mask_decoder_config": {"hidden_size": 32, "mlp_dim": 64, "num_attention_heads": 4, "iou_head_hidden_dim": 32},
}
"""As the bundled base, which has a convolutional backbone."""


SAM_HQ = {**SAM, "mask_decoder_config": {**SAM["mask_decoder_config"], "vit_dim": 32}}
SAM3 = {
    "vision_config": {
        "backbone_config": {
            "model_type": "sam3_vit_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 16,
            "window_size": 2,
            "global_attn_indexes": [1],
            "pretrain_image_size": 32,
        },
        "fpn_hidden_size": 32,
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    },
    "prompt_encoder_config": {"hidden_size": 32, "image_size": 64, "patch_size": 16},
    "mask_decoder_config": {"hidden_size": 32, "mlp_dim": 64, "num_attention_heads": 4, "iou_head_hidden_dim": 32},
}
EDGETAM = {
    "vision_config": {
        "backbone_config": {"model_type": "tiny_pyramid"},
        "backbone_channel_list": [32, 16, 8, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": 32,
        "fpn_top_down_levels": [2, 3],
    },
    "prompt_encoder_config": SAM3["prompt_encoder_config"],
    "mask_decoder_config": SAM3["mask_decoder_config"],
}
SLIMSAM = {
    **SAM,
    "vision_config": {**SAM["vision_config"], "hidden_size": 42, "num_attention_heads": 3, "mlp_dim": 54},
}
"""Sizes that pruning leaves: neither the width nor that of the MLP is a power of two or a multiple of the other."""


def register_pyramid() -> None:
    """Register a small convolutional backbone that returns a list of maps, as the networks of timm do in EdgeTAM."""
    from types import SimpleNamespace

    from torch import nn
    from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel

    class PyramidConfig(PretrainedConfig):
        model_type = "tiny_pyramid"

    class Pyramid(PreTrainedModel):
        config_class = PyramidConfig

        def __init__(self, config: PyramidConfig) -> None:
            super().__init__(config)
            widths, strides = (3, 8, 8, 16, 32), (4, 2, 2, 2)
            self.stages = nn.ModuleList(
                nn.Conv2d(widths[i], widths[i + 1], stride, stride) for i, stride in enumerate(strides)
            )
            self.post_init()

        def forward(self, pixel_values: torch.Tensor, **_: object) -> SimpleNamespace:
            maps, x = [], pixel_values
            for stage in self.stages:
                x = torch.relu(stage(x))
                maps.append(x)
            return SimpleNamespace(last_hidden_state=maps, hidden_states=None)

    AutoConfig.register("tiny_pyramid", PyramidConfig, exist_ok=True)
    AutoModel.register(PyramidConfig, Pyramid, exist_ok=True)


def random_model(name: str, config: dict, seed: int) -> torch.nn.Module:
    """A random model of a class of transformers, with weights as large as trained ones."""
    import transformers

    if name == "EdgeTam":
        register_pyramid()
    torch.manual_seed(seed)
    model = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**config)).eval()
    wake(model)
    standard_normal_fourier(model)
    return model


def save_dinov2(folder: Path, seed: int, **config: int) -> Path:
    """A random DINOv2 of 32 px in a folder, as `save_pretrained` writes it."""
    from transformers import Dinov2Config, Dinov2Model

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Dinov2Model(Dinov2Config(**(sizes | config)))
        wake(model)
    model.save_pretrained(folder)
    return folder


def standard_normal_fourier(model: torch.nn.Module) -> None:
    """As Meta draws it; transformers' scale makes neighboring positions unrelated."""
    matrix = torch.randn_like(model.shared_image_embedding.positional_embedding)
    with torch.no_grad():
        model.shared_image_embedding.positional_embedding.copy_(matrix)
        model.prompt_encoder.shared_embedding.positional_embedding.copy_(matrix)


def wake(model: torch.nn.Module) -> None:
    """Initialize weights as large as those of a trained model.

    transformers initializes SAM's encoder at 1e-10 and the rest at 0.02. Features would be 1e-22 and logits 1e-5, and
    comparisons in tests would be meaningless.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "positional_embedding" not in name:
                parameter.normal_(std=parameter[0].numel() ** -0.5)


def disc_sample(index: int, height: int = 48, width: int = 80) -> Sample:
    """An image with a bright disc (class disc) and a dark square (class square)."""
    rng = np.random.default_rng(index)
    image = rng.integers(90, 140, (height, width, 3), dtype=np.uint8)
    y, x = np.mgrid[:height, :width]
    center = rng.uniform(14, height - 14), rng.uniform(14, width / 2 - 4)
    disc = (y - center[0]) ** 2 + (x - center[1]) ** 2 <= 10**2
    left, top = int(rng.integers(width // 2, width - 18)), int(rng.integers(2, height - 18))
    square = (abs(x - left - 8) <= 7) & (abs(y - top - 8) <= 7)
    image[disc], image[square] = (230, 200, 60), (20, 30, 40)
    annotations = (Annotation.from_mask("disc", disc), Annotation.from_mask("square", square))
    return Sample(f"p{index:03d}", lambda: image, lambda: annotations)
