"""Several adapters' questions about one image in as few passes of the mask decoder as can be.

An adapter that only changes prompts (PLM) or answers (SAM-F) leaves the decoder alone: its prompts go through the
base's decoder beside those of the others, one pass for all. One with modules inside the base has a decoder of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from samtailor.bases.decoder import DecodedPrompts, PromptDecoder, with_fast_attention
from samtailor.structures import Output, Prompts, Tokens

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.predict.predictor import Predictor
    from samtailor.predict.prompt import ObjectPrompt
    from samtailor.segmenter import Segmenter

PROMPTS_PER_PASS = 64
"""Prompts a pass of the decoder."""


@dataclass(frozen=True)
class PromptBatch:
    """What one adapter is asked at once: asks with as many clicks each, all or none with a box.

    Args:
        adapter: name in the predictor; None is the base.
        asks: at most `PROMPTS_PER_PASS`.
    """

    adapter: str | None
    asks: tuple[ObjectPrompt, ...]

    def prompts(self, predictor: Predictor) -> Prompts:
        """Of the image that is set."""
        return prompts_of(self.asks, (predictor.frame.height, predictor.frame.width))


@dataclass(frozen=True)
class BestMask:
    """Of each prompt the mask with the highest predicted IoU.

    Args:
        scores: (P,) float32, on the predictor's device as all of it.
        logits: (P, h, w) float32.
        keys: gives the image keys (P, D, H, W); only outlines that are refined need them.
    """

    scores: Tensor
    logits: Tensor
    keys: Callable[[], Tensor]


def prompt_batches(adapter: str | None, asks: Sequence[ObjectPrompt]) -> list[PromptBatch]:
    """What an adapter is asked, alike asks together; what is given needs no asking."""
    groups: dict[tuple[int, bool], list[ObjectPrompt]] = {}
    for ask in (one for one in asks if one.mask_rle is None):
        groups.setdefault((len(ask.clicks), ask.box is not None), []).append(ask)
    return [
        PromptBatch(adapter, tuple(alike[start : start + PROMPTS_PER_PASS]))
        for alike in groups.values()
        for start in range(0, len(alike), PROMPTS_PER_PASS)
    ]


class BatchedDecoder:
    """Answers questions about the image that is set on a predictor; holds no image itself.

    Args:
        base: frozen base.
        adapters: on that base, by name.
    """

    def __init__(self, base: Base, adapters: Mapping[str, Segmenter]) -> None:
        self._decode = PromptDecoder(base)
        self._joined = {name: with_fast_attention(one) for name, one in adapters.items() if one.model is base}

    @torch.no_grad()
    def answers(self, predictor: Predictor, asked: Sequence[PromptBatch]) -> list[BestMask]:
        """The answer to each question."""
        found: dict[int, BestMask] = {}
        waiting: list[tuple[list[int], list[Tokens]]] = []
        for index, question in enumerate(asked):
            if self._by_decoder(question):
                _join(waiting, index, self._tokens(predictor, question))
            else:
                found[index] = _of_output(predictor.decode(question.prompts(predictor), question.adapter))
        for indices, parts in waiting:
            sparse, start = torch.cat([part.sparse for part in parts], dim=1), 0
            whole = self._decode(predictor.features, Tokens(sparse, parts[0].dense))
            for index, part in zip(indices, parts, strict=True):
                rows = slice(start, start := start + part.sparse.shape[1])
                found[index] = self._of_rows(predictor, asked[index].adapter, whole[rows])
        return [found[index] for index in range(len(asked))]

    def _by_decoder(self, question: PromptBatch) -> bool:
        """Whether it is one for the common pass: of the base, or of an adapter around it that does not answer alone."""
        if question.adapter is None:
            return True
        one = self._joined.get(question.adapter)
        return one is not None and not (one.maps and question.asks[0].promptless)

    def _tokens(self, predictor: Predictor, question: PromptBatch) -> Tokens:
        prompts = predictor.frame.prompts(question.prompts(predictor)).to(predictor.device)
        if question.adapter is None:
            return predictor.base.encode_prompts(prompts)
        return self._joined[question.adapter].prompted(predictor.features, prompts)

    def _of_rows(self, predictor: Predictor, adapter: str | None, rows: DecodedPrompts) -> BestMask:
        if adapter is not None and (self._joined[adapter].outputs or self._joined[adapter].maps):
            return _of_output(self._joined[adapter].finished(rows.output(), predictor.features))
        candidates = list(rows.candidates)
        scores, best = rows.iou[:, candidates].max(dim=1)
        chosen = rows.hyper[:, candidates][torch.arange(len(best), device=best.device), best][:, None]
        return BestMask(scores.float(), rows.logits(chosen)[:, 0].float(), lambda: rows.keys)


def _join(waiting: list[tuple[list[int], list[Tokens]]], index: int, tokens: Tokens) -> None:
    """Beside prompts of as many tokens on the same dense prompt, while there is room."""
    for indices, parts in waiting:
        room = sum(part.sparse.shape[1] for part in parts) + tokens.sparse.shape[1] <= PROMPTS_PER_PASS
        alike = parts[0].sparse.shape[2] == tokens.sparse.shape[2]
        if room and alike and torch.equal(parts[0].dense, tokens.dense):
            indices.append(index)
            parts.append(tokens)
            return
    waiting.append(([index], [tokens]))


def _of_output(output: Output) -> BestMask:
    scores, best = output.candidate_iou()[0].max(dim=1)
    logits = output.candidate_logits()[0][torch.arange(len(best), device=best.device), best]
    return BestMask(scores.float(), logits.float(), lambda: output.keys[0])


def prompts_of(asks: Sequence[ObjectPrompt], size: tuple[int, int]) -> Prompts:
    """Asks of one kind (as many clicks each, all or none with a box), size (height, width), as P prompts."""
    points = labels = boxes = None
    if asks[0].clicks:
        points = torch.tensor([[click[:2] for click in ask.clicks] for ask in asks], dtype=torch.float32)[None]
        labels = torch.tensor([[click[2] for click in ask.clicks] for ask in asks], dtype=torch.int64)[None]
    if asks[0].box is not None:
        boxes = torch.tensor([ask.box for ask in asks], dtype=torch.float32)[None]
    return Prompts(size, points, labels, boxes, count=(1, len(asks)))


__all__ = ["PROMPTS_PER_PASS", "BatchedDecoder", "BestMask", "PromptBatch", "prompt_batches", "prompts_of"]
