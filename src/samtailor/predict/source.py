"""Which prompt source an adapter uses in automatic mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from samtailor import artefact
from samtailor.errors import InputError
from samtailor.predict import auto
from samtailor.predict.auto import Proposer
from samtailor.predict.postprocessing import of_automatic
from samtailor.predict.predictor import Predictor
from samtailor.proposals import GIVES, Proposals, disk
from samtailor.segmenter import Segmenter
from samtailor.structures import NOTHING, Postprocess


def _accept_all(label: str | None) -> float:
    return 0.0


@dataclass(frozen=True)
class AdapterSource:
    """An adapter, or the base, with the prompt source that is used in automatic mode.

    Args:
        adapter: name in the predictor; None is the base.
        propose: proposes prompts on an image.
        label: class of all its predictions; None: the class of the proposal, else the name of the adapter.
        refine: refine outlines with the adapter's PMM.
        tiles: tiles per side that are searched besides the whole image; 1 for none (see `instances`).
        threshold: class to the lowest score of an accepted proposal, in [0, 1]. `propose` may return proposals below
            it, which count for the ranking only (average precision).
        postprocess: what is done to the mask of each object, after duplicates have been dropped.
        exclusive: pairs of classes that compete for a pixel, see `competition`.
    """

    adapter: str | None
    propose: Proposer
    label: str | None = None
    refine: bool = False
    tiles: int = 1
    threshold: Callable[[str | None], float] = _accept_all
    postprocess: Postprocess = NOTHING
    exclusive: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(
        cls,
        predictor: Predictor,
        adapter: str | None,
        folder: str | Path | None,
        *,
        detector: str | None = None,
        classes: Sequence[str] | None = None,
        threshold: float | None = None,
        lowest: float | None = None,
        prompt_type: str | None = None,
        label: str | None = None,
        refine: bool = False,
    ) -> AdapterSource:
        """Choose the prompt source: the given detector, else learned proposals, else what the adapter was fitted with.

        Args:
            predictor: with the adapter loaded.
            adapter: its name; None for the base alone.
            folder: of the adapter, or its hub id; proposals in it are also used for the base.
            detector: ONNX file, .pt file of ultralytics, or hub id or folder of transformers.
            classes: of the detector; for a detector with a text prompt, the text.
            threshold: lowest score of an accepted proposal; None: the threshold of each class.
            lowest: lowest score of a proposal; None: `threshold`.
            prompt_type: "points" or "boxes"; None: the type that the proposals were trained for, or the adapter was
                fitted on; boxes for the base.
            label, refine: see the class.

        Raises:
            InputError: the adapter has no prompt source, or an unknown prompt type.
        """
        if prompt_type is not None and prompt_type not in GIVES:
            raise InputError(f"prompt_type must be one of {', '.join(GIVES)}, got {prompt_type!r}.")
        segmenter = None if adapter is None else predictor.segmenter(adapter)
        lowest = threshold if lowest is None else lowest
        source = _Source(segmenter, adapter, None if folder is None else artefact.folder_of(folder), prompt_type)
        if detector is not None:
            propose, accept = source.from_detector(detector, classes, lowest), _always(auto.DETECTION_THRESHOLD)
        else:
            propose, accept = source.from_adapter(predictor, lowest), source.thresholds()
        if threshold is not None:
            accept = _always(threshold)
        tiles = source.tiles if detector is None else 1
        how = of_automatic(segmenter, proposed=detector is not None or source.has_proposals)
        if detector is None and source.base_segments:
            adapter = None
        exclusive = () if segmenter is None else segmenter.inference.exclusive
        return cls(adapter, propose, label, refine, tiles, accept, how, exclusive)


def adapter_proposer(
    adapter: str | None,
    *,
    proposals: Proposals | None,
    promptless: bool,
    by_itself: bool,
    classes: Sequence[str],
    threshold: float | None = None,
    prompt_type: str | None = None,
) -> Proposer | None:
    """The prompt source that is part of an adapter: learned proposals, else its prediction without a prompt.

    Opens no file, and no detector.

    Args:
        adapter: name in the predictor; None is the base.
        proposals: learned proposals, if there are any.
        promptless, by_itself: as of `Segmenter`.
        classes: of the adapter.
        threshold: lowest score; None: the threshold of each class.
        prompt_type: "points" or "boxes"; None: the type that the proposals were trained for.

    Returns:
        None if the adapter has neither.
    """
    if proposals is not None:
        return auto.by_proposals(proposals, prompt_type=prompt_type, threshold=threshold)
    if adapter is None or not promptless:
        return None
    label = classes[0] if len(classes) == 1 else None
    return (auto.promptless if by_itself else auto.by_map)(adapter, label, threshold=threshold)


@dataclass(frozen=True)
class _Source:
    """What `AdapterSource.of` chooses from."""

    segmenter: Segmenter | None
    adapter: str | None
    folder: Path | None
    prompt_type: str | None

    @property
    def tiles(self) -> int:
        folder = self._proposals
        return 1 if folder is None else disk.read_meta(folder).tiles

    @property
    def has_proposals(self) -> bool:
        """Whether there are learned proposals."""
        return self._proposals is not None

    @property
    def base_segments(self) -> bool:
        """Whether the base model segments the objects of the proposals, since the adapter is not better at it."""
        learned = self.segmenter is not None and self._proposals is not None
        return learned and self.segmenter is not None and self.segmenter.inference.base_instances

    @property
    def _proposals(self) -> Path | None:
        """The folder, if it has learned proposals."""
        return self.folder if self.folder is not None and disk.exists(self.folder) else None

    def from_detector(self, detector: str, classes: Sequence[str] | None, lowest: float | None) -> Proposer:
        detections, kept = auto.open_detector(detector, classes)
        fitted = "boxes" if self.segmenter is None else auto.prompt_type_of(self.segmenter.inference.prompt)
        least = auto.DETECTION_THRESHOLD if lowest is None else lowest
        return auto.by_detector(detections, classes=kept, prompt_type=self.prompt_type or fitted, threshold=least)

    def from_adapter(self, predictor: Predictor, lowest: float | None) -> Proposer:
        segmenter, folder = self.segmenter, self._proposals
        classes = () if segmenter is None or self.folder is None else artefact.read_meta(self.folder).classes
        propose = adapter_proposer(
            self.adapter,
            proposals=None if folder is None else disk.load(folder, predictor.base),
            promptless=segmenter is not None and segmenter.promptless,
            by_itself=segmenter is not None and segmenter.by_itself,
            classes=classes,
            threshold=lowest,
            prompt_type=self.prompt_type or ("boxes" if segmenter is None else None),
        )
        if propose is not None:
            return propose
        if segmenter is not None and segmenter.inference.prompt == "detector":
            return auto.by_fitted_detector(dict(segmenter.inference.prompt_options), lowest)
        raise InputError(
            "There is no prompt source for automatic mode. Train proposals for the adapter with samtailor propose-fit "
            "DATA --adapter DIR, or give a detector: --detector FILE.onnx."
        )

    def thresholds(self) -> Callable[[str | None], float]:
        """Class to the lowest accepted score where none is given."""
        if (folder := self._proposals) is not None:
            by_class: dict[str | None, float] = {k: v for k, v in disk.read_meta(folder).thresholds.items()}
            return lambda label: by_class[label]
        if self.segmenter is None:
            return _accept_all
        if self.segmenter.inference.prompt != "detector":
            return _always(self.segmenter.inference.part_threshold)
        return _always(self.segmenter.inference.prompt_options.get("threshold", auto.DETECTION_THRESHOLD))


def _always(threshold: float) -> Callable[[str | None], float]:
    return lambda label: threshold


__all__ = ["AdapterSource", "adapter_proposer"]
