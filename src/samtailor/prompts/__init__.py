"""Prompt sources, one file each: `build(**options) -> source`.

A source is `source(sample, masks, rng) -> Prompts`. `masks` are the P target masks, bool (H, W) each, all in one frame;
the prompts have B = 1, P prompts and that frame. `rng` is a numpy Generator; deterministic sources ignore it. A source
with the attribute `of_image = True` reads the image, not the masks: its prompts are always of the image frame.

A module declares by its constant `TYPE` what its prompts are, see `PromptType`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np

from samtailor.errors import InputError
from samtailor.registry import find
from samtailor.structures import Prompts, Sample

Source = Callable[[Sample, Sequence[np.ndarray], np.random.Generator], Prompts]
PromptType = Literal["points", "boxes", "none", "either"]
"""What a prompt source gives: clicks, boxes, empty prompts, or clicks or boxes as its options say.

An adapter that was fitted on "points" is used with the user's clicks. After any other type its prompt source is saved
with the adapter and used again at inference.
"""


def prompt_type(name: str) -> PromptType:
    """The type of a prompt source.

    Raises:
        InputError: there is no such source, or its module declares no valid `TYPE`.
    """
    kind: Any = getattr(find("prompts", name), "TYPE", None)
    if kind not in get_args(PromptType):
        raise InputError(
            f"The prompt source {name!r} must declare TYPE, one of {', '.join(get_args(PromptType))}; got {kind!r}."
        )
    return kind


__all__ = ["PromptType", "Source", "prompt_type"]
