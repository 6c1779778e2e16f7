"""The linear discriminant between the objects of references and their background, and its calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from samtailor.adapters.descriptors import covered, describe, describe_linear, inside, side_of
from samtailor.bases import Base
from samtailor.bases.companions import Companion
from samtailor.data.augment import View
from samtailor.data.tile_views import views
from samtailor.matchers import MarkedImage
from samtailor.matchers._calibration import Likeness
from samtailor.matchers._scorer import Scorer, Sums, cell_weights
from samtailor.structures import Features

_BLOCKS = 6  # blocks of cells per side that are left out of a single reference, in four parts
_ENOUGH = 64  # cells per side; of finer grids, a part of the background cells is enough


@dataclass(frozen=True)
class Read:
    """A reference as the discriminant reads it; all fields but `sums` are of the whole image.

    Args:
        marked: the reference.
        look: its embedding and the descriptors (N, C) of its cells.
        cover: (N,) share of each cell that the marked objects cover.
        weights: (2, N) as object and as background.
        sums: over the cells of the image and of its tiles.
    """

    marked: MarkedImage
    look: Callable[[], tuple[Features, Tensor]]
    cover: Tensor
    weights: Tensor
    sums: Sums

    @property
    def cells(self) -> Tensor:
        """Descriptors (N, C)."""
        return self.look()[1]


@dataclass(frozen=True)
class Discriminant:
    """What the references say about a cell.

    Args:
        scorer: of the descriptors of a cell.
        likeness: scores to logits of the likeness.
        shown: references that show what to find.
        held_out: (N,) scores of the cells of each of `shown`, by a scorer that did not see them.
    """

    scorer: Scorer
    likeness: Likeness
    shown: list[Read]
    held_out: list[Tensor]

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        base: Base,
        references: Sequence[MarkedImage],
        companions: tuple[Companion, ...],
        tiles: int,
        *,
        fine: bool = False,
    ) -> Discriminant:
        """Read references.

        Args:
            base: frozen base.
            references: what to find, at least one, and what not.
            companions: whose maps are read beside the embedding.
            tiles: tiles per side that are read besides the whole image; 1 for none.
            fine: the cells are those of the mask logits, described by `describe_linear`, and the references are encoded
                again where they are needed again instead of being held.
        """
        reader = _Reader(companions, base.low_res if fine else side_of(base), tiles, fine)
        read = [reader.read(one) for one in references]
        shown = [one for one in read if one.marked.alike]
        scorer = Scorer.fit(Sums.total([one.sums for one in read]), len(shown))
        held_out = reader.held_out(read)
        return cls(scorer, Likeness.fit(held_out, [one.cover for one in shown]), shown, held_out)

    @property
    def linear(self) -> tuple[Tensor, Tensor]:
        """Weight (C,) and bias () of the logits of the likeness as a function of the descriptors of a cell."""
        slope, cut = self.likeness.slope, self.likeness.cut
        return slope * self.scorer.weight, slope * (self.scorer.bias - cut)


@dataclass(frozen=True)
class _Reader:
    """Reads references: arguments as of `Discriminant.of`, `side` cells per side."""

    companions: tuple[Companion, ...]
    side: int
    tiles: int
    fine: bool

    def read(self, marked: MarkedImage) -> Read:
        first, *others = [self._view(marked, view) for view in views(self.tiles)]
        sums = Sums.total([first.sums, *(one.sums for one in others)]).balanced()
        return replace(first, sums=sums)

    def _view(self, marked: MarkedImage, view: View) -> Read:
        """A view of a reference."""
        look = partial(self._look, marked, view)
        features, cells = look()
        mask = view.mask(marked.union)
        frame = replace(marked.frame, height=mask.shape[0], width=mask.shape[1])
        cover = covered(frame, frame.target(mask).to(cells.device), self.side)
        weights = cell_weights(cover, inside(frame, self.side).to(cells.device))
        if not marked.alike:
            weights = torch.stack([torch.zeros_like(weights[0]), weights[0]])
        elif not marked.complete:
            weights = _without_similar(cells, weights)
        sums = Sums.of(cells, self._thinned(weights))
        return Read(marked, look if self.fine else partial(_pair, features, cells), cover, weights, sums)

    def _look(self, marked: MarkedImage, view: View) -> tuple[Features, Tensor]:
        """Features and cells of a view."""
        features = marked.see(self.companions, view)
        described = describe_linear if self.fine else describe
        return features, described(features, [one.fingerprint for one in self.companions], self.side)[0]

    def _thinned(self, weights: Tensor) -> Tensor:
        """Weights with every n-th cell of the background alone, where neighboring cells differ little."""
        every = max(1, round((self.side / _ENOUGH) ** 2))
        kept = torch.arange(weights.shape[1], device=weights.device) % every == 0
        return weights * torch.stack([torch.ones_like(kept), kept])

    def held_out(self, read: Sequence[Read]) -> list[Tensor]:
        """Scores of the cells of each positive reference, by a scorer that did not see them."""
        shown = [one for one in read if one.marked.alike]
        if len(shown) == 1:
            return [self._by_blocks(shown[0], [one.sums for one in read if not one.marked.alike])]
        scores = []
        for left_out in shown:
            sums = [one.sums for one in read if one is not left_out]
            scores.append(Scorer.fit(Sums.total(sums), len(shown) - 1)(left_out.cells))
        return scores

    def _by_blocks(self, only: Read, negative: Sequence[Sums]) -> Tensor:
        """The same for a single reference: every fourth block of cells is left out in turn."""
        cells = only.cells
        place = torch.arange(self.side, device=cells.device) * _BLOCKS // self.side % 2
        block = (2 * place[:, None] + place[None]).flatten()
        scores = torch.zeros(len(cells), device=cells.device)
        for index in range(4):
            kept = only.weights * (block != index)
            if not kept[0].any():  # the object lies in these blocks alone
                kept = only.weights
            sums = Sums.total([Sums.of(cells, self._thinned(kept)).balanced(), *negative])
            out = block == index
            scores[out] = Scorer.fit(sums, 1)(cells[out])
        return scores


def _pair(features: Features, cells: Tensor) -> tuple[Features, Tensor]:
    return features, cells


def _without_similar(cells: Tensor, weights: Tensor) -> Tensor:
    """Weights without the background cells that resemble the marked objects, which may be unmarked objects."""
    objects = weights[0] > 0
    if not objects.any():
        return weights
    similar = F.normalize(cells, dim=1) @ F.normalize(cells[objects].mean(dim=0), dim=0)
    alike = similar > similar[objects].quantile(0.2)
    return weights * torch.stack([torch.ones_like(alike), ~alike])


__all__ = ["Discriminant", "Read"]
