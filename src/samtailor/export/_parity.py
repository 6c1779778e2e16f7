"""Compare the exported files in onnxruntime with the segmenter in torch, on real prompts and synthetic images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from samtailor.bases.companions import companion_maps
from samtailor.data.synth.samples import samples
from samtailor.data.transform import Frame
from samtailor.errors import SamtailorError
from samtailor.export._encoder_graphs import SAM2_INPUT
from samtailor.masks import interior
from samtailor.segmenter import Segmenter
from samtailor.structures import Features, Prompts, Sample

TOLERANCE = 1e-3
"""Largest allowed difference of embedding, logits and predicted IoU, relative to the largest value (at least 1)."""


class ParityError(SamtailorError, RuntimeError):
    """An exported file does not reproduce the adapter; nothing is written."""


@dataclass(frozen=True)
class ParityPrompt:
    """A prompt in the image frame.

    Args:
        points: (K, 2) clicks, pixels.
        labels: (K,) 1 or 0.
        box: (4,) or None.
        with_mask: add the low-resolution logits of the previous prompt as mask prompt.
    """

    points: np.ndarray
    labels: np.ndarray
    box: np.ndarray | None = None
    with_mask: bool = False


def synthetic() -> list[Sample]:
    """Two scenes and a street with banners, of different aspect ratios."""
    return [*samples(2, 7, kind="scenes"), *samples(1, 7, kind="banners", size=(180, 240))]


def parity_prompts(sample: Sample, objects: int = 2) -> Iterator[ParityPrompt]:
    """Clicks (1 to 5, on the object and the background), boxes, both, and each with a mask prompt, for some objects."""
    rng = np.random.default_rng(0)
    for annotation in sample.of(None)[:objects]:
        mask = annotation.mask
        inside = np.argwhere(mask)[:, ::-1]
        outside = np.argwhere(~mask)[:, ::-1]
        center, box = np.array([interior.center(mask)]), np.array(annotation.box)
        yield ParityPrompt(center, np.ones(1))
        yield ParityPrompt(center, np.ones(1), with_mask=True)
        for on, off in ((1, 1), (2, 1), (3, 1), (3, 2)):
            points = np.concatenate([rng.choice(inside, on), rng.choice(outside, off)])
            yield ParityPrompt(points, np.repeat([1.0, 0.0], (on, off)))
        yield ParityPrompt(points, np.repeat([1.0, 0.0], (on, off)), with_mask=True)
        yield ParityPrompt(np.zeros((0, 2)), np.zeros(0), box)
        yield ParityPrompt(np.zeros((0, 2)), np.zeros(0), box, with_mask=True)
        yield ParityPrompt(np.concatenate([center, outside[:1]]), np.array([1.0, 0.0]), box)


class Files:
    """An encoder and a decoder file, run by onnxruntime.

    Args:
        encoder, decoder: the files.
        segmenter: that was exported.
        pads: the decoder adds the padding point itself (SAM 2).
    """

    def __init__(self, encoder: Path, decoder: Path, segmenter: Segmenter, pads: bool) -> None:
        self._encoder, self._decoder = session(encoder), session(decoder)
        self.base, self.pads = segmenter.base, pads

    def encode(self, image: np.ndarray) -> list[np.ndarray]:
        """Outputs of the encoder, in the order of the decoder's inputs."""
        frame = Frame.of(self.base, *image.shape[:2])
        if self.pads:
            high0, high1, embed = self._encoder.run(None, {"image": frame.image(image, SAM2_INPUT)[None].numpy()})
            return [embed, high0, high1]
        height, width = frame.inner
        resized = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR), np.float32)
        return self._encoder.run(None, {"input_image": resized})

    def decode(
        self, embedding: Sequence[np.ndarray], prompt: ParityPrompt, frame: Frame, mask: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Low-resolution logits (M, h, w), predicted IoU (M,), and logits at the size of the image (SAM 1 only)."""
        coords, labels = corners(prompt, frame, pad=not self.pads)
        side = self.base.low_res
        masks = np.zeros((1, 1, side, side), np.float32) if mask is None else mask[None, None]
        names = [one.name for one in self._decoder.get_inputs()]
        fed: list[Any] = [*embedding, coords[None], labels[None], masks, np.full(1, mask is not None, np.float32)]
        fed += [] if self.pads else [np.array([frame.height, frame.width], np.float32)]
        outputs = self._decoder.run(None, dict(zip(names, fed, strict=True)))
        low = outputs[0] if self.pads else outputs[2]
        return low[0], outputs[1][0], None if self.pads else outputs[0][0]

    def mask(self, embedding: Sequence[np.ndarray], prompt: ParityPrompt, frame: Frame) -> np.ndarray:
        """bool (height, width): the best mask at the size of the image, without a mask prompt."""
        low, scores, _ = self.decode(embedding, prompt, frame, None)
        best = torch.from_numpy(low[int(scores.argmax())])
        return (frame.logits(best[None, None])[0, 0] > 0).numpy()


def corners(prompt: ParityPrompt, frame: Frame, *, pad: bool) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 2) in the model frame with labels (N,): a box is two points of labels 2 and 3, padding is -1."""
    points, labels = prompt.points.astype(np.float32).reshape(-1, 2), prompt.labels
    if prompt.box is not None:
        points = np.concatenate([points, prompt.box.reshape(2, 2)])
        labels = np.concatenate([labels, [2, 3]])
    coords = frame.points(points).numpy()
    if pad and prompt.box is None:
        coords, labels = np.concatenate([coords, np.zeros((1, 2))]), np.concatenate([labels, [-1]])
    return coords.astype(np.float32), labels.astype(np.float32)


def session(file: Path) -> Any:
    """An onnxruntime session on the CPU, one thread, errors only."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


@torch.no_grad()
def compare(
    files: Files, segmenter: Segmenter, images: Sequence[Sample], tolerance: float = TOLERANCE
) -> dict[str, Any]:
    """Largest differences over all prompts, from pixels through both files.

    Raises:
        ParityError: one is above the tolerance.
    """
    largest = {"embedding": 0.0, "logits": 0.0, "predicted_iou": 0.0}
    count = 0
    for sample in images:
        image = sample.image
        frame = Frame.of(segmenter.base, *image.shape[:2])
        pixels = frame.image(image, segmenter.base)[None]
        features = segmenter.model.encode_image(pixels)
        maps = {one.fingerprint: companion_maps(one, segmenter.base, pixels) for one in segmenter.companions}
        features = replace(features, companions=maps)
        embedding = files.encode(image)
        # with a companion the region map is behind the channels of the embedding; the logits of masks verify it
        embedded = [embedding[0][:, : segmenter.base.dim], *embedding[1:]]
        for exported, expected in zip(embedded, (features.main, *features.skips), strict=True):
            largest["embedding"] = max(largest["embedding"], _difference(exported, expected.numpy()))
        previous: np.ndarray | None = None
        for prompt in parity_prompts(sample):
            mask = previous if prompt.with_mask else None
            low, iou, full = files.decode(embedding, prompt, frame, mask)
            candidates, scores = decode(segmenter, features, prompt, frame, mask)
            logits, score = _differences(low, iou, full, candidates, scores, frame, tolerance)
            largest["logits"], largest["predicted_iou"] = (
                max(largest["logits"], logits),
                max(largest["predicted_iou"], score),
            )
            previous, count = candidates[int(scores.argmax())].numpy(), count + 1
    worst = max(largest, key=lambda name: largest[name])
    if not all(np.isfinite(v) for v in largest.values()) or largest[worst] > tolerance:
        raise ParityError(
            f"The ONNX files differ from the adapter: {worst} differs by {largest[worst]:.2g} of its largest value, "
            f"{tolerance:g} is allowed. Nothing was written. Please report this with the versions of "
            "torch, transformers and onnxruntime."
        )
    return {"tolerance": tolerance, "largest_difference": largest, "prompts": count, "images": len(images)}


@torch.no_grad()
def decode(
    segmenter: Segmenter, features: Features, prompt: ParityPrompt, frame: Frame, mask: np.ndarray | None
) -> tuple[Tensor, Tensor]:
    """Candidates in torch: low-resolution logits (M, h, w) and predicted IoU (M,)."""
    masks = None if mask is None else torch.from_numpy(mask)[None, None]
    size = (frame.size, frame.size)
    prompts = Prompts(size, masks=masks)
    if segmenter.inference.prompt != "none":
        points = frame.points(prompt.points.astype(np.float32))[None, None] if len(prompt.points) else None
        labels = torch.from_numpy(prompt.labels.astype(np.int64))[None, None] if len(prompt.points) else None
        boxes = None if prompt.box is None else frame.boxes(prompt.box.astype(np.float32))[None, None]
        prompts = replace(prompts, points=points, labels=labels, boxes=boxes)
    output = segmenter.decode(features, prompts)
    return output.candidate_logits()[0, 0], output.candidate_iou()[0, 0]


def _differences(
    low: np.ndarray,
    iou: np.ndarray,
    full: np.ndarray | None,
    expected: Tensor,
    scores: Tensor,
    frame: Frame,
    tolerance: float,
) -> tuple[float, float]:
    """Differences of logits and predicted IoU; a single mask may be either of two candidates with equal scores."""
    rows = torch.arange(len(scores))
    if len(low) < len(scores):
        rows = torch.nonzero(scores >= scores.max() - tolerance)[:, 0]
        differences = [_difference(low[0], expected[row].numpy()) for row in rows]
        rows = rows[[int(np.argmin(differences))]]
    logits = _difference(low, expected[rows].numpy())
    if full is not None:
        logits = max(logits, _difference(full, frame.logits(expected[rows][None])[0].numpy()))
    return logits, _difference(iou, scores[rows].numpy())


def _difference(exported: np.ndarray, expected: np.ndarray) -> float:
    if exported.shape != expected.shape:
        raise ParityError(f"The output of the ONNX files has shape {exported.shape}, expected {expected.shape}.")
    return float(np.abs(exported - expected).max() / max(1.0, float(np.abs(expected).max())))


__all__ = [
    "TOLERANCE",
    "Files",
    "ParityError",
    "ParityPrompt",
    "compare",
    "decode",
    "parity_prompts",
    "session",
    "synthetic",
]
