"""The model card of an adapter: README.md as the hub shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from samtailor.artefact.metadata import AdapterMeta, CompanionReference


def card(meta: AdapterMeta) -> str:
    """README.md with the front matter of the hub."""
    import yaml

    hub = meta.base.name.count("/") == 1 and not meta.base.name.startswith((".", "/", "~"))
    front: dict[str, Any] = {
        "library_name": "samtailor",
        "pipeline_tag": "mask-generation",
        "tags": ["samtailor", "segment-anything", "adapter", meta.method],
    }
    front |= {"base_model": meta.base.name} if hub else {}
    classes = ", ".join(meta.classes) or "all classes"
    table = "\n".join(f"| {name} | {_escaped(value)} |" for name, value in summary_rows(meta))
    return (
        f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n\n# samtailor adapter: {classes}\n\n"
        "This adapter fits a frozen Segment Anything model to these objects. The base model is unchanged and not "
        "included.\n\n"
        f"| | |\n|---|---|\n{table}\n\n```python\nfrom samtailor import Predictor\n\n"
        f'predictor = Predictor.from_pretrained("{meta.base.name}", adapters={{"mine": "FOLDER OR HUB ID"}})\n'
        'predictor.set_image("image.jpg")\n'
        f'masks, scores, _ = predictor.predict({_example(meta.inference.prompt)}adapter="mine")\n```\n\n'
        f"The held-out figures were measured with {_protocol(meta.inference.prompt)} on the images that selected the "
        "best state, so they are slightly optimistic. Use `samtailor evaluate` to measure on other images.\n"
    )


def summary_rows(meta: AdapterMeta) -> list[tuple[str, str]]:
    """(property, value) in plain words, for the model card and `samtailor info`."""
    inference = meta.inference
    promptless = "map" in meta.parameters and inference.single_class
    options = ", ".join(f"{name} = {value}" for name, value in meta.options.items())
    base = f"{meta.base.name} ({meta.base.parameters:,} parameters, frozen; fingerprint {meta.base.fingerprint})"
    rows = [
        ("method", meta.method + (f" ({options})" if options else "")),
        ("base model", base),
        *([] if meta.companion is None else [("companion", _companion(meta.companion))]),
        ("classes", ", ".join(meta.classes) or "all classes"),
        ("prompt", _prompt(inference.prompt)),
    ]
    rows += [(f"a {name}", "answered by the base model") for name in inference.base_prompts]
    rows += [("objects of proposals", "segmented by the base model")] if inference.base_instances else []
    rows += [
        (f"adapter strength for a {name}", f"{value:g} (0 = base model, 1 = full adapter)")
        for name, value in inference.strength.items()
        if 0 < value < 1
    ]
    rows += [(f"region map in a {name}", f"weight {value:g}") for name, value in inference.map_weight.items() if value]
    if inference.box_margin is not None:
        rows.append(("masks of a box", f"limited to it, enlarged by {100 * inference.box_margin:g} % on each side"))
    if inference.regions:
        rows.append(("output", "one region per image and class"))
    if promptless:
        rows.append(("without a prompt", "the object" if inference.single_instance else "all objects as one region"))
    if promptless and not inference.tiling.plain:
        rows.append(("tiled inference", str(inference.tiling)))
    rows += [(f"masks {_WAYS[way]}", str(how)) for way in _WAYS if not (how := inference.postprocess_of(way)).nothing]
    trained = f"{sum(meta.parameters.values()):,}" if meta.parameters else "none"
    return [
        *rows,
        ("trained parameters", trained),
        ("training", f"{meta.steps:,} steps, seed {meta.seed}"),
        *figure_rows(meta.figures),
        ("created", f"{meta.created}, samtailor {meta.versions.get('samtailor', 'of unknown version')}"),
    ]


def _companion(companion: CompanionReference) -> str:
    return f"{companion.name} ({companion.parameters:,} parameters, frozen; fingerprint {companion.fingerprint})"


def figure_rows(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The measurements of a fit in plain words, with intervals and counts where they are stored."""
    rows = [(label, text(figures[name], figures)) for name, (label, text) in _FIGURES.items() if name in figures]
    unknown = [name for name in figures if name not in _FIGURES and name not in _DETAILS]
    return rows + [(name.replace("_", " "), _plain(figures[name])) for name in unknown]


def _percent(value: float, _: Mapping[str, Any] | None = None) -> str:
    return f"{100 * value:.1f} %"


def _plain(value: Any, _: Mapping[str, Any] | None = None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _with_details(prefix: str, objects: str) -> Callable[[float, Mapping[str, Any]], str]:
    """A percentage with interval and counts, from the figures `PREFIX_interval`, `PREFIX_images`, `PREFIX_OBJECTS`."""

    def text(value: float, figures: Mapping[str, Any]) -> str:
        details = []
        if interval := figures.get(f"{prefix}_interval"):
            details.append(f"95 % interval {100 * interval[0]:.1f} to {100 * interval[1]:.1f}")
        details += [f"{figures[key]} {noun}" for key, noun in _counts(prefix, objects) if key in figures]
        return _percent(value) + (f" ({', '.join(details)})" if details else "")

    return text


def _count_error(value: float, figures: Mapping[str, Any]) -> str:
    """ "3.1 (bias -0.4, 10 images, 250 objects)"."""
    counts = f"{figures['count_images']} images, {figures['count_objects']} objects"
    return f"{value:.1f} (bias {figures['count_bias']:+.1f}, {counts})"


def _counts(prefix: str, objects: str) -> list[tuple[str, str]]:
    return [(f"{prefix}_images", "images"), (f"{prefix}_{objects}", "objects")]


_FIGURES: dict[str, tuple[str, Callable[[Any, Mapping[str, Any]], str]]] = {
    "held_out_miou": ("held-out mIoU", _with_details("held_out", "masks")),
    "start_miou": ("mIoU before training", _percent),
    "held_out_oracle_miou": ("held-out mIoU of the best candidate mask", _percent),
    "start_oracle_miou": ("mIoU of the best candidate mask before training", _percent),
    "held_out_region_miou": ("held-out mIoU without a prompt", _percent),
    "best_step": ("best state", lambda step, _: f"after {step:,} steps"),
    "selection": (
        "best state selected on",
        lambda chosen, _: {"paper": "training images", "last": "nothing; the last state"}.get(
            chosen, "held-out images"
        ),
    ),
    "alpha": ("click adapter strength", lambda alpha, _: f"{alpha:g} (0 = base model, 1 = full adapter)"),
    "alpha_miou": ("mIoU at this strength", _with_details("alpha", "masks")),
    "base_miou": ("mIoU of the base model on the same images", _percent),
    "region_dice": ("automatic mode, Dice", _with_details("region", "objects")),
    "region_dice_untiled": ("automatic mode without tiling, Dice", _percent),
    "count_error": ("error of the number of objects per image", _count_error),
}
"""Figure to its label and its text."""
_WAYS = {
    "click": "for a click",
    "box": "for a box",
    "region": "without a prompt",
    "instances": "of proposals",
}
"""Ways of use as they are named in a row of the model card."""
_DETAILS = frozenset(
    [
        *("comparison", "held_out_gain_interval"),
        *("count_error_interval", "count_bias", "count_bias_interval", "count_images", "count_objects"),
        *("found_per_image", "objects_per_image"),
        *(f"{prefix}_{end}" for prefix in ("held_out", "alpha", "region")
          for end in ("interval", "images", "masks", "objects")),
    ]
)  # fmt: skip


def _prompt(prompt: str | None) -> str:
    if prompt is None:
        return "a click or a box"
    return "none" if prompt == "none" else f"from the prompt source `{prompt}`"


def _example(prompt: str | None) -> str:
    if prompt is None:
        return "[[320, 240]], [1], "
    return "" if prompt == "none" else "box=[100, 80, 420, 360], "


def _protocol(prompt: str | None) -> str:
    if prompt is None:
        return "one click per object"
    return "no prompt" if prompt == "none" else f"the prompt source `{prompt}`"


def _escaped(value: str) -> str:
    return value.replace("|", "\\|")


__all__ = ["card", "figure_rows", "summary_rows"]
