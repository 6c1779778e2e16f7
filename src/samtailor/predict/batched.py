"""Decode the prompts of several adapters on one image in as few passes of the mask decoder as possible.

An adapter that only changes prompts (PLM) or outputs (SAM-F) uses the base's mask decoder, so that its prompts are
decoded in one pass with those of other such adapters. An adapter with modules inside the base has its own decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from samtailor.bases.decoder import DecodedPrompts, PromptDecoder, with_fast_attention
from samtailor.predict.predictor import BASE
from samtailor.structures import Output, Prompts, Tokens

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.predict.predictor import Predictor
    from samtailor.predict.prompt import ObjectPrompt
    from samtailor.segmenter import Segmenter

PROMPTS_PER_PASS = 64
"""Largest number of prompts in one batch, and in one pass of the decoder; a CPU may take fewer in a pass."""


@dataclass(frozen=True)
class PromptBatch:
    """Prompts of one adapter that can be stacked: the same number of clicks each, and all or none with a box.

    Args:
        adapter: name in the predictor; None is the base.
        prompts: at most `PROMPTS_PER_PASS`.
    """

    adapter: str | None
    prompts: tuple[ObjectPrompt, ...]

    @property
    def prompt_type(self) -> str | None:
        """ "click", "box", or None for prompts that are neither."""
        first = self.prompts[0]
        return "box" if first.box is not None else "click" if first.clicks else None

    def stacked(self, predictor: Predictor) -> Prompts:
        """As tensors, in the frame of the current image."""
        return stack_prompts(self.prompts, (predictor.frame.height, predictor.frame.width))


_Part = tuple[int, PromptBatch]
"""Number of a batch, and some of its prompts."""


@dataclass(frozen=True)
class BestMask:
    """The candidate mask with the highest predicted IoU of each of P prompts.

    Args:
        scores: (P,) float32 predicted IoU; all tensors are on the predictor's device.
        logits: (P, h, w) float32.
        keys: returns the image keys (P, D, H, W), which only the refinement of outlines needs.
    """

    scores: Tensor
    logits: Tensor
    keys: Callable[[], Tensor]

    @classmethod
    def of(cls, output: Output) -> BestMask:
        """Of an output of one image (B = 1)."""
        scores, logits = output.best_masks()
        return cls(scores[0].float(), logits[0].float(), lambda: output.keys[0])

    @classmethod
    def joined(cls, parts: Sequence[BestMask]) -> BestMask:
        """The masks of several parts, in order."""
        if len(parts) == 1:
            return parts[0]
        scores, logits = (torch.cat([getattr(part, name) for part in parts]) for name in ("scores", "logits"))
        return cls(scores, logits, lambda: torch.cat([part.keys() for part in parts]))


def prompt_batches(adapter: str | None, prompts: Sequence[ObjectPrompt]) -> list[PromptBatch]:
    """Group the prompts of an adapter into batches, without those that include their mask and need no decoder."""
    groups: dict[tuple[int, bool], list[ObjectPrompt]] = {}
    for prompt in prompts:
        if prompt.mask_rle is None:
            groups.setdefault((len(prompt.clicks), prompt.box is not None), []).append(prompt)
    return [
        PromptBatch(adapter, tuple(group[start : start + PROMPTS_PER_PASS]))
        for group in groups.values()
        for start in range(0, len(group), PROMPTS_PER_PASS)
    ]


class BatchedDecoder:
    """Decodes batches on the current image of a predictor; has no state of its own besides weights.

    Args:
        base: frozen base.
        adapters: name to segmenter, all on that base.
    """

    def __init__(self, base: Base, adapters: Mapping[str, Segmenter]) -> None:
        self._decode, self._adapters = PromptDecoder(base), adapters
        self._shared = {name: with_fast_attention(one) for name, one in adapters.items() if one.model is base}

    @torch.no_grad()
    def predict(self, predictor: Predictor, batches: Sequence[PromptBatch]) -> list[BestMask]:
        """The best masks of each batch, in order."""
        most = min(PROMPTS_PER_PASS, self._decode.prompts_per_pass(predictor.device))
        predicted: list[list[BestMask]] = [[] for _ in batches]
        passes: list[tuple[list[_Part], list[Tokens]]] = []
        for index, batch in enumerate(batches):
            if self._uses_shared_decoder(batch):
                tokens = self._tokens(predictor, batch)
                for first, sparse in zip(count(0, most), tokens.sparse.split(most, dim=1), strict=False):
                    part = replace(batch, prompts=batch.prompts[first : first + most])
                    _add(passes, (index, part), Tokens(sparse, tokens.dense), most)
            else:
                output = predictor.decode(batch.stacked(predictor), batch.adapter or BASE)
                predicted[index].append(BestMask.of(output))
        for parts, tokens_of in passes:
            sparse, start = torch.cat([one.sparse for one in tokens_of], dim=1), 0
            decoded = self._decode(predictor.features, Tokens(sparse, tokens_of[0].dense))
            for index, part in parts:
                rows = slice(start, start := start + len(part.prompts))
                predicted[index].append(self._best_of_rows(predictor, part, decoded[rows]))
        return [BestMask.joined(parts) for parts in predicted]

    def _uses_shared_decoder(self, batch: PromptBatch) -> bool:
        """True for the base, and for adapters around it unless the prediction comes from their map alone."""
        if batch.adapter is None or self._base_answers(batch):
            return True
        segmenter = self._shared.get(batch.adapter)
        return segmenter is not None and not (segmenter.maps and batch.prompts[0].promptless)

    def _tokens(self, predictor: Predictor, batch: PromptBatch) -> Tokens:
        prompts = _in_frame(predictor, batch)
        if batch.adapter is None or self._base_answers(batch):
            return predictor.base.encode_prompts(prompts)
        return self._shared[batch.adapter].prompted(predictor.features, prompts)

    def _base_answers(self, batch: PromptBatch) -> bool:
        """Whether the base model answers the prompts of a batch, see `InferenceSpec.base_prompts`."""
        return batch.adapter is not None and batch.prompt_type in self._adapters[batch.adapter].inference.base_prompts

    def _best_of_rows(self, predictor: Predictor, batch: PromptBatch, rows: DecodedPrompts) -> BestMask:
        if batch.adapter is not None and not self._base_answers(batch):
            segmenter = self._shared[batch.adapter]
            if segmenter.outputs or segmenter.maps or segmenter.inference.box_margin is not None:
                prompts, region = _in_frame(predictor, batch), predictor.region_of(batch.adapter, batch.prompt_type)
                features = predictor.features_of(batch.adapter)
                return BestMask.of(segmenter.finished(rows.output(), features, prompts, region=region))
        # the same choice as `Output.best_masks`, made before the logits of the other candidates are computed
        candidates = list(rows.candidates)
        scores, best = rows.iou[:, candidates].max(dim=1)
        chosen = rows.hyper[:, candidates][torch.arange(len(best), device=best.device), best][:, None]
        return BestMask(scores.float(), rows.logits(chosen)[:, 0].float(), lambda: rows.keys)


def _in_frame(predictor: Predictor, batch: PromptBatch) -> Prompts:
    """The prompts of a batch in the model frame."""
    return predictor.frame.prompts(batch.stacked(predictor)).to(predictor.device)


def _add(passes: list[tuple[list[_Part], list[Tokens]]], part: _Part, tokens: Tokens, most: int) -> None:
    """Add the tokens to a pass with the same number of tokens per prompt and the same dense prompt, or start one.

    Args:
        passes: parts of batches and the tokens of each.
        part: number of the batch, and at most `most` of its prompts.
        tokens: of these prompts.
        most: prompts of one pass.
    """
    for parts, tokens_of in passes:
        fits = sum(one.sparse.shape[1] for one in tokens_of) + tokens.sparse.shape[1] <= most
        same_length = tokens_of[0].sparse.shape[2] == tokens.sparse.shape[2]
        if fits and same_length and torch.equal(tokens_of[0].dense, tokens.dense):
            parts.append(part)
            tokens_of.append(tokens)
            return
    passes.append(([part], [tokens]))


def stack_prompts(prompts: Sequence[ObjectPrompt], size: tuple[int, int]) -> Prompts:
    """Stack P prompts with the same number of clicks, all or none with a box.

    Args:
        prompts: at least one.
        size: (height, width) of the image.
    """
    points = labels = boxes = None
    if prompts[0].clicks:
        points = torch.tensor([[click[:2] for click in one.clicks] for one in prompts], dtype=torch.float32)[None]
        labels = torch.tensor([[click[2] for click in one.clicks] for one in prompts], dtype=torch.int64)[None]
    if prompts[0].box is not None:
        boxes = torch.tensor([one.box for one in prompts], dtype=torch.float32)[None]
    return Prompts(size, points, labels, boxes, count=(1, len(prompts)))


__all__ = [
    "PROMPTS_PER_PASS",
    "BatchedDecoder",
    "BestMask",
    "PromptBatch",
    "prompt_batches",
    "stack_prompts",
]
