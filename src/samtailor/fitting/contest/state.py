"""Everything that a contest knows: its data and settings, what was chosen so far, and what it will report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor.fitting import folder
from samtailor.fitting.contest.budget import Budget
from samtailor.fitting.contest.candidates import Candidate
from samtailor.fitting.contest.choice import Choice
from samtailor.fitting.contest.cross_validation import folds_of, group_of
from samtailor.fitting.contest.fingerprint import DataFingerprint
from samtailor.fitting.contest.instance_choice import InstanceChoice
from samtailor.fitting.contest.jobs import fold_name
from samtailor.fitting.contest.negatives import judged_in_folds, negatives_of
from samtailor.fitting.contest.overlap import overlaps_of
from samtailor.fitting.contest.overlap import words as overlap_words
from samtailor.fitting.contest.plan_file import ContestPlan
from samtailor.fitting.contest.region_variant import RegionVariant
from samtailor.fitting.pool import Pool
from samtailor.structures import NOTHING, Postprocess
from samtailor.train.config import FitConfig
from samtailor.train.progress import Progress

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.data.split import Split
    from samtailor.fitting.judge import Present
    from samtailor.structures import Sample


@dataclass
class ContestState:
    """One contest about one adapter.

    Args:
        config: resolved settings.
        out: folder of the adapter.
        samples: all images.
        classes: to be segmented.
        split: its training images are those of the contest.
        base: frozen base.
        store: cached embeddings.
        pool: runs the fits.
        budget: time that the contest may take.
        data: its fingerprint.
        candidates: that take part.
        progress: called with the time that has been used.
        stop: polled; True has the effect of Ctrl-C.
        plan: what is written to plan.json.
        choice: what was chosen.
        present: the adapter in use, to compare with.
        replay: plan of an earlier contest, which is repeated without a contest.
        forecast: what more masks would bring.
        planned: how an earlier contest, which is repeated, uses the region map.
        postprocess: of the region.
        instances: how single objects are found.
        suggested: ids of the images to mark next.
        figures, history: of the adapter.

    Attributes:
        exclusive: see `InferenceSpec`.
        negatives: images without an object that are predicted with each fold.
    """

    config: FitConfig
    out: Path
    samples: Sequence[Sample]
    classes: tuple[str, ...]
    split: Split
    base: Base
    store: EmbeddingCache
    pool: Pool
    budget: Budget
    data: DataFingerprint
    candidates: list[Candidate]
    progress: Callable[[Progress], None] | None = None
    stop: Callable[[], bool] | None = None
    plan: ContestPlan = field(default_factory=ContestPlan)
    choice: Choice = field(default_factory=Choice)
    present: Present | None = None
    replay: ContestPlan | None = None
    forecast: dict[str, Any] = field(default_factory=dict)
    planned: RegionVariant = field(default_factory=RegionVariant)
    postprocess: Postprocess = NOTHING
    instances: InstanceChoice = field(default_factory=InstanceChoice)
    suggested: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    history: dict[str, Any] = field(default_factory=lambda: {"train": [], "held_out": []})

    def __post_init__(self) -> None:
        known = {sample.id: sample for sample in self.samples}
        self.train = [known[id] for id in self.split.train if known[id].of(self.classes)]
        self.groups = group_of(self.split, {id: s.group for id, s in known.items() if s.group})
        self.folds = folds_of([sample.id for sample in self.train], self.groups, self.config.seed)
        self.negatives = judged_in_folds(self.without_objects(), self.folds, self.groups)
        self.plan.fingerprint = self.data.to_json()
        self.exclusive = self._exclusive()

    def without_objects(self) -> list[Sample]:
        """Images without an object of the classes, see `negatives_of`."""
        return negatives_of(self.samples, self.split, self.classes, shots=self.config.shots, most=len(self.train))

    def fold_folder(self, candidate: Candidate, steps: int, fold: int) -> Path:
        """Folder of the fit of a candidate on a fold."""
        return self.out / folder.CONTEST / fold_name(candidate, steps, fold)

    def _exclusive(self) -> tuple[tuple[str, str], ...]:
        """Pairs of classes that compete with the class of the contest: by the plan, else by the labels."""
        if self.replay is not None and self.replay.exclusive is not None:
            return self.replay.exclusive
        if len(self.classes) > 1:
            return ()
        overlaps = overlaps_of(self.classes[0], self.train)
        self.plan.evidence["overlap"] = {"classes": [one.to_json() for one in overlaps]}
        self.plan.notes += overlap_words(self.classes[0], overlaps)
        return tuple(one.classes for one in overlaps if one.exclusive)

    @property
    def variant(self) -> RegionVariant:
        """How the region map is used."""
        return self.planned if self.choice.region is None else RegionVariant.of(self.choice.region.variant)


__all__ = ["ContestState"]
