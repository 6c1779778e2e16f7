"""SAM's mask decoder, evaluated in three ways.

| way | call | for |
|---|---|---|
| reference | `base.decode(features, tokens)` | any images, prompts, device, precision and exchanged modules |
| training | `base.decode(features, tokens, fast=True)` | one prompt per image, CPU, full precision, with gradients |
| inference | `PromptDecoder(base)(features, tokens)` | many prompts on one image, without gradients |

The reference runs the vendor's own forward. The other two compute the same sums in a cheaper order (`sums.py`), with
the base's own weights, and agree with the reference to rounding, not bit for bit. The caller chooses by an argument;
whether gradients are on has no influence. `fast=True` falls back to the reference where the cheaper order does not
apply (see `training.supports`).
"""

from __future__ import annotations

from samtailor.bases.decoder.inference import DecodedPrompts, PromptDecoder, with_fast_attention
from samtailor.bases.decoder.reference import ReferenceDecoder
from samtailor.bases.decoder.sums import cross_attention
from samtailor.bases.decoder.training import is_cpu_full_precision, is_standard

__all__ = [
    "DecodedPrompts",
    "PromptDecoder",
    "ReferenceDecoder",
    "cross_attention",
    "is_cpu_full_precision",
    "is_standard",
    "with_fast_attention",
]
