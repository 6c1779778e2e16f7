"""Jobs of a contest about learned proposals: train heads, predict the objects of other images, and measure both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np

from samtailor.data.augment import Augment
from samtailor.fitting.contest.assemble import assembled
from samtailor.fitting.contest.objects import Scored
from samtailor.fitting.contest.prompt_variant import PromptVariant
from samtailor.fitting.pool import Context
from samtailor.fitting.proposal_training import Scenes, train_head
from samtailor.fitting.proposals import BATCH, LR, WIDTH
from samtailor.predict.auto import BOX_SCALES, scaled_box
from samtailor.predict.instances import predict_instances
from samtailor.predict.predictor import Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.predict.source import AdapterSource
from samtailor.proposals import GIVES, Proposals, disk
from samtailor.proposals.calibration import Scene
from samtailor.proposals.head import Head, Heads
from samtailor.proposals.targets import place
from samtailor.structures import Sample, TilingPlan
from samtailor.train.interrupt import Interrupted
from samtailor.train.progress import Progress

_ADAPTER = "adapter"
_PROBED_STEPS = 4


@dataclass(frozen=True)
class HeadFit:
    """Train heads on some of the images.

    Args:
        name: for progress.
        samples: all images, those without an object too.
        classes: to propose.
        left_out: rows of the images that are not trained on, but scored; empty for none.
        seeds: one head each.
        steps: updates of each head.
        augment: views to draw from.
        tiles: tiles per side at inference.
        folder: the heads are saved there as proposals without a calibration.
    """

    name: str
    samples: Sequence[Sample]
    classes: tuple[str, ...]
    left_out: tuple[int, ...]
    seeds: tuple[int, ...]
    steps: int
    augment: Augment
    tiles: int
    folder: Path


def fit_heads(context: Context, job: HeadFit) -> list[Scene]:
    """Train and save heads; the candidates of their mean in the images that were left out.

    Raises:
        Interrupted: the contest was stopped.
    """
    base = context.base
    scenes = _scenes(context, job)
    rows = [row for row in range(len(job.samples)) if row not in set(job.left_out)]
    ticks = count(1)

    def report() -> None:
        if context.stopped():
            raise Interrupted("Stopped.")
        context.report(job.name, Progress("fit", next(ticks), job.steps * len(job.seeds)))

    heads = [train_head(scenes, rows, seed, job.steps, BATCH, LR, WIDTH, report) for seed in job.seeds]
    proposals = Proposals(
        Heads(heads) if len(heads) > 1 else heads[0],
        job.classes,
        base.fingerprint,
        base_name=base.name,
        tiles=job.tiles,
    )
    job.folder.mkdir(parents=True, exist_ok=True)
    proposals.save(job.folder)
    return [scene for row in job.left_out for scene in scenes.candidates(row, proposals, job.tiles)]


@dataclass(frozen=True)
class Calibrated:
    """Calibration and thresholds by class, see `Proposals`."""

    calibration: Mapping[str, tuple[float, float]]
    thresholds: Mapping[str, float]

    def of(self, proposals: Proposals, give: str, heads: Head | Heads | None = None) -> Proposals:
        """Proposals with this calibration, and with other heads if they are given."""
        return Proposals(
            proposals.head if heads is None else heads,
            proposals.classes,
            proposals.base,
            base_name=proposals.base_name,
            calibration=self.calibration,
            thresholds=self.thresholds,
            give=give,
            tiles=proposals.tiles,
        )


@dataclass(frozen=True)
class Prediction:
    """Predict the objects of images with the proposals and the prompt adapter of one fold, as in use.

    Args:
        samples: images that neither has learnt from.
        heads: folder of the proposals.
        calibrated: by type of prompt.
        region: folder of the fit with the region map.
        prompt: folder of the prompt adapter; None: there is none.
        offset: of the map.
        variants: how clicks and boxes are answered.
    """

    samples: Sequence[Sample]
    heads: Path
    calibrated: Mapping[str, Calibrated]
    region: Path
    prompt: Path | None
    offset: float
    variants: Mapping[str, PromptVariant]


def predict_objects(context: Context, job: Prediction) -> dict[str, dict[str, list[Scored]]]:
    """By type of prompt, image to the scores of the proposals and the masks of its objects.

    Raises:
        Interrupted: the contest was stopped.
    """
    base, proposals = context.base, disk.load(job.heads, context.base)
    segmenter, _ = assembled(
        base, job.region, job.prompt, variants=job.variants, tiling=TilingPlan(), offset=job.offset
    )
    predictor = Predictor(base, {_ADAPTER: segmenter}, store=context.store)
    objects: dict[str, dict[str, list[Scored]]] = {}
    for give, calibrated in job.calibrated.items():
        calibrated.of(proposals, give).save(job.region)  # as in use, the proposals lie beside the adapter
        source = AdapterSource.of(predictor, _ADAPTER, job.region, prompt_type=give)
        objects[give] = {}
        for sample in job.samples:
            if context.stopped():
                raise Interrupted("Stopped.")
            predicted = predict_instances(predictor, sample, source, store=context.store)
            objects[give][sample.id] = [(one.score, one.rle) for one in predicted]
    return objects


@dataclass(frozen=True)
class Pace:
    """CPU seconds of a step of a head, of the predictions for an image with each type of prompt, and of the first use
    of a view in the training of a head.
    """

    step: float
    image: float
    view: float


def probe(context: Context, job: HeadFit) -> Pace:
    """Measure a few steps of a head, and predictions for as many prompts as the middle one of the images has objects.

    Args:
        context: of the contest.
        job: a fit of which nothing is kept.
    """
    ticks = [process_time()]

    def report() -> None:
        ticks.append(process_time())

    scenes = _scenes(context, replace(job, augment=Augment()))
    # images of one batch: after the first step nothing has to be read
    train_head(scenes, range(min(BATCH, len(job.samples))), 0, _PROBED_STEPS, BATCH, LR, WIDTH, report)
    first, *steps = (after - before for before, after in pairwise(ticks))
    by_objects = sorted(job.samples, key=lambda sample: len(sample.of(job.classes)))
    source = AdapterSource(None, _true_prompts(job.classes), tiles=job.tiles)
    start = process_time()
    predict_instances(Predictor(context.base, store=context.store), by_objects[len(by_objects) // 2], source)
    return Pace(median(steps), process_time() - start, max(0.0, first - median(steps)) / BATCH)


def _true_prompts(classes: tuple[str, ...]) -> Any:
    """A proposer of the true objects: as many prompts as exact proposals would give, of every type."""

    def propose(predictor: Predictor, image: Sample | np.ndarray) -> list[ObjectPrompt]:
        if not isinstance(image, Sample):
            return []
        height, width = image.size
        objects, prompts = image.of(classes), list[ObjectPrompt]()
        for scale in BOX_SCALES:
            for one in objects:
                x0, y0, x1, y1 = (float(v) for v in scaled_box(np.array(one.box), scale, height, width))
                prompts.append(ObjectPrompt(box=(x0, y0, x1, y1), label=one.label, score=1.0))
        return prompts + [ObjectPrompt(clicks=((*place(one.mask), 1),), label=one.label, score=1.0) for one in objects]

    return propose


def _scenes(context: Context, job: HeadFit) -> Scenes:
    return Scenes(context.base, job.samples, job.classes, context.store, job.augment, None)


__all__ = ["GIVES", "Calibrated", "HeadFit", "Pace", "Prediction", "fit_heads", "predict_objects", "probe"]
