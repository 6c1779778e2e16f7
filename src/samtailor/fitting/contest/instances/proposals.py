"""Learned proposals (`samtailor.proposals`), segmented by the prompt part of the adapter: they separate objects that
touch.

Two heads are trained on all folds but one, for each fold, and one head on all images. The mean of the two is scored on
the fold that they have not seen. Slope, offset and threshold of a fold are fitted to the scores of the other folds, and
those of the adapter to all scores. That threshold favors recall; a higher one is chosen by the F1 of the objects, also
for each fold on the others. The adapter gets the mean of the last head and one of each fold, as from
`samtailor propose-fit`, so that the comparison costs hardly more than the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from samtailor.bases.companions import NONE
from samtailor.data.augment import UNTOUCHED
from samtailor.errors import InputError
from samtailor.fitting import folder
from samtailor.fitting.contest.fingerprint import TOUCHING
from samtailor.fitting.contest.instances._proposal_folds import rows_of_folds, turns
from samtailor.fitting.contest.instances._proposal_jobs import (
    GIVES,
    Calibrated,
    HeadFit,
    Prediction,
    fit_heads,
    predict_objects,
    probe,
)
from samtailor.fitting.contest.jobs import encode
from samtailor.fitting.contest.objects import Masks, cross_fitted
from samtailor.fitting.contest.running import run_jobs
from samtailor.fitting.proposals import STEPS, plan_tiles
from samtailor.proposals import disk
from samtailor.proposals.calibration import Scene, calibrate, measure
from samtailor.proposals.head import Head, Heads

if TYPE_CHECKING:
    from samtailor.fitting.contest.state import ContestState
    from samtailor.fitting.pool import Done
    from samtailor.structures import Sample

JUDGED = 24
"""Images that are compared, at most."""
LEAST_STEPS = 60
"""Steps of a head below which the comparison is not worth its time."""
SHARE = 0.3
"""Of the time of a contest, at most."""
VIEWS = 96
"""Views of all images together that are encoded for the training, about; at least two of each image."""
_PREFERRED, _COMPLEX = -1, 1  # before and after the parts of the region, which cannot separate objects that touch
_MORE = 1.3  # proposals for each object: thresholds favor recall
_CHUNK = 8  # views that a process encodes before it takes the next ones


@dataclass
class LearnedProposals:
    """See `InstanceCandidate`.

    Attributes:
        samples: training images, then the images without an object.
        folds: rows of `samples` of each fold.
        steps: of each head; 0: it does not take part.
        costs: seconds of one process without the steps, and of each step of all heads.
        thresholds: type of prompt to the lowest score, see `cross_fitted`.
        scenes: candidates of the heads of each fold in the images of that fold.
    """

    contest: ContestState
    name: str = "proposals"
    title: str = "learned proposals"
    rank: int = _COMPLEX
    steps: int = 0
    costs: tuple[float, float] = (0.0, 0.0)
    thresholds: dict[str, float] = field(default_factory=dict)
    scenes: list[list[Scene]] = field(default_factory=list)

    def __post_init__(self) -> None:
        contest = self.contest
        negatives = contest.without_objects()
        self.samples: list[Sample] = [*contest.train, *negatives]
        self.folds = rows_of_folds(contest.folds, contest.train, negatives)
        self._see(None)

    # -- as a candidate

    def reserve(self, left: float) -> float:
        """Steps as many as the time allows, up to those of `propose-fit`."""
        contest = self.contest
        shown = [sample for sample in contest.train if sample.of(contest.classes)]
        paces = []

        def ended(job: HeadFit, done: Done) -> None:
            paces.append(contest.budget.pace(done.cpu_seconds, done.seconds))

        (pace,) = run_jobs(contest, probe, [self._fit("probe", (), (0,), steps=1, samples=shown)], ended)
        judged = min(JUDGED, len(contest.train))
        views = (self.augment.views - 1) * len(self.samples) + (self.tiles > 1) * self.tiles**2 * len(self.samples)
        used = (len(self.folds) + 1) * self.augment.views * len(self.samples) * pace.view
        other = paces[0] * (_MORE * judged * pace.image + views * contest.data.encode_seconds + used)
        workers = contest.pool.workers
        each = workers * turns([2] * len(self.folds) + [1], workers) * paces[0] * pace.step
        self.costs = other, each
        self._plan(SHARE * left)
        return other + each * self.steps if self.steps else 0.0

    def out_of_fold(self, left: float) -> Mapping[str, Masks]:
        """Objects by type of prompt for the proposals."""
        contest = self.contest
        if self.steps:
            self._plan(left)
        if not self.steps:
            return {}
        self._train(self.steps)
        known = {sample.id: sample for sample in contest.train}
        most = max(1, JUDGED // len(self.folds))
        jobs = []
        for number, fold in enumerate(contest.folds):
            others = [scene for turn, scenes in enumerate(self.scenes) if turn != number for scene in scenes]
            calibrated = {give: Calibrated(*calibrate(others, contest.classes, give)) for give in GIVES}
            choice = contest.choice
            if choice.region is None:
                return {}
            region = contest.fold_folder(choice.region.candidate, choice.region.steps, number)
            prompt = None
            if choice.prompt is not None:
                prompt = contest.fold_folder(choice.prompt, choice.prompt_steps, number)
            jobs.append(
                Prediction(
                    [known[id] for id in fold[:most]], self._folder(number), calibrated,
                    region, prompt, contest.variant.offset, contest.choice.prompts,
                )
            )  # fmt: skip
        parts = run_jobs(contest, predict_objects, jobs)
        truths = {sample.id: [one.rle for one in sample.of(contest.classes)] for sample in contest.train}
        masks = {}
        for give in GIVES:
            masks[give], self.thresholds[give] = cross_fitted([part[give] for part in parts], truths)
        return masks

    def decision(self, variant: str) -> dict[str, Any]:
        """Type of prompt, tiles per side, steps of each head, and the lowest score."""
        return {"give": variant, "tiles": self.tiles, "steps": self.steps, "threshold": self.thresholds[variant]}

    def write(self, decision: Mapping[str, Any]) -> None:
        """Save the proposals in the folder of the adapter; for a plan that is repeated, they are trained first."""
        contest = self.contest
        if not self.scenes:
            self._see(decision["tiles"])
            self._train(decision["steps"])
        loaded = [disk.load(self._folder(number), contest.base) for number in range(len(self.folds) + 1)]
        heads = [first_head(one.head) for one in (loaded[-1], *loaded[:-1])]
        scored = [scene for scenes in self.scenes for scene in scenes]
        made = Calibrated({}, {})  # with images of a single group
        if scored:
            made = Calibrated(*calibrate(scored, contest.classes, decision["give"]))
        least = {name: max(value, decision["threshold"]) for name, value in made.thresholds.items()}
        made = replace(made, thresholds=least)
        proposals = made.of(loaded[-1], decision["give"], Heads(heads) if len(heads) > 1 else heads[0])
        proposals.figures = {"images": len(self.samples), "seed": contest.config.seed, "steps": decision["steps"]}
        if scored:
            proposals.figures["cross_fitted"] = measure(scored, proposals)
        proposals.save(contest.out)

    def _see(self, tiles: int | None) -> None:
        """Set the tiles, and views at their scale; None: by the size of the objects."""
        contest, config = self.contest, self.contest.config
        views = min(config.views, max(2, VIEWS // len(self.samples)))
        self.tiles, augment = plan_tiles(contest.train, contest.classes, contest.base, views=views, tiles=tiles)
        self.augment = replace(augment, flip=augment.flip and config.flip, color=config.color_jitter)

    def _plan(self, time: float) -> None:
        """Set the steps, as many as a time is enough for; 0 with a note in the plan if they are too few."""
        other, each = self.costs
        most = min(STEPS, self.contest.config.steps)
        steps = min(self.steps or most, int((time - other) / max(each, 1e-9)))
        self.steps = steps if steps >= min(LEAST_STEPS, most) else 0
        if not self.steps:
            self.contest.plan.notes.append(
                "There was no time to compare learned proposals for single objects; a larger budget has it."
            )

    # -- training

    def _train(self, steps: int) -> None:
        """Train the heads of all folds, and the head of all images."""
        contest, seed = self.contest, self.contest.config.seed
        views = [(s, n) for n in range(self.augment.views) for s in self.samples]
        pairs = [(sample, self.augment.draw(sample, n) if n else UNTOUCHED) for sample, n in views]
        chunks = [pairs[start : start + _CHUNK] for start in range(0, len(pairs), _CHUNK)]
        run_jobs(contest, partial(encode, companion=NONE), chunks)
        count = len(self.folds)
        jobs = [
            self._fit(n, rows, tuple(seed + 1000 * (n + 1 + count * turn) for turn in range(2)), steps=steps)
            for n, rows in enumerate(self.folds)
        ]
        jobs.append(self._fit(count, (), (seed,), steps=steps))
        self.scenes = run_jobs(contest, fit_heads, jobs)[:-1]

    def _fit(
        self,
        name: int | str,
        left_out: tuple[int, ...],
        seeds: tuple[int, ...],
        *,
        steps: int,
        samples: Sequence[Sample] | None = None,
    ) -> HeadFit:
        return HeadFit(
            f"{self.name}-{name}", self.samples if samples is None else samples, self.contest.classes, left_out, seeds,
            steps, self.augment, self.tiles, self._folder(name),
        )  # fmt: skip

    def _folder(self, name: int | str) -> Any:
        return self.contest.out / folder.CONTEST / f"{self.name}-{name}"


def candidate(contest: ContestState) -> LearnedProposals | None:
    """For images with several objects of one class."""
    if contest.data.most_objects < 2 or len(contest.classes) > 1:
        return None
    return LearnedProposals(contest, rank=_PREFERRED if contest.data.touching >= TOUCHING else _COMPLEX)


def checked(value: Any) -> Mapping[str, Any] | None:
    """The entry "proposals" in the decisions of a plan: None, or type of prompt, tiles per side and steps.

    Raises:
        InputError: another value.
    """
    if value is None:
        return None
    valid = isinstance(value, Mapping) and value.get("give") in GIVES
    threshold = value.get("threshold", 0.0) if isinstance(value, Mapping) else None
    valid = valid and isinstance(threshold, int | float) and 0 <= threshold <= 1
    if not valid or not all(_count(value.get(name)) for name in ("tiles", "steps")):
        raise InputError(
            f"plan, decisions.proposals: expected null, or give ({' or '.join(GIVES)}), tiles and steps (1 or more "
            f"each) and threshold (0 to 1), got {value!r:.150}."
        )
    return {**value, "threshold": threshold}


def first_head(head: Head | Heads) -> Head:
    """The head, or the first of several."""
    if isinstance(head, Head):
        return head
    first: Any = head.members[0]
    return first


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


__all__ = ["LearnedProposals", "candidate", "checked", "first_head"]
