"""Result of a comparison at one number of shots."""

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
    """Result of a comparison.

    Args:
        scores: evaluations by name, one per seed; per seed all names cover the same masks.
        seeds: seeds of the fits.
        folders: folder of each fit by "NAME/SEED/CLASS" (CLASS is "all" without `per_class`); None for a method without
            trained parameters.
        held_out: ids of the evaluated images, by seed.
        methods: name of the method or baseline by name of the row.
        costs: cost of each fit, by the keys of `folders`; None where it was not measured.
        regions: all were evaluated on one region per image and class.
        shots: training images per class; None: all.
        weights: initial weights of the backbones of baselines, by name of the row.
        undetected: number of images (of all seeds) without a detection, by name of a row that uses a detector.
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
        """The rows of all seeds together. An image of several seeds is one group of the bootstrap."""
        return {
            name: replace(parts[0], rows=tuple(row for part in parts for row in part.rows))
            for name, parts in self.scores.items()
        }

    def summary(self, reference: str | None = None) -> dict[str, Any]:
        """By name the figures of `Evaluation.summary`, `seeds` (mIoU of each), and `difference` to the reference.

        Args:
            reference: name of the reference of the paired differences; None: the first.
        """
        pooled = self.pooled()
        reference = reference or next(iter(pooled))
        if reference not in pooled:
            raise InputError(f"There is no {reference!r} to compare with. Known: {', '.join(pooled)}.")
        summaries: dict[str, Any] = {}
        for name, evaluation in pooled.items():
            summaries[name] = evaluation.summary()
            summaries[name]["seeds"] = {
                str(seed): part.figures()["miou"] for seed, part in zip(self.seeds, self.scores[name], strict=True)
            }
            if name != reference:
                summaries[name]["difference"] = difference(evaluation, pooled[reference])
        return summaries


__all__ = ["Comparison"]
