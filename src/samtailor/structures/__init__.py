"""Data structures shared by all packages. Every field documents its shape, dtype, axis order, unit and frame.

Frames. *Image frame*: pixels of the image as stored, after EXIF rotation, origin at the center of the top-left pixel
(pixel-index convention, x to the right, y down). *Model frame*: pixels of the square input of the base model (side
`base.size`), after resizing the image and padding it right and bottom. `data.transform` is the only place that
converts between them.

Letters: B images, P prompts per image, K points per prompt, M mask tokens, D token width, H W grid of the image
embedding, h w grid of the low-resolution logits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samtailor.structures.account import Account, LeftOut, Tally
from samtailor.structures.inference import PROMPT_TYPES, WAYS, InferenceSpec, TilingPlan, way_of
from samtailor.structures.postprocess import NOTHING, Postprocess
from samtailor.structures.sample import Annotation, Reading, RunLengths, Sample
from samtailor.structures.score import Score

if TYPE_CHECKING:
    from samtailor.structures.tensors import Batch, Features, Output, Prompts, Tokens


def __getattr__(name: str) -> Any:  # reading data and metadata needs no torch
    if name in ("Batch", "Features", "Output", "Prompts", "Tokens"):
        from samtailor.structures import tensors

        return getattr(tensors, name)
    raise AttributeError(f"module 'samtailor.structures' has no attribute {name!r}")


__all__ = [
    "NOTHING",
    "PROMPT_TYPES",
    "WAYS",
    "Account",
    "Annotation",
    "Batch",
    "Features",
    "InferenceSpec",
    "LeftOut",
    "Output",
    "Postprocess",
    "Prompts",
    "Reading",
    "RunLengths",
    "Sample",
    "Score",
    "Tally",
    "TilingPlan",
    "Tokens",
    "way_of",
]
