"""plan.json: what a contest knew, decided and rejected. `fit --plan FILE` repeats it elsewhere without a contest."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from samtailor.errors import InputError
from samtailor.fitting.contest.prompt_variant import PromptVariant
from samtailor.limits import MALFORMED
from samtailor.registry import find, names
from samtailor.structures import PROMPT_TYPES, Postprocess

SCHEMA = 1


@dataclass
class ContestPlan:
    """plan.json of a contest.

    Args:
        fingerprint: see `DataFingerprint`.
        decisions: by part of the adapter, "region" and "prompt": None, or candidate, steps and, for the region, the
            number of the plan of tiled inference and the offset of the map's logits; "strength", "map_weight" and
            "box_margin": how click and box are answered, see `InferenceSpec`; "exclusive": pairs of classes that
            compete for a pixel; "proposals": None where single objects are parts of the region, or the settings of
            learned proposals (`contest.instances`).
        evidence: by way of use, one row per candidate with its out-of-fold scores.
        budget: what the contest was given and has used.
        notes: sentences.
        complete: whether the contest came to its end.
    """

    fingerprint: dict[str, Any] = field(default_factory=dict)
    decisions: dict[str, Any] = field(default_factory=dict)
    evidence: dict[str, Any] = field(default_factory=dict)
    budget: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    complete: bool = False

    def write(self, file: Path) -> None:
        """Write the file, atomically."""
        from samtailor.data.image import write_json

        write_json(file, {"schema_version": SCHEMA, "method": "auto", **self.__dict__})

    @classmethod
    def read(cls, file: Path) -> ContestPlan:
        """Read a plan, which may have been edited.

        Raises:
            InputError: there is no such file, or it is not a plan of a contest.
        """
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"There is no plan {file}. Expected the plan.json of a fit by the method auto.") from error
        except MALFORMED as error:
            raise InputError(f"{file} is not JSON ({error!r:.100}). Expected the plan.json of a fit.") from error
        if not isinstance(values, Mapping) or values.get("method") != "auto" or "decisions" not in values:
            raise InputError(
                f"{file} is not the plan of a contest. Expected the plan.json of a fit by the method auto."
            )
        if values.get("schema_version", 0) > SCHEMA:
            raise InputError(f"{file} was written by a newer version of samtailor. Update samtailor.")
        plan = cls(**{name: values[name] for name in cls.__dataclass_fields__ if name in values})
        if not isinstance(plan.decisions, Mapping):
            raise InputError(f"{file}: expected decisions by part of the adapter, got {plan.decisions!r:.100}.")
        # a mistake is reported before any fit
        _ = (
            plan.part("prompt"),
            plan.prompts,
            plan.tiling,
            plan.offset,
            plan.postprocess,
            plan.exclusive,
            plan.instances,
        )
        return plan

    def part(self, name: str) -> Mapping[str, Any] | None:
        """The decision about "region" or "prompt", checked.

        Raises:
            InputError: it is neither null nor candidate and steps.
        """
        value = self.decisions.get(name)
        if value is None:
            return None
        if not isinstance(value, Mapping) or not isinstance(value.get("candidate"), str):
            raise InputError(
                f'plan, decisions.{name}: expected null or {{"candidate": NAME, "steps": N}}, got {value!r}.'
            )
        steps = value.get("steps")
        if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
            raise InputError(f"plan, decisions.{name}.steps: expected a number of steps, got {steps!r}.")
        return value

    @property
    def prompts(self) -> dict[str, PromptVariant]:
        """How click and box are answered, checked.

        Raises:
            InputError: strengths that are not numbers from 0 to 1, or a weight or margin that is not 0 or more.
        """
        strength, weight = self._by_prompt("strength", 1.0), self._by_prompt("map_weight", math.inf)
        margin = self.decisions.get("box_margin")
        if margin is not None and not _number(margin, math.inf):
            raise InputError(f"plan, decisions.box_margin: expected null or a number of 0 or more, got {margin!r}.")
        return {
            way: PromptVariant(strength.get(way, 0.0), weight.get(way, 0.0), margin if way == "box" else None)
            for way in PROMPT_TYPES
            if way in strength or way in weight or (way == "box" and margin is not None)
        }

    def _by_prompt(self, name: str, most: float) -> dict[str, float]:
        value = self.decisions.get(name, {})
        known = isinstance(value, Mapping) and set(value) <= set(PROMPT_TYPES)
        if not known or not all(_number(one, most) for one in value.values()):
            allowed = f"from 0 to {most:g}" if math.isfinite(most) else "of 0 or more"
            raise InputError(f"plan, decisions.{name}: expected click and box with numbers {allowed}, got {value!r}.")
        return {way: float(one) for way, one in value.items()}

    @property
    def exclusive(self) -> tuple[tuple[str, str], ...] | None:
        """Pairs of classes that compete for a pixel, checked; None if the plan does not say.

        Raises:
            InputError: not pairs of names.
        """
        value = self.decisions.get("exclusive")
        if value is None:
            return None
        pairs = isinstance(value, list) and all(isinstance(one, list) and len(one) == 2 for one in value)
        if not pairs or not all(isinstance(name, str) for one in value for name in one):
            raise InputError(f"plan, decisions.exclusive: expected pairs [[A, B], ...], got {value!r:.100}.")
        return tuple((one, other) for one, other in value)

    @property
    def tiling(self) -> int:
        """Number of the plan of tiled inference (`select_inference.PLANS`), checked.

        Raises:
            InputError: there is no such plan.
        """
        from samtailor.fitting.select_inference import PLANS

        part = self.part("region")
        value = 0 if part is None else part.get("tiling", 0)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < len(PLANS):
            known = "; ".join(f"{number}: {plan}" for number, plan in enumerate(PLANS))
            raise InputError(f"plan, decisions.region.tiling: expected one of {known}; got {value!r}.")
        return value

    @property
    def offset(self) -> float:
        """What is added to the logits of the region map, checked.

        Raises:
            InputError: not a number from -10 to 10.
        """
        part = self.part("region")
        value = 0 if part is None else part.get("offset", 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not -10 <= value <= 10:
            raise InputError(f"plan, decisions.region.offset: expected a number from -10 to 10, got {value!r}.")
        return value

    @property
    def postprocess(self) -> Postprocess:
        """The postprocessing of the region, checked.

        Raises:
            InputError: an unknown step, or a value out of range.
        """
        part = self.part("region")
        value = {} if part is None else part.get("postprocess", {})
        known = [one.name for one in fields(Postprocess)]
        if not isinstance(value, Mapping) or not set(value) <= set(known):
            raise InputError(f"plan, decisions.region.postprocess: expected {', '.join(known)}, got {value!r}.")
        try:
            return Postprocess(**value)
        except (TypeError, ValueError) as error:
            raise InputError(f"plan, decisions.region.postprocess: {error}") from error

    @property
    def instances(self) -> dict[str, Mapping[str, Any]]:
        """Candidate for single objects to its entry, checked; see `contest.instances`.

        Raises:
            InputError: an entry is not valid.
        """
        entries = {name: find("instances", name).checked(self.decisions.get(name)) for name in names("instances")}
        return {name: entry for name, entry in entries.items() if entry is not None}

    def explained(self) -> list[str]:
        """The plan in sentences."""
        lines = [f"Data: {', '.join(f'{name} {value}' for name, value in self.fingerprint.items())}."]
        for part in ("region", "prompt"):
            value = self.decisions.get(part)
            lines.append(f"{part.capitalize()}: {'the base model' if value is None else _listed(value)}.")
        lines.append(f"Strength: {_listed(self.decisions.get('strength', {})) or 'none'}.")
        for way, one in self.prompts.items():
            lines += [f"{way.capitalize()}: with {one}, {one.name}."] if str(one) else []
        for name, value in self.instances.items():
            lines.append(f"Single objects: {name}, {_listed(value)}.")
        if pairs := self.decisions.get("exclusive"):
            lines.append(f"Classes that compete for a pixel: {', '.join(' and '.join(pair) for pair in pairs)}.")
        for way, rows in self.evidence.items():
            if isinstance(rows, list):
                lines += [f"{way}: {_row(row)}" for row in rows]
        lines += [f"Time: {_listed(self.budget)}.", *self.notes]
        return lines if self.complete else [*lines, "The contest was stopped before its end."]


def prompt_decisions(variants: Mapping[str, PromptVariant]) -> dict[str, Any]:
    """How click and box are answered, as entries of `ContestPlan.decisions`; read back by `ContestPlan.prompts`."""
    return {
        "strength": {way: one.strength for way, one in variants.items()},
        "map_weight": {way: one.weight for way, one in variants.items()},
        "box_margin": variants["box"].margin if "box" in variants else None,
    }


def _number(value: Any, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _row(row: Mapping[str, Any]) -> str:
    """A row of the evidence: candidate, score in percent with its interval, and the difference to its reference."""
    text = f"{row['candidate']} ({row['steps']} steps)" if "steps" in row else row["candidate"]
    if "mean" not in row:
        return f"{text}, " + _listed({name: f"{100 * value:.1f}" for name, value in row.get("means", {}).items()})
    text += f", variant {row['variant']}" if row["variant"] else ""
    text += f": {100 * row['mean']:.1f}"
    if row.get("interval"):
        low, high = row["interval"]
        text += f" (95 % interval {100 * low:.1f} to {100 * high:.1f})"
    if row.get("error") is not None:
        text += f", difference {100 * row['difference']:+.1f} with standard error {100 * row['error']:.1f}"
    if "count_error" in row:
        scores = (f"{name} {100 * row[name]:.1f}" for name in ("precision", "recall"))
        text += f", {', '.join(scores)}, count error {row['count_error']:.1f} of {row['objects']:.1f}"
    return text


__all__ = ["ContestPlan", "prompt_decisions"]
