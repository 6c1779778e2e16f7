"""Which image to mark next: the one whose region the adapter is least certain of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from samtailor.adapters.decoder_tail import expected_iou
from samtailor.data.shots import shuffle_key
from samtailor.segmenter import Segmenter
from samtailor.structures import Sample
from samtailor.train.multitask import member_map

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache

MOST = 24
"""Images that are compared, drawn at random."""


@torch.no_grad()
def next_images(
    segmenter: Segmenter,
    samples: Sequence[Sample],
    store: EmbeddingCache,
    *,
    seed: int,
    enough: Callable[[], bool],
    count: int = 3,
) -> list[str]:
    """Ids of the images with the lowest expected IoU of the region, the lowest first.

    Args:
        segmenter: with a region map.
        samples: images that the adapter was not fitted on.
        store: cached embeddings.
        seed: of the draw of `MOST` images.
        enough: polled before each image; True ends the search.
        count: of the ids.
    """
    region_map, device = member_map(segmenter), next(segmenter.base.model.parameters()).device
    drawn = sorted(samples, key=lambda sample: shuffle_key(seed, sample.id))[:MOST]
    scored = []
    for sample in drawn:
        if enough():
            break
        features = store.features(segmenter.base, [sample], None, segmenter.companions).to(device)
        scored.append((float(expected_iou(region_map.logits(features))), sample.id))
    return [id for _, id in sorted(scored)[:count]]


__all__ = ["MOST", "next_images"]
