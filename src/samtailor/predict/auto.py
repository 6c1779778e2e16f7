"""What is asked of an image when no human asks: an adapter's learnt proposals, a detector, or the adapter by itself.

A `Proposer` looks at the image that is set on a predictor and gives what to ask; an empty list says that nothing is
there, and then nothing is answered. Who is asked with points and who with boxes: adapters that were fitted on clicks
get points, those that were fitted on boxes and the bare base get boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from samtailor import artefact
from samtailor.cache.detections import DetectionCache
from samtailor.errors import InputError
from samtailor.masks import interior
from samtailor.masks.contours import connected
from samtailor.predict.predictor import Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.prompts import prompt_type
from samtailor.proposals import GIVES, Proposals, disk
from samtailor.proposals.detectors import make, open_source
from samtailor.structures import Annotation, Prompts

Proposer = Callable[[Predictor, np.ndarray], list[ObjectPrompt]]
GROWN = (1.0, 1.5)
"""Sizes in which a learnt box is asked for where doubles are sorted out after (`instances.mask_nms`). A head that saw
few objects points well and measures badly; of its two masks the one of higher predicted IoU stays."""
CUT = 0.5
"""Probability from which on a pixel of a map is of the object."""
DETECTED = 0.25
"""Lowest score of a detection that counts as found."""


def by_proposals(
    proposals: Proposals,
    *,
    give: str | None = None,
    threshold: float | None = None,
    sizes: Sequence[float] = (1.0,),
) -> Proposer:
    """Ask for what an adapter's learnt proposals find.

    Args:
        proposals: of the adapter.
        give: "points" or "boxes"; None takes what they were made for.
        threshold: lowest score; None takes each class's own.
        sizes: factors of each box, asked for apart; see `GROWN`.
    """
    boxed = (give or proposals.give) == "boxes"

    def propose(predictor: Predictor, image: np.ndarray) -> list[ObjectPrompt]:
        found = proposals.propose(predictor.features, predictor.frame, threshold=threshold)
        rows = zip(found.boxes, found.points, found.scores, found.labels, strict=True)
        frame = predictor.frame
        return [
            _ask(_grown(box, factor, frame.height, frame.width) if boxed else None, point, score, label)
            for box, point, score, label in rows
            for factor in (sizes if boxed else (1.0,))
        ]

    return propose


def by_detector(
    store: DetectionCache,
    *,
    classes: Sequence[str] | None = None,
    threshold: float = DETECTED,
    pick: str = "all",
    give: str = "boxes",
) -> Proposer:
    """Ask for what a detector finds; a point is the middle of its box.

    Args:
        store: the detector with its cache.
        classes: only these of its classes.
        threshold: lowest score.
        pick: "all", or "best": the one of highest score (AM-SAM).
        give: "boxes" or "points".
    """

    def propose(predictor: Predictor, image: np.ndarray) -> list[ObjectPrompt]:
        found = store(image).kept(threshold, classes)
        found = found.pick([0]) if pick == "best" and len(found) else found
        middles = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2 - 0.5
        rows = zip(found.boxes, np.maximum(middles, 0), found.scores, found.labels, strict=True)
        return [_ask(box if give == "boxes" else None, point, score, label) for box, point, score, label in rows]

    return propose


def by_itself(label: str | None) -> Proposer:
    """Ask once without a prompt, as adapters are asked that were fitted so (BLO-SAM, SAMed)."""
    return lambda predictor, image: [ObjectPrompt(promptless=True, label=label)]


def by_map(adapter: str, label: str | None, *, threshold: float | None = None) -> Proposer:
    """Give each connected part of an adapter's map (`tailor`) as an object.

    The decoder is not asked again: a click at the part's centre says less than the map knows (docs/research/tailor.md). Objects
    that touch are one part; learnt proposals tell them apart.

    Args:
        adapter: its name in the predictor.
        label: its class.
        threshold: lowest score, the mean probability of the part's pixels; None, and whatever is below 0.5, takes all
            parts: the map is cut at 0.5.
    """
    least = CUT if threshold is None else threshold

    def propose(predictor: Predictor, image: np.ndarray) -> list[ObjectPrompt]:
        frame = predictor.frame
        output = predictor.decode(Prompts((frame.height, frame.width), count=(1, 1)), adapter)
        chance = frame.logits(output.candidate_logits()[0])[0, 0].sigmoid().cpu().numpy()
        asks, min_area = [], predictor.segmenter(adapter).inference.min_area(frame.height, frame.width)
        for part in connected(chance > CUT):
            score = float(chance[part].mean())
            if np.count_nonzero(part) >= min_area and score >= least:
                ask = _ask(None, np.array(interior.center(part)), score, label)
                asks.append(replace(ask, mask_rle=Annotation.from_mask("", part).rle))
        return sorted(asks, key=lambda ask: -ask.score)

    return propose


def proposer(
    predictor: Predictor,
    adapter: str | None,
    folder: str | Path | None,
    *,
    detector: str | None = None,
    classes: Sequence[str] | None = None,
    threshold: float | None = None,
    give: str | None = None,
    sizes: Sequence[float] = (1.0,),
) -> Proposer:
    """What asks for an adapter: a given detector, else its own proposals, else what it was fitted with.

    Args:
        predictor: with the adapter loaded.
        adapter: its name; None for the base alone.
        folder: of the adapter, or its hub id.
        detector: ONNX file, .pt file of ultralytics, or hub id or folder of transformers.
        classes: of the detector; for a detector that takes a text, the text.
        threshold: lowest score.
        give: "points" or "boxes"; None: see the head of this file.
        sizes: of learnt boxes, see `GROWN`.

    Raises:
        InputError: nothing is there that could ask.
    """
    segmenter = None if adapter is None else predictor.segmenter(adapter)
    give = give or gives(None if segmenter is None else segmenter.inference.prompt, adapter is not None)
    if give not in GIVES:
        raise InputError(f"give must be one of {', '.join(GIVES)}, got {give!r}.")
    least = {} if threshold is None else {"threshold": threshold}
    if detector is not None:
        store, known = open_detector(detector, classes)
        return by_detector(store, classes=known, give=give, **least)
    folder = None if folder is None else artefact.folder_of(folder)
    if folder is not None and disk.exists(folder):
        return by_proposals(disk.load(folder, predictor.base), give=give, sizes=sizes, **least)
    fitted = None if segmenter is None else segmenter.inference.prompt
    if segmenter is not None and segmenter.by_itself:
        labels = artefact.read_meta(folder).classes if folder is not None else ()
        return by_itself(labels[0] if len(labels) == 1 else None)
    if segmenter is not None and adapter is not None and segmenter.promptless:
        labels = artefact.read_meta(folder).classes if folder is not None else ()
        return by_map(adapter, labels[0] if len(labels) == 1 else None, threshold=threshold)
    if fitted == "detector":
        return _as_fitted(dict(segmenter.inference.prompt_options), least)
    raise InputError(
        "Nothing here can propose where to look. Train proposals for the adapter with samtailor propose-fit DATA "
        "--adapter DIR, or give a detector: --detector FILE.onnx."
    )


def thresholds(
    predictor: Predictor,
    adapter: str | None,
    folder: str | Path | None,
    *,
    detector: str | None = None,
    threshold: float | None = None,
) -> Callable[[str | None], float]:
    """Class to the score from which on `proposer`, with the same arguments, takes something for found."""
    if threshold is not None:
        return lambda label: threshold
    if detector is not None:
        return lambda label: DETECTED
    folder = None if folder is None else artefact.folder_of(folder)
    if folder is not None and disk.exists(folder):
        own = disk.read_meta(folder).thresholds
        return lambda label: own[label]
    segmenter = None if adapter is None else predictor.segmenter(adapter)
    if segmenter is None or segmenter.inference.prompt != "detector":
        return lambda label: 0.0
    least = segmenter.inference.prompt_options.get("threshold", DETECTED)
    return lambda label: least


def tiles_of(folder: str | Path | None) -> int:
    """Tiles a side in which an adapter's proposals look, see `instances`; 1 without proposals."""
    folder = None if folder is None else artefact.folder_of(folder)
    return disk.read_meta(folder).tiles if folder is not None and disk.exists(folder) else 1


def gives(prompt: str | None, fitted: bool = True) -> str:
    """ "points" or "boxes" for an adapter that was fitted with a prompt source; boxes for the base alone."""
    if not fitted:
        return "boxes"
    return "boxes" if prompt is not None and prompt_type(prompt) == "boxes" else "points"


def open_detector(source: str, classes: Sequence[str] | None) -> tuple[DetectionCache, Sequence[str] | None]:
    """A detector by its file or name, and the classes to keep of it."""
    detector, classes = open_source(source, classes)
    return DetectionCache(detector), classes


def _as_fitted(options: dict[str, Any], least: dict[str, float]) -> Proposer:
    """The detector that an adapter was fitted with."""
    made = make(options.get("detector", "onnx"), options.get("weights"), options.get("settings"))
    asked = {name: options[name] for name in ("classes", "threshold", "pick") if options.get(name) is not None}
    return by_detector(DetectionCache(made, options.get("cache")), **({"pick": "best"} | asked | least))


def _grown(box: np.ndarray, factor: float, height: int, width: int) -> np.ndarray:
    """A box about its middle, within the image."""
    middle, reach = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * factor
    return np.clip(np.concatenate([middle - reach, middle + reach]), 0, [width, height] * 2)


def _ask(box: np.ndarray | None, point: np.ndarray, score: float, label: str) -> ObjectPrompt:
    if box is not None:
        return ObjectPrompt(box=tuple(float(v) for v in box), label=label, score=float(score))
    return ObjectPrompt(clicks=((float(point[0]), float(point[1]), 1),), label=label, score=float(score))


__all__ = [
    "DETECTED",
    "GROWN",
    "Proposer",
    "by_detector",
    "by_itself",
    "by_map",
    "by_proposals",
    "gives",
    "open_detector",
    "proposer",
    "thresholds",
    "tiles_of",
]  # fmt: skip
