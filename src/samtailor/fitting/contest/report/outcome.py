"""What a contest reports: figures of the adapter, decisions of the plan, and hints for the next masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from samtailor.fitting.contest.candidates import Candidate
from samtailor.fitting.contest.choice import untiled
from samtailor.fitting.contest.plan_file import prompt_decisions
from samtailor.fitting.contest.replacement import gate_with_present
from samtailor.fitting.contest.report import forecast, sheet
from samtailor.fitting.contest.scoring import BASE, Scores
from samtailor.fitting.contest.state import ContestState
from samtailor.fitting.gate import MIN_OBJECTS, Difference, compared
from samtailor.registry import names

_METRICS = {"region": "Dice without a prompt", "click": "IoU of clicks"}


def figures_of(contest: ContestState) -> dict[str, Any]:
    """`FitResult.figures` of the chosen adapter."""
    choice, figures = contest.choice, dict[str, Any]()
    if choice.decisions:
        gate = compared(choice.decisions, images=len(contest.train), images_of_present=None)
        if contest.present is not None:
            known = {sample.id: sample for sample in contest.train}
            folds = [[known[id] for id in fold] for fold in contest.folds]
            gate = gate_with_present(
                choice, contest.present, folds, contest.classes, contest.base, contest.store, contest.groups,
                seed=contest.config.seed,
            )  # fmt: skip
        figures["comparison"] = gate.to_json()
    if choice.region is not None:
        scores, variant = choice.region.scores, choice.region.variant
        (decision,) = [one for one in choice.decisions if one.way == "region"]
        figures |= {
            "region_dice": scores.mean(variant), "region_dice_untiled": scores.mean(untiled(scores, contest.groups)),
            "region_images": len(scores.images), "region_objects": scores.objects,
        }  # fmt: skip
        figures |= {} if decision.interval is None else {"region_interval": list(decision.interval)}
    return figures | {"contest": _summary(contest)}


def decisions_of(contest: ContestState, chosen: Mapping[str, tuple[Candidate, int]]) -> dict[str, Any]:
    """`ContestPlan.decisions`."""
    parts: dict[str, Any] = {part: {"candidate": one.name, "steps": steps} for part, (one, steps) in chosen.items()}
    if "region" in parts:
        parts["region"] |= {"tiling": contest.variant.plan, "offset": contest.variant.offset}
        parts["region"]["postprocess"] = asdict(contest.postprocess)
    return (
        parts
        | prompt_decisions(contest.choice.prompts)
        | {"views": contest.config.views}
        | {"exclusive": [list(pair) for pair in contest.exclusive]}
        | {name: None for name in names("instances")}
        | {name: dict(value) for name, value in contest.instances.decisions.items()}
    )


def forecast_of(contest: ContestState, of_half: Mapping[str, Scores]) -> dict[str, Any]:
    """The forecast for the region, or for clicks where there is no region; empty where there is nothing to say."""
    way = "region" if contest.choice.region is not None else "click"
    entry = contest.choice.entries.get(way)
    if entry is None or way not in of_half or entry.variant not in of_half[way].values:
        return {}
    count = len(contest.train)
    sizes = (count / 2, count * (1 - 1 / len(contest.folds)))
    fewer, more = (_by_image(scores, entry.variant) for scores in (of_half[way], entry.scores))
    rows = forecast.forecasts(fewer, more, sizes, count, seed=contest.config.seed)
    return {"metric": _METRICS[way], "rows": [row.to_json() for row in rows]} if rows else {}


def _summary(contest: ContestState) -> dict[str, Any]:
    """What the closing sentences are made of (`report.words`)."""
    titles = {one.name: one.title for one in contest.candidates} | {"base": "base model"}
    rows = {
        way: [{"title": row.get("title") or titles[row["candidate"]], "mean": row["mean"]} for row in table]
        for way, table in contest.choice.table.items()
    }
    data, budget = contest.data, contest.budget
    summary: dict[str, Any] = {
        "images": data.images, "objects": data.objects, "folds": len(contest.folds), "rows": rows,
        "spent": budget.spent, "budget": budget.total, "clock": budget.clock, "notes": list(contest.plan.notes),
        "forecast": contest.forecast, "suggested": contest.suggested, "repeated": contest.replay is not None,
    }  # fmt: skip
    region = contest.choice.region
    if region is not None:
        plain = region.scores.mean(untiled(region.scores, contest.groups))
        summary |= {"tiling": region.variant, "untiled": plain, "worst": sheet.worst(region)[:3]}
        summary["small"] = _small(contest)
        summary["instances"] = {"chosen": contest.instances.chosen, "rows": contest.instances.rows}
        summary |= {"touching": data.touching, "most_objects": data.most_objects}
        summary["clicks"] = _better_clicks(contest)
        if not contest.postprocess.nothing:
            evidence = contest.plan.evidence["postprocess"]
            scores = {"before": evidence["before"], "after": evidence["after"]}
            summary["postprocess"] = {"steps": str(contest.postprocess), **scores}
    return summary


def _better_clicks(contest: ContestState) -> dict[str, Any] | None:
    """Mean Dice of the region, and of one click on each object, if the region is worse by more than the standard error.

    Both are of the same images, which the fits had not learnt from. A click counts as it is answered in use. None: the
    region is not worse, or there are too few images to say so.
    """
    region, click = contest.choice.region, contest.choice.entries.get("click")
    if region is None or click is None:
        return None
    adapter = any(one.way == "click" and one.answers == "adapter" for one in contest.choice.decisions)
    clicks = _by_image(click.scores, click.variant if adapter else BASE, lambda iou: 2 * iou / (1 + iou))
    regions = _by_image(region.scores, region.variant)
    images = [id for id in regions if id in clicks]
    if not images:
        return None
    ours, theirs = ([one[id] for id in images] for one in (regions, clicks))
    names = [contest.groups.get(id, id) for id in images]
    change = Difference.of(ours, theirs, names, region.scores.objects)
    if not change.enough or not change.worse:
        return None
    return {"region": float(np.mean(ours)), "click": float(np.mean(theirs)), "adapter": adapter}


def _small(contest: ContestState) -> list[float] | None:
    """Mean Dice of the images whose objects are smaller than the median, and of the others; None with few images."""
    region = contest.choice.region
    if region is None or len(region.scores.images) < 2 * MIN_OBJECTS:
        return None
    known = {sample.id: sample for sample in contest.train}
    sides = {}
    for id in set(region.scores.images):
        objects = known[id].of(contest.classes)
        height, width = objects[0].rle["size"]
        sides[id] = sum(one.area for one in objects) / len(objects) / (height * width)
    middle = sorted(sides.values())[len(sides) // 2]
    parts: tuple[list[float], list[float]] = ([], [])
    for id, value in zip(region.scores.images, region.scores.values[region.variant], strict=True):
        parts[sides[id] >= middle].append(value)
    return [sum(part) / len(part) for part in parts] if all(parts) else None


def _by_image(scores: Scores, variant: str, score: Callable[[float], float] = float) -> dict[str, float]:
    """Mean score of each image; `score` converts each of them."""
    rows: dict[str, list[float]] = {}
    for id, value in zip(scores.images, scores.values[variant], strict=True):
        rows.setdefault(id, []).append(score(value))
    return {id: sum(values) / len(values) for id, values in rows.items()}


__all__ = ["decisions_of", "figures_of", "forecast_of"]
