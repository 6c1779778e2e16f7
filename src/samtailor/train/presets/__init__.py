"""Settings of papers, to the letter. A name is a file: `--preset kim-2024` is `presets/kim_2024.py`.

A file holds, and needs nothing else:

* `TITLE`, `SOURCE`: the paper.
* `METHOD`: the method that the preset means when none is named.
* `SHARED`: fields of `FitConfig` for every row of a comparison, also for baselines and the unchanged base.
* `METHODS`: method to further fields.
* `WHY`: setting (`lr`, `options.head`, or of one method `sam-f.weight_decay`) to the reason why the default of
  samtailor differs from the paper. A test checks that it has exactly the settings that differ.
* `NOT_STATED`: setting to what the preset uses where the paper says nothing.
* `NOTES`: what else differs, and how to run it.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from samtailor.errors import InputError
from samtailor.registry import find, names


def preset_fields(name: str, method: str | None) -> dict[str, Any]:
    """Fields of `FitConfig` of a preset for a method, with `method` and `preset`.

    Args:
        name: of the preset.
        method: None takes the method of the preset. Baselines and other methods without trained parameters of the base
            get the shared fields.

    Raises:
        InputError: an unknown preset, or it has no settings for the method.
    """
    module = find("presets", name)
    method = module.METHOD if method is None else method.strip().lower().replace("_", "-")
    if method not in module.METHODS and method not in names("baselines"):
        raise InputError(
            f"The preset {name!r} has no settings for the method {method!r}. It has those of "
            f"{', '.join(module.METHODS)}. Choose one of them, or another preset ({', '.join(names('presets'))})."
        )
    fields = {**module.SHARED, **module.METHODS.get(method, {})}
    return {**fields, "method": method, "preset": name}


def describe(module: ModuleType) -> str:
    """Title and source of a preset in one line."""
    return f"{module.TITLE} ({module.SOURCE})"


__all__ = ["describe", "preset_fields"]
