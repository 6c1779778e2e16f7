"""What the adapters find in one image or tile: all proposals of all adapters in one pass of the decoder (`passes`).

Only the window around each object is brought to the image's size. Enlarging logits is linear in rows and columns
apart, so that one window costs two small matrix products and equals `Frame.logits` to rounding.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from samtailor.adapters import pmm
from samtailor.bases.encoder import fast_encoder
from samtailor.cache.bounded import BoundedCache
from samtailor.data.transform import Frame
from samtailor.labelling._once import looks, once, placed
from samtailor.labelling._tiles import Piece
from samtailor.predict.batched import BatchedDecoder, BestMask, PromptBatch, prompt_batches
from samtailor.predict.predictor import Predictor
from samtailor.structures import Annotation, Features

if TYPE_CHECKING:
    from samtailor.predict.auto import Proposer
    from samtailor.predict.prompt import ObjectPrompt

_SIZES = 8  # of images and tiles, whose matrices are kept


@dataclass(frozen=True)
class Source:
    """Who answers, and who says where to look for it.

    Args:
        adapter: name in the predictor; None is the base.
        ask: proposes, see `automatic`.
        label: class of everything it answers; None: the proposal's, else the adapter's name.
        tiles: tiles a side in which `ask` looks beside the whole image, see `instances`; 1 for none.
        refine: move the outlines by the adapter's PMM.
    """

    adapter: str | None
    ask: Proposer
    label: str | None = None
    refine: bool = False
    tiles: int = 1


@dataclass
class Windows:
    """Logits to masks in windows; the matrices of the last sizes of images and tiles are kept."""

    _known: BoundedCache[tuple[Frame, int], tuple[Tensor, Tensor]] = field(
        default_factory=lambda: BoundedCache(_SIZES, lru=False)
    )

    def mask(self, low: Tensor, frame: Frame) -> tuple[np.ndarray, int, int]:
        """(h, w) logits to a bool array and the column and row of the image where it starts; empty where nothing is.

        A pixel above 0 has a cell above 0 among its neighbours, hence nothing is missed beyond two cells.
        """
        rows, columns = self._matrices(frame, low.shape[-1])
        above = (low > 0).numpy()
        if not above.any():
            return np.zeros((0, 0), bool), 0, 0
        (r0, r1), (c0, c1) = (_reach(above.any(axis=axis), len(above)) for axis in (1, 0))
        y0, y1 = _reached(rows[:, r0:r1])
        x0, x1 = _reached(columns[:, c0:c1])
        # beyond the window's cells the logits count too: matrices over all cells for the window's pixels
        window = rows[y0:y1] @ low @ columns[x0:x1].T
        return (window > 0).numpy(), x0, y0

    def _matrices(self, frame: Frame, cells: int) -> tuple[Tensor, Tensor]:
        """For rows and for columns; closer looks (`looks`) have more cells."""
        if (kept := self._known.get((frame, cells))) is not None:
            return kept
        (height, width), size = frame.inner, frame.size
        rows = _enlarging(cells, size, height, frame.height)
        return self._known.put((frame, cells), (rows, _enlarging(cells, size, width, frame.width)))


class MultiAdapterPredictor:
    """Asks several sources about images, from any number of threads.

    Args:
        predictor: with the adapters; the image that is set on it is not touched.
        sources: who answers.
    """

    def __init__(self, predictor: Predictor, sources: Sequence[Source]) -> None:
        self._base = predictor.base
        self._adapters = {name: predictor.segmenter(name) for name in predictor.adapters}
        self._passes, self._sources = BatchedDecoder(self._base, self._adapters), sources
        asked = [self._adapters[source.adapter] for source in sources if source.adapter is not None]
        self._common = all(one.encoder_frozen for one in asked)  # else an adapter needs the image itself
        self._encoding = fast_encoder(self._base)
        self._locks = [threading.Lock() for _ in sources]  # a detector may answer one question at a time
        self._local = threading.local()
        self._looks = looks([source.tiles for source in sources])

    def pieces(self, image: np.ndarray) -> list[list[Piece]]:
        """What each source sees in an image (uint8 RGB), each object once; places are of that image."""
        _, predictor, _ = self._own()
        found: list[list[Piece]] = [[] for _ in self._sources]
        size = image.shape[:2]
        for view, who in self._looks:
            for index, piece in self._seen(view.image(image), who):
                if (one := placed(piece, view, size, self._sources[index].tiles)) is not None:
                    found[index].append(one)
        predictor.reset_image()
        return [once(own, size) for own in found]

    def _seen(self, image: np.ndarray, who: Sequence[int]) -> Iterator[tuple[int, Piece]]:
        """What some of the sources see in an image or a view of it, as that has it; empty answers left out."""
        encoder, predictor, windows = self._own()
        if self._common:
            encoder.set_image(image)
            predictor.set_features(_in_rows(encoder.features), *image.shape[:2], image=lambda: image)
        else:
            predictor.set_image(image)
        asks = {index: self._asks(index, predictor, image) for index in who}
        asked = [
            (index, question)
            for index, own in asks.items()
            for question in prompt_batches(self._sources[index].adapter, own)
        ]
        for index, own in asks.items():
            yield from ((index, _given(ask, self._sources[index])) for ask in own if ask.mask_rle is not None)
        answered = self._passes.answers(predictor, [question for _, question in asked])
        for (index, question), best in zip(asked, answered, strict=True):
            yield from ((index, one) for one in _found(predictor, windows, best, question, self._sources[index]))

    def _own(self) -> tuple[Predictor, Predictor, Windows]:
        """What holds an image, of this thread."""
        if not hasattr(self._local, "own"):
            self._local.own = Predictor(self._encoding), Predictor(self._base, self._adapters), Windows()
        return self._local.own

    def _asks(self, index: int, predictor: Predictor, image: np.ndarray) -> list[ObjectPrompt]:
        with self._locks[index]:
            return self._sources[index].ask(predictor, image)


def _in_rows(features: Features) -> Features:
    """Laid out as rows of channels, once for all who read it: heads of proposals and the decoder want it so."""
    rows = [one.contiguous(memory_format=torch.channels_last) for one in (features.main, *features.skips)]
    return Features(rows[0], tuple(rows[1:]))


def _found(
    predictor: Predictor, windows: Windows, best: BestMask, question: PromptBatch, source: Source
) -> list[Piece]:
    found, logits = [], best.logits.cpu()
    for index, ask in enumerate(question.asks):
        mask, x, y = windows.mask(logits[index], predictor.frame)
        if source.refine and mask.any():
            mask, x, y = _refined(predictor, mask, x, y, best.keys()[index], source)
        if mask.any():
            found.append(_piece(mask, x, y, ask, float(best.scores[index]), source))
    return found


def _given(ask: ObjectPrompt, source: Source) -> Piece:
    """An object whose mask whoever proposed it knew."""
    x0, y0, x1, y1 = (int(v) for v in Annotation("", dict(ask.mask_rle)).box)
    return _piece(ask.mask[y0:y1, x0:x1], x0, y0, ask, ask.score or 0.0, source)


def _piece(mask: np.ndarray, x: int, y: int, ask: ObjectPrompt, iou: float, source: Source) -> Piece:
    label = source.label or ask.label or source.adapter or "object"
    sure = min(max(iou, 0.0), 1.0)
    score = sure if ask.score is None else min(max(ask.score, 0.0), 1.0)
    return Piece(mask, x, y, label, score, source.adapter, rank=sure if ask.score is None else score * sure)


def _refined(
    predictor: Predictor, mask: np.ndarray, x: int, y: int, keys: Tensor, source: Source
) -> tuple[np.ndarray, int, int]:
    frame = predictor.frame
    full = np.zeros((frame.height, frame.width), bool)
    full[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    module: Any = predictor.segmenter(source.adapter).adapter("pmm")
    return pmm.refine(full, keys, frame, module), 0, 0


def _enlarging(cells: int, size: int, inner: int, length: int) -> Tensor:
    """(length, cells): one axis of `Frame.logits` as a matrix: to the frame, cut to the image, to its own size."""
    eye = torch.eye(cells)[None, None]
    frame = F.interpolate(eye, (size, cells), mode="bilinear", align_corners=False)[:, :, :inner]
    return F.interpolate(frame, (length, cells), mode="bilinear", align_corners=False)[0, 0].contiguous()


def _reach(above: np.ndarray, cells: int) -> tuple[int, int]:
    where = np.flatnonzero(above)
    return max(int(where[0]) - 1, 0), min(int(where[-1]) + 2, cells)


def _reached(matrix: Tensor) -> tuple[int, int]:
    """First and last pixel (exclusive) that any of the cells has a part in."""
    where = torch.nonzero(matrix.any(dim=1))[:, 0]
    return (int(where[0]), int(where[-1]) + 1) if len(where) else (0, 0)


__all__ = ["MultiAdapterPredictor", "Source", "Windows"]
