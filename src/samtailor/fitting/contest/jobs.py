"""Jobs of a contest: fit a candidate on some of the images, and score it on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time

from samtailor import artefact
from samtailor.data.augment import View
from samtailor.data.split import Split
from samtailor.fitting.contest.candidates import Candidate
from samtailor.fitting.contest.prompt_variant import PromptVariant
from samtailor.fitting.contest.scoring import STRENGTHS, Scores, prompted_scores, region_scores
from samtailor.fitting.pool import Context
from samtailor.fitting.run import Run
from samtailor.structures import Sample
from samtailor.train.config import FitConfig, resolve
from samtailor.train.progress import Progress

_SHARED = (
    "base", "classes", "seed", "near_duplicates", "views", "flip", "flip_pairs", "crop", "color_jitter", "precision",
    "device", "cache", "cache_gb", "embedding_precision", "encoder_precision", "feed_workers",
)  # fmt: skip
"""Settings of the contest that all its fits have."""


@dataclass(frozen=True)
class Fit:
    """One fit of a candidate.

    Args:
        name: for progress.
        candidate: what is fitted.
        config: resolved settings of the contest.
        samples: images with the masks to train on and to judge.
        classes: to be segmented.
        train: ids to train on.
        judge: ids to score on; empty for none.
        folder: of the adapter.
        steps: updates.
        fold: a fit of the cross-validation, with the `fold_options` of the candidate.
        strengths: of prompts, to score.
        negatives: images without an object, in which the region is predicted too.
    """

    name: str
    candidate: Candidate
    config: FitConfig
    samples: Sequence[Sample]
    classes: tuple[str, ...]
    train: tuple[str, ...]
    judge: tuple[str, ...]
    folder: Path
    steps: int
    fold: bool = True
    strengths: tuple[float, ...] = STRENGTHS
    negatives: Sequence[Sample] = ()

    def settings(self) -> FitConfig:
        """Resolved settings of the fit."""
        settings = dict(self.candidate.settings)
        options = dict(settings.pop("options", {}))
        options |= dict(self.candidate.fold_options) if self.fold else {}
        shared = {name: getattr(self.config, name) for name in _SHARED}
        fields = {
            **shared,
            **settings,
            "method": self.candidate.method,
            "options": options,
            "steps": self.steps,
            "warmup": min(20, max(1, self.steps // 5)),
            "schedule": "cosine",
            "classes": self.classes,
            "out": self.folder,
            "val": 0,
            "selection": "last",
            "fallback": False,
            "trackers": (),
            "checkpoint_every": max(1, self.steps),
            "eval_every": max(1, self.steps),
        }
        return resolve(FitConfig(**fields))


def fold_name(candidate: Candidate, steps: int, number: int) -> str:
    """Name of the fit of a fold, and of its folder."""
    return f"{candidate.name}-{steps}-{number}"


@dataclass
class Fitted:
    """A finished fit.

    Args:
        folder: of the adapter.
        scores: by way of use.
        step_seconds: CPU seconds of a step.
        score_seconds: CPU seconds of the scores.
    """

    folder: Path
    scores: dict[str, Scores] = field(default_factory=dict)
    step_seconds: float = 0.0
    score_seconds: float = 0.0


def fit_and_score(context: Context, job: Fit) -> Fitted:
    """Fit a candidate, and score it on the images that it was not fitted on."""
    config, known = job.settings(), {sample.id: sample for sample in job.samples}
    first: list[float] = []

    def report(progress: Progress) -> None:
        if progress.stage == "fit" and not first:
            first.append(process_time())
        context.report(job.name, progress)

    run = Run(
        config, job.folder, job.samples, job.classes, context.base, Split(train=job.train), context.store, False,
        report, context.stopped,
    )  # fmt: skip
    run.result()
    trained = process_time()
    each = (trained - first[0]) / max(1, job.steps - 1) if first else 0.0
    scores: dict[str, Scores] = {}
    if job.judge:
        segmenter = artefact.load(job.folder, context.base).segmenter
        judged = [known[id] for id in job.judge]
        for way in job.candidate.ways:
            if way == "region":
                scores[way] = region_scores(segmenter, judged, job.classes, context.store, job.negatives)
            else:
                variants = [PromptVariant(strength) for strength in (*job.strengths, 0.0)]
                scores[way] = prompted_scores(
                    segmenter, judged, job.classes, context.store, way, variants=variants, seed=job.config.seed
                )
    return Fitted(job.folder, scores, each, process_time() - trained)


def encode(context: Context, images: Sequence[tuple[Sample, View]], companion: str) -> None:
    """Encode views of images into the cache, with a companion by name."""
    from samtailor.bases.companions import load_companion

    beside = load_companion(companion, next(context.base.model.parameters()).device, context.base)
    samples, views = [sample for sample, _ in images], [view for _, view in images]
    context.store.prepare(context.base, samples, views, () if beside is None else (beside,))


__all__ = ["Fit", "Fitted", "encode", "fit_and_score", "fold_name"]
