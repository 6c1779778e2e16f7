"""Dynamic int8 quantization with onnxruntime, and the loss of mask quality that it causes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samtailor.data.transform import Frame
from samtailor.export._parity import Files, parity_prompts
from samtailor.masks.metrics import iou
from samtailor.segmenter import Segmenter
from samtailor.structures import Sample


def quantize(source: Path, target: Path) -> None:
    """Quantize the weights of matrix products to 8 bits, per column; convolutions lose most and stay in float32."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it logs advice for convolutional models to the root logger
    try:
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=Path(f"{source}.data").exists(),
        )
    finally:
        root.setLevel(level)


def loss(
    full: Files, small: dict[str, Files], segmenter: Segmenter, images: Sequence[Sample]
) -> dict[str, dict[str, Any]]:
    """Mean and lowest IoU of the masks of quantized files with those of the full files, over `parity_prompts`.

    Args:
        full: files in float32.
        small: name to files, at least one of them quantized.
        segmenter: that was exported.
        images: to compare on.
    """
    ious: dict[str, list[float]] = {name: [] for name in small}
    for sample in images:
        image = sample.image
        frame = Frame.of(segmenter.base, *image.shape[:2])
        embedding, prompts = full.encode(image), list(parity_prompts(sample))
        expected = [full.mask(embedding, prompt, frame) for prompt in prompts]
        for name, files in small.items():
            quantized = files.encode(image)
            masks = (files.mask(quantized, prompt, frame) for prompt in prompts)
            ious[name] += [iou(mask, true) for mask, true in zip(masks, expected, strict=True)]
    return {
        name: {"mean_iou": float(np.mean(values)), "lowest_iou": float(np.min(values)), "masks": len(values)}
        for name, values in ious.items()
    }


__all__ = ["loss", "quantize"]
