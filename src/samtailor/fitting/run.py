"""One run: from images to one adapter."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor.errors import InputError
from samtailor.fitting import folder
from samtailor.fitting.images import split_in
from samtailor.fitting.plan import Plan, read_plan, write_plan
from samtailor.fitting.result import FitResult, export, figures_of
from samtailor.prompts import prompt_type
from samtailor.registry import find
from samtailor.train.config import FitConfig, of_group

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

    from samtailor.bases import Base
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.data.split import Split
    from samtailor.fitting.feeds import Feeds
    from samtailor.segmenter import Segmenter
    from samtailor.structures import InferenceSpec, Sample
    from samtailor.train.checkpoint import State
    from samtailor.train.feed import Feed
    from samtailor.train.progress import Progress
    from samtailor.train.step import Step


@dataclass
class Run:
    """One adapter to fit. The arguments are those of `fit`, with data, base and store loaded."""

    config: FitConfig
    out: Path
    samples: Sequence[Sample]
    classes: tuple[str, ...]
    base: Base
    split: Split | None
    store: EmbeddingCache
    resume: bool
    progress: Callable[[Progress], None] | None
    stop: Callable[[], bool] | None
    finish: bool = False

    def result(self) -> FitResult:
        """Fit, export the adapter and return the result."""
        from samtailor.fitting.judge import Judge, Present
        from samtailor.train.processes import make_accelerator, wait

        config, out = self.config, self.out
        accelerator = make_accelerator(config, out)
        self.base.model.to(accelerator.device)
        present = None if config.present is None else Present.load(config.present, self.base, self.classes)
        segmenter, step_class = self._build()
        segmenter.to(accelerator.device)
        optimizers = self._optimizers(segmenter)
        step = step_class(segmenter, {g: accelerator.prepare(o) for g, o in optimizers.items()}, accelerator)
        self._check_clipping(step, optimizers)
        split = split_in(out, config, self.samples, self.classes, self.split, self.resume)
        segmenter.inference = self._inference(segmenter, split)
        if segmenter.tunes_inference:
            self._assign_folds(segmenter, split)
        state, feeds, selection = self._train(segmenter, step, optimizers, split, accelerator)
        figures = figures_of(state)
        if accelerator.is_main_process:
            figures |= Judge(segmenter.eval(), feeds, accelerator.device, present, self.progress).figures()
        if figures and selection is not None:
            figures["selection"] = selection
        if accelerator.is_main_process:
            export(out, config, segmenter.eval(), state, classes=self.classes, figures=figures)
        wait(accelerator)
        return FitResult(out, config, figures, state.history, inference=segmenter.inference)

    def _build(self) -> tuple[Segmenter, Any]:
        """Segmenter and step class of the method, initialized with the seed of the fit."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            return find("methods", self.config.method).build(self.base, **self.config.options)

    def _optimizers(self, segmenter: Segmenter) -> dict[str, torch.optim.Optimizer]:
        import torch

        from samtailor.train.joint import decay_groups

        config, groups = self.config, {name: group for name, group in segmenter.groups.items() if group}
        for name, value in (("lr", config.lr), ("max_grad_norm", config.max_grad_norm)):
            if isinstance(value, dict) and set(value) != set(groups):
                raise InputError(
                    f"{name} has groups {sorted(value)}, the method {config.method!r} has {sorted(groups)}."
                )
        # the default of torch on a CPU takes seven passes over every tensor; on a GPU its choice is good
        fused = True if all(p.device.type == "cpu" for group in groups.values() for p in group) else None
        return {
            name: torch.optim.AdamW(
                decay_groups(group, config.weight_decay, everything=config.decay_all), lr=1.0, fused=fused
            )
            for name, group in groups.items()
        }

    def _check_clipping(self, step: Step, groups: Sequence[str] | dict[str, Any]) -> None:
        if step.unrolled and any(of_group(self.config.max_grad_norm, group) for group in groups):
            raise InputError(
                "The unrolled hypergradient does not support gradient clipping. "
                "Use hypergradient: first-order, or max_grad_norm: 0."
            )

    def _inference(self, segmenter: Segmenter, split: Split) -> InferenceSpec:
        """How the adapter is prompted, and what the training images say about its classes and objects."""
        config, spec = self.config, segmenter.inference
        targets = [sample.of(self.classes) for sample in split.pick(self.samples, "train")]
        # a method is prompted in use as in training, unless that is the usual click
        prompt_matters = (
            prompt_type(config.prompt) != "points"
            or getattr(find("methods", config.method), "PROMPT", None) is not None
        )
        if spec.prompt is None and prompt_matters:
            spec = replace(spec, prompt=config.prompt, prompt_options=dict(config.prompt_options))
        return replace(
            spec,
            single_class=len(self.classes) == 1,
            single_instance=all(len(objects) <= 1 for objects in targets),
            # run lengths hold the size of the image; `Sample.size` may have to read the image
            smallest_object=min((a.area / math.prod(a.rle["size"]) for objects in targets for a in objects), default=0),
        )

    def _assign_folds(self, segmenter: Segmenter, split: Split) -> None:
        """Let every member of a map leave some training images out, where no image is held out."""
        from samtailor.fitting.select_inference import assign_folds
        from samtailor.train.multitask import member_map

        region_map = member_map(segmenter)
        region_map.folds = assign_folds(split, len(region_map.members))

    def _train(
        self,
        segmenter: Segmenter,
        step: Step,
        optimizers: dict[str, torch.optim.Optimizer],
        split: Split,
        accelerator: Accelerator,
    ) -> tuple[State, Feeds, str | None]:
        """Encode, train, and load the best state; the last is what selected the state of a bi-level fit, else None."""
        from samtailor.fitting.feeds import Feeds
        from samtailor.train import loop
        from samtailor.train.processes import from_first, start_trackers, wait

        kept = self._earlier_plan()

        def feeds_of(batch_size: int) -> Feeds:
            context = (self.base, self.store, segmenter, accelerator)
            return Feeds(self.config, self.samples, split, self.classes, *context, batch_size)

        plan = kept or Plan(self._batch_size(feeds_of(1), split, accelerator))
        feeds = feeds_of(plan.batch_size)
        step_feeds = step.feeds(feeds)
        held_out, selection = feeds.validation(step_feeds.selection)
        needed = []
        if segmenter.encoder_frozen and plan.resident is None:
            needed = feeds.needed(step_feeds, held_out)
            if kept is None:
                plan = Plan(plan.batch_size, *feeds.resident(step_feeds, held_out, len(needed)))
        plan = from_first(plan, accelerator)
        if accelerator.is_main_process:  # not earlier: a mistake in the settings leaves no folder behind
            folder.begin(self.config, self.out, split)
            write_plan(self.out, self.config, plan)
        wait(accelerator)
        start_trackers(accelerator, self.config)
        if segmenter.encoder_frozen:
            if plan.resident is not None:
                needed = feeds.keep_resident(step_feeds, held_out, plan.resident, plan.passes)
            feeds.encode(needed, self.progress)
        state = loop.run(
            segmenter,
            step,
            optimizers,
            step_feeds.train,
            held_out,
            self._in_steps(feeds, step_feeds.train, bool(optimizers)),
            accelerator,
            file=self.out / folder.CHECKPOINT,
            resume=self.resume,
            progress=self.progress,
            stop=self.stop,
            finish=self.finish,
            second=step_feeds.second,
            regions=feeds.held_out_regions() if held_out and step_feeds.regions else None,
            after_step=self._snapshots(segmenter, feeds, step_feeds.train),
        )
        for tracker in accelerator.trackers:
            tracker.finish()
        return state, feeds, None if step_feeds.selection is None else selection

    def _earlier_plan(self) -> Plan | None:
        """What the fit decided before it was interrupted; None for a new one."""
        if not self.resume or not (self.out / folder.CHECKPOINT).exists():
            return None
        size = self.config.batch_size
        return read_plan(self.out) or (None if size == "auto" else Plan(size))

    def _batch_size(self, feeds: Feeds, split: Split, accelerator: Accelerator) -> int:
        """`batch_size`, or the largest one that the memory holds; `feeds` have batches of one mask."""
        from samtailor.fitting.memory import memory_batch_size
        from samtailor.train.ahead import workers_for
        from samtailor.train.processes import smallest

        if self.config.batch_size != "auto":
            return self.config.batch_size
        segmenter, step_class = self._build()
        segmenter.to(accelerator.device).train()
        if segmenter.tunes_inference:
            self._assign_folds(segmenter, split)
        if not (optimizers := self._optimizers(segmenter)):
            return 1  # nothing is trained
        step = step_class(segmenter, {g: accelerator.prepare(o) for g, o in optimizers.items()}, accelerator)
        workers = workers_for(accelerator.device.type, self.config.feed_workers)
        size = memory_batch_size(step, segmenter, step.feeds(feeds), accelerator, workers)
        return smallest(size, accelerator)

    def _in_steps(self, feeds: Feeds, feed: Feed, learns: bool) -> FitConfig:
        """The settings with everything that is given in epochs converted to steps."""
        config, steps = self.config, feeds.steps(feed) if learns else 0
        every: dict[str, int] = {}
        if config.eval_epochs is not None and learns:
            # a checkpoint after each of a hundred short epochs would take longer than the epochs
            every["eval_every"] = feeds.steps_of(config.eval_epochs, feed)
            every["checkpoint_every"] = config.checkpoint_every or max(1, steps // 10)
        return config.model_copy(update={"steps": steps, **every})

    def _snapshots(self, segmenter: Segmenter, feeds: Feeds, feed: Feed) -> Callable[[int], None] | None:
        """Writes the state after the epochs of `config.snapshots`, each as an adapter; None without any."""
        from samtailor.fitting.result import snapshot

        epochs = {feeds.steps_of(epoch, feed): epoch for epoch in self.config.snapshots}

        def write(step: int) -> None:
            if step in epochs:
                snapshot(self.out, epochs[step], self.config, segmenter, step, classes=self.classes)

        return write if epochs else None


__all__ = ["Run"]
