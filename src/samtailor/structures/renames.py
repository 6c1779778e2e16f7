"""Renamed settings and options. Old names keep working for one version.

One table for YAML files, Python, the command line and adapters saved by earlier versions.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

SETTINGS = {
    "clip": "max_grad_norm",
    "decay_at": "milestones",
    "decay": "gamma",
    "accumulate": "grad_accum_steps",
    "colour": "color_jitter",
}
"""Fields of `FitConfig`: old name to new name (0.2)."""
OPTIONS: dict[str, dict[str, str]] = {
    "plm": {"others": "multimask_dice_weight"},
    "plm-pmm": {"others": "multimask_dice_weight"},
    "tailor": {"others": "multimask_dice_weight", "settle": "select_inference"},
}
"""Options of methods: method to old name to new name (0.2)."""
DETECTOR_OPTIONS = {"onnx": {"colour": "color"}}
"""Options of detectors: detector to old name to new name (0.2)."""
FLAGS = {"--give": "--prompt-type", "--part": "--split", "--all": "--include-train", "--pictures": "--images"}
"""Flags of the command line: old name to new name (0.2)."""

FIGURES = {
    "share": "alpha",
    "share_miou": "alpha_miou",
    "share_base_miou": "base_miou",
    "region_dice_one_look": "region_dice_untiled",
}
"""Figures of adapters: old name to new name (0.2)."""

TENSORS = {"maps.map.leaning": "maps.map.map_gain"}
"""Tensors of adapters: old name to new name (0.2)."""

_log = logging.getLogger("samtailor")


def renamed_settings(values: Mapping[str, Any], *, quiet: bool = False) -> dict[str, Any]:
    """Settings of a fit under their current names, including options of the method.

    Args:
        values: settings by name.
        quiet: do not warn about old names, for files that samtailor wrote itself.
    """
    named = _renamed(values, SETTINGS, "setting", quiet)
    if isinstance(named.get("options"), Mapping):
        method = str(named.get("method", "tailor"))
        named["options"] = renamed_options(method, named["options"], quiet=quiet)
    return named


def renamed_options(method: str, options: Mapping[str, Any], *, quiet: bool = True) -> dict[str, Any]:
    """Options of a method under their current names."""
    table = OPTIONS.get(method.strip().lower().replace("_", "-"), {})
    return _renamed(options, table, f"option of {method}", quiet)


def renamed_figures(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures of an adapter under their present names."""
    return _renamed(figures, FIGURES, "figure", quiet=True)


def renamed_detector_options(detector: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a detector under their present names."""
    table = DETECTOR_OPTIONS.get(detector.strip().lower().replace("_", "-"), {})
    return _renamed(options, table, f"option of {detector}", quiet=True)


def renamed_tensors(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors of an adapter under their current names."""
    return _renamed(tensors, TENSORS, "tensor", quiet=True)


def _renamed(values: Mapping[str, Any], table: Mapping[str, str], what: str, quiet: bool) -> dict[str, Any]:
    named = {}
    for name, value in values.items():
        new = table.get(name, name)
        if new != name and not quiet:
            _log.warning("The %s %r is now called %r. The old name works until version 0.3.", what, name, new)
        if new != name and new in values:
            continue  # the new name is present too and takes precedence
        named[new] = value
    return named


__all__ = [
    "DETECTOR_OPTIONS",
    "FIGURES",
    "FLAGS",
    "OPTIONS",
    "SETTINGS",
    "TENSORS",
    "renamed_detector_options",
    "renamed_figures",
    "renamed_options",
    "renamed_settings",
    "renamed_tensors",
]
