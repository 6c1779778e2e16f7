"""Prompts of an evaluation: one per mask, by default SAM's single-point protocol (arXiv 2304.02643, 7.1)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from zlib import crc32

import numpy as np

from samtailor.bases import Base
from samtailor.errors import InputError
from samtailor.registry import find, options
from samtailor.segmenter import Segmenter
from samtailor.structures import Annotation, Prompts, Sample

PROTOCOL = "mask-center"
"""Prompt source of the protocol."""


def prompt_source(
    segmenter: Segmenter | Base, prompt: str | Callable[..., Prompts] | None, regions: bool
) -> tuple[str, Callable[..., Prompts]]:
    """The prompt source for a segmenter.

    Args:
        segmenter: or the base.
        prompt: name, source, or None for the one that the segmenter was fitted with.
        regions: regions are evaluated; a promptless segmenter then gets no prompt.

    Returns:
        a key, equal for equal sources, and the source.
    """
    if prompt is None and regions and isinstance(segmenter, Segmenter) and segmenter.promptless:
        return "none", _source("none")
    if prompt is None and isinstance(segmenter, Segmenter) and segmenter.inference.prompt is not None:
        options = segmenter.inference.prompt_options
        label = segmenter.inference.prompt + (f"\0{sorted(options.items())!r}" if options else "")
        return label, find("prompts", segmenter.inference.prompt).build(**options)
    if prompt is None or isinstance(prompt, str):
        return prompt or PROTOCOL, _source(prompt or PROTOCOL)
    return type(prompt).__name__, prompt


def prompts_for(
    sample: Sample, targets: Sequence[Annotation], index: int, source: str | Callable[..., Prompts], seed: int
) -> Prompts:
    """The prompt for mask `index` of the targets of an image, in the image frame."""
    source = _source(source) if isinstance(source, str) else source
    # one generator per mask: its click does not depend on which other masks are evaluated
    rng = np.random.default_rng([seed, crc32(sample.id.encode()), index])
    return source(sample, [targets[index].mask], rng)


def _source(name: str) -> Callable[..., Prompts]:
    build = find("prompts", name).build
    required = [option for option, default in options(build).items() if default is inspect.Parameter.empty]
    if required:
        raise InputError(
            f"The prompt source {name!r} needs {', '.join(required)}: build it and pass the source instead of its name."
        )
    return build()


__all__ = ["PROTOCOL", "prompt_source", "prompts_for"]
