"""One run: one adapter, from pictures to artefact."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor.errors import InputError
from samtailor.fitting import folder
from samtailor.fitting.pictures import split_in
from samtailor.fitting.result import FitResult, export, figures_of
from samtailor.registry import find
from samtailor.train.config import FitConfig, of_group

if TYPE_CHECKING:
    import torch

    from samtailor.bases import Base
    from samtailor.cache.embeddings import EmbeddingStore
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
    store: EmbeddingStore
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
        if step.unrolled and any(of_group(config.clip, group) for group in optimizers):
            raise InputError("The unrolled hypergradient knows no shortened gradients; take first-order, or clip: 0.")
        split = split_in(out, config, self.samples, self.classes, self.split, self.resume)
        self._ask(segmenter)
        seen = [one.of(self.classes) for one in split.pick(self.samples, "train")]
        segmenter.alone, segmenter.single = len(self.classes) == 1, all(len(objects) <= 1 for objects in seen)
        # the masks tell their pictures' size: `Sample.size` would read every picture without one
        segmenter.smallest = min((a.area / math.prod(a.rle["size"]) for own in seen for a in own), default=0.0)
        if segmenter.settles:
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
        if segmenter.settles and accelerator.is_main_process:
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
        for name, value in (("lr", config.lr), ("clip", config.clip)):
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
        """With few shots every member of a map leaves some pictures out, so that they can judge."""
        from samtailor.fitting.settle import deal

        (found,) = segmenter.maps.values()
        found.folds = deal(split, len(found.members))

    def _settle(self, segmenter: Segmenter, feeds: Feeds, device: torch.device) -> dict[str, Any]:
        """How far clicks go from the base, and how it looks at a picture without a prompt; figures of both choices."""
        from samtailor.fitting.settle import settle
        from samtailor.fitting.temper import temper
        from samtailor.train.progress import Progress

        figures: dict[str, Any] = {}
        if (judging := feeds.tempering()) is not None:
            share, reached = temper(segmenter, judging, device)
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
        made = settle(segmenter, samples, self.classes, self.store, left_out=left_out, progress=told)
        if made is not None:
            figures |= {"region_dice": made.dice, "region_dice_one_look": made.whole, "region_pictures": made.pictures}
        return figures

    def _ask(self, segmenter: Segmenter) -> None:
        """Let the segmenter know how it will be asked: as it is fitted, where that is not with the usual click."""
        config = self.config
        asked_so = (
            not getattr(find("prompts", config.prompt), "CLICK", False)
            or getattr(find("methods", config.method), "PROMPT", None) is not None
        )
        if segmenter.prompt is None and asked_so:
            segmenter.prompt, segmenter.prompt_options = config.prompt, dict(config.prompt_options)


__all__ = ["Run"]
