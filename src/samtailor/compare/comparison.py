"""What came out of a comparison at one number of shots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from samtailor.compare.cost import Cost
from samtailor.errors import InputError
from samtailor.evaluation.scores import Evaluation, difference


@dataclass(frozen=True)
class Comparison:
    """What came out.

    Args:
        scores: evaluations by name, one a seed; per seed all names cover the same masks.
        seeds: of the fits.
        folders: adapter folder by "NAME/SEED/CLASS" ("all" without `per_class`); None for a method that learns nothing.
        held_out: ids of the images evaluated on, by seed.
        methods: the method's or baseline's name by name of the row.
        costs: of each fit, by the keys of `folders`; None where nobody has measured.
        regions: everybody was judged on one region an image and class.
        shots: training images a class; None: all.
        weights: where the backbones of baselines started, by name of the row.
        undetected: by name of a row that asks with a detector, in how many of the images (of all seeds) it found
            nothing.
        kept: step of the state that each fit kept, by the keys of `folders`; see `Entry.kept_step`.
    """

    scores: Mapping[str, tuple[Evaluation, ...]]
    seeds: tuple[int, ...]
    folders: Mapping[str, Path | None]
    held_out: Mapping[int, tuple[str, ...]]
    methods: Mapping[str, str] = field(default_factory=dict)
    costs: Mapping[str, Cost | None] = field(default_factory=dict)
    regions: bool = False
    shots: int | None = None
    weights: Mapping[str, str] = field(default_factory=dict)
    undetected: Mapping[str, int] = field(default_factory=dict)
    kept: Mapping[str, int | None] = field(default_factory=dict)

    def pooled(self) -> dict[str, Evaluation]:
        """The rows of all seeds together. An image that occurs under several seeds is one group of the bootstrap."""
        return {
            name: replace(parts[0], rows=tuple(row for part in parts for row in part.rows))
            for name, parts in self.scores.items()
        }

    def summary(self, reference: str | None = None) -> dict[str, Any]:
        """Per name the figures of `Evaluation.summary`, `seeds` (mIoU of each), and `difference` to the reference.

        Args:
            reference: name to compare with, paired; None takes the first.
        """
        pooled = self.pooled()
        reference = reference or next(iter(pooled))
        if reference not in pooled:
            raise InputError(f"There is no {reference!r} to compare with; there are {', '.join(pooled)}.")
        found: dict[str, Any] = {}
        for name, evaluation in pooled.items():
            found[name] = evaluation.summary()
            found[name]["seeds"] = {
                str(seed): part.figures()["miou"] for seed, part in zip(self.seeds, self.scores[name], strict=True)
            }
            if name != reference:
                found[name]["difference"] = difference(evaluation, pooled[reference])
        return found


__all__ = ["Comparison"]
