"""SAM ViT-B with random weights: what it costs, not what it finds."""

from __future__ import annotations

import torch
from transformers import SamConfig, SamModel

from samtailor.bases.sam import Sam


def vit_b(size: int = 1024) -> Sam:
    """A base of `size` px a side.

    Matrices have the size that trained ones have: transformers draws the encoder's at 1e-10, and numbers that small are
    slow on a CPU.
    """
    torch.manual_seed(0)
    config = SamConfig(vision_config={"image_size": size}, prompt_encoder_config={"image_size": size})
    model = SamModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
    return Sam(model, f"vit-b-random-{size}")


__all__ = ["vit_b"]
