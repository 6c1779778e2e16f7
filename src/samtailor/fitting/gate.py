"""Whether a new adapter is used: compared with the base model, and with the adapter that it would replace.

The comparison is paired, on the same objects and prompts, separately for each way of use: a click, a box, the region
of the class without a prompt, and all instances of an image without a prompt. Standard errors decide, and ties go to
the simpler side:

* The adapter answers clicks (or boxes) only if it is better than the base model by more than the standard error of the
  difference. Otherwise the base model answers them (`InferenceSpec.strength`).
* The new adapter does not replace the present one if, in any way of use, its answers are worse by more than the
  standard error of the difference. With too few objects to compare, the adapter that was fitted on more images is used.

Every fit, the page of `samtailor ui` and the annotators' backend use this module.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from samtailor.errors import InputError
from samtailor.masks import metrics
from samtailor.structures import WAYS

MIN_OBJECTS, MIN_GROUPS = 5, 2
"""With fewer objects, or groups of images, nothing is decided by their scores and no percentage is reported."""


@dataclass(frozen=True)
class Judged:
    """Scores of the same objects, one per object (per image for "region" and "instances"), in [0, 1].

    Args:
        way: one of `WAYS`.
        images: image id of each score.
        groups: group of each score; masks of a group are not independent.
        new: scores of the new adapter.
        base: scores of the base model; None where it has no answer (without a prompt).
        objects: number of annotated objects; None: one per score.
        metric: "IoU", "Dice" or "F1".
        part: what the images are: "validation" (they also selected the best state) or "left-out training".

    Raises:
        InputError: the scores are not of the same objects.
    """

    way: str
    images: tuple[str, ...]
    groups: tuple[str, ...]
    new: tuple[float, ...]
    base: tuple[float, ...] | None = None
    objects: int | None = None
    metric: str = "IoU"
    part: str = "validation"

    def __post_init__(self) -> None:
        lengths = {len(one) for one in (self.images, self.groups, self.new, self.base) if one is not None}
        if len(lengths) > 1 or self.way not in WAYS:
            raise InputError(
                f"A comparison needs scores of the same objects for one of {', '.join(WAYS)}; got {self.way!r} with "
                f"{', '.join(map(str, sorted(lengths)))} scores."
            )


@dataclass(frozen=True)
class Difference:
    """A paired difference of scores.

    Args:
        mean: mean difference.
        error: its standard error, with groups as units; None with fewer than two groups.
        interval: 95 % interval [low, high] by a bootstrap over groups; None with fewer than two groups.
        objects, groups: what it is based on.
    """

    mean: float
    error: float | None
    interval: tuple[float, float] | None
    objects: int
    groups: int

    @classmethod
    def of(
        cls, first: Sequence[float], second: Sequence[float], groups: Sequence[str], objects: int | None = None
    ) -> Difference:
        """First minus second; `objects` is the number of scores, unless they are of images."""
        change = np.asarray(first, np.float64) - np.asarray(second, np.float64)
        mean, low, high = metrics.bootstrap(change, groups)
        bounds = None if math.isnan(low) else (low, high)
        counts = len(change) if objects is None else objects, len(set(groups))
        return cls(mean, standard_error(change, groups), bounds, *counts)

    @property
    def enough(self) -> bool:
        """Whether there are enough objects and groups to decide."""
        return self.objects >= MIN_OBJECTS and self.groups >= MIN_GROUPS

    @property
    def better(self) -> bool:
        """Above 0 by more than the standard error."""
        return self.error is not None and self.mean > self.error

    @property
    def worse(self) -> bool:
        """Below 0 by more than the standard error."""
        return self.error is not None and self.mean < -self.error


@dataclass(frozen=True)
class Decision:
    """What one comparison decides.

    Args:
        way, metric, part: as in `Judged`.
        objects, images, groups: what it is based on.
        new, base, present: mean scores; None without scores of that kind. `new` is the full adapter, also where the
            base model answers.
        interval: 95 % interval of `new`.
        over_base: new minus base.
        over_present: answers of the new adapter (the base model's, where it answers) minus those of the present one, on
            images that are new to both.
        answers: "adapter" or "base".
    """

    way: str
    objects: int
    images: int
    groups: int
    answers: str
    new: float | None = None
    base: float | None = None
    present: float | None = None
    interval: tuple[float, float] | None = None
    over_base: Difference | None = None
    over_present: Difference | None = None
    metric: str = "IoU"
    part: str = "validation"

    @property
    def enough(self) -> bool:
        """Whether there are enough objects and groups to decide."""
        return self.objects >= MIN_OBJECTS and self.groups >= MIN_GROUPS

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        pairs = {"over_base": self.over_base, "over_present": self.over_present}
        plain["interval"] = None if self.interval is None else list(self.interval)
        return plain | {name: None if one is None else _difference_to_json(one) for name, one in pairs.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Decision:
        """The inverse of `to_json`."""
        interval = values.get("interval")
        rest: dict[str, Any] = {name: values[name] for name in _PLAIN if name in values}
        rest |= {name: _difference_from_json(values.get(name)) for name in ("over_base", "over_present")}
        return cls(**rest, interval=None if interval is None else (interval[0], interval[1]))


_PLAIN = ("way", "objects", "images", "groups", "answers", "new", "base", "present", "metric", "part")


@dataclass(frozen=True)
class Gate:
    """All decisions about a new adapter.

    Args:
        decisions: one for each way of use that was compared.
        replaces: whether the new adapter replaces the present one; None without a present one.
        reason: why, as a sentence without its subject; empty without a present one.
    """

    decisions: tuple[Decision, ...]
    replaces: bool | None = None
    reason: str = ""

    @property
    def base_prompts(self) -> tuple[str, ...]:
        """Ways of use that the base model answers."""
        return tuple(one.way for one in self.decisions if one.answers == "base")

    def to_json(self) -> dict[str, Any]:
        """As plain values, for the figures of an adapter."""
        decisions = [one.to_json() for one in self.decisions]
        return {"decisions": decisions, "replaces": self.replaces, "reason": self.reason}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Gate:
        """The inverse of `to_json`."""
        decisions = tuple(Decision.from_json(one) for one in values["decisions"])
        return cls(decisions, values.get("replaces"), values.get("reason", ""))


def decide(judged: Judged, *, unjudged: str = "base") -> Decision:
    """Decide who answers one way of use.

    Args:
        judged: scores; without any, nothing was judged.
        unjudged: who answers with too few objects to decide, "base" or "adapter".
    """
    objects = len(judged.new) if judged.objects is None else judged.objects
    counts = {"objects": objects, "images": len(set(judged.images)), "groups": len(set(judged.groups))}
    about: dict[str, Any] = {"way": judged.way, "metric": judged.metric, "part": judged.part, **counts}
    if not judged.new:
        return Decision(**about, answers="adapter" if judged.base is None else unjudged)
    few = objects < MIN_OBJECTS or counts["groups"] < MIN_GROUPS
    over_base = None if judged.base is None else Difference.of(judged.new, judged.base, judged.groups)
    answers = "adapter"
    if over_base is not None:
        answers = unjudged if few else "adapter" if over_base.better else "base"
    mean, low, high = metrics.bootstrap(judged.new, judged.groups)
    return Decision(
        **about,
        answers=answers,
        new=mean,
        base=_mean(judged.base),
        interval=None if math.isnan(low) else (low, high),
        over_base=over_base,
    )


def against_present(
    decision: Decision,
    answers: Sequence[float],
    present: Sequence[float],
    groups: Sequence[str],
    objects: int | None = None,
) -> Decision:
    """The decision with the comparison with the present adapter.

    Args:
        decision: of `decide`.
        answers: scores of the new adapter as it is used (of the base model, where that answers), on images that are
            new to both adapters.
        present: scores of the present adapter on the same objects.
        groups: group of each.
        objects: number of annotated objects; None: one per score.
    """
    if not len(answers):
        return decision
    change = Difference.of(answers, present, groups, objects)
    return replace(decision, present=_mean(present), over_present=change)


def compared(decisions: Sequence[Decision], *, images: int, images_of_present: int | None) -> Gate:
    """All decisions together: whether the new adapter replaces the present one.

    Args:
        decisions: of the ways of use, compared with the present adapter where there is one.
        images: number of images that the new adapter was fitted on.
        images_of_present: the same of the present one; None without one.
    """
    if images_of_present is None:
        return Gate(tuple(decisions))
    usable = [one for one in decisions if one.over_present is not None and one.over_present.enough]
    worse = [one for one in usable if one.over_present is not None and one.over_present.worse]
    if worse:
        return Gate(tuple(decisions), False, f"it is worse for {' and '.join(NAMES[one.way] for one in worse)}")
    if usable:
        return Gate(tuple(decisions), True, "it is not worse in any way of use")
    more = images > images_of_present
    than = f"it was fitted on {images} images, the present one on {images_of_present}"
    return Gate(tuple(decisions), more, f"there are too few objects that are new to both, and {than}")


def gate_of(figures: Mapping[str, Any]) -> Gate | None:
    """The gate in the figures of a fit; None in those of earlier versions."""
    return Gate.from_json(figures["comparison"]) if "comparison" in figures else None


NAMES = {"click": "clicks", "box": "boxes", "region": "automatic mode", "instances": "automatic mode (instances)"}
"""Names of the ways of use in sentences."""


def standard_error(values: np.ndarray, groups: Sequence[str]) -> float | None:
    """Standard error of a mean whose values are dependent within groups (cluster-robust); None for one group."""
    codes = {name: index for index, name in enumerate(dict.fromkeys(groups))}
    if len(codes) < 2:
        return None
    sums = np.zeros(len(codes))
    np.add.at(sums, [codes[name] for name in groups], values - values.mean())
    return float(np.sqrt(len(codes) / (len(codes) - 1) * (sums**2).sum()) / len(values))


def _mean(values: Sequence[float] | None) -> float | None:
    return None if values is None or not len(values) else float(np.mean(values))


def _difference_to_json(one: Difference) -> dict[str, Any]:
    bounds = None if one.interval is None else list(one.interval)
    counts = {"objects": one.objects, "groups": one.groups}
    return {"mean": one.mean, "error": one.error, "interval": bounds, **counts}


def _difference_from_json(values: Mapping[str, Any] | None) -> Difference | None:
    if values is None:
        return None
    bounds = values["interval"]
    bounds = None if bounds is None else (bounds[0], bounds[1])
    return Difference(values["mean"], values["error"], bounds, values["objects"], values["groups"])


__all__ = ["MIN_GROUPS", "MIN_OBJECTS", "NAMES", "WAYS", "Decision", "Difference", "Gate", "Judged", "against_present",
           "compared", "decide", "gate_of", "standard_error"]  # fmt: skip
