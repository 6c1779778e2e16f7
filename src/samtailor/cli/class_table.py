"""The outcome of a contest for each of several classes, as one table: a row for each class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from samtailor.evaluation.scores import TOO_FEW, percent
from samtailor.fitting.contest.report.forecast import MORE, Forecast
from samtailor.fitting.gate import Decision, gate_of
from samtailor.fitting.result import FitResult

HEAD = (
    "Class", "n", "Without a prompt [95 %]", "Clicks, base", "Clicks, adapter", "Boxes, base", "Boxes, adapter",
    *(f"{extra} more masks" for extra in MORE),
)  # fmt: skip
NOTE = (
    "n: cross-validated images/objects. Percent: Dice without a prompt, mIoU of clicks and boxes; * answers them. More "
    "masks: expected gain in Dice, where it can be said."
)


def class_table(parts: Mapping[str, FitResult]) -> list[list[str]]:
    """The rows of the classes, with the columns of `HEAD`; no row for a class that was not compared with anything.

    Args:
        parts: class to the result of its contest.
    """
    return [_row(name, part.figures) for name, part in parts.items() if gate_of(part.figures) is not None]


def _row(name: str, figures: Mapping[str, Any]) -> list[str]:
    gate, contest = gate_of(figures), figures.get("contest", {})
    decisions = {} if gate is None else {one.way: one for one in gate.decisions}
    first = next(iter(decisions.values()), None)
    region = decisions.get("region")
    forecast = contest.get("forecast") or {}
    gains = {row["masks"]: Forecast(row["masks"], row["gain"], row["error"]) for row in forecast.get("rows", ())}
    return [
        name,
        "" if first is None else f"{contest.get('images', first.images)}/{contest.get('objects', first.objects)}",
        "-" if region is None else percent(region.new, region.interval) if region.enough else TOO_FEW,
        *_prompted(decisions.get("click")),
        *_prompted(decisions.get("box")),
        *(_gain(gains.get(extra)) for extra in MORE),
    ]


def _prompted(one: Decision | None) -> tuple[str, str]:
    """Scores of base model and adapter; the one that answers is marked."""
    if one is None:
        return "-", "-"
    if not one.enough:
        return TOO_FEW, TOO_FEW
    base, adapter = percent(one.base), percent(one.new)
    return (base, f"{adapter} *") if one.answers == "adapter" else (f"{base} *", adapter)


def _gain(one: Forecast | None) -> str:
    return "-" if one is None or not one.trusted else f"{100 * one.gain:+.1f} ± {100 * one.error:.1f}"


__all__ = ["HEAD", "NOTE", "class_table"]
