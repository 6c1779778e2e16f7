"""Training batches from samples in memory, without cache or feed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from samtailor.bases import Base
from samtailor.bases.companions import Companion, companion_maps
from samtailor.data.transform import Frame
from samtailor.masks import contours
from samtailor.registry import find
from samtailor.structures import Batch, Features, Prompts, Sample


def batch_of(
    base: Base,
    samples: Sequence[Sample],
    *,
    points: int = 64,
    prompt: str = "mask-center",
    companions: Sequence[Companion] = (),
) -> Batch:
    """The first annotation of each sample."""
    source, rows = find("prompts", prompt).build(), []
    for index, sample in enumerate(samples):
        image, mask = sample.image, sample.annotations[0].mask
        frame = Frame.of(base, *mask.shape)
        inside = frame.mask(mask)
        with torch.no_grad():
            pixels = frame.image(image, base)[None]
            features = base.encode_image(pixels)
            maps = {one.fingerprint: companion_maps(one, base, pixels) for one in companions}
            features = replace(features, companions=maps)
        prompts = source(sample, [inside], np.random.default_rng(index))
        rows.append((features, prompts, frame.target(mask), frame.valid(), inside, frame.image(image, base)))
    features, prompts, targets, valid, masks, images = zip(*rows, strict=True)
    joined = {
        name: torch.cat([getattr(p, name) for p in prompts])
        for name in ("points", "labels", "boxes")
        if getattr(prompts[0], name) is not None
    }
    return Batch(
        features=Features.cat(features),
        prompts=Prompts((base.size, base.size), **joined),
        targets=torch.stack(targets)[:, None],
        valid=torch.stack(valid)[:, None],
        contours=torch.from_numpy(np.stack([contours.resample(mask, points) for mask in masks]))[:, None],
        radius=torch.tensor([[contours.radius(mask)] for mask in masks]),
        labels=tuple(sample.annotations[0].label for sample in samples),
        ids=tuple(sample.id for sample in samples),
        images=torch.stack(images),
    )
