"""int8 weights (dynamic quantisation by onnxruntime) and what they cost in masks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samtailor.data.transform import Frame
from samtailor.export._parity import Files, prompt_batches
from samtailor.masks.metrics import iou
from samtailor.segmenter import Segmenter
from samtailor.structures import Sample


def quantise(source: Path, target: Path) -> None:
    """Matrix products in 8 bits a weight, one scale a column; convolutions stay in floats, which suffer most."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises a preparation of convolutional models on the root logger
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
    """IoU of the masks of each set of files with those of the full files, over the questions of the parity gate."""
    found: dict[str, list[float]] = {name: [] for name in small}
    for sample in images:
        image = sample.image
        frame = Frame.of(segmenter.base, *image.shape[:2])
        embedding, asked = full.encode(image), list(prompt_batches(sample))
        expected = [full.mask(embedding, question, frame) for question in asked]
        for name, files in small.items():
            own = files.encode(image)
            masks = (files.mask(own, question, frame) for question in asked)
            found[name] += [iou(mask, true) for mask, true in zip(masks, expected, strict=True)]
    return {
        name: {"mean_iou": float(np.mean(values)), "lowest_iou": float(np.min(values)), "masks": len(values)}
        for name, values in found.items()
    }


__all__ = ["loss", "quantise"]
