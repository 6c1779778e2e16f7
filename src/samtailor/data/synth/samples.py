"""Synthetic data sets in memory: images are drawn lazily, nothing is written to disk."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from samtailor.data.synth import banners as hung
from samtailor.data.synth.banners import banner_scene
from samtailor.data.synth.own_images import images
from samtailor.data.synth.scenes import Scene, scene
from samtailor.errors import InputError
from samtailor.structures import Annotation, Sample

KINDS = ("banners", "scenes")
"""What can be drawn."""

SIDES = ("train", "test")
"""The two halves of a data set; no seed of an image is used on both."""


def samples(
    count: int,
    seed: int = 0,
    *,
    kind: str = "banners",
    size: tuple[int, int] | None = None,
    side: str = "train",
    banners: Path | Sequence[Path] | None = None,
    backgrounds: Path | Sequence[Path] | None = None,
) -> list[Sample]:
    """Samples that draw their image on every access. Annotations are kept.

    Args:
        count: number of samples.
        seed: random seed, at least 0. The first images do not depend on `count`.
        kind: one of `KINDS`.
        size: (height, width) in pixels; None for 480 x 640 (banners) or 256 x 256 (scenes, which are square).
        side: one of `SIDES`, which have no seeds in common.
        banners, backgrounds: folder or files of the user's images; None for generated ones. For the kind "banners".

    Raises:
        InputError: an argument out of range, an unknown kind or side, or a folder without images.
    """
    if count < 1 or seed < 0:
        raise InputError(f"count must be at least 1 and seed at least 0, got {count} and {seed}.")
    if side not in SIDES:
        raise InputError(f"side must be one of {', '.join(SIDES)}, got {side!r}.")
    draw = _drawer(kind, size, _files(banners, "banners"), _files(backgrounds, "backgrounds"))
    seeds = image_seeds(count, seed, side)
    return [_sample(f"{side}_{i:05d}", _Drawing(partial(draw, number))) for i, number in enumerate(seeds)]


def image_seeds(count: int, seed: int, side: str) -> list[int]:
    """The seed of each image: a 63-bit number, even for training and odd for test, so that the sides share none."""
    parity = SIDES.index(side)
    roots = (np.random.SeedSequence([seed, index]) for index in range(count))
    return [int(root.generate_state(1, np.uint64)[0] >> 2) * 2 + parity for root in roots]


class _Drawing:
    """One image, drawn on every access. Its annotations are kept from the first drawing."""

    def __init__(self, draw: partial[Scene]) -> None:
        self._draw = draw
        self._annotations: Sequence[Annotation] | None = None

    def image(self) -> np.ndarray:
        drawn = self._draw()
        if self._annotations is None:
            self._annotations = _annotations(drawn)
        return drawn.image

    def annotations(self) -> Sequence[Annotation]:
        if self._annotations is None:
            self._annotations = _annotations(self._draw())
        return self._annotations


def _annotations(drawn: Scene) -> tuple[Annotation, ...]:
    pairs = zip(drawn.labels, drawn.masks, strict=True)
    return tuple(Annotation.from_mask(label, mask) for label, mask in pairs)


def _sample(name: str, drawing: _Drawing) -> Sample:
    return Sample(name, drawing.image, drawing.annotations)


def _drawer(kind: str, size: tuple[int, int] | None, banners: list[Path], backgrounds: list[Path]) -> partial[Scene]:
    """A function from a seed to a scene."""
    if kind == "banners":
        return partial(banner_scene, size=size or hung.SIZE, banners=banners, backgrounds=backgrounds)
    if kind != "scenes":
        raise InputError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}.")
    if banners or backgrounds:
        raise InputError("Images of banners and backgrounds require the kind 'banners'.")
    height, width = size or (256, 256)
    if height != width or height < 64:
        raise InputError(f"Scenes must be square with sides of at least 64 pixels, got {height} x {width}.")
    return partial(scene, size=height)


def _files(given: Path | Sequence[Path] | None, what: str) -> list[Path]:
    if given is None:
        return []
    return images(Path(given), what) if isinstance(given, str | Path) else list(given)


__all__ = ["KINDS", "SIDES", "image_seeds", "samples"]
