"""Where a preset differs from the defaults of a method, setting by setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from samtailor.registry import find, names, options
from samtailor.train.config import FitConfig, resolve


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


def departures(name: str, method: str) -> list[Departure]:
    """All settings in which a preset differs from the defaults of a method, in the order of the settings.

    Imports the method, hence torch.
    """
    module = find("presets", name)
    paper = flat(FitConfig(preset=name, method=method))
    default = flat(FitConfig(method=method))
    rows = []
    for setting in dict.fromkeys([*default, *paper]):
        mine, theirs = default.get(setting), paper.get(setting)
        if mine != theirs and setting != "preset":
            why = _of(module.WHY, method, setting)
            rows.append(Departure(method, setting, theirs, mine, why, _of(module.NOT_STATED, method, setting)))
    return rows


def flat(config: FitConfig) -> dict[str, Any]:
    """Every resolved setting by name, options of the method and of its prompt source as `options.NAME`."""
    values = resolve(config).to_dict()
    build = _module(values["method"]).build
    method_options = options(build) | values.pop("options")
    prompt_options = options(find("prompts", values["prompt"]).build) | values.pop("prompt_options")
    values |= {f"options.{key}": value for key, value in method_options.items()}
    return values | {f"prompt_options.{key}": value for key, value in prompt_options.items()}


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


__all__ = ["Departure", "departures", "flat", "value_text"]
