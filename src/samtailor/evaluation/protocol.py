"""How an evaluation asks: one prompt a mask, by SAM's single-point protocol (SAM paper 7.1, App. D.1) unless told."""

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


def asked_with(
    segmenter: Segmenter | Base, prompt: str | Callable[..., Prompts] | None, regions: bool
) -> tuple[str, Callable[..., Prompts]]:
    """(label, source) of the prompts for a segmenter; equal labels are equal sources, asked once.

    For regions nobody has to click where the segmenter finds them alone.
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
    """The prompt that an evaluation asks for mask `index` of an image's targets, image frame."""
    source = _source(source) if isinstance(source, str) else source
    # a generator a mask: the click does not depend on which other masks are evaluated with it
    rng = np.random.default_rng([seed, crc32(sample.id.encode()), index])
    return source(sample, [targets[index].mask], rng)


def _source(name: str) -> Callable[..., Prompts]:
    build = find("prompts", name).build
    needed = [option for option, default in options(build).items() if default is inspect.Parameter.empty]
    if needed:
        raise InputError(
            f"The prompt source {name!r} needs {', '.join(needed)}: build it and give the source instead of its name."
        )
    return build()


__all__ = ["PROTOCOL", "asked_with", "prompts_for"]
