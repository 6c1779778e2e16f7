"""The linear map of an adapter (`adapters.linear_map`), fitted in closed form to the training images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from samtailor.data.augment import View
from samtailor.data.transform import Frame
from samtailor.errors import nothing_to_train_on
from samtailor.matchers import MarkedImage
from samtailor.matchers.multiscale import linear_map_of

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.bases.companions import Companion
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.structures import Features, Sample
    from samtailor.train.step import TrainingData

MOST_IMAGES = 32
"""Training images that the discriminant is computed on, at most, spread over all of them. Their covariances are in
memory together, since each is left out once.
"""


def fitted_linear_map(base: Base, data: TrainingData, companions: tuple[Companion, ...]) -> tuple[Tensor, Tensor]:
    """Weight (C,) and bias () of the linear map of the classes of a fit, from at most `MOST_IMAGES` images.

    Args:
        base: frozen base.
        data: of the fit.
        companions: whose maps are read beside the embedding.

    Raises:
        DataError: no mask of the classes.
    """
    shown = [sample for sample in data.train if sample.of(data.classes)]
    if not shown:
        raise nothing_to_train_on(len(data.train), data.classes)
    chosen = [shown[index] for index in np.linspace(0, len(shown) - 1, min(len(shown), MOST_IMAGES)).astype(int)]
    marked = [_marked(base, sample, data) for sample in chosen]
    return linear_map_of(base, marked, companions)


def _marked(base: Base, sample: Sample, data: TrainingData) -> MarkedImage:
    union = np.logical_or.reduce([one.mask for one in sample.of(data.classes)])
    return MarkedImage(partial(_see, data.store, base, sample), Frame.of(base, *sample.size), (union,))


def _see(store: EmbeddingCache, base: Base, sample: Sample, companions: Sequence[Companion], view: View) -> Features:
    return store.features(base, [sample], [view], companions).to(next(base.model.parameters()).device)


__all__ = ["MOST_IMAGES", "fitted_linear_map"]
