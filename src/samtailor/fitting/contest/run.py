"""A contest: candidates are compared by cross-validation, and the chosen ones are fitted on all images.

1. A short fit, so that there is a usable adapter early.
2. Short fits of all candidates on all folds. Candidates that are worse than the best in all of their ways of use, by
   more than the standard error, are dropped.
3. Longer fits of the others on all folds, as long as the budget allows. Their out-of-fold scores decide.
4. The chosen ones are fitted on all images.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor.errors import InputError
from samtailor.fitting.contest import sheet
from samtailor.fitting.contest.assemble import assembled, publish
from samtailor.fitting.contest.budget import Budget
from samtailor.fitting.contest.candidates import Candidate
from samtailor.fitting.contest.choice import PROMPTED, Choice, choose, survivors
from samtailor.fitting.contest.cross_validation import folds_of, group_of, joined
from samtailor.fitting.contest.fingerprint import DataFingerprint
from samtailor.fitting.contest.jobs import Fit, Fitted, fit_and_score
from samtailor.fitting.contest.outcome import decisions_of, figures_of, forecast_of
from samtailor.fitting.contest.plan_file import FILE, ContestPlan
from samtailor.fitting.contest.postprocessing import chosen_postprocess, with_postprocess
from samtailor.fitting.contest.scoring import Scores
from samtailor.fitting.pool import Done, Pool
from samtailor.fitting.select_inference import PLANS
from samtailor.structures import NOTHING
from samtailor.train.interrupt import Interrupted
from samtailor.train.progress import Progress

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.data.split import Split
    from samtailor.fitting.judge import Present
    from samtailor.structures import Sample
    from samtailor.train.config import FitConfig

WORK = "contest"
"""Folder of the fits of a running contest; it is deleted at the end."""
FIRST_STEPS = 40
SHORT = 0.2  # share of the steps of a complete fit in the first round, at most
LEAST_STEPS = 10
LEAST_GROUPS = 4  # of images, for a forecast
_SHORT_SHARE = 0.3  # of the time left, for the first round
_MARGIN = 0.9  # of the time left that is planned
_POLL = 0.5  # seconds

Rows = list[tuple[Candidate, int, Mapping[str, Scores]]]


@dataclass
class Contest:
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
        figures, history: of the adapter.
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
    figures: dict[str, Any] = field(default_factory=dict)
    history: dict[str, Any] = field(default_factory=lambda: {"train": [], "held_out": []})

    def __post_init__(self) -> None:
        known = {sample.id: sample for sample in self.samples}
        self.train = [known[id] for id in self.split.train if known[id].of(self.classes)]
        self.groups = group_of(self.split, {id: s.group for id, s in known.items() if s.group})
        self.folds = folds_of([sample.id for sample in self.train], self.groups, self.config.seed)
        self._steps_of: dict[str, float] = {}
        self._published, self.tiling, self.postprocess = False, 0, NOTHING
        self.plan.fingerprint = self.data.to_json()

    def run(self) -> None:
        """Hold the contest. The folder has a usable adapter from the first stage on.

        Raises:
            Interrupted: stopped; the message says what is in the folder.
        """
        try:
            if self.replay is None:
                self._first()
                rows = self._rounds()
                if rows:
                    self.choice = choose(rows, self.groups, fallback=self.config.fallback)
                self._refit(self._chosen(rows))
            else:
                self._refit(self._planned_parts(self.replay))
            self.plan.complete = True
            self._note_plan()
        except (KeyboardInterrupt, Interrupted) as error:
            self.pool.stop()
            self._note_plan()
            what = f"The best adapter so far is in {self.out}." if self._published else "There is no adapter yet."
            raise Interrupted(f"Stopped before the end of the contest. {what}") from error
        finally:
            shutil.rmtree(self.out / WORK, ignore_errors=True)

    # -- stages

    def _first(self) -> None:
        """A short fit of the simplest candidate that answers without a prompt, else of the simplest that learns."""
        fitted = [one for one in self.candidates if one.method is not None]
        if not fitted or not self.folds or min(self._full(one) for one in fitted) <= FIRST_STEPS:
            return
        candidate = next((one for one in fitted if "region" in one.ways), fitted[0])
        (done,) = self._fits([self._job(candidate, FIRST_STEPS, "first")])
        self._publish(done.folder if "region" in candidate.ways else None,
                      None if "region" in candidate.ways else done.folder, FIRST_STEPS)  # fmt: skip

    def _rounds(self) -> Rows:
        """Out-of-fold scores of the candidates that reached the last round."""
        fitted = [one for one in self.candidates if one.method is not None]
        if not fitted or not self.folds:
            return []
        steps = {one: max(1, min(round(SHORT * self._full(one)), self._affordable(fitted))) for one in fitted}
        rows = self._round(steps)
        kept = survivors(rows, self.groups)
        steps = self._planned([one for one in fitted if one in kept])
        if not steps or all(steps[one] <= 1.5 * before for one, before, _ in rows if one in steps):
            return rows
        lost = [one.name for one in fitted if one not in kept]
        if lost:
            self.plan.notes.append(f"After the first round {', '.join(lost)} took no further part.")
        later = self._round(steps)
        self.plan.evidence["first_round"] = [
            {"candidate": one.name, "steps": count, "means": {w: s.mean(s.best) for w, s in scores.items()}}
            for one, count, scores in rows
        ]
        return later

    def _chosen(self, rows: Rows) -> dict[str, tuple[Candidate, int]]:
        """Candidate and steps of each part of the adapter."""
        fitted = [one for one in self.candidates if one.method is not None]
        region, prompt = self.choice.region, self.choice.prompt
        chosen: dict[str, tuple[Candidate, int]] = {}
        if region is not None:
            chosen["region"] = (region.candidate, self._final_steps(region.candidate, region.steps))
        elif not rows and (mapped := [one for one in fitted if "region" in one.ways]):
            chosen["region"] = (mapped[0], self._full(mapped[0]))
        if prompt is not None:  # as many steps as the scores are of
            chosen["prompt"] = (prompt, next(steps for one, steps, _ in rows if one is prompt))
        if not chosen:  # the base model answers everything; the folder keeps an adapter of strength 0
            chosen["prompt"] = (next(one for one in fitted if set(one.ways) & set(PROMPTED)), LEAST_STEPS)
        return chosen

    def _planned_parts(self, plan: ContestPlan) -> dict[str, tuple[Candidate, int]]:
        """Candidate and steps of each part as an earlier contest chose them."""
        known = {one.name: one for one in self.candidates}
        parts = {}
        for part in ("region", "prompt"):
            if (given := plan.part(part)) is not None:
                if given["candidate"] not in known:
                    raise InputError(
                        f"plan, decisions.{part}.candidate: {given['candidate']!r} does not suit these data. Suitable: "
                        f"{', '.join(known)}."
                    )
                parts[part] = (known[given["candidate"]], given["steps"])
        if not parts:
            raise InputError("The plan has no part: decisions.region and decisions.prompt are both null.")
        self.choice.strength = plan.strength
        self.tiling, self.postprocess = plan.tiling, plan.postprocess
        self.plan.evidence = dict(plan.evidence)
        self.plan.notes.append("Repeated from a plan; nothing was compared here.")
        return parts

    def _refit(self, chosen: Mapping[str, tuple[Candidate, int]]) -> None:
        """Fit the chosen ones on all images and write the adapter."""
        jobs = {part: self._job(one, steps, part) for part, (one, steps) in chosen.items()}
        jobs |= self._halves(jobs)
        done = dict(zip(jobs, self._fits(list(jobs.values())), strict=True))
        halves = joined([done[name] for name in done if name.startswith("half")])
        self.forecast = forecast_of(self, halves)
        if self.choice.region is not None:
            self.postprocess, self.plan.evidence["postprocess"] = chosen_postprocess(
                self.choice.region, self.train, self.classes, self.groups, self.config.seed
            )
        self.figures = figures_of(self)
        self.plan.evidence |= self.choice.table | {"forecast": self.forecast}
        self.plan.decisions = decisions_of(self, chosen)
        self._publish(
            done["region"].folder if "region" in done else None,
            done["prompt"].folder if "prompt" in done else None,
            max(steps for _, steps in chosen.values()),
        )
        if self.choice.region is not None and self.choice.region.scores.masks:
            sheet.write_sheet(self.out / sheet.FILE, self.choice.region, self.train, self.classes)

    # -- parts of a stage

    def _round(self, steps: Mapping[Candidate, int]) -> Rows:
        """Fit some candidates on all folds; their scores."""
        jobs = [
            self._job(one, count, f"{one.name}-{count}-{number}", fold)
            for number, fold in enumerate(self.folds)
            for one, count in steps.items()
        ]
        done = self._fits(jobs)
        return [
            (one, count, joined([f for f, job in zip(done, jobs, strict=True) if job.candidate is one]))
            for one, count in steps.items()
        ]

    def _halves(self, final: Mapping[str, Fit]) -> dict[str, Fit]:
        """Fits on half of the images for the forecast, if there is time for them."""
        entry = self.choice.entries.get("region") or self.choice.entries.get("click")
        if entry is None or len(set(self.groups.values())) < LEAST_GROUPS:
            return {}
        folds = folds_of([sample.id for sample in self.train], self.groups, self.config.seed, count=2)
        needed = len(folds) * entry.steps * self._seconds(entry.candidate)
        needed += sum(1.5 * job.steps * self._seconds(job.candidate) for job in final.values())
        if needed > self.budget.left * self.pool.workers:
            self.plan.notes.append("There was no time for a forecast; a larger budget has one.")
            return {}
        name = f"half-{entry.candidate.name}"
        return {f"half-{n}": self._job(entry.candidate, entry.steps, f"{name}-{n}", fold)
                for n, fold in enumerate(folds)}  # fmt: skip

    def _job(self, candidate: Candidate, steps: int, name: str, judge: tuple[str, ...] = ()) -> Fit:
        return Fit(
            name, candidate, self.config, self.train, self.classes,
            train=tuple(sample.id for sample in self.train if sample.id not in judge),
            judge=judge, folder=self.out / WORK / name, steps=steps, fold=bool(judge) or name == "first",
        )  # fmt: skip

    def _fits(self, jobs: Sequence[Fit]) -> list[Fitted]:
        """Run jobs; raises the first error, and `Interrupted` when stopped."""
        futures: dict[Future[Done], Fit] = {}
        for job in jobs:
            futures[self.pool.submit(fit_and_score, job)] = job
            self._report()
        waiting, done = set(futures), {}
        while waiting:
            finished, waiting = wait(waiting, timeout=_POLL, return_when=FIRST_COMPLETED)
            for one in finished:
                result = one.result()
                self.budget.add(result.cpu_seconds if self.pool.workers > 1 else 0.0)
                name = futures[one].candidate.name
                self._steps_of[name] = max(self._steps_of.get(name, 0.0), result.value.step_seconds)
                done[futures[one].name] = result.value
            self._report()
        return [done[job.name] for job in jobs]

    def _report(self) -> None:
        if self.stop is not None and self.stop():
            raise Interrupted("Stopped.")
        if self.progress is not None:
            total = round(self.budget.total)
            spent = min(total - 1, round(self.budget.spent))
            self.progress(Progress("contest", max(spent, 0), total, seconds_left=self.budget.left))

    # -- amounts

    def _full(self, candidate: Candidate) -> int:
        """Steps of a complete fit; those of the settings where they are fewer."""
        return max(1, min(candidate.steps, self.config.steps))

    def _seconds(self, candidate: Candidate) -> float:
        """CPU seconds of a step; those of the slowest that is known, before the candidate has been fitted."""
        return self._steps_of.get(candidate.name) or max(self._steps_of.values(), default=0.2)

    def _affordable(self, fitted: Sequence[Candidate]) -> int:
        """Steps of every fit of the first round."""
        each = sum(self._seconds(one) for one in fitted) * len(self.folds)
        return max(LEAST_STEPS, int(_SHORT_SHARE * _MARGIN * self.budget.left * self.pool.workers / max(each, 1e-9)))

    def _planned(self, kept: Sequence[Candidate]) -> dict[Candidate, int]:
        """Steps of each candidate in the last round, so that time is left for the fits on all images."""
        folds = sum(len(self.folds) * self._seconds(one) * self._full(one) for one in kept)
        folds += 2 * max((self._seconds(one) * self._full(one) for one in kept), default=0.0)  # for the forecast
        final = sum(1.5 * self._seconds(one) * self._full(one) for one in kept[:2])
        share = min(1.0, _MARGIN * self.budget.left * self.pool.workers / max(folds + final, 1e-9))
        return {one: max(LEAST_STEPS, int(share * self._full(one))) for one in kept}

    def _final_steps(self, candidate: Candidate, judged: int) -> int:
        """Steps of the map on all images: a complete fit if there is time, at least those of its folds."""
        time = int(_MARGIN * self.budget.left * min(1, self.pool.workers) / max(1.5 * self._seconds(candidate), 1e-9))
        return max(min(judged, self._full(candidate)), min(self._full(candidate), time))

    # -- results

    def _publish(self, region: Path | None, prompt: Path | None, steps: int) -> None:
        strength = {way: self.choice.strength.get(way, 0.0) for way in PROMPTED}
        number = self.tiling if self.choice.region is None else int(self.choice.region.variant)
        segmenter, meta = assembled(self.base, region, prompt, strength=strength, tiling=PLANS[number])
        segmenter.inference = with_postprocess(segmenter.inference, self.postprocess)
        self.inference = publish(
            self.out, self.config, segmenter, meta, classes=self.classes, steps=steps, figures=self.figures,
            history=self.history,
        )  # fmt: skip
        self._published = True
        self._note_plan()

    def _note_plan(self) -> None:
        self.plan.budget = {
            "seconds": self.budget.total, "spent": round(self.budget.spent, 1), "clock": self.budget.clock,
            "cpu_seconds": round(self.budget.cpu_seconds, 1), "workers": self.pool.workers,
        }  # fmt: skip
        self.plan.write(self.out / FILE)


__all__ = ["WORK", "Contest"]
