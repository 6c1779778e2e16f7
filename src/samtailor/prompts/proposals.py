"""`proposals`: boxes or points from the trained proposals of an adapter, see `samtailor.proposals`.

For evaluation without a user's prompts, and for fitting on the boxes that the proposals will give at inference.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from samtailor.bases import Base, load_base
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.transform import Frame
from samtailor.errors import InputError
from samtailor.masks import interior
from samtailor.masks.nms import box_iou
from samtailor.prompts._fallbacks import Fallbacks
from samtailor.proposals import GIVES, Proposals, Proposed, disk
from samtailor.registry import choose, number, refuse_unknown
from samtailor.structures import Prompts, Sample

TYPE = "either"
PICKS = ("best", "all")


def build(
    *,
    adapter: str | Path | None = None,
    proposals: Proposals | None = None,
    base: Base | None = None,
    store: EmbeddingCache | None = None,
    classes: Sequence[str] | None = None,
    threshold: float | None = None,
    pick: str = "all",
    give: str | None = None,
    **unknown: Any,
) -> ProposalSource:
    """The source. Coordinates are of the image frame, whatever frame the masks have.

    Args:
        adapter: folder with proposals (`samtailor propose-fit`).
        proposals: loaded proposals instead of a folder, with their `base`.
        base: a loaded base; None loads the base of the adapter.
        store: cache of embeddings; None opens the user's cache.
        classes: only proposals of these classes; None takes all.
        threshold: lowest score, in [0, 1]; None takes the threshold of each class.
        pick: "best": the proposal of the highest score, for every mask. "all": without masks all of them; with masks,
            each gets the proposal whose point lies on it or whose box overlaps its box most (the true mask selects).
        give: "points" or "boxes"; None: what the proposals were trained for.
        **unknown: refused with an InputError.

    Raises:
        InputError: neither or both of `adapter` and `proposals`, or an invalid value.
        ArtefactError: the folder has no proposals, or they are of another base.
    """
    refuse_unknown(build, unknown)
    choose("pick", pick, PICKS)
    if threshold is not None:
        number("threshold", threshold, at_least=0, at_most=1)
    if proposals is not None and base is not None and adapter is None:
        pass
    elif adapter is not None and proposals is None:
        base = load_base(disk.read_meta(adapter).base_name) if base is None else base
        proposals = disk.load(adapter, base)
    else:
        raise InputError("The prompt source 'proposals' needs either adapter=FOLDER, or proposals= with their base=.")
    give = choose("give", give or proposals.give, GIVES)
    return ProposalSource(proposals, base, store or EmbeddingCache(), classes, threshold, pick, give)


class ProposalSource(Fallbacks):
    """See `build`."""

    def __init__(
        self,
        proposals: Proposals,
        base: Base,
        store: EmbeddingCache,
        classes: Sequence[str] | None,
        threshold: float | None,
        pick: str,
        give: str,
    ) -> None:
        super().__init__()
        self._proposals, self._base, self._store = proposals, base, store
        self._classes, self._threshold, self._pick, self._give = classes, threshold, pick, give
        self._by_sample: WeakKeyDictionary[Sample, Proposed] = WeakKeyDictionary()

    def __call__(
        self, sample: Sample, masks: Sequence[np.ndarray] = (), rng: np.random.Generator | None = None
    ) -> Prompts:
        """Prompts (1, P), one for each mask, or all proposals without masks.

        Without a proposal the prompt is the full frame, or its center; this is counted (`fallbacks`).
        """
        proposed, frame = self.proposed(sample)
        size = (frame.height, frame.width)
        if not len(proposed):
            rows = [0] * max(len(masks), 1)
            boxes = np.array([[0, 0, frame.width, frame.height]], np.float32)
            points = np.array([[(frame.width - 1) / 2, (frame.height - 1) / 2]], np.float32)
            return self._prompts(boxes[rows], points[rows], size)
        if self._pick == "best":
            rows = [0] * max(len(masks), 1)
        else:
            rows = [_nearest(mask, proposed, size, sample.id) for mask in masks] or list(range(len(proposed)))
        return self._prompts(proposed.boxes[rows], proposed.points[rows], size)

    def proposed(self, sample: Sample) -> tuple[Proposed, Frame]:
        """The proposals for an image, possibly none, and the geometry of the image."""
        frame = Frame.of(self._base, *sample.size)
        if sample not in self._by_sample:
            features = self._store.features(self._base, sample, companions=self._proposals.companions)
            proposed = self._proposals.propose(features, frame, threshold=self._threshold, classes=self._classes)
            self._by_sample[sample] = proposed
            self._nonempty[sample.id] = bool(len(proposed))
        return self._by_sample[sample], frame

    def _prompts(self, boxes: np.ndarray, points: np.ndarray, size: tuple[int, int]) -> Prompts:
        if self._give == "boxes":
            return Prompts(size, boxes=torch.tensor(boxes, dtype=torch.float32)[None])
        clicks = torch.tensor(points, dtype=torch.float32)[None, :, None]
        return Prompts(size, points=clicks, labels=torch.ones(clicks.shape[:3], dtype=torch.int64))


def _nearest(mask: np.ndarray, proposed: Proposed, size: tuple[int, int], name: str) -> int:
    """The proposal for a mask: a point on the mask counts more than any overlap of boxes."""
    if mask.shape != size:
        if len(proposed) == 1:
            return 0
        raise InputError(f"{name!r} has {len(proposed)} proposals; to select one, the mask must be of the image frame.")
    x0, y0, x1, y1 = interior.box(mask)
    overlap = box_iou(np.array([x0, y0, x1 + 1, y1 + 1], np.float32), proposed.boxes)
    columns, rows = (proposed.points + 0.5).astype(int).T
    on_mask = mask[np.clip(rows, 0, size[0] - 1), np.clip(columns, 0, size[1] - 1)]
    return int((overlap + on_mask).argmax())


__all__ = ["TYPE", "ProposalSource", "build"]
