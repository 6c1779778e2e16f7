"""`multiscale`: features at several scales are compared with the references and their background. The default.

Every cell of an image is described by all maps of the base and of a companion (`adapters.descriptors`), and scored by
a linear discriminant between the objects of the references and their background (`_discriminant`). The score map gives
clicks and boxes (`_proposals`) for the mask decoder, whose masks are averaged with the map and ranked by match times
predicted IoU. Scores are calibrated by leaving references out; with one reference, by leaving blocks of cells out
(`_calibration`). Not from a paper; docs/guides/find.md has the measurements.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from samtailor.adapters.descriptors import describe, side_of
from samtailor.adapters.tiled import LOGIT_LIMIT
from samtailor.bases import Base
from samtailor.bases.companions import NONE, Companion, load_companion
from samtailor.bases.decoder import PromptDecoder
from samtailor.data.tile_views import MOST, side
from samtailor.data.transform import Frame
from samtailor.masks import interior
from samtailor.masks.contours import is_rectangle
from samtailor.matchers import Candidates, MarkedImage
from samtailor.matchers._calibration import score_threshold
from samtailor.matchers._discriminant import Discriminant, Read
from samtailor.matchers._proposals import Sizes, prompts, soft_iou
from samtailor.registry import BUNDLED_BASE, number
from samtailor.structures import Features, Prompts

AUTO = "auto"
"""Value of the option `companion`: the bundled one for the bundled base, whose backbone it is; none for other bases."""
_SMALL = 8.0  # side of an object in cells of the mask logits, below which tiles are searched
_SAME = 0.5  # IoU from which an answer is an object of a reference
_SIZE_RANGE = 3.0  # objects may be this many times smaller or larger than those of the references


class MultiScale:
    """See `matchers.Matcher`.

    Args:
        base: frozen base.
        references: what to find, and what not.
        companion: whose maps are read beside the embedding; None for none.
        tiles: tiles per side that are searched besides the whole image.
    """

    def __init__(self, base: Base, references: Sequence[MarkedImage], companion: Companion | None, tiles: int) -> None:
        self._base, self._decode, self._side = base, PromptDecoder(base), side_of(base)
        self.companions = () if companion is None else (companion,)
        self.tiles = tiles
        with torch.no_grad():
            known = Discriminant.of(base, references, self.companions, tiles)
            shown = known.shown
            self._sizes = sizes_of([one.marked for one in shown], 1 / side(tiles))
            self._rectangles = all(is_rectangle(mask) for one in shown for mask in one.marked.masks)
            self._scorer, self._likeness = known.scorer, known.likeness
            self.threshold = self._threshold(shown, known.held_out)

    @torch.no_grad()
    def candidates(self, features: Features, frame: Frame) -> Candidates:
        """Objects of an image or tile."""
        return self._candidates(features, frame, self._scores(features))

    @torch.no_grad()
    def map(self, features: Features, frame: Frame) -> Tensor:
        """Logits (h, w) of the likeness of each place of the model frame to the references."""
        return self._map(self._scores(features), frame)

    def _scores(self, features: Features) -> Tensor:
        """Scores (N,) of the cells of one image."""
        return self._scorer(describe(features, [one.fingerprint for one in self.companions], self._side)[0])

    def _map(self, scores: Tensor, frame: Frame) -> Tensor:
        grid = self._likeness(scores).reshape(1, 1, self._side, self._side)
        fine = F.interpolate(grid, (self._base.low_res,) * 2, mode="bilinear", align_corners=False)[0, 0]
        return fine.clamp(-LOGIT_LIMIT, LOGIT_LIMIT).masked_fill(~frame.valid().to(fine.device), -LOGIT_LIMIT)

    def _candidates(self, features: Features, frame: Frame, scores: Tensor) -> Candidates:
        logits = self._map(scores, frame)
        likeness = logits.sigmoid()
        parts = [
            self._decoded(features, one, logits, likeness)
            for one in prompts(likeness.cpu().numpy(), self._sizes, self._base.size)
        ]
        if not parts:
            none = logits.new_zeros(0)
            return Candidates(logits.new_zeros(0, *logits.shape), none, none)
        logits, match, iou = (torch.cat([getattr(one, name) for one in parts]) for name in ("logits", "match", "iou"))
        return Candidates(logits, match, iou, self._rectangles)

    def _decoded(self, features: Features, prompt: Prompts, logits: Tensor, likeness: Tensor) -> Candidates:
        """The best candidate of each prompt, averaged with the map."""
        decoded = self._decode(features, self._base.encode_prompts(prompt.to(logits.device)))
        kinds = list(decoded.candidates)
        masks = decoded.logits(decoded.hyper[:, kinds]).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
        mixed = ((masks + logits) / 2).flatten(0, 1)
        match = soft_iou(mixed > 0, likeness) * self._of_fitting_size(mixed > 0)
        iou = decoded.iou[:, kinds].flatten()
        rank = (match * iou.clamp(0, 1)).reshape(-1, len(kinds)).argmax(dim=1)
        best = torch.arange(len(rank), device=rank.device) * len(kinds) + rank
        return Candidates(mixed[best].float(), match[best].float(), iou[best].float())

    def _of_fitting_size(self, masks: Tensor) -> Tensor:
        """Factor (N,) in [0, 1]: below 1 for masks far smaller or larger than all objects of the references."""
        area = masks.float().mean(dim=(1, 2)).clamp(min=1e-6)
        excess = torch.maximum(self._sizes.low / _SIZE_RANGE / area, area / (self._sizes.high * _SIZE_RANGE))
        return 1 / excess.clamp(min=1)

    def _threshold(self, shown: Sequence[Read], held_out: Sequence[Tensor]) -> float:
        """Score that separates the objects of the references from other answers on them."""
        right: list[float] = []
        wrong: list[float] = []
        for one, scores in zip(shown, held_out, strict=True):
            answers = self._candidates(one.look()[0], one.marked.frame, scores)
            if not len(answers.logits):
                continue
            targets = torch.stack([one.marked.frame.target(mask) > 0.5 for mask in one.marked.masks]).to(scores.device)
            masks = answers.logits > 0
            overlap = _iou(masks, targets)
            marked = one.marked.frame.target(one.marked.union).to(scores.device)
            for score, best, mask in zip(answers.scores.tolist(), overlap.amax(1).tolist(), masks, strict=True):
                if best >= _SAME:
                    right.append(score)
                elif float(marked[mask].mean() if mask.any() else 1.0) < 0.5 and one.marked.complete:
                    wrong.append(score)
        return score_threshold(right, wrong, len(shown))


def _iou(masks: Tensor, others: Tensor) -> Tensor:
    """IoU (N, M) of masks (N, h, w) with others (M, h, w)."""
    common = torch.einsum("nhw,mhw->nm", masks.float(), others.float())
    areas = masks.sum(dim=(1, 2))[:, None] + others.sum(dim=(1, 2))[None]
    return common / (areas - common).clamp(min=1)


def sizes_of(shown: Sequence[MarkedImage], zoom: float = 1.0) -> Sizes:
    """Sizes of the objects of references.

    Args:
        shown: positive references.
        zoom: how much larger objects are in the tiles that are searched besides the whole image.
    """
    rows = []
    for one in shown:
        across, down = one.frame.scale[0] / one.frame.size, one.frame.scale[1] / one.frame.size
        for mask in one.masks:
            x0, y0, x1, y1 = interior.box(mask)
            area = float(np.count_nonzero(mask)) * across * down
            rows.append(((x1 + 1 - x0) * across, (y1 + 1 - y0) * down, area))
    width, height, area = np.array(rows).T
    width, height = zoom * np.median(width), zoom * np.median(height)
    return Sizes(float(width), float(height), float(area.min()), float(area.max()) * zoom**2)


def linear_map_of(
    base: Base, references: Sequence[MarkedImage], companions: tuple[Companion, ...]
) -> tuple[Tensor, Tensor]:
    """The discriminant of references on the grid of the mask logits, for an `adapters.linear_map.LinearMap`.

    The references are read whole, without tiles.

    Args:
        base: frozen base.
        references: what to find, and what not.
        companions: whose maps are read beside the embedding.

    Returns:
        weight (C,) and bias () of the logits of the likeness.
    """
    return Discriminant.of(base, references, companions, tiles=1, fine=True).linear


def build(
    base: Base, references: Sequence[MarkedImage], *, companion: str = AUTO, tiles: int | None = None
) -> MultiScale:
    """A matcher on references.

    Args:
        base: frozen base.
        references: what to find, and what not.
        companion: network whose features are read beside the base's, see `bases.companions`; "auto", "none".
        tiles: tiles per side that are searched besides the whole image; 1 for none. None: 2 if the median object of the
            references is small, else 1.

    Raises:
        InputError: tiles is not a number from 1 to 3.
        BaseUnavailableError: there is no such companion.
    """
    if tiles is None:
        sizes = sizes_of([one for one in references if one.alike])
        tiles = 2 if (sizes.width * sizes.height) ** 0.5 * base.low_res < _SMALL else 1
    tiles = number("tiles", tiles, at_least=1, at_most=MOST, integer=True)
    device = next(base.model.parameters()).device
    if companion == AUTO:
        companion = "bundled" if base.name == BUNDLED_BASE else NONE
    return MultiScale(base, references, load_companion(companion, device), tiles)


__all__ = ["AUTO", "MultiScale", "build", "linear_map_of"]
