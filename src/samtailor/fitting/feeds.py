"""The feeds of a fit: masks to train on, masks to validate on, and the embeddings that they need."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from samtailor.data.augment import UNTOUCHED, Augment, View, flip_pairs
from samtailor.data.dataset import class_names
from samtailor.data.regions import foreground
from samtailor.data.split import Split
from samtailor.errors import InputError, nothing_to_train_on
from samtailor.fitting.interpolate import judging_images
from samtailor.fitting.plan import passes, resident_images
from samtailor.registry import find
from samtailor.train.bilevel_split import bilevel_split, second_seed
from samtailor.train.config import FitConfig
from samtailor.train.feed import Feed
from samtailor.train.multitask import member_map
from samtailor.train.processes import wait
from samtailor.train.progress import Progress
from samtailor.train.step import StepFeeds

if TYPE_CHECKING:
    from accelerate import Accelerator

    from samtailor.bases import Base
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.prompts import Source
    from samtailor.segmenter import Segmenter
    from samtailor.structures import Sample

_log = logging.getLogger("samtailor.fitting")


@dataclass(frozen=True)
class Feeds:
    """Feeds of one run; a `train.step.TrainingData` for its step.

    Args:
        config: resolved settings of the fit.
        samples: all images.
        split: parts of `samples`.
        classes: classes of the target masks.
        base: frozen base.
        store: cached embeddings.
        segmenter: the model to fit; defines the validation prompt and the contents of a batch.
        accelerator: defines the share of this process.
        batch_size: masks per batch and process.
    """

    config: FitConfig
    samples: Sequence[Sample]
    split: Split
    classes: tuple[str, ...]
    base: Base
    store: EmbeddingCache
    segmenter: Segmenter
    accelerator: Accelerator
    batch_size: int

    # -- data of a training step (`train.step.TrainingData`)

    @property
    def train(self) -> list[Sample]:
        """All training images."""
        return self.split.pick(self.samples, "train")

    @property
    def prompted(self) -> list[Sample]:
        """Training images for prompted masks: all but `held_back`."""
        judging = {sample.id for sample in self.held_back()}
        return [sample for sample in self.train if sample.id not in judging]

    def bilevel_split(self) -> tuple[list[Sample], list[Sample]]:
        """The training images of D1 and of D2."""
        lower, upper = bilevel_split(self.split.train, self.config.seed, self.split.groups)
        return self._part(lower), self._part(upper)

    def masks(self, samples: Sequence[Sample], *, second: bool = False) -> Feed:
        """Prompted masks to train on, augmented."""
        config = self.config
        return Feed(
            self.base,
            samples,
            self.classes,
            self.store,
            source=find("prompts", config.prompt).build(**config.prompt_options),
            augment=self._augment(),
            batch_size=self.batch_size,
            seed=second_seed(config.seed) if second else config.seed,
            contours=self.segmenter.contour_points,
            companions=self.segmenter.companions,
            shard=self._shard,
            images=not self.segmenter.encoder_frozen,
        )

    def regions(self, samples: Sequence[Sample]) -> Feed:
        """Regions of the classes to train on, augmented, without prompts."""
        return self._regions(samples, self._augment(), self._shard)

    # -- data to validate on

    def validation(self, selection: Sequence[Sample] | None) -> tuple[Feed | None, str]:
        """Masks that select the best state, and the name of that choice: "held-out", "paper" or "last".

        Args:
            selection: training images that may select the state (`StepFeeds.selection`).

        Raises:
            InputError: the config names a selection that has no images.
        """
        wanted = self.config.selection
        if wanted in ("auto", "held-out"):
            held_out = self.split.pick(self.samples, "val")
            if any(sample.of(self.classes) for sample in held_out):
                return self._untouched(held_out), "held-out"
        if selection is not None and wanted in ("auto", "paper"):
            return self._untouched(selection), "paper"
        if wanted in ("held-out", "paper"):
            why = "there is no held-out mask" if wanted == "held-out" else "the method has no second level"
            raise InputError(f"selection: {wanted} is not possible because {why}. Use auto or last.")
        if wanted == "auto":
            _log.warning("No held-out mask of %s: the last state is kept, not the best.", ", ".join(self.classes))
        return None, "last"

    def held_out_regions(self) -> Feed:
        """Regions of the classes in the held-out images, without prompts or augmentation."""
        return self._regions(self.split.pick(self.samples, "val"))

    def held_back(self) -> list[Sample]:
        """Training images that prompt adapters do not learn from, to tune inference on (`judging_images`)."""
        if not self.segmenter.tunes_inference:
            return []
        return judging_images(self.train, self.classes, member_map(self.segmenter).folds)

    def judged(self) -> list[Sample]:
        """Images with objects to compare the adapter with others on: held-out ones, else `held_back`."""
        held_out = [sample for sample in self.split.pick(self.samples, "val") if sample.of(self.classes)]
        return held_out or self.held_back()

    def prompted_with(self, samples: Sequence[Sample], prompt: str, options: Mapping[str, Any]) -> Feed | None:
        """Masks of the samples, without augmentation, with prompts of a source; None without a mask."""
        if not any(sample.of(self.classes) for sample in samples):
            return None
        return self._untouched(samples, find("prompts", prompt).build(**options))

    # -- amounts

    def steps(self, feed: Feed) -> int:
        """Number of updates: `config.steps`, or what `config.epochs` amount to."""
        config = self.config
        return config.steps if config.epochs is None else self.steps_of(config.epochs, feed)

    def steps_of(self, epochs: float, feed: Feed) -> int:
        """Number of updates that a number of epochs amounts to, at least 1."""
        return max(1, round(epochs * len(feed) / (feed.masks_per_step * self.config.grad_accum_steps)))

    def needed(self, feeds: StepFeeds, held_out: Feed | None) -> list[tuple[Sample, View]]:
        """Every (image, view) that the fit needs."""
        batches = self.steps(feeds.train) * self.config.grad_accum_steps
        training = (feed.drawn(batches) for feed in _both(feeds))
        validated = [held_out.images()] if held_out is not None else []
        return list({(s.id, v.key): (s, v) for images in (*training, *validated) for s, v in images}.values())

    def resident(self, feeds: StepFeeds, held_out: Feed | None, needed: int) -> tuple[int | None, int]:
        """Images that each feed trains on at a time, None for all, and passes over them; see `fitting.plan`.

        Args:
            feeds, held_out: of the fit.
            needed: embeddings that it needs.
        """
        count = passes(self.config, feeds.train.epoch(self.steps(feeds.train) * self.config.grad_accum_steps))
        room = self.store.room(self.base, needed, self.segmenter.companions)
        validated = len(self._validated(held_out))
        return resident_images(self.config, _both(feeds), room, validated, self.store, count), count

    def keep_resident(
        self, feeds: StepFeeds, held_out: Feed | None, images: int, passes: int
    ) -> list[tuple[Sample, View]]:
        """Let the feeds train on so many images at a time; returns the (image, view) of the validations."""
        for feed in _both(feeds):
            feed.keep_resident(images, passes)
        return [(sample, UNTOUCHED) for sample in self._validated(held_out)]

    def encode(self, jobs: Sequence[tuple[Sample, View]], progress: Callable[[Progress], None] | None) -> None:
        """Encode every (image, view) into the cache; each process encodes its share."""
        share = jobs[self.accelerator.process_index :: self.accelerator.num_processes]
        start = time.monotonic()

        def report(done: int, total: int) -> None:
            if progress is not None and self.accelerator.is_main_process:
                speed = done / max(time.monotonic() - start, 1e-9)
                progress(Progress("encode", done, total, images_per_second=speed, seconds_left=(total - done) / speed))

        if share:
            samples, views = [s for s, _ in share], [v for _, v in share]
            self.store.prepare(self.base, samples, views, self.segmenter.companions, progress=report)
        wait(self.accelerator)

    def _validated(self, held_out: Feed | None) -> list[Sample]:
        """Images of the validations during the fit."""
        return [] if held_out is None else held_out.held_out_images(self.config.eval_masks)

    @property
    def _shard(self) -> tuple[int, int]:
        return self.accelerator.process_index, self.accelerator.num_processes

    def _part(self, ids: Sequence[str]) -> list[Sample]:
        return replace(self.split, train=tuple(ids)).pick(self.samples, "train")

    def _regions(
        self, samples: Sequence[Sample], augment: Augment | None = None, shard: tuple[int, int] = (0, 1)
    ) -> Feed:
        regions = foreground(samples, self.classes)
        if not any(sample.annotations for sample in regions):  # the feed does not know the classes of a region
            raise nothing_to_train_on(len(samples), self.classes)
        return Feed(
            self.base,
            regions,
            None,
            self.store,
            source=find("prompts", "none").build(),
            augment=augment,
            batch_size=self.batch_size,
            seed=second_seed(self.config.seed),
            companions=self.segmenter.companions,
            shard=shard,
        )

    def _untouched(self, samples: Sequence[Sample], source: Source | None = None) -> Feed:
        """Masks to validate on, without augmentation, by default prompted as in use."""
        inference = self.segmenter.inference
        if source is None:
            source = find("prompts", inference.prompt or "mask-center").build(**inference.prompt_options)
        return Feed(
            self.base,
            samples,
            self.classes,
            self.store,
            source=source,
            batch_size=self.batch_size,
            seed=self.config.seed,
            companions=self.segmenter.companions,
            images=not self.segmenter.encoder_frozen,
        )

    def _augment(self) -> Augment:
        config, pairs = self.config, self.config.flip_pairs
        if pairs is None and config.views > 1 and config.flip:
            pairs = flip_pairs(class_names(self.samples))
        return Augment(config.views, config.flip and pairs is not None, pairs or (), config.crop, config.color_jitter)


def _both(feeds: StepFeeds) -> list[Feed]:
    return [feed for feed in (feeds.train, feeds.second) if feed is not None]


__all__ = ["Feeds"]
