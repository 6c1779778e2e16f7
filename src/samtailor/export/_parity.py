"""Do the exported files answer as the segmenter does? Real prompts on synthetic images, onnxruntime against torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from samtailor.data.synth.samples import samples
from samtailor.data.transform import Frame
from samtailor.errors import SamtailorError
from samtailor.masks import interior
from samtailor.segmenter import Segmenter
from samtailor.structures import Features, Prompts, Sample

TOLERANCE = 1e-3
"""Largest difference of embedding, logits and predicted IoU, as a share of the largest value (at least of 1)."""


class ParityError(SamtailorError, RuntimeError):
    """An exported file answers differently from the adapter it was made of; nothing is written then."""


@dataclass(frozen=True)
class PromptBatch:
    """A prompt of the image frame.

    Args:
        points: (K, 2) clicks, pixels.
        labels: (K,) 1 or 0.
        box: (4,) or None.
        again: ask with the low-resolution answer to the question before as mask prompt.
    """

    points: np.ndarray
    labels: np.ndarray
    box: np.ndarray | None = None
    again: bool = False


def synthetic() -> list[Sample]:
    """Two scenes and a street with banners, whose sides differ."""
    return [*samples(2, 7, kind="scenes"), *samples(1, 7, kind="banners", size=(180, 240))]


def prompt_batches(sample: Sample, objects: int = 2) -> Iterator[PromptBatch]:
    """Clicks (1 to 5, on and beside the object), boxes, both, and each with the earlier mask, for some objects."""
    rng = np.random.default_rng(0)
    for annotation in sample.of(None)[:objects]:
        mask = annotation.mask
        inside = np.argwhere(mask)[:, ::-1]
        outside = np.argwhere(~mask)[:, ::-1]
        centre, box = np.array([interior.center(mask)]), np.array(annotation.box)
        yield PromptBatch(centre, np.ones(1))
        yield PromptBatch(centre, np.ones(1), again=True)
        for on, off in ((1, 1), (2, 1), (3, 1), (3, 2)):
            points = np.concatenate([rng.choice(inside, on), rng.choice(outside, off)])
            yield PromptBatch(points, np.repeat([1.0, 0.0], (on, off)))
        yield PromptBatch(points, np.repeat([1.0, 0.0], (on, off)), again=True)
        yield PromptBatch(np.zeros((0, 2)), np.zeros(0), box)
        yield PromptBatch(np.zeros((0, 2)), np.zeros(0), box, again=True)
        yield PromptBatch(np.concatenate([centre, outside[:1]]), np.array([1.0, 0.0]), box)


class Files:
    """An encoder and a decoder file behind onnxruntime.

    Args:
        encoder, decoder: the files.
        segmenter: what they were made of; tells the geometry.
        pads: the decoder adds the padding point itself (SAM 2).
    """

    def __init__(self, encoder: Path, decoder: Path, segmenter: Segmenter, pads: bool) -> None:
        self._encoder, self._decoder = session(encoder), session(decoder)
        self.base, self.pads = segmenter.base, pads

    def encode(self, image: np.ndarray) -> list[np.ndarray]:
        """The encoder's outputs, in the order in which the decoder takes them."""
        frame = Frame.of(self.base, *image.shape[:2])
        if self.pads:
            found = self._encoder.run(None, {"image": frame.image(image, self.base)[None].numpy()})
            return [found[2], found[0], found[1]]
        height, width = frame.inner
        resized = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR), np.float32)
        return self._encoder.run(None, {"input_image": resized})

    def decode(
        self, embedding: Sequence[np.ndarray], question: PromptBatch, frame: Frame, mask: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Low-resolution logits (M, h, w), predicted IoU (M,), and the full-size logits where the contract has them."""
        coords, labels = corners(question, frame, pad=not self.pads)
        side = self.base.low_res
        given = np.zeros((1, 1, side, side), np.float32) if mask is None else mask[None, None]
        names = [one.name for one in self._decoder.get_inputs()]
        fed: list[Any] = [*embedding, coords[None], labels[None], given, np.full(1, mask is not None, np.float32)]
        fed += [] if self.pads else [np.array([frame.height, frame.width], np.float32)]
        found = self._decoder.run(None, dict(zip(names, fed, strict=True)))
        low = found[0] if self.pads else found[2]
        return low[0], found[1][0], None if self.pads else found[0][0]

    def mask(self, embedding: Sequence[np.ndarray], question: PromptBatch, frame: Frame) -> np.ndarray:
        """bool (height, width): the best answer at the image's own size, without a mask prompt."""
        low, scores, _ = self.decode(embedding, question, frame, None)
        best = torch.from_numpy(low[int(scores.argmax())])
        return (frame.logits(best[None, None])[0, 0] > 0).numpy()


def corners(question: PromptBatch, frame: Frame, *, pad: bool) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 2) of the model frame and labels (N,), a box as two of label 2 and 3, padding where SAM 1 needs it."""
    points, labels = question.points.astype(np.float32).reshape(-1, 2), question.labels
    if question.box is not None:
        points = np.concatenate([points, question.box.reshape(2, 2)])
        labels = np.concatenate([labels, [2, 3]])
    coords = frame.points(points).numpy()
    if pad and question.box is None:
        coords, labels = np.concatenate([coords, np.zeros((1, 2))]), np.concatenate([labels, [-1]])
    return coords.astype(np.float32), labels.astype(np.float32)


def session(file: Path) -> Any:
    """An onnxruntime session on the CPU, one thread, errors only."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


@torch.no_grad()
def compare(files: Files, segmenter: Segmenter, images: Sequence[Sample], tolerance: float = TOLERANCE) -> dict:
    """Largest differences over all questions; the whole way, from pixels through both files.

    Raises:
        ParityError: one is above the tolerance.
    """
    largest = {"embedding": 0.0, "logits": 0.0, "predicted_iou": 0.0}
    asked = 0
    for sample in images:
        image = sample.image
        frame = Frame.of(segmenter.base, *image.shape[:2])
        features = segmenter.model.encode_image(frame.image(image, segmenter.base)[None])
        embedding = files.encode(image)
        for own, theirs in zip(embedding, (features.main, *features.skips), strict=True):
            largest["embedding"] = max(largest["embedding"], _difference(own, theirs.numpy()))
        earlier = None
        for question in prompt_batches(sample):
            mask = earlier if question.again else None
            low, iou, full = files.decode(embedding, question, frame, mask)
            expected, scores = answer(segmenter, features, question, frame, mask)
            logits, score = _apart(low, iou, full, expected, scores, frame, tolerance)
            largest["logits"], largest["predicted_iou"] = (
                max(largest["logits"], logits),
                max(largest["predicted_iou"], score),
            )
            earlier, asked = expected[int(scores.argmax())].numpy(), asked + 1
    worst = max(largest, key=lambda name: largest[name])
    if not all(np.isfinite(v) for v in largest.values()) or largest[worst] > tolerance:
        raise ParityError(
            f"The ONNX files answer differently from the adapter: {worst} differs by {largest[worst]:.2g} of its "
            f"largest value, {tolerance:g} is allowed. Nothing is written. Please report this with the versions of "
            "torch, transformers and onnxruntime."
        )
    return {"tolerance": tolerance, "largest_difference": largest, "prompts": asked, "images": len(images)}


@torch.no_grad()
def answer(
    segmenter: Segmenter, features: Features, question: PromptBatch, frame: Frame, mask: np.ndarray | None
) -> tuple[Tensor, Tensor]:
    """torch's candidates: low-resolution logits (M, h, w) and predicted IoU (M,)."""
    masks = None if mask is None else torch.from_numpy(mask)[None, None]
    size = (frame.size, frame.size)
    prompts = Prompts(size, masks=masks)
    if segmenter.inference.prompt != "none":
        points = frame.points(question.points.astype(np.float32))[None, None] if len(question.points) else None
        labels = torch.from_numpy(question.labels.astype(np.int64))[None, None] if len(question.points) else None
        boxes = None if question.box is None else frame.boxes(question.box.astype(np.float32))[None, None]
        prompts = replace(prompts, points=points, labels=labels, boxes=boxes)
    output = segmenter.decode(features, prompts)
    return output.candidate_logits()[0, 0], output.candidate_iou()[0, 0]


def _apart(
    low: np.ndarray,
    iou: np.ndarray,
    full: np.ndarray | None,
    expected: Tensor,
    scores: Tensor,
    frame: Frame,
    tolerance: float,
) -> tuple[float, float]:
    """Differences of logits and predicted IoU. A single mask may be either of two candidates that score alike."""
    rows = torch.arange(len(scores))
    if len(low) < len(scores):
        rows = torch.nonzero(scores >= scores.max() - tolerance)[:, 0]
        differences = [_difference(low[0], expected[row].numpy()) for row in rows]
        rows = rows[[int(np.argmin(differences))]]
    logits = _difference(low, expected[rows].numpy())
    if full is not None:
        logits = max(logits, _difference(full, frame.logits(expected[rows][None])[0].numpy()))
    return logits, _difference(iou, scores[rows].numpy())


def _difference(own: np.ndarray, theirs: np.ndarray) -> float:
    if own.shape != theirs.shape:
        raise ParityError(f"The ONNX files answer in the shape {own.shape}, the adapter in {theirs.shape}.")
    return float(np.abs(own - theirs).max() / max(1.0, float(np.abs(theirs).max())))


__all__ = [
    "TOLERANCE",
    "Files",
    "ParityError",
    "PromptBatch",
    "answer",
    "compare",
    "prompt_batches",
    "session",
    "synthetic",
]
