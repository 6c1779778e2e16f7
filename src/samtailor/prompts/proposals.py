"""`proposals`: boxes or points that an adapter's learnt proposals find, see `samtailor.proposals`.

For evaluation without a human prompt, and for fitting on boxes that the head itself will give later.
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
from samtailor.registry import choose, refuse_unknown
from samtailor.structures import Prompts, Sample

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
        proposals: the proposals themselves instead, with their `base`.
        base: a loaded base; None loads the adapter's own.
        store: embeddings; None opens the user's cache.
        classes: only proposals of these; None takes all.
        threshold: lowest score; None takes each class's own.
        pick: "best": the proposal of highest score, for every mask. "all": without masks all of them; for given masks
            each gets the proposal whose point lies on it or whose box overlaps its box most (the truth chooses).
        give: "points" or "boxes"; None takes what the proposals were made for.
        **unknown: refused with an InputError.
    """
    refuse_unknown(build, unknown)
    choose("pick", pick, PICKS)
    if (adapter is None) == (proposals is None) or (proposals is not None and base is None):
        raise InputError("Give either adapter=FOLDER, or proposals= with their base=.")
    if base is None:
        base = load_base(disk.read_meta(adapter).base_name)
    proposals = disk.load(adapter, base) if proposals is None else proposals
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
        """Prompts (1, P): P masks, or all that was found; where nothing was, the full frame or its middle, counted."""
        found, frame = self.found(sample)
        size = (frame.height, frame.width)
        if not len(found):
            rows = [0] * max(len(masks), 1)
            boxes = np.array([[0, 0, frame.width, frame.height]], np.float32)
            points = np.array([[(frame.width - 1) / 2, (frame.height - 1) / 2]], np.float32)
            return self._prompts(boxes[rows], points[rows], size)
        if self._pick == "best":
            rows = [0] * max(len(masks), 1)
        else:
            rows = [_nearest(mask, found, size, sample.id) for mask in masks] or list(range(len(found)))
        return self._prompts(found.boxes[rows], found.points[rows], size)

    def found(self, sample: Sample) -> tuple[Proposed, Frame]:
        """What is proposed in an image, possibly nothing, and the image's geometry."""
        frame = Frame.of(self._base, *sample.size)
        if sample not in self._by_sample:
            features = self._store.features(self._base, sample)
            asked = {"threshold": self._threshold, "classes": self._classes}
            self._by_sample[sample] = self._proposals.propose(features, frame, **asked)
            self._found[sample.id] = bool(len(self._by_sample[sample]))
        return self._by_sample[sample], frame

    def _prompts(self, boxes: np.ndarray, points: np.ndarray, size: tuple[int, int]) -> Prompts:
        if self._give == "boxes":
            return Prompts(size, boxes=torch.tensor(boxes, dtype=torch.float32)[None])
        clicks = torch.tensor(points, dtype=torch.float32)[None, :, None]
        return Prompts(size, points=clicks, labels=torch.ones(clicks.shape[:3], dtype=torch.int64))


def _nearest(mask: np.ndarray, found: Proposed, size: tuple[int, int], name: str) -> int:
    """The proposal for a mask: its point on the mask counts for more than any overlap of boxes."""
    if mask.shape != size:
        if len(found) == 1:
            return 0
        raise InputError(f"{name!r} has {len(found)} proposals; to choose, the mask must be of the image's frame.")
    x0, y0, x1, y1 = interior.box(mask)
    overlap = box_iou(np.array([x0, y0, x1 + 1, y1 + 1], np.float32), found.boxes)
    columns, rows = (found.points + 0.5).astype(int).T
    on = mask[np.clip(rows, 0, size[0] - 1), np.clip(columns, 0, size[1] - 1)]
    return int((overlap + on).argmax())


__all__ = ["ProposalSource", "build"]
