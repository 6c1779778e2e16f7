"""One run: one adapter, from images to artefact."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor.errors import InputError
from samtailor.fitting import folder
from samtailor.fitting.images import split_in
from samtailor.fitting.result import FitResult, export, figures_of
from samtailor.prompts import prompt_type
from samtailor.registry import find
from samtailor.train.config import FitConfig, of_group

if TYPE_CHECKING:
    import torch

    from samtailor.bases import Base
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.data.split import Split
    from samtailor.fitting.feeds import Feeds
    from samtailor.segmenter import Segmenter
    from samtailor.structures import Sample
    from samtailor.train.progress import Progress


@dataclass
class Run:
    """A run; the arguments are those of `fit`, settled."""

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

    def result(self) -> FitResult:
        """Run it."""
        from samtailor.fitting.feeds import Feeds
        from samtailor.train import loop
        from samtailor.train.processes import make_accelerator, start_trackers

        config, out = self.config, self.out
        accelerator = make_accelerator(config, out)
        self.base.model.to(accelerator.device)
        segmenter, step_class = self._build()
        segmenter.to(accelerator.device)
        optimizers = self._optimizers(segmenter)
        step = step_class(segmenter, {g: accelerator.prepare(o) for g, o in optimizers.items()}, accelerator)
        if step.unrolled and any(of_group(config.max_grad_norm, group) for group in optimizers):
            raise InputError(
                "The unrolled hypergradient does not support gradient clipping. "
                "Use hypergradient: first-order, or max_grad_norm: 0."
            )
        split = split_in(out, config, self.samples, self.classes, self.split, self.resume)
        self._ask(segmenter)
        seen = [one.of(self.classes) for one in split.pick(self.samples, "train")]
        segmenter.inference = replace(
            segmenter.inference,
            single_class=len(self.classes) == 1,
            single_instance=all(len(objects) <= 1 for objects in seen),
            # run lengths hold the size of the image: `Sample.size` would read every image without one
            smallest_object=min((a.area / math.prod(a.rle["size"]) for own in seen for a in own), default=0.0),
        )
        if segmenter.tunes_inference:
            self._leave_out(segmenter, split)
        feeds = Feeds(config, self.samples, split, self.classes, self.base, self.store, segmenter, accelerator)
        feed, upper = feeds.training(step.second)
        held_out, selection = feeds.judges(step.second == "halves")
        if accelerator.is_main_process:  # not earlier: a mistake in the settings leaves no folder behind
            folder.begin(config, out, split)
        accelerator.wait_for_everyone()
        start_trackers(accelerator, config)
        if segmenter.encoder_frozen:
            feeds.encode(feed, upper, held_out, self.progress)
        state = loop.run(
            segmenter,
            step,
            optimizers,
            feed,
            held_out,
            config.model_copy(update={"steps": feeds.steps(feed) if optimizers else 0}),
            accelerator,
            file=out / folder.CHECKPOINT,
            resume=self.resume,
            progress=self.progress,
            stop=self.stop,
            upper=upper,
            regions=feeds.judged_regions() if held_out and step.second == "regions" else None,
        )
        for tracker in accelerator.trackers:
            tracker.finish()
        figures = figures_of(state)
        if segmenter.tunes_inference and accelerator.is_main_process:
            figures |= self._settle(segmenter.eval(), feeds, accelerator.device)
        if figures and step.second == "halves":
            figures["selection"] = selection
        if accelerator.is_main_process:
            export(out, config, segmenter.eval(), state, classes=self.classes, figures=figures)
        accelerator.wait_for_everyone()
        return FitResult(out, config, figures, state.history)

    def _build(self) -> tuple[Segmenter, Any]:
        """The method, started from the fit's seed whatever was drawn before."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            return find("methods", self.config.method).build(self.base, **self.config.options)

    def _optimizers(self, segmenter: Segmenter) -> dict[str, Any]:
        import torch

        from samtailor.train.joint import decay_groups

        config, groups = self.config, {name: group for name, group in segmenter.groups.items() if group}
        for name, value in (("lr", config.lr), ("max_grad_norm", config.max_grad_norm)):
            if isinstance(value, dict) and set(value) != set(groups):
                raise InputError(
                    f"{name} has groups {sorted(value)}, the method {config.method!r} has {sorted(groups)}."
                )
        # torch's own choice on a CPU is seven passes over every tensor; on a GPU it chooses well
        fused = True if all(p.device.type == "cpu" for group in groups.values() for p in group) else None
        return {
            name: torch.optim.AdamW(
                decay_groups(group, config.weight_decay, everything=config.decay_all), lr=1.0, fused=fused
            )
            for name, group in groups.items()
        }

    def _leave_out(self, segmenter: Segmenter, split: Split) -> None:
        """With few shots every member of a map leaves some images out, so that they can judge."""
        from samtailor.fitting.select_inference import assign_folds

        (found,) = segmenter.maps.values()
        found.folds = assign_folds(split, len(found.members))

    def _settle(self, segmenter: Segmenter, feeds: Feeds, device: torch.device) -> dict[str, Any]:
        """How far clicks go from the base, and how it looks at an image without a prompt; figures of both choices."""
        from samtailor.fitting.interpolate import interpolate_to_base
        from samtailor.fitting.select_inference import select_inference
        from samtailor.train.progress import Progress

        figures: dict[str, Any] = {}
        if (judging := feeds.tempering()) is not None:
            share, reached = interpolate_to_base(segmenter, judging, device)
            figures |= {"share": share, "share_miou": reached[share]["miou"], "share_base_miou": reached[0.0]["miou"]}
            if share < 1 and feeds.split.val:  # the figures of the state are told of what is exported
                figures |= {f"held_out_{name}": value for name, value in reached[share].items()}
        (found,) = segmenter.maps.values()
        split = feeds.split
        if not (split.val or found.folds) or not segmenter.promptless:
            return figures

        def told(done: int, total: int) -> None:
            if self.progress is not None:
                self.progress(Progress("settle", done, total))

        samples, left_out = split.pick(self.samples, "val" if split.val else "train"), found.folds or None
        made = select_inference(segmenter, samples, self.classes, self.store, left_out=left_out, progress=told)
        if made is not None:
            figures |= {"region_dice": made.dice, "region_dice_one_look": made.whole, "region_images": made.images}
        return figures

    def _ask(self, segmenter: Segmenter) -> None:
        """Let the segmenter know how it will be asked: as it is fitted, where that is not with the usual click."""
        config = self.config
        asked_so = (
            prompt_type(config.prompt) != "points"
            or getattr(find("methods", config.method), "PROMPT", None) is not None
        )
        if segmenter.inference.prompt is None and asked_so:
            options = dict(config.prompt_options)
            segmenter.inference = replace(segmenter.inference, prompt=config.prompt, prompt_options=options)


__all__ = ["Run"]
