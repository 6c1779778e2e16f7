"""Prompt sources for automatic mode: learned proposals, a detector, or the adapter's own prediction without a prompt.

A `Proposer` takes the current image of a predictor and returns prompts; an empty list means that the image has no
object. Adapters that were fitted on clicks are prompted with points; those fitted on boxes, and the base model, with
boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from samtailor.cache.detections import DetectionCache
from samtailor.masks import interior
from samtailor.masks.contours import connected
from samtailor.masks.postprocess import postprocessed
from samtailor.predict.competition import CERTAIN
from samtailor.predict.predictor import Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.prompts import prompt_type
from samtailor.proposals import Proposals
from samtailor.proposals.detectors import make, open_source
from samtailor.structures import Annotation, Prompts, Sample

Proposer = Callable[[Predictor, Sample | np.ndarray], list[ObjectPrompt]]
"""Function of a predictor, on which the image is set, and the image itself (a sample or uint8 RGB)."""
BOX_SCALES = (1.0, 1.5)
"""Sizes of the box prompts of each learned proposal, relative to its box. Proposals trained on few objects are better
at points than at sizes; of the two masks, non-maximum suppression keeps the one with the higher predicted IoU."""
MAP_THRESHOLD = 0.5
"""Probability above which a pixel of a region map belongs to the object."""
DETECTION_THRESHOLD = 0.25
"""Default lowest score of a detection."""


def by_proposals(
    proposals: Proposals,
    *,
    prompt_type: str | None = None,
    threshold: float | None = None,
    scales: Sequence[float] = BOX_SCALES,
) -> Proposer:
    """Prompts from an adapter's learned proposals.

    Args:
        proposals: of the adapter.
        prompt_type: "points" or "boxes"; None: the type that they were trained for.
        threshold: lowest score, in [0, 1]; None: the threshold of each class.
        scales: factors of the box sizes, one prompt each; see `BOX_SCALES`.
    """
    boxed = (prompt_type or proposals.give) == "boxes"

    def propose(predictor: Predictor, image: Sample | np.ndarray) -> list[ObjectPrompt]:
        frame = predictor.frame
        proposed = proposals.propose(predictor.with_companions(proposals.companions), frame, threshold=threshold)
        rows = zip(proposed.boxes, proposed.points, proposed.scores, proposed.labels, strict=True)
        return [
            _prompt(scaled_box(box, factor, frame.height, frame.width) if boxed else None, point, score, label)
            for box, point, score, label in rows
            for factor in (scales if boxed else (1.0,))
        ]

    return propose


def by_detector(
    detections: DetectionCache,
    *,
    classes: Sequence[str] | None = None,
    threshold: float = DETECTION_THRESHOLD,
    pick: str = "all",
    prompt_type: str = "boxes",
) -> Proposer:
    """Prompts from a detector; a point prompt is the center of the box.

    Args:
        detections: the detector with its cache.
        classes: keep only these classes.
        threshold: lowest score, in [0, 1].
        pick: "all", or "best" for the detection with the highest score (AM-SAM).
        prompt_type: "boxes" or "points".
    """

    def propose(predictor: Predictor, image: Sample | np.ndarray) -> list[ObjectPrompt]:
        kept = detections(image).kept(threshold, classes)
        kept = kept.pick([0]) if pick == "best" and len(kept) else kept
        centers = np.maximum((kept.boxes[:, :2] + kept.boxes[:, 2:]) / 2 - 0.5, 0)
        rows = zip(kept.boxes, centers, kept.scores, kept.labels, strict=True)
        return [
            _prompt(box if prompt_type == "boxes" else None, point, score, label) for box, point, score, label in rows
        ]

    return propose


def promptless(adapter: str, label: str | None, *, threshold: float | None = None) -> Proposer:
    """One empty prompt, for adapters whose answer without a prompt is one object (BLO-SAM, SAMed, and maps that were
    fitted on images of one object).

    Where a fit has selected a lowest score (`InferenceSpec.part_threshold`), the map is one object with its score, as
    in `by_map`, or none.

    Args:
        adapter: its name in the predictor.
        label: its class.
        threshold: lowest score in place of the selected one.
    """
    scored = by_map(adapter, label, threshold=threshold, whole=True)

    def propose(predictor: Predictor, image: Sample | np.ndarray) -> list[ObjectPrompt]:
        if predictor.segmenter(adapter).inference.part_threshold > 0:
            return scored(predictor, image)
        return [ObjectPrompt(promptless=True, label=label)]

    return propose


def by_map(adapter: str, label: str | None, *, threshold: float | None = None, whole: bool = False) -> Proposer:
    """Each connected region of an adapter's map (method `tailor`) as one object, with its mask.

    The decoder is not run: a click at the center of the region has less information than the map.
    Objects that touch are one region; learned proposals can separate them.

    Args:
        adapter: its name in the predictor.
        label: its class.
        threshold: lowest score, which is the mean probability of those pixels of the region that the map is cut at
            (`part_score`). Every value below 0.5 keeps all regions, since the map is cut at 0.5. None: that of the
            adapter (`InferenceSpec.part_threshold`).
        whole: the map is one object, whatever its number of regions.
    """

    def propose(predictor: Predictor, image: Sample | np.ndarray) -> list[ObjectPrompt]:
        frame = predictor.frame
        output = predictor.decode(Prompts((frame.height, frame.width), count=(1, 1)), adapter)
        probability = frame.logits(output.candidate_logits()[0])[0, 0].sigmoid().cpu().numpy()
        inference = predictor.segmenter(adapter).inference
        certainty = np.round(CERTAIN * probability).astype(np.uint8) if inference.exclusive else None
        min_area = inference.min_area(frame.height, frame.width)
        lowest = inference.part_threshold if threshold is None else threshold
        predicted = probability > MAP_THRESHOLD
        scored: list[tuple[float, ObjectPrompt]] = []
        mask = postprocessed(predicted, inference.postprocess_of("region"))
        for region in [mask] if whole and mask.any() else connected(mask):
            score = part_score(region, predicted, probability)
            if np.count_nonzero(region) >= min_area and score >= lowest:
                prompt = _prompt(None, np.array(interior.center(region)), score, label)
                scored.append(
                    (score, replace(prompt, mask_rle=Annotation.from_mask("", region).rle, certainty=certainty))
                )
        return [prompt for _, prompt in sorted(scored, key=lambda row: -row[0])]

    return propose


def part_score(part: np.ndarray, predicted: np.ndarray, probability: np.ndarray) -> float:
    """Mean probability of the pixels of a part of a map that are above its threshold, in [0, 1].

    Args:
        part: bool (height, width), after postprocessing, which may have added pixels.
        predicted: bool, the mask before postprocessing.
        probability: of each pixel.
    """
    certain = part & predicted
    return float(probability[certain if certain.any() else part].mean())


def prompt_type_of(source: str | None) -> str:
    """ "points" or "boxes" for an adapter that was fitted with a prompt source; None is the default source, a click."""
    return "boxes" if source is not None and prompt_type(source) == "boxes" else "points"


def open_detector(source: str, classes: Sequence[str] | None) -> tuple[DetectionCache, Sequence[str] | None]:
    """Open a detector.

    Args:
        source: name of a detector, its weights file, or a hub id or folder of transformers.
        classes: classes to keep; for a detector with a text prompt, the text.

    Returns:
        the detector with its cache, and the classes by which to filter its detections.

    Raises:
        InputError: the detector has no such class.
    """
    detector, classes = open_source(source, classes)
    return DetectionCache(detector), classes


def by_fitted_detector(options: dict[str, Any], threshold: float | None = None) -> Proposer:
    """Prompts from the detector that an adapter was fitted with.

    Args:
        options: `prompt_options` of the adapter.
        threshold: lowest score; None: that of the options.
    """
    detector = make(options.get("detector", "onnx"), options.get("weights"), options.get("settings"))
    settings = {name: options[name] for name in ("classes", "threshold", "pick") if options.get(name) is not None}
    if threshold is not None:
        settings["threshold"] = threshold
    return by_detector(DetectionCache(detector, options.get("cache")), **({"pick": "best"} | settings))


def scaled_box(box: np.ndarray, factor: float, height: int, width: int) -> np.ndarray:
    """A box scaled about its center and clipped to the image."""
    center, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * factor
    return np.clip(np.concatenate([center - half, center + half]), 0, [width, height] * 2)


def _prompt(box: np.ndarray | None, point: np.ndarray, score: float, label: str | None) -> ObjectPrompt:
    if box is not None:
        x0, y0, x1, y1 = (float(v) for v in box)
        return ObjectPrompt(box=(x0, y0, x1, y1), label=label, score=float(score))
    return ObjectPrompt(clicks=((float(point[0]), float(point[1]), 1),), label=label, score=float(score))


__all__ = [
    "BOX_SCALES",
    "DETECTION_THRESHOLD",
    "Proposer",
    "by_detector",
    "by_fitted_detector",
    "by_map",
    "by_proposals",
    "open_detector",
    "part_score",
    "prompt_type_of",
    "promptless",
    "scaled_box",
]
