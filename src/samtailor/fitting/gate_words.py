"""The decisions of `fitting.gate` in plain sentences, each with the number of images and objects it is based on."""

from __future__ import annotations

from collections.abc import Mapping

from samtailor.errors import counted
from samtailor.fitting.gate import NAMES, Decision, Difference, Gate

_FEW = "too few objects to say"
PRESENT = "The new adapter "
"""Start of the sentence about whether the adapter replaces the present one."""


def sentences(gate: Gate, strength: Mapping[str, float]) -> list[str]:
    """Who answers clicks and boxes, and whether the new adapter replaces the present one.

    Args:
        gate: of a fit.
        strength: by type of prompt, see `InferenceSpec.strength`.
    """
    prompted = [one for one in gate.decisions if one.over_base is not None or one.way in ("click", "box")]
    lines = [_over_base(one) for one in prompted]
    lines += [
        f"Adapter strength for {NAMES[name]}: {value:g} (0 = base model, 1 = full adapter)."
        for name, value in strength.items()
        if 0 < value < 1
    ]
    lines += [line for one in gate.decisions if (line := _over_present(one))]
    if gate.replaces is not None:
        outcome = "replaces" if gate.replaces else "does not replace"
        lines.append(f"{PRESENT}{outcome} the present one: {gate.reason}.")
    return lines


def _over_base(one: Decision) -> str:
    name, who = NAMES[one.way].capitalize(), "adapter" if one.answers == "adapter" else "base model"
    if not one.objects:
        why = "no image was left to compare them on"
        return f"{name}: not compared with the base model, since {why} (n = 0). The {who} answers them."
    if not one.enough or one.over_base is None or one.new is None or one.base is None:
        few = f"{_FEW} whether the adapter is better than the base model (n = {one.objects})"
        return f"{name}: {few}. The {who} answers them."
    metric = f"mean {one.metric}" if one.metric != "IoU" else "mIoU"
    measured = f"{metric} {_percent(one.new)} with the adapter, {_percent(one.base)} with the base model"
    return f"{name}: {measured} ({judged_on(one)}; {_difference(one.over_base)}). The {who} answers them."


def _over_present(one: Decision) -> str:
    change = one.over_present
    if change is None:
        return ""
    name = NAMES[one.way].capitalize()
    if not change.enough:
        return f"{name}: {_FEW} whether the new adapter is better than the present one (n = {change.objects})."
    return f"{name}: new minus present adapter, {_difference(change)} (n = {change.objects}, images new to both)."


def judged_on(one: Decision) -> str:
    """ "12 validation images with 30 objects in 10 groups"."""
    groups = "" if one.groups == one.images else f" in {counted(one.groups, 'group')}"
    return f"{counted(one.images, one.part + ' image')} with {counted(one.objects, 'object')}{groups}"


def _difference(change: Difference) -> str:
    text = f"difference {100 * change.mean:+.1f}"
    if change.interval is None:
        return text
    low, high = change.interval
    return f"{text}, 95 % interval {100 * low:+.1f} to {100 * high:+.1f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


__all__ = ["PRESENT", "judged_on", "sentences"]
