"""What the adapters find in one picture or tile: all proposals of all adapters in one pass of the decoder (`_passes`).

Only the window around each object is brought to the picture's size. Enlarging logits is linear in rows and columns
apart, so that one window costs two small matrix products and equals `Frame.logits` to rounding.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from samtailor.adapters import pmm
from samtailor.bases._neck import encoding
from samtailor.data.transform import Frame
from samtailor.label._passes import Best, Passes, Question, questions
from samtailor.label._tiles import Piece
from samtailor.predict import Predictor
from samtailor.types import Annotation, Features

if TYPE_CHECKING:
    from samtailor.answers import Ask
    from samtailor.automatic import Proposer


@dataclass(frozen=True)
class Source:
    """Who answers, and who says where to look for it.

    Args:
        adapter: name in the predictor; None is the base.
        ask: proposes, see `automatic`.
        label: class of everything it answers; None: the proposal's, else the adapter's name.
        refine: move the outlines by the adapter's PMM.
    """

    adapter: str | None
    ask: Proposer
    label: str | None = None
    refine: bool = False


@dataclass
class Windows:
    """Logits to masks in windows, for pictures of one size at a time; the matrices are kept until the size changes."""

    _frame: tuple[Frame, int] | None = None
    _rows: Tensor = field(default_factory=lambda: torch.empty(0))
    _columns: Tensor = field(default_factory=lambda: torch.empty(0))

    def mask(self, low: Tensor, frame: Frame) -> tuple[np.ndarray, int, int]:
        """(h, w) logits to a bool array and the column and row of the picture where it starts; empty where nothing is.

        A pixel above 0 has a cell above 0 among its neighbours, hence nothing is missed beyond two cells.
        """
        self._fit(frame, low.shape[-1])
        above = (low > 0).numpy()
        if not above.any():
            return np.zeros((0, 0), bool), 0, 0
        (r0, r1), (c0, c1) = (_reach(above.any(axis=axis), len(above)) for axis in (1, 0))
        y0, y1 = _seen(self._rows[:, r0:r1])
        x0, x1 = _seen(self._columns[:, c0:c1])
        # beyond the window's cells the logits count too: matrices over all cells for the window's pixels
        window = self._rows[y0:y1] @ low @ self._columns[x0:x1].T
        return (window > 0).numpy(), x0, y0

    def _fit(self, frame: Frame, cells: int) -> None:
        if (frame, cells) != self._frame:  # closer looks (`looks`) have more cells
            height, width = frame.inner
            self._rows = _enlarging(cells, frame.size, height, frame.height)
            self._columns = _enlarging(cells, frame.size, width, frame.width)
            self._frame = frame, cells


class Asking:
    """Asks several sources about pictures, from any number of threads.

    Args:
        predictor: with the adapters; the picture that is set on it is not touched.
        sources: who answers.
    """

    def __init__(self, predictor: Predictor, sources: Sequence[Source]) -> None:
        self._base = predictor.base
        self._adapters = {name: predictor.segmenter(name) for name in predictor.adapters}
        self._passes, self._sources = Passes(self._base, self._adapters), sources
        asked = [self._adapters[source.adapter] for source in sources if source.adapter is not None]
        self._common = all(one.encoder_frozen for one in asked)  # else an adapter needs the picture itself
        self._encoding = encoding(self._base)
        self._locks = [threading.Lock() for _ in sources]  # a detector may answer one question at a time
        self._local = threading.local()

    def pieces(self, picture: np.ndarray) -> list[list[Piece]]:
        """Answers of each source to a picture (uint8 RGB); empty ones left out. Places are of that picture."""
        encoder, predictor, windows = self._own()
        if self._common:
            encoder.set_image(picture)
            predictor.set_features(_in_rows(encoder.features), *picture.shape[:2], picture=lambda: picture)
        else:
            predictor.set_image(picture)
        asks = [self._asks(index, predictor, picture) for index in range(len(self._sources))]
        asked = [
            (index, question)
            for index, source in enumerate(self._sources)
            for question in questions(source.adapter, asks[index])
        ]
        found = [
            [_given(ask, source) for ask in own if ask.given is not None]
            for own, source in zip(asks, self._sources, strict=True)
        ]
        given = self._passes.answers(predictor, [question for _, question in asked])
        for (index, question), best in zip(asked, given, strict=True):
            found[index] += _found(predictor, windows, best, question, self._sources[index])
        predictor.reset_image()
        return found

    def _own(self) -> tuple[Predictor, Predictor, Windows]:
        """What holds a picture, of this thread."""
        if not hasattr(self._local, "own"):
            self._local.own = Predictor(self._encoding), Predictor(self._base, self._adapters), Windows()
        return self._local.own

    def _asks(self, index: int, predictor: Predictor, picture: np.ndarray) -> list[Ask]:
        with self._locks[index]:
            return self._sources[index].ask(predictor, picture)


def _in_rows(features: Features) -> Features:
    """Laid out as rows of channels, once for all who read it: heads of proposals and the decoder want it so."""
    rows = [one.contiguous(memory_format=torch.channels_last) for one in (features.main, *features.skips)]
    return Features(rows[0], tuple(rows[1:]))


def _found(predictor: Predictor, windows: Windows, best: Best, question: Question, source: Source) -> list[Piece]:
    found = []
    for index, ask in enumerate(question.asks):
        mask, x, y = windows.mask(best.logits[index], predictor.frame)
        if source.refine and mask.any():
            mask, x, y = _refined(predictor, mask, x, y, best.keys()[index], source)
        if mask.any():
            score = float(best.scores[index]) if ask.score is None else ask.score
            found.append(_piece(mask, x, y, ask, score, source))
    return found


def _given(ask: Ask, source: Source) -> Piece:
    """An object whose mask whoever proposed it knew."""
    x0, y0, x1, y1 = (int(v) for v in Annotation("", dict(ask.given)).box)
    return _piece(ask.mask[y0:y1, x0:x1], x0, y0, ask, ask.score or 0.0, source)


def _piece(mask: np.ndarray, x: int, y: int, ask: Ask, score: float, source: Source) -> Piece:
    label = source.label or ask.label or source.adapter or "object"
    return Piece(mask, x, y, label, min(max(score, 0.0), 1.0), source.adapter)


def _refined(
    predictor: Predictor, mask: np.ndarray, x: int, y: int, keys: Tensor, source: Source
) -> tuple[np.ndarray, int, int]:
    frame = predictor.frame
    full = np.zeros((frame.height, frame.width), bool)
    full[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    module: Any = predictor.segmenter(source.adapter).adapter("pmm")
    return pmm.refine(full, keys, frame, module), 0, 0


def _enlarging(cells: int, size: int, inner: int, length: int) -> Tensor:
    """(length, cells): one axis of `Frame.logits` as a matrix: to the frame, cut to the picture, to its own size."""
    eye = torch.eye(cells)[None, None]
    frame = F.interpolate(eye, (size, cells), mode="bilinear", align_corners=False)[:, :, :inner]
    return F.interpolate(frame, (length, cells), mode="bilinear", align_corners=False)[0, 0].contiguous()


def _reach(above: np.ndarray, cells: int) -> tuple[int, int]:
    where = np.flatnonzero(above)
    return max(int(where[0]) - 1, 0), min(int(where[-1]) + 2, cells)


def _seen(matrix: Tensor) -> tuple[int, int]:
    """First and last pixel (exclusive) that any of the cells has a part in."""
    where = torch.nonzero(matrix.any(dim=1))[:, 0]
    return (int(where[0]), int(where[-1]) + 1) if len(where) else (0, 0)


__all__ = ["Asking", "Source", "Windows"]
