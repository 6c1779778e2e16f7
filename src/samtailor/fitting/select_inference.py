"""How an adapter with a map looks at an image without a prompt: chosen on images that it has not learnt from.

Closer looks and the decoder's boxes (`looks`) help some objects and harm others (docs/tailor.md), so each fit tries
them.
Held-out images judge where there are some. With few shots there are none to spare: then every member of the map
leaves some of the training images out (`assign_folds`) and is judged on those alone. It sees only a part of the shots,
so the Dice told here are below the finished map's; what is taken from them is the order of the choices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from samtailor.adapters.tiled import tiled_logits
from samtailor.data.augment import View
from samtailor.data.regions import foreground
from samtailor.data.split import Split
from samtailor.data.transform import Frame
from samtailor.masks import metrics
from samtailor.segmenter import Segmenter
from samtailor.structures import Features, Sample, TilingPlan

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache

CHOICES = (
    TilingPlan(),
    TilingPlan(boxes=2.0),
    TilingPlan((1, 2)),
    TilingPlan((1, 2), 2.0),
    TilingPlan((2,)),
    TilingPlan((2,), 2.0),
)
"""What is tried; the first is what the others must beat."""
LEAST = 4
"""Groups of training images from which on members leave some out: with fewer each would see too little."""
MOST = 24
"""Images that judge, at most."""
_GAIN = 0.01  # Dice: less is not worth four more passes of the encoder


@dataclass(frozen=True)
class SelectedInference:
    """What was chosen.

    Args:
        looking: the choice.
        images: how many judged.
        dice, whole: mean Dice of the choice, and of a single look at the whole image, on those.
    """

    tiling: TilingPlan
    images: int
    dice: float
    whole: float


def assign_folds(split: Split, members: int) -> dict[str, int]:
    """Training image to the member that leaves it out; images of one group go together.

    Empty with fewer groups than `LEAST`, with fewer than two members, and where held-out images can judge.
    """
    group_of = {id: sorted(ids)[0] for ids in split.groups for id in ids}
    groups = list(dict.fromkeys(group_of.get(id, id) for id in split.train))
    if split.val or members < 2 or len(groups) < LEAST:
        return {}
    return {id: groups.index(group_of.get(id, id)) % members for id in split.train}


def select_inference(
    segmenter: Segmenter,
    samples: Sequence[Sample],
    classes: Sequence[str],
    store: EmbeddingCache,
    *,
    left_out: Mapping[str, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SelectedInference | None:
    """Try all choices and set the segmenter's `tiling`; None, and one look, where no image can judge.

    The best mean Dice is taken among the choices that are better than one look by more than the standard error of the
    paired difference, and by at least one point: a choice that only noise favours would cost encodes for nothing.

    Args:
        segmenter: fitted, with a map.
        samples: images that it has not learnt from, or (with `left_out`) that one member has not.
        classes: of the map.
        store: embeddings on disk.
        left_out: sample id to the member that answers on it; None: the whole map does.
        progress: called with (images done, images in all).
    """
    judges = [one for one in foreground(samples, classes) if one.of(None)][:MOST]
    (found,) = segmenter.maps.values()
    rows = []
    for done, sample in enumerate(judges, 1):
        member = None if left_out is None else left_out.get(sample.id)
        ask = found.logits if member is None else found.members[member]
        rows.append(_dice(segmenter, ask, sample, store))
        if progress is not None:
            progress(done, len(judges))
    if len(rows) < 2:
        return None
    table = np.array(rows)
    best = _best(table)
    segmenter.inference = replace(segmenter.inference, tiling=CHOICES[best])
    return SelectedInference(CHOICES[best], len(rows), float(table[:, best].mean()), float(table[:, 0].mean()))


@torch.no_grad()
def _dice(segmenter: Segmenter, ask: Callable[[Features], torch.Tensor], sample: Sample, store: EmbeddingCache) -> list:
    """Dice of each choice on one image."""
    base, truth = segmenter.base, sample.annotations[0].mask
    device, frame = next(base.model.parameters()).device, Frame.of(base, *truth.shape)
    seen: dict[str, Features] = {}

    def see(view: View) -> Features:
        if view.key not in seen:
            seen[view.key] = store.features(base, [sample], [view]).to(device)
        return seen[view.key]

    answers = (frame.logits(tiled_logits(choice, ask, base, frame, see)) for choice in CHOICES)
    return [metrics.dice((logits[0, 0] > 0).cpu().numpy(), truth) for logits in answers]


def _best(table: np.ndarray) -> int:
    """Column of a (images, choices) table of Dice."""
    gains = table - table[:, :1]
    mean, error = gains.mean(axis=0), gains.std(axis=0, ddof=1) / len(gains) ** 0.5
    sound = (mean >= _GAIN) & (mean > error)
    return int(np.where(sound, mean, -1.0).argmax()) if sound.any() else 0


__all__ = ["CHOICES", "LEAST", "MOST", "SelectedInference", "assign_folds", "select_inference"]
