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

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from samtailor.errors import InputError
from samtailor.registry import find, names, options

if TYPE_CHECKING:
    from samtailor.train.config import FitConfig


@dataclass(frozen=True)
class Departure:
    """A setting in which a preset and the defaults of a method differ.

    Args:
        method: name of the method.
        setting: field of `FitConfig`, or `options.NAME` and `prompt_options.NAME`.
        paper: value of the preset.
        default: value without the preset.
        why: reason why the default differs, from `WHY`; empty if there is none.
        stated: the paper states the value; otherwise `not_stated` says where it comes from.
        not_stated: from `NOT_STATED`.
    """

    method: str
    setting: str
    paper: Any
    default: Any
    why: str
    not_stated: str = ""

    @property
    def stated(self) -> bool:
        """Whether the paper states the value."""
        return not self.not_stated


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


def departures(name: str, method: str) -> list[Departure]:
    """All settings in which a preset differs from the defaults of a method, in the order of the settings.

    Imports the method, hence torch.
    """
    from samtailor.train.config import FitConfig

    module = find("presets", name)
    paper = flat(FitConfig(preset=name, method=method))
    default = flat(FitConfig(method=method))
    listed = []
    for setting in dict.fromkeys([*default, *paper]):
        mine, theirs = default.get(setting), paper.get(setting)
        if mine != theirs and setting != "preset":
            why = _of(module.WHY, method, setting)
            listed.append(Departure(method, setting, theirs, mine, why, _of(module.NOT_STATED, method, setting)))
    return listed


def flat(config: FitConfig) -> dict[str, Any]:
    """Every resolved setting by name, options of the method and of its prompt source as `options.NAME`."""
    from samtailor.train.config import resolve

    values = resolve(config).to_dict()
    build = _module(values["method"]).build
    method_options = options(build) | values.pop("options")
    prompt_options = options(find("prompts", values["prompt"]).build) | values.pop("prompt_options")
    values |= {f"options.{key}": value for key, value in method_options.items()}
    return values | {f"prompt_options.{key}": value for key, value in prompt_options.items()}


def describe(module: ModuleType) -> str:
    """Title and source of a preset in one line."""
    return f"{module.TITLE} ({module.SOURCE})"


def value_text(value: Any) -> str:
    """A value of a setting in a table."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {value_text(one)}" for key, one in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value)) or "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _module(method: str) -> ModuleType:
    return find("methods" if method in names("methods") else "baselines", method)


def _of(texts: Mapping[str, str], method: str, setting: str) -> str:
    return texts.get(f"{method}.{setting}", texts.get(setting, ""))


__all__ = ["Departure", "departures", "describe", "flat", "preset_fields", "value_text"]
