"""The outcome of a contest in sentences: what was chosen and why, how good it is, and what would help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from samtailor.errors import counted
from samtailor.fitting.contest.fingerprint import TOUCHING
from samtailor.fitting.contest.report.forecast import words as forecast_words
from samtailor.fitting.folder import WORST
from samtailor.fitting.gate import Decision, Gate
from samtailor.fitting.gate_words import judged_on, sentences

_NOTABLE = 0.05  # Dice
NAMES = {"click": "clicks", "box": "boxes", "region": "images without a prompt"}


def contest_sentences(figures: Mapping[str, Any], gate: Gate | None, strength: Mapping[str, float]) -> list[str]:
    """Sentences about a finished contest.

    Args:
        figures: of the adapter; "contest" has the outcome of the contest.
        gate: its decisions.
        strength: see `InferenceSpec`.
    """
    contest = figures["contest"]
    lines = [_held(contest)]
    if gate is not None:
        region = next((one for one in gate.decisions if one.way == "region"), None)
        prompted = Gate(tuple(one for one in gate.decisions if one.way != "region"), gate.replaces, gate.reason)
        lines += sentences(prompted, strength)
        lines += [] if region is None else [_region(region, contest), *_clicks(contest)]
    lines += [_losers(way, rows) for way, rows in contest.get("rows", {}).items() if len(rows) > 1]
    lines += [*_objects(contest), *_postprocess(contest)]
    lines += _difficult(contest)
    if contest.get("forecast"):
        lines.append(forecast_words(contest["forecast"]["rows"], contest["forecast"]["metric"]))
    if contest.get("suggested"):
        lines.append(f"Mark next: {', '.join(contest['suggested'])} (the adapter is least certain of them).")
    return [*lines, *contest.get("notes", ())]


def contest_warnings(figures: Mapping[str, Any]) -> list[str]:
    """The sentences about what is wrong: nothing was compared, or the masks without a prompt are poor."""
    contest = figures["contest"]
    held = [] if contest["folds"] >= 2 or contest.get("repeated") else [_held(contest)]
    return [*held, *_clicks(contest)]


def _objects(contest: Mapping[str, Any]) -> list[str]:
    """How well single objects are found; nothing where images have one object each."""
    compared = contest.get("instances", {})
    rows = compared.get("rows", ())
    if len(rows) > 1:
        return [*_compared_objects(compared["chosen"], rows), *_left_out(compared)]
    if not rows:
        return []
    parts = rows[0]
    if contest.get("most_objects", 2) < 2:
        return [*_empty(parts), *_left_out(compared)]
    text = (
        f"Single objects without a prompt: F1 {_percent(parts['f1'])} at IoU 0.5, the count is off by "
        f"{parts['count_error']:.1f} of {parts['objects']:.1f} objects per image."
    )
    if contest["touching"] >= TOUCHING:
        share = f"{100 * contest['touching']:.0f} %"
        text += f" {share} of the objects touch another one; `samtailor propose-fit` separates them."
    return [text, *_empty(parts), *_left_out(compared)]


def _empty(row: Mapping[str, Any]) -> list[str]:
    """How many images without an object stay without a mask."""
    if not row.get("empty_images"):
        return []
    return [f"Of {counted(row['empty_images'], 'image')} without an object, {row['empty_right']} stay without a mask."]


def _left_out(compared: Mapping[str, Any]) -> list[str]:
    """The threshold of the parts of the region, if they are chosen and have one."""
    rows = [row for row in compared.get("rows", ()) if row["candidate"] == compared["chosen"] == "parts"]
    if not rows or not rows[0].get("threshold"):
        return []
    return [f"Masks without a prompt with a score below {rows[0]['threshold']:.2f} are left out."]


def _compared_objects(chosen: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How single objects are found, and the scores of all candidates."""
    best = next(row for row in rows if row["candidate"] == chosen)
    lines = [
        f"Single objects without a prompt, by {best['title']}: F1 {_percent(best['f1'])} at IoU 0.5, precision "
        f"{_percent(best['precision'])}, recall {_percent(best['recall'])}, the count is off by "
        f"{best['count_error']:.1f} of {best['objects']:.1f} objects per image."
    ]
    others = [row for row in rows if row is not best]
    named = ", ".join(
        f"{row['title']} F1 {_percent(row['f1'])}, count off by {row['count_error']:.1f}" for row in others
    )
    return [*lines, f"Compared for single objects: {named}."]


def _postprocess(contest: Mapping[str, Any]) -> list[str]:
    """What is done to the masks without a prompt."""
    chosen = contest.get("postprocess")
    if not chosen:
        return []
    before, after = _percent(chosen["before"]), _percent(chosen["after"])
    return [f"Postprocessing without a prompt: {chosen['steps']} (Dice {before} without, {after} with)."]


def _difficult(contest: Mapping[str, Any]) -> list[str]:
    """What lowers the scores: small objects, and single images whose masks the others do not explain."""
    lines = []
    if contest.get("small"):
        small, large = contest["small"]
        if large - small >= _NOTABLE:
            lines.append(f"Small objects are harder: Dice {_percent(small)} in the half with the smaller ones, "
                         f"{_percent(large)} in the other.")  # fmt: skip
    if contest.get("worst"):
        named = ", ".join(f"{id} (Dice {100 * dice:.0f})" for id, dice in contest["worst"])
        lines.append(f"Lowest scores: {named}. Check their masks in {WORST}; mark more images like them.")
    return lines


def _held(contest: Mapping[str, Any]) -> str:
    images, folds = counted(contest["images"], "image"), contest["folds"]
    if contest.get("repeated"):
        return f"Fitted on {images} by a plan."
    if folds < 2:
        return (
            f"Nothing was compared: {images} of one group cannot be cross-validated. Mark objects in more images, so "
            "that the adapter can be compared with the base model."
        )
    spent = f"{contest['spent']:.0f} s of {contest['budget']:.0f} s"
    objects = counted(contest["objects"], "object")
    return f"Cross-validated on {images} with {objects}, in {folds} folds ({spent})."


def _region(one: Decision, contest: Mapping[str, Any]) -> str:
    if not one.enough or one.new is None:
        return f"Without a prompt: too few objects to judge (n = {one.objects})."
    bounds = (
        "" if one.interval is None else f", 95 % interval {_percent(one.interval[0])} to {_percent(one.interval[1])}"
    )
    text = f"Without a prompt: Dice {_percent(one.new)} ({judged_on(one)}{bounds})"
    from samtailor.fitting.contest.region_variant import RegionVariant

    variant = RegionVariant.of(contest.get("tiling", "0"))
    text = f"{text}, {variant}" if str(variant) else text
    return f"{text}; {_percent(contest['untiled'])} by the whole image alone." if variant.plan else f"{text}."


def _clicks(contest: Mapping[str, Any]) -> list[str]:
    """A warning where one click on each object gives better masks than no prompt."""
    poorer = contest.get("clicks")
    if not poorer:
        return []
    who = "adapter" if poorer["adapter"] else "base model"
    return [
        f"The masks without a prompt are poor: one click on each object has Dice {_percent(poorer['click'])} on the "
        f"same images (by the {who}), no prompt {_percent(poorer['region'])}. Use clicks, or mark more images."
    ]


def _losers(way: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """The scores of all candidates in one way of use."""
    named = ", ".join(f"{row['title']} {_percent(row['mean'])}" for row in rows)
    return f"Compared for {NAMES[way]}: {named}."


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


__all__ = ["NAMES", "contest_sentences", "contest_warnings"]
