"""The outcome of a fit in plain sentences, each with the number of images or objects it is based on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from samtailor.errors import counted
from samtailor.fitting.contest.report.class_confusion import confusion_words
from samtailor.fitting.contest.report.words import contest_sentences, contest_warnings
from samtailor.fitting.gate import MIN_OBJECTS, gate_of
from samtailor.fitting.gate_words import PRESENT, sentences
from samtailor.fitting.result import FitResult
from samtailor.structures import TilingPlan

if TYPE_CHECKING:
    from samtailor.artefact import AdapterMeta

_NOTABLE = 0.01  # mIoU; a smaller difference between two oracles is not reported


def verdict(result: FitResult) -> list[str]:
    """Sentences about a finished fit; with `per_class` those of each class, prefixed with its name. Of contests,
    only what their table does not say.

    All percentages are means over validation images, which also selected the best state, so they are slightly
    optimistic; `samtailor evaluate` measures on other images.

    Args:
        result: of `fit`, also one that was read back from its folder.
    """
    if result.parts:
        said = {
            name: _warnings(part) if "contest" in part.figures else verdict(part) for name, part in result.parts.items()
        }
        lines = [f"{name}: {sentence}" for name, sentences in said.items() for sentence in sentences]
        return [*lines, *confusion_words(result.folder)]
    figures = result.figures
    gate = gate_of(figures)
    if "contest" in figures:
        return contest_sentences(figures, gate, result.inference.strength)
    automatic = _automatic(figures, result.inference.tiling)
    if gate is None:  # a fit of an earlier version, or of a method without anything to compare
        return [*_clicks(figures), *_oracle(figures), *_strength(figures), *automatic]
    compared = sentences(gate, result.inference.strength)
    return [*_state(figures), *compared, *_oracle(figures), *automatic, *count_sentence(figures)]


def _warnings(result: FitResult) -> list[str]:
    """What the table of the classes (`cli.class_table`) does not say about one of them."""
    gate = gate_of(result.figures)
    said = [] if gate is None else [one for one in sentences(gate, result.inference.strength) if PRESENT in one]
    return [*contest_warnings(result.figures), *said]


def comparison_of(metas: Mapping[str, AdapterMeta]) -> list[str]:
    """Sentences about finished adapters for the page and for annotation programs, those about the present one last.

    Args:
        metas: of the adapters of one fit by name: one, or one for each class.
    """
    lines = []
    for meta in metas.values():
        gate = gate_of(meta.figures)
        if "contest" in meta.figures:
            said = contest_sentences(meta.figures, gate, meta.inference.strength)
        else:
            said = [] if gate is None else sentences(gate, meta.inference.strength)
        prefix = f"{', '.join(meta.classes)}: " if len(metas) > 1 else ""
        lines += [prefix + sentence for sentence in said]
    return sorted(lines, key=lambda line: PRESENT in line)


def replaces_of(metas: Mapping[str, AdapterMeta]) -> bool | None:
    """Whether a fit replaces the present one: not if one of its adapters is worse; None without a comparison."""
    gates = [gate_of(meta.figures) for meta in metas.values()]
    known = [gate.replaces for gate in gates if gate is not None and gate.replaces is not None]
    return all(known) if known else None


def _state(figures: Mapping[str, Any]) -> list[str]:
    """What selected the state that was kept."""
    if "held_out_miou" not in figures:
        return ["No image was held out, so the last state was kept. Run `samtailor evaluate` to measure it."]
    images = "training images" if figures.get("selection") == "paper" else "validation images"
    return [f"The state after {counted(figures['best_step'], 'step')} is the best on the {images}."]


def _clicks(figures: Mapping[str, Any]) -> list[str]:
    """Whether the selected state is better than the state before training."""
    if "held_out_miou" not in figures:
        return ["No image was held out, so the last state was kept. Run `samtailor evaluate` to measure it."]
    masks = figures.get("held_out_masks")
    judged_on = _judged_on(figures)
    if masks is not None and masks < MIN_OBJECTS:
        return [f"Too few objects to judge the prompted masks (n = {masks})."]
    after, before = figures["held_out_miou"], figures["start_miou"]
    if after <= before:
        return [_not_improved(figures, judged_on)]
    interval = figures.get("held_out_gain_interval")
    gain = f"gain {_percent(after - before)}{_interval(interval)}"
    sentences = [f"mIoU rose from {_percent(before)} to {_percent(after)} on {judged_on} ({gain})."]
    if interval is not None and interval[0] <= 0:
        sentences.append("The interval includes 0: hold out more images to confirm the gain.")
    return sentences


def _not_improved(figures: Mapping[str, Any], judged_on: str) -> str:
    """The sentence for a fit without a gain."""
    at_base = "alpha" in figures  # only methods that start at the base model can be interpolated to it
    reference = "the base model" if at_base else "the adapter before training"
    measured = f"mIoU {_percent(figures['held_out_miou'])}{_interval(figures.get('held_out_interval'))} on {judged_on}"
    unchanged = at_base and (figures["alpha"] == 0 or figures["best_step"] == 0)
    effect = "; the adapter leaves clicks unchanged" if unchanged else ""
    return f"Training did not improve on {reference} ({measured}){effect}."


def _oracle(figures: Mapping[str, Any]) -> list[str]:
    """Whether the gain comes from better masks or from a better choice among the candidates."""
    if not {"held_out_oracle_miou", "start_oracle_miou"} <= set(figures) or _few(figures.get("held_out_masks")):
        return []
    gain = figures["held_out_miou"] - figures["start_miou"]
    oracle_gain = figures["held_out_oracle_miou"] - figures["start_oracle_miou"]
    if gain < _NOTABLE or oracle_gain >= _NOTABLE:
        return []
    reference = "the base model" if "alpha" in figures else "before training"
    return [f"The adapter picks the right mask more often; it does not draw better outlines than {reference}."]


def _strength(figures: Mapping[str, Any]) -> list[str]:
    """The interpolation between base model and adapter, where the full adapter was not the best choice."""
    alpha = figures.get("alpha", 1.0)
    if alpha == 1:
        return []
    sentences = [f"Click adapter strength: {alpha:g} (0 = base model, 1 = full adapter)."]
    masks = figures.get("alpha_masks")
    if alpha > 0 and masks is not None and not _few(masks):
        sentences.append(
            f"At this strength mIoU is {_percent(figures['alpha_miou'])} on "
            f"{_images(figures['alpha_images'], masks, _kind(figures))}, "
            f"{_percent(figures['base_miou'])} with the base model."
        )
    return sentences


def _automatic(figures: Mapping[str, Any], tiling: TilingPlan) -> list[str]:
    """Quality without a prompt."""
    if "region_dice" not in figures:
        return []
    images, objects = figures["region_images"], figures.get("region_objects")
    if _few(objects):
        return [f"Automatic mode: too few objects to judge (n = {objects})."]
    judged_on = f"{counted(images, _kind(figures))}{_interval(figures.get('region_interval'))}"
    dice = f"Automatic mode: Dice {_percent(figures['region_dice'])} ({judged_on})"
    if tiling.plain:
        return [f"{dice}."]
    return [f"{dice}, with {_tiling(tiling)}; {_percent(figures['region_dice_untiled'])} without."]


def count_sentence(figures: Mapping[str, Any]) -> list[str]:
    """How well the objects of automatic mode are counted; nothing where they were not."""
    if figures.get("count_error") is None:
        return []
    images, objects = figures["count_images"], figures["count_objects"]
    if _few(objects):
        return [f"Number of objects: too few to judge (n = {objects})."]
    interval = figures.get("count_error_interval")
    bounds = "" if interval is None else f", 95 % interval {interval[0]:.1f} to {interval[1]:.1f}"
    return [
        f"Number of objects: wrong by {figures['count_error']:.1f} per image on average{bounds}; "
        f"{figures['found_per_image']:.1f} found, {figures['objects_per_image']:.1f} annotated "
        f"({_images(images, objects, 'validation image')})."
    ]


def _tiling(tiling: TilingPlan) -> str:
    """A short name of a tiling plan, e.g. "2x2 tiling"."""
    parts = [f"{n}x{n} tiling" for n in tiling.tiles if n > 1] + (["box prompts"] if tiling.boxes else [])
    return " and ".join(parts)


def _judged_on(figures: Mapping[str, Any]) -> str:
    """The images behind the held-out figures."""
    images, masks = figures.get("held_out_images"), figures.get("held_out_masks")
    if figures.get("selection") == "paper":
        what = "training images" if images is None else _images(images, masks, "training image")
        return f"{what} that select the best state; no image was held out"
    return "validation images" if images is None else _images(images, masks, "validation image")


def _kind(figures: Mapping[str, Any]) -> str:
    """Without held-out images, inference is tuned on training images that were left out for that."""
    return "validation image" if "held_out_miou" in figures else "left-out training image"


def _images(images: int, masks: int | None, noun: str) -> str:
    return counted(images, noun) + (f" with {counted(masks, 'object')}" if masks is not None else "")


def _few(objects: int | None) -> bool:
    return objects is not None and objects < MIN_OBJECTS


def _interval(bounds: list[float] | None) -> str:
    """ ", 95 % interval 38.2 to 49.5", or nothing where there is none."""
    return "" if bounds is None else f", 95 % interval {_percent(bounds[0])} to {_percent(bounds[1])}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


__all__ = ["MIN_OBJECTS", "comparison_of", "count_sentence", "replaces_of", "verdict"]
