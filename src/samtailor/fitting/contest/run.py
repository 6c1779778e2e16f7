"""A contest: candidates are compared by cross-validation, and the chosen ones are fitted on all images.

1. A short fit, so that there is a usable adapter early.
2. Short fits of all candidates on all folds. Candidates that are worse than the best in all of their ways of use, by
   more than the standard error, are dropped.
3. Longer fits of the others on all folds, as long as the budget allows. Their out-of-fold scores decide. Prompt
   candidates that still gain get further rounds alone while there is time.
4. The fits of each fold are scored together for clicks and boxes (`prompt_comparison`).
5. With several objects in an image, ways to find single objects are compared (`instance_comparison`).
6. The chosen ones are fitted on all images.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from samtailor import artefact
from samtailor.errors import InputError
from samtailor.fitting import folder
from samtailor.fitting.contest.assemble import assembled, publish
from samtailor.fitting.contest.candidates import Candidate
from samtailor.fitting.contest.choice import PROMPTED, Entry, choose
from samtailor.fitting.contest.cross_validation import folds_of, joined
from samtailor.fitting.contest.instance_comparison import InstanceComparison
from samtailor.fitting.contest.jobs import Fit, Fitted, fit_and_score, fold_name
from samtailor.fitting.contest.plan_file import ContestPlan
from samtailor.fitting.contest.postprocessing import chosen_postprocess, with_postprocess
from samtailor.fitting.contest.prompt_comparison import compare_prompts
from samtailor.fitting.contest.prompt_variant import PromptVariant
from samtailor.fitting.contest.region_variant import RegionVariant
from samtailor.fitting.contest.report import sheet
from samtailor.fitting.contest.report.outcome import decisions_of, figures_of, forecast_of
from samtailor.fitting.contest.report.suggest import next_images
from samtailor.fitting.contest.rounds import Row, hold_rounds
from samtailor.fitting.contest.running import run_jobs
from samtailor.fitting.contest.schedule import LEAST_STEPS, Schedule
from samtailor.fitting.contest.state import ContestState
from samtailor.fitting.pool import Done
from samtailor.fitting.select_inference import PLANS
from samtailor.proposals import disk
from samtailor.structures import InferenceSpec
from samtailor.train.interrupt import Interrupted

FIRST_STEPS = 40
LEAST_GROUPS = 4  # of images, for a forecast


@dataclass
class Contest(ContestState):
    """One contest about one adapter."""

    inference: InferenceSpec | None = None
    """Of the adapter that was written last."""
    growing: list[Candidate] = field(default_factory=list)
    """Prompt candidates that more steps still make better."""
    dropped: list[str] = field(default_factory=list)
    """Names of the candidates that took part in the first round only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.schedule = Schedule(self.budget, len(self.folds), self.config.steps)
        self.comparison = InstanceComparison(self)

    def run(self) -> None:
        """Hold the contest. The folder has a usable adapter from the first stage on.

        Raises:
            Interrupted: stopped; the message says what is in the folder.
        """
        try:
            if self.replay is None:
                self._first()
                self.schedule.reserve = self.comparison.reserve(self.schedule.process_left)
                rows = self._rounds()
                if rows:
                    self.choice = choose(
                        rows, self.groups, first_plan=self.data.first_plan, dropped=self.dropped,
                        fallback=self.config.fallback,
                    )  # fmt: skip
                compare_prompts(self)
                self._after_choice()
                self._refit(self._chosen(rows))
            else:
                self._refit(self._planned_parts(self.replay))
            self.plan.complete = True
            self._note_plan()
        except (KeyboardInterrupt, Interrupted) as error:
            self.pool.stop()
            self._note_plan()
            what = (
                f"The best adapter so far is in {self.out}."
                if self.inference is not None
                else "There is no adapter yet."
            )
            raise Interrupted(f"Stopped before the end of the contest. {what}") from error
        finally:
            shutil.rmtree(self.out / folder.CONTEST, ignore_errors=True)

    # -- stages

    def _first(self) -> None:
        """A short fit of the first candidate that answers without a prompt, else of the first that learns."""
        fitted = [one for one in self.candidates if one.method is not None and one.steps > 1]
        if not fitted or not self.folds or min(self.schedule.complete(one) for one in fitted) <= FIRST_STEPS:
            return
        candidate = next((one for one in fitted if "region" in one.ways), fitted[0])
        (done,) = self._fits([self._job(candidate, FIRST_STEPS, "first")])
        self._publish(done.folder if "region" in candidate.ways else None,
                      None if "region" in candidate.ways else done.folder, FIRST_STEPS)  # fmt: skip

    def _rounds(self) -> list[Row]:
        """Out-of-fold scores of all candidates, of the round that counts."""
        fitted = [one for one in self.candidates if one.method is not None]
        if not fitted or not self.folds:
            return []
        made = hold_rounds(fitted, self.schedule, self.groups, self._round, self.data.first_plan)
        if made.dropped:
            self.plan.notes.append(f"After the first round {', '.join(made.dropped)} took no further part.")
        self.plan.evidence["earlier_rounds"] = made.earlier
        self.growing, self.dropped = made.growing, made.dropped
        return made.rows

    def _after_choice(self) -> None:
        """Decisions about the chosen region on its out-of-fold predictions: postprocessing, then single objects."""
        if self.choice.region is not None:
            self.postprocess, self.plan.evidence["postprocess"] = chosen_postprocess(
                self.choice.region, self.train, self.classes, self.groups, self.config.seed
            )
        self.schedule.reserve = 0.0
        self.comparison.compare(self.schedule.process_left)
        self.plan.evidence |= {"objects": rows} if (rows := self.instances.rows) else {}

    def _chosen(self, rows: list[Row]) -> dict[str, tuple[Candidate, int]]:
        """Candidate and steps of each part of the adapter.

        A region map is fitted as long as there is time, and so are prompts as long as more steps bring more; else they
        get as many steps as their scores are of.
        """
        fitted = [one for one in self.candidates if one.method is not None]
        region, prompt = self.choice.region, self.choice.prompt
        parts: dict[str, Candidate] = {}
        judged: dict[Candidate, tuple[int, int]] = {}
        if region is not None:
            parts["region"] = region.candidate
            judged[region.candidate] = (region.steps, self.schedule.longest(region.candidate))
        elif not rows and (mapped := [one for one in fitted if "region" in one.ways]):
            complete = self.schedule.complete(mapped[0])
            parts["region"], judged[mapped[0]] = mapped[0], (complete, complete)
        if prompt is not None:
            parts["prompt"], steps = prompt, next(steps for one, steps, _ in rows if one is prompt)
            judged[prompt] = (steps, self.schedule.complete(prompt) if prompt in self.growing else steps)
        if not parts:  # the base model answers everything; the folder keeps an adapter of strength 0
            only = next(one for one in fitted if set(one.ways) & set(PROMPTED))
            parts["prompt"], judged[only] = only, (LEAST_STEPS, LEAST_STEPS)
        entry = self._forecast_entry()
        reserve = 0.0 if entry is None else self.schedule.forecast(entry.candidate, entry.steps)
        steps_of = self.schedule.final(judged, reserve)
        return {part: (one, steps_of[one]) for part, one in parts.items()}

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
        self.choice.prompts = plan.prompts
        self.planned, self.postprocess = RegionVariant(plan.tiling, plan.offset), plan.postprocess
        self.comparison.repeat(plan.instances)
        self.plan.evidence = dict(plan.evidence) | self.plan.evidence
        self.plan.notes.append("Repeated from a plan; nothing was compared here.")
        return parts

    def _refit(self, chosen: Mapping[str, tuple[Candidate, int]]) -> None:
        """Fit the chosen ones on all images and write the adapter."""
        jobs = {part: self._job(one, steps, part) for part, (one, steps) in chosen.items()}
        jobs |= self._forecast_fits(jobs)
        done = dict(zip(jobs, self._fits(list(jobs.values())), strict=True))
        of_half = joined([done[name] for name in done if name.startswith("half")])
        self.forecast = forecast_of(self, of_half)
        self.plan.evidence |= self.choice.table | {"forecast": self.forecast}
        self.plan.decisions = decisions_of(self, chosen)
        self._publish(
            done["region"].folder if "region" in done else None,
            done["prompt"].folder if "prompt" in done else None,
            max(steps for _, steps in chosen.values()),
            final=True,
        )
        if self.choice.region is not None and self.choice.region.scores.masks:
            sheet.write_sheet(self.out / folder.WORST, self.choice.region, self.train, self.classes)

    # -- parts of a stage

    def _round(self, steps: Mapping[Candidate, int]) -> list[Row]:
        """Fit some candidates on all folds; their scores."""
        jobs = [
            replace(self._job(one, count, fold_name(one, count, number), fold), negatives=self.negatives[number])
            for one, count in sorted(steps.items(), key=lambda item: -self.schedule.seconds(*item))  # longest first
            for number, fold in enumerate(self.folds)
        ]
        done = self._fits(jobs)
        return [
            (one, count, joined([f for f, job in zip(done, jobs, strict=True) if job.candidate is one]))
            for one, count in steps.items()
        ]

    def _forecast_fits(self, final: Mapping[str, Fit]) -> dict[str, Fit]:
        """Fits on half of the images for the forecast, if there is time for them."""
        entry = self._forecast_entry()
        if entry is None:
            return {}
        folds = folds_of([sample.id for sample in self.train], self.groups, self.config.seed, count=2)
        needed = self.schedule.forecast(entry.candidate, entry.steps)
        needed += sum(self.schedule.seconds(job.candidate, job.steps, fold=False) for job in final.values())
        if needed > self.budget.left * self.pool.workers:
            self.plan.notes.append("There was no time for a forecast; a larger budget has one.")
            return {}
        name = f"half-{entry.candidate.name}"
        return {f"half-{n}": self._job(entry.candidate, entry.steps, f"{name}-{n}", fold)
                for n, fold in enumerate(folds)}  # fmt: skip

    def _forecast_entry(self) -> Entry | None:
        """The scores that a forecast is about; None with too few images for one."""
        enough = len(set(self.groups.values())) >= LEAST_GROUPS
        return self.choice.entries.get("region") or self.choice.entries.get("click") if enough else None

    def _job(self, candidate: Candidate, steps: int, name: str, judge: tuple[str, ...] = ()) -> Fit:
        return Fit(
            name, candidate, self.config, self.train, self.classes,
            train=tuple(sample.id for sample in self.train if sample.id not in judge),
            judge=judge, folder=self.out / folder.CONTEST / name, steps=steps, fold=bool(judge) or name == "first",
        )  # fmt: skip

    def _fits(self, jobs: Sequence[Fit]) -> list[Fitted]:
        """Run jobs, and note their times."""

        def ended(job: Fit, done: Done) -> None:
            pace = self.budget.pace(done.cpu_seconds, done.seconds)
            whole = pace * done.cpu_seconds if job.judge else None
            self.schedule.measure(job.candidate, job.steps, pace * done.value.step_seconds, whole)

        return run_jobs(self, fit_and_score, jobs, ended)

    # -- results

    def _publish(self, region: Path | None, prompt: Path | None, steps: int, *, final: bool = False) -> None:
        variants = {way: self.choice.prompts.get(way, PromptVariant()) for way in PROMPTED}
        plan, offset = PLANS[self.variant.plan], self.variant.offset
        segmenter, meta = assembled(self.base, region, prompt, variants=variants, tiling=plan, offset=offset)
        segmenter.inference = with_postprocess(replace(segmenter.inference, exclusive=self.exclusive), self.postprocess)
        if final:
            if region is not None:
                others = {*self.split.train, *self.split.val, *self.split.test}
                self.suggested = next_images(
                    segmenter, [sample for sample in self.samples if sample.id not in others], self.store,
                    seed=self.config.seed, enough=lambda: self.budget.left <= 0,
                )  # fmt: skip
            self.figures = figures_of(self)
        disk.remove(self.out)
        self.inference = publish(
            self.out, self.config, segmenter, meta, classes=self.classes, steps=steps, figures=self.figures,
            history=self.history,
        )  # fmt: skip
        if final:
            self.comparison.write()
            self.inference = artefact.read_meta(self.out).inference
        self._note_plan()

    def _note_plan(self) -> None:
        self.plan.budget = {
            "seconds": self.budget.total, "spent": round(self.budget.spent, 1), "clock": self.budget.clock,
            "cpu_seconds": round(self.budget.cpu_seconds, 1), "workers": self.pool.workers,
            "step_seconds": self.schedule.step_seconds,
        }  # fmt: skip
        self.plan.write(self.out / folder.PLAN)


__all__ = ["Contest"]
