"""`sam-f`: SAM-F (Kim et al., arXiv 2403.09199, section 5.1), the weights of PerSAM-F (Zhang et al., arXiv 2305.03048):
two numbers mix SAM's three masks. 1000 iterations, AdamW 1e-3 with cosine decay, dice + focal 1 : 1.

Left out on purpose, as in Kim et al.'s single-click protocol: PerSAM's feature prompting and its cascade.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from functools import partial
from typing import Any

import torch
from torch import Tensor

from samtailor.adapters.sam_f import ScaleWeights
from samtailor.bases import Base
from samtailor.bases.decoder import PromptDecoder
from samtailor.registry import refuse_unknown
from samtailor.segmenter import Segmenter
from samtailor.structures import Batch, Output
from samtailor.train.joint import Joint

DEFAULTS: dict[str, Any] = {
    "steps": 1000,
    "batch_size": 8,
    "lr": 1e-3,
    "weight_decay": 0.0,
    "warmup": 0,
    "schedule": "cosine",
    "prompt": "pooled-click",  # PerSAM-F precomputes its logits: clicks have to come back
}


class Scale(Joint):
    """A joint step whose decoder runs once for each mask and click: the base is frozen, its logits are constants.

    Which pays where clicks come back, see the prompt source `pooled-click`.

    Args:
        cache_bytes: bound on the logits kept (half precision, also where none were kept, so that a resumed run is the
            uninterrupted one).
    """

    def __init__(self, *args: Any, cache_bytes: int = 256 << 20, **options: Any) -> None:
        super().__init__(*args, **options)
        self._kept: OrderedDict[bytes, tuple[Tensor, Tensor]] = OrderedDict()
        self._room = cache_bytes
        self._decoder = PromptDecoder(self.bare.base)

    def forward(self, batch: Batch) -> Output:
        """The mixed mask; decodes what was not decoded before."""
        if self.accelerator.num_processes > 1:  # gradients are averaged by the wrapped module's own forward
            return self.segmenter(batch, fast=True)
        rows = [self._row(batch, index) for index in range(len(batch))]
        logits, iou = (torch.stack(parts).float() for parts in zip(*rows, strict=True))
        empty = logits.new_zeros(*logits.shape[:2], 1, 1, 1)
        hyper = logits.new_zeros(*logits.shape[:3], 1)
        output = Output(logits, iou, keys=empty, upscaled=empty, hyper=hyper, candidates=(0, 1, 2))
        return self.bare.adapter("scale")(output)

    def _row(self, batch: Batch, index: int) -> tuple[Tensor, Tensor]:
        row = slice(index, index + 1)
        key = _key(batch, row)
        if key not in self._kept:
            self._kept[key] = self._decode(batch, row)
            size = sum(tensor.nbytes for tensor in self._kept[key])
            while len(self._kept) > max(1, self._room // size):
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    @torch.no_grad()  # sound here: the weights come after the base, and nothing before them learns
    def _decode(self, batch: Batch, row: slice) -> tuple[Tensor, Tensor]:
        base = self.bare.base
        output = self._decoder(batch.features[row], base.encode_prompts(batch.prompts[row])).output()
        return output.candidate_logits()[0].half(), output.candidate_iou()[0].half()


def _key(batch: Batch, row: slice) -> bytes:
    """By content: a view of an image has the image's id, but not its embedding."""
    prompts = batch.prompts[row]
    tensors = (batch.features.main[row, :, ::8, ::8], prompts.points, prompts.labels, prompts.boxes, prompts.masks)
    digest = hashlib.blake2b(repr(batch.ids[row]).encode(), digest_size=16)
    for tensor in tensors:
        digest.update(b"-" if tensor is None else tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.digest()


def build(base: Base, *, gamma: float = 2.0, alpha: float = 0.25, **unknown: Any) -> tuple[Segmenter, partial[Scale]]:
    """SAM-F.

    Args:
        base: frozen base with three multimask outputs.
        gamma, alpha: of the focal loss (PerSAM-F's).
        **unknown: refused with an InputError.
    """
    refuse_unknown(build, unknown)
    weights = {"focal_weight": 1.0, "dice_weight": 1.0, "iou_weight": 0.0}
    return Segmenter(base, outputs={"scale": ScaleWeights()}), partial(Scale, gamma=gamma, alpha=alpha, **weights)
