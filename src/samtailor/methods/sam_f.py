"""`sam-f`: SAM-F (Kim et al., arXiv 2403.09199, section 5.1), the weights of PerSAM-F (Zhang et al., arXiv 2305.03048):
two weights mix the three masks of SAM. 1000 iterations, AdamW 1e-3 with cosine decay, dice + focal 1 : 1.

The feature prompting and the cascade of PerSAM are left out, as in the single-click protocol of Kim et al.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Any

import torch
from torch import Tensor

from samtailor.adapters.sam_f import ScaleWeights
from samtailor.bases import Base
from samtailor.bases.decoder import PromptDecoder
from samtailor.cache.bounded import BoundedCache
from samtailor.errors import InputError
from samtailor.registry import refuse_unknown
from samtailor.segmenter import Segmenter
from samtailor.structures import Batch, Features, Output
from samtailor.train.joint import Joint

TITLE = "SAM-F"
DEFAULTS: dict[str, Any] = {
    "steps": 1000,
    "batch_size": 8,
    "lr": 1e-3,
    "weight_decay": 0.0,
    "warmup": 0,
    "schedule": "cosine",
    "prompt": "pooled-click",  # PerSAM-F precomputes its logits, so clicks must repeat
}


class Scale(Joint):
    """A joint step that decodes each mask and click once: the base is frozen, so its logits are constants.

    This saves time if clicks repeat, see the prompt source `pooled-click`.

    Args:
        cache_bytes: bound on the logits kept (half precision, also where none were kept, so that a resumed run is the
            uninterrupted one).
    """

    def __init__(self, *args: Any, cache_bytes: int = 256 << 20, **options: Any) -> None:
        super().__init__(*args, **options)
        self._kept: BoundedCache[bytes, tuple[Tensor, Tensor]] = BoundedCache(max_size=cache_bytes, size=_bytes)
        self._decoder = PromptDecoder(self.bare.base)

    def forward(self, batch: Batch) -> Output:
        """The mixed mask; decodes only rows that are not cached."""
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
        kept = self._kept.get(key)
        return self._kept.put(key, self._decode(batch, row)) if kept is None else kept

    @torch.no_grad()  # the trained weights come after the base
    def _decode(self, batch: Batch, row: slice) -> tuple[Tensor, Tensor]:
        base = self.bare.base
        output = self._decoder(_features(batch)[row], base.encode_prompts(batch.prompts[row])).output()
        return output.candidate_logits()[0].half(), output.candidate_iou()[0].half()


def _features(batch: Batch) -> Features:
    if batch.features is None:
        raise InputError("SAM-F needs the embeddings of the images, and this batch has none.")
    return batch.features


def _bytes(tensors: tuple[Tensor, Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def _key(batch: Batch, row: slice) -> bytes:
    """Key by content: views of an image share its id, but not its embedding."""
    prompts = batch.prompts[row]
    tensors = (_features(batch).main[row, :, ::8, ::8], prompts.points, prompts.labels, prompts.boxes, prompts.masks)
    digest = hashlib.blake2b(repr(batch.ids[row]).encode(), digest_size=16)
    for tensor in tensors:
        digest.update(b"-" if tensor is None else tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.digest()


def build(base: Base, *, gamma: float = 2.0, alpha: float = 0.25, **unknown: Any) -> tuple[Segmenter, partial[Scale]]:
    """SAM-F.

    Args:
        base: frozen base with three multimask outputs.
        gamma, alpha: parameters of the focal loss (those of PerSAM-F).
        **unknown: any other option is an InputError.
    """
    refuse_unknown(build, unknown)
    step = partial(Scale, gamma=gamma, alpha=alpha, focal_weight=1.0, dice_weight=1.0, iou_weight=0.0)
    return Segmenter(base, outputs={"scale": ScaleWeights()}), step
