"""plan.json: what a contest knew, decided and rejected. `fit --plan FILE` repeats it elsewhere without a contest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samtailor.errors import InputError
from samtailor.limits import MALFORMED

FILE = "plan.json"
SCHEMA = 1


@dataclass
class ContestPlan:
    """plan.json of a contest.

    Args:
        fingerprint: see `DataFingerprint`.
        decisions: by part of the adapter, "region" and "prompt": None, or candidate, steps and, for the region, the
            number of the plan of tiled inference; "strength": strength of click and box.
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
            raise InputError(f"{file} is not the plan of a contest. Expected the plan.json of a fit by the method auto.")
        if values.get("schema_version", 0) > SCHEMA:
            raise InputError(f"{file} was written by a newer version of samtailor. Update samtailor.")
        return cls(**{name: values[name] for name in cls.__dataclass_fields__ if name in values})

    def part(self, name: str) -> Mapping[str, Any] | None:
        """The decision about "region" or "prompt", checked.

        Raises:
            InputError: it is neither null nor candidate and steps.
        """
        value = self.decisions.get(name)
        if value is None:
            return None
        if not isinstance(value, Mapping) or not isinstance(value.get("candidate"), str):
            raise InputError(f'plan, decisions.{name}: expected null or {{"candidate": NAME, "steps": N}}, got {value!r}.')
        steps = value.get("steps")
        if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
            raise InputError(f"plan, decisions.{name}.steps: expected a number of steps, got {steps!r}.")
        return value


__all__ = ["FILE", "ContestPlan"]
