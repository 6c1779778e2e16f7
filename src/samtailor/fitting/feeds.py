"""The feeds of a run: the masks that it trains on and the masks that judge it, and their embeddings made ahead."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from samtailor.data.augment import Augment, flip_pairs
from samtailor.data.dataset import class_names
from samtailor.data.regions import foreground
from samtailor.data.split import Split
from samtailor.errors import InputError
from samtailor.fitting.interpolate import held_back
from samtailor.registry import find
from samtailor.train.bilevel_split import bilevel_split, second_seed
from samtailor.train.config import FitConfig
from samtailor.train.feed import Feed
from samtailor.train.progress import Progress

if TYPE_CHECKING:
    from accelerate import Accelerator

    from samtailor.bases import Base
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.segmenter import Segmenter
    from samtailor.structures import Sample

_log = logging.getLogger("samtailor.fitting")


@dataclass(frozen=True)
class Feeds:
    """Feeds of one run.

    Args:
        config: of the fit.
        samples: all images, of which `split` names the parts.
        classes: whose masks are targets.
        base, store: whose embeddings, and where they are kept.
        segmenter: what is fitted; tells how it is asked and what it needs in a batch.
        accelerator: tells this process's share.
    """

    config: FitConfig
    samples: Sequence[Sample]
    split: Split
    classes: tuple[str, ...]
    base: Base
    store: EmbeddingCache
    segmenter: Segmenter
    accelerator: Accelerator

    def training(self, second: str | None) -> tuple[Feed, Feed | None]:
        """Batches of the training images; for two levels of D1 and of D2, for a map also of the regions."""
        train = self.split.pick(self.samples, "train")
        if second is None:
            return self._feed(train), None
        if second == "regions":
            shared = {"augment": self._augment(), "shard": self._shard}
            judging = {sample.id for sample in self.held_back()}
            return self._feed([one for one in train if one.id not in judging]), self._regions(train, **shared)
        lower, upper = self._halves()
        return self._feed(lower), self._feed(upper, second_seed(self.config.seed))

    def judges(self, bilevel: bool) -> tuple[Feed | None, str]:
        """Masks that choose the state to keep, and what that choice is called."""
        wanted = self.config.selection
        if wanted in ("auto", "held-out"):
            held_out = self.split.pick(self.samples, "val")
            if any(sample.of(self.classes) for sample in held_out):
                return self._judge(held_out), "held-out"
        if bilevel and wanted in ("auto", "paper"):
            return self._judge(self._halves()[1]), "paper"
        if wanted in ("held-out", "paper"):
            why = "there is no held-out mask" if wanted == "held-out" else "the method has no second level"
            raise InputError(f"selection: {wanted} is not possible, {why}. Take auto or last.")
        if wanted == "auto":
            _log.warning("No held-out mask of %s: the last state is kept, not the best.", ", ".join(self.classes))
        return None, "last"

    def held_back(self) -> list[Sample]:
        """Training images that the prompt adapters do not see, so that they can judge (`interpolate.held_back`)."""
        if not self.segmenter.tunes_inference:
            return []
        (found,) = self.segmenter.maps.values()
        return held_back(self.split.pick(self.samples, "train"), self.classes, found.folds)

    def tempering(self) -> Feed | None:
        """Masks that tell how far an adapter of clicks should go: held-out ones, or `held_back`; None without."""
        held_out = [one for one in self.split.pick(self.samples, "val") if one.of(self.classes)]
        judging = held_out or self.held_back()
        return self._judge(judging) if judging else None

    def judged_regions(self) -> Feed:
        """The regions of the held-out images, for a map."""
        return self._regions(self.split.pick(self.samples, "val"))

    def steps(self, feed: Feed) -> int:
        """Updates of the fit: as many as asked for, or what the epochs come to."""
        config = self.config
        if config.epochs is None:
            return config.steps
        return max(1, round(config.epochs * len(feed) / (feed.masks_per_step * config.grad_accum_steps)))

    def encode(
        self, feed: Feed, upper: Feed | None, held_out: Feed | None, progress: Callable[[Progress], None] | None
    ) -> None:
        """What the fit will look at, once and for all; each process its share."""
        batches = self.steps(feed) * self.config.grad_accum_steps
        training = (one.drawn(batches) for one in (feed, upper) if one is not None)
        judging = [held_out.images()] if held_out is not None else []
        jobs = list({(s.id, v.key): (s, v) for images in (*training, *judging) for s, v in images}.values())
        share = jobs[self.accelerator.process_index :: self.accelerator.num_processes]
        start = time.monotonic()

        def told(done: int, total: int) -> None:
            if progress is not None and self.accelerator.is_main_process:
                speed = done / max(time.monotonic() - start, 1e-9)
                progress(Progress("encode", done, total, images_per_second=speed, seconds_left=(total - done) / speed))

        if share:
            self.store.prepare(self.base, [s for s, _ in share], [v for _, v in share], progress=told)
        self.accelerator.wait_for_everyone()

    @property
    def _shard(self) -> tuple[int, int]:
        return self.accelerator.process_index, self.accelerator.num_processes

    def _halves(self) -> list[list[Sample]]:
        """The training images of D1 and of D2."""
        parts = bilevel_split(self.split.train, self.config.seed, self.split.groups)
        return [replace(self.split, train=part).pick(self.samples, "train") for part in parts]

    def _feed(self, samples: Sequence[Sample], seed: int | None = None) -> Feed:
        """Batches to train on."""
        config = self.config
        return Feed(
            self.base,
            samples,
            self.classes,
            self.store,
            source=find("prompts", config.prompt).build(**config.prompt_options),
            augment=self._augment(),
            batch_size=config.batch_size,
            seed=config.seed if seed is None else seed,
            contours=self.segmenter.contour_points,
            shard=self._shard,
            images=not self.segmenter.encoder_frozen,
        )

    def _regions(self, samples: Sequence[Sample], **trained: Any) -> Feed:
        """The region of the classes in each image, without a prompt: to train on, or without `trained` to judge."""
        sizes = {"batch_size": self.config.batch_size, "seed": second_seed(self.config.seed)}
        regions = foreground(samples, self.classes)
        return Feed(self.base, regions, None, self.store, source=find("prompts", "none").build(), **sizes, **trained)

    def _judge(self, samples: Sequence[Sample]) -> Feed:
        """Masks to validate on: as the segmenter is asked in use, untouched views."""
        segmenter = self.segmenter
        source = find("prompts", segmenter.inference.prompt or "mask-center").build(
            **segmenter.inference.prompt_options
        )
        sizes = {"batch_size": self.config.batch_size, "seed": self.config.seed}
        images = not segmenter.encoder_frozen
        return Feed(self.base, samples, self.classes, self.store, source=source, images=images, **sizes)

    def _augment(self) -> Augment:
        config, pairs = self.config, self.config.flip_pairs
        if pairs is None and config.views > 1 and config.flip:
            pairs = flip_pairs(class_names(self.samples))
        return Augment(config.views, config.flip and pairs is not None, pairs or (), config.crop, config.color_jitter)


__all__ = ["Feeds"]
