"""Compare a fitted adapter with the base model and with the adapter in use, on cached embeddings (`fitting.gate`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor import artefact
from samtailor.data.split import Split
from samtailor.fitting.gate import Decision, Gate, Judged, against_present, compared, decide
from samtailor.fitting.interpolate import MASKS, STRENGTHS, Chosen, as_new, choose_strength
from samtailor.fitting.result import counts
from samtailor.fitting.select_inference import SelectedInference, region_dice, select_inference
from samtailor.prompts import prompt_type
from samtailor.train.multitask import member_map
from samtailor.train.progress import Progress
from samtailor.train.validate import validate

if TYPE_CHECKING:
    import torch

    from samtailor.bases import Base
    from samtailor.fitting.feeds import Feeds
    from samtailor.segmenter import Segmenter
    from samtailor.structures import Sample

_TYPES = {"points": "click", "boxes": "box"}


@dataclass(frozen=True)
class Present:
    """The adapter in use.

    Args:
        segmenter: on the same base; None if the two cannot be compared.
        classes: of the adapter.
        learnt_from: ids of its training images.
        why: why they cannot be compared.
    """

    segmenter: Segmenter | None
    classes: tuple[str, ...]
    learnt_from: frozenset[str]
    why: str = ""

    @classmethod
    def load(cls, folder: Path, base: Base, classes: Sequence[str]) -> Present:
        """From its folder; an adapter of other classes or on another base is not loaded.

        Raises:
            ArtefactError: there is no adapter, or it is damaged.
        """
        meta, file = artefact.read_meta(folder), folder / artefact.SPLIT
        learnt_from = frozenset(Split.read(file).train) if file.is_file() else frozenset()
        why = ""
        if sorted(meta.classes) != sorted(classes):
            why = f"the present one segments {', '.join(meta.classes)}"
        elif meta.base.fingerprint != base.fingerprint:
            why = f"the present one was fitted on another base model ({meta.base.name})"
        segmenter = None if why else artefact.load(folder, base).segmenter
        return cls(segmenter, meta.classes, learnt_from, why)


class Judge:
    """Compares one fit.

    Args:
        segmenter: fitted, in evaluation mode; strengths and tiling are set in it.
        feeds: of the fit.
        device: device of the segmenter.
        present: the adapter in use; None: there is none.
        progress: called while tiled inference is selected.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        feeds: Feeds,
        device: torch.device,
        present: Present | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.segmenter, self.feeds, self.device = segmenter, feeds, device
        self.present, self.progress = present, progress
        self._images = feeds.judged()
        held_out = bool(feeds.split.pick(feeds.samples, "val"))
        self._left_out = None if held_out or not self._images else member_map(segmenter).folds
        self._groups = {id: sorted(ids)[0] for ids in feeds.split.groups for id in ids}
        self._groups |= {sample.id: sample.group for sample in feeds.samples if sample.group}

    def figures(self) -> dict[str, Any]:
        """Compare all ways of use; figures for `FitResult.figures`, with the gate as "comparison"."""
        figures: dict[str, Any] = {}
        decisions: list[Decision] = []
        for name, (prompt, options) in prompt_sources(self.segmenter).items():
            chosen = self._prompted(name, prompt, options)
            decisions.append(self._against_present(chosen.decision, name, prompt, options))
            if name == "click" or prompt != "mask-box":
                figures |= self._held_out(chosen)
                figures |= {"alpha": chosen.strength} if self.segmenter.tunes_inference else {}
        if self.segmenter.tunes_inference:
            selected = self._select_inference()
            figures |= {} if selected is None else _region_figures(selected)
            decisions += [] if selected is None else [self._region(selected)]
        elif self.segmenter.inference.prompt == "none":
            decisions += self._promptless()
        images = None if self.present is None else len(self.present.learnt_from)
        gate = compared(decisions, images=len(self.feeds.split.train), images_of_present=images)
        if self.present is not None and self.present.why:
            lost = sorted(set(self.present.classes) - set(self.feeds.classes))
            missing = f", and the new one does not segment {', '.join(lost)}" if lost else ""
            gate = Gate(gate.decisions, not lost, f"the two cannot be compared, since {self.present.why}{missing}")
        return figures | ({"comparison": gate.to_json()} if gate.decisions or images is not None else {})

    def _prompted(self, name: str, prompt: str, options: Mapping[str, Any]) -> Chosen:
        tunes = self.segmenter.tunes_inference
        return choose_strength(
            self.segmenter,
            name,
            self.feeds.prompted_with(self._images, prompt, options),
            self.device,
            groups=self._groups,
            strengths=STRENGTHS[name] if tunes else (1.0,),
            left_out=self._left_out,
            unjudged="base" if tunes else "adapter",
            fallback=self.feeds.config.fallback,
        )

    def _against_present(self, decision: Decision, name: str, prompt: str, options: Mapping[str, Any]) -> Decision:
        feed = None if self.present is None else self.feeds.prompted_with(self._new_to_both(), prompt, options)
        if feed is None or self.present is None or self.present.segmenter is None:
            return decision
        new = validate(as_new(self.segmenter, self._left_out), feed, MASKS, self.device)
        present = validate(self.present.segmenter, feed, MASKS, self.device)
        return against_present(decision, new.ious, present.ious, self._groups_of(new.images))

    def _held_out(self, chosen: Chosen) -> dict[str, Any]:
        """Held-out figures of the answers that are used, where they are not those of the full adapter."""
        if self._left_out is not None or chosen.strength == 1 or chosen.final is None:
            return {}
        return {f"held_out_{k}": v for k, v in chosen.final.figures().items()} | counts(chosen.final, chosen.base)

    def _select_inference(self) -> SelectedInference | None:
        folds, split = member_map(self.segmenter).folds, self.feeds.split
        if not (split.val or folds) or not self.segmenter.promptless:
            return None

        def report(done: int, total: int) -> None:
            if self.progress is not None:
                self.progress(Progress("select", done, total))

        samples, left_out = split.pick(self.feeds.samples, "val" if split.val else "train"), folds or None
        return select_inference(
            self.segmenter, samples, self.feeds.classes, self.feeds.store, left_out=left_out, progress=report
        )

    def _region(self, selected: SelectedInference) -> Decision:
        """Automatic mode; the base model has no answer without a prompt."""
        part = "validation" if self.feeds.split.val else "left-out training"
        judged = Judged("region", selected.ids, selected.groups, selected.scores, None, selected.objects, "Dice", part)
        decision = decide(judged)
        present = None if self.present is None else self.present.segmenter
        if self.present is None or present is None or not present.promptless or not present.maps:
            return decision
        by_id = {sample.id: sample for sample in self.feeds.samples}
        rows = [row for row, id in enumerate(selected.ids) if id not in self.present.learnt_from]
        scores = [region_dice(present, by_id[selected.ids[row]], self.feeds.classes, self.feeds.store) for row in rows]
        objects = sum(len(by_id[selected.ids[row]].of(self.feeds.classes)) for row in rows)
        new, groups = [selected.scores[row] for row in rows], [selected.groups[row] for row in rows]
        return against_present(decision, new, scores, groups, objects)

    def _promptless(self) -> list[Decision]:
        """The region of methods without prompts, where it is compared with the adapter in use."""
        feed = None if self.present is None else self.feeds.prompted_with(self._new_to_both(), "none", {})
        if feed is None or self.present is None or self.present.segmenter is None:
            return []
        new = validate(self.segmenter, feed, MASKS, self.device)
        present = validate(self.present.segmenter, feed, MASKS, self.device)
        groups = self._groups_of(new.images)
        decision = decide(Judged("region", new.images, groups, new.ious))
        return [against_present(decision, new.ious, present.ious, groups)]

    def _new_to_both(self) -> list[Sample]:
        learnt: frozenset[str] = frozenset() if self.present is None else self.present.learnt_from
        return [sample for sample in self._images if sample.id not in learnt]

    def _groups_of(self, images: Sequence[str]) -> tuple[str, ...]:
        return tuple(self._groups.get(id, id) for id in images)


def prompt_sources(segmenter: Segmenter) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Types of prompts that a segmenter is compared for, with the prompt source: its own, or click and box."""
    inference = segmenter.inference
    if not segmenter.learned():
        return {}  # the base model alone
    if inference.prompt is None:
        return {"click": ("mask-center", {}), "box": ("mask-box", {})}
    name = _TYPES.get(prompt_type(inference.prompt))
    return {} if name is None else {name: (inference.prompt, inference.prompt_options)}


def _region_figures(selected: SelectedInference) -> dict[str, Any]:
    figures: dict[str, Any] = {"region_dice": selected.dice, "region_dice_untiled": selected.untiled}
    figures |= {"region_images": selected.images, "region_objects": selected.objects}
    return figures | ({} if selected.interval is None else {"region_interval": selected.interval})


__all__ = ["Judge", "Present", "prompt_sources"]
