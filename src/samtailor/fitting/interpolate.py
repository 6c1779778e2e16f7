"""Strength of an adapter for prompts: interpolation between the base model (0) and the full adapter (1).

Few masks can make clicks on other images worse than those of the base. So the answers of base and adapter are compared
on masks that the prompt adapters did not learn from, at several strengths, for clicks and for boxes. `fitting.gate`
decides: a type of prompt at which the adapter is not better gets strength 0, the base model itself.

Where no image is held out, some training images are kept from the prompt adapters (`judging_images`). The members of a
map have learnt from these images, except the member that leaves the image out, so only that member takes part there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from samtailor.fitting.gate import MIN_OBJECTS, Decision, Judged, decide
from samtailor.segmenter import Segmenter
from samtailor.structures import Batch, Output, Sample
from samtailor.train.feed import Feed
from samtailor.train.multitask import member_map
from samtailor.train.validate import Validation, validate

STRENGTHS = {"click": (1.0, 0.75, 0.5, 0.25), "box": (1.0, 0.5)}
"""Strengths to compare by type of prompt; one below 1 must be better than 1 by `_GAIN`."""
MASKS = 64
"""Largest number of masks to compare them on."""
_WANTED = 8  # masks to keep back, if half of the folds have so many
_GAIN = 0.01  # mIoU


def judging_images(samples: Sequence[Sample], classes: Sequence[str], folds: Mapping[str, int]) -> list[Sample]:
    """Training images to keep from the prompt adapters, so that their strength can be chosen on them.

    They are the images of as many folds of the map as are needed for 8 masks, at most half of the folds. Empty where
    these have fewer masks than `gate.MIN_OBJECTS` or are a single image; prompt adapters then learn from all images.
    """
    kept: list[Sample] = []
    masks = 0
    for fold in range((max(folds.values(), default=0) + 1) // 2):
        if masks < _WANTED or len(kept) < 2:
            kept += [sample for sample in samples if folds.get(sample.id) == fold]
            masks = sum(len(sample.of(classes)) for sample in kept)
    return kept if len(kept) >= 2 and masks >= MIN_OBJECTS else []


@dataclass(frozen=True)
class Chosen:
    """The strength for one type of prompt.

    Args:
        strength: 0 where the base model answers.
        decision: of the gate, on the best strength above 0.
        base, best: validations of the base model, and of that strength; None if nothing was judged.
    """

    strength: float
    decision: Decision
    base: Validation | None = None
    best: Validation | None = None

    @property
    def final(self) -> Validation | None:
        """Validation of the answers that are used."""
        return self.base if self.decision.answers == "base" else self.best


def choose_strength(
    segmenter: Segmenter,
    prompt_type: str,
    feed: Feed | None,
    device: torch.device,
    *,
    groups: Mapping[str, str],
    strengths: Sequence[float] = (1.0,),
    left_out: Mapping[str, int] | None = None,
    unjudged: str = "base",
    fallback: bool = True,
) -> Chosen:
    """Compare base model and adapter, and set the strength for one type of prompt in the segmenter.

    Args:
        segmenter: fitted.
        prompt_type: "click" or "box".
        feed: masks that the prompt adapters did not learn from, with prompts of that type; None: there are none.
        device: device of the segmenter.
        groups: group of the images that are not their own group, by id.
        strengths: above 0, to compare.
        left_out: sample id to the member of the map that did not learn from it; None: no member did.
        unjudged: who answers with too few masks, "base" or "adapter".
        fallback: let the base model answer where the adapter is not better; False: compare only.
    """
    if feed is None:
        nothing = decide(Judged(prompt_type, (), (), (), ()), unjudged=unjudged if fallback else "adapter")
        _set(segmenter, prompt_type, 0.0 if nothing.answers == "base" else 1.0)
        return Chosen(0.0 if nothing.answers == "base" else 1.0, nothing)
    judged = as_new(segmenter, left_out)
    validations: dict[float, Validation] = {}
    for strength in (0.0, *strengths):
        _set(segmenter, prompt_type, strength)
        validations[strength] = validate(judged, feed, MASKS, device)
    best = max(strengths, key=lambda strength: validations[strength].miou)
    best = best if validations[best].miou >= validations[strengths[0]].miou + _GAIN else strengths[0]
    base, chosen = validations[0.0], validations[best]
    decision = decide(
        Judged(
            prompt_type,
            images=chosen.images,
            groups=tuple(groups.get(id, id) for id in chosen.images),
            new=chosen.ious,
            base=base.ious,
            part="validation" if left_out is None else "left-out training",
        ),
        unjudged=unjudged,
    )
    if not fallback:
        decision = replace(decision, answers="adapter")
    final = 0.0 if decision.answers == "base" else best
    _set(segmenter, prompt_type, final)
    return Chosen(final, decision, base, chosen)


def as_new(segmenter: Segmenter, left_out: Mapping[str, int] | None) -> nn.Module:
    """The segmenter as it predicts images that it has not learnt from."""
    return segmenter if left_out is None else _LeftOut(segmenter, left_out)


def _set(segmenter: Segmenter, prompt_type: str, strength: float) -> None:
    others = {name: value for name, value in segmenter.inference.strength.items() if name != prompt_type}
    if strength != 1:
        others[prompt_type] = strength
    segmenter.inference = replace(segmenter.inference, strength=others)


class _LeftOut(nn.Module):
    """A segmenter whose map is, for each image, the member that did not learn from it."""

    def __init__(self, segmenter: Segmenter, left_out: Mapping[str, int]) -> None:
        super().__init__()
        self.segmenter, self._left_out = segmenter, left_out

    def forward(self, batch: Batch) -> Output:
        segmenter, features = self.segmenter, batch.features
        if features is None or segmenter.base_answers(batch.prompts):
            return segmenter(batch)
        members = member_map(segmenter).members
        rows = [members[self._left_out[id]](features[row : row + 1]) for row, id in enumerate(batch.ids)]
        region: Tensor = torch.cat(rows)
        output = segmenter.model.decode(features, segmenter.prompted(features, batch.prompts))
        return segmenter.finished(output, features, batch.prompts, region=region)


__all__ = ["MASKS", "STRENGTHS", "Chosen", "as_new", "choose_strength", "judging_images"]
