"""Masks for prompts: transformers' decoder against samtailor's, and whole images against a loop over transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from samtailor.bases import Base
from samtailor.bases.decoder import PromptDecoder
from samtailor.bench.machine import Machine, operations
from samtailor.bench.timing import Row, alternate, rows
from samtailor.cache.encoders import device_of, prepared
from samtailor.predict.batched import PROMPTS_PER_PASS
from samtailor.structures import Features, Prompts, Tokens

COUNTS = (1, 16, 256)
OBJECTS = 8
"""Objects of an image in the comparison of whole images."""


def measure(base: Base, machine: Machine, rounds: int, counts: Sequence[int] | None = None) -> list[Row]:
    """Rows of the best masks for some numbers of clicks on one encoded image.

    Args:
        base: on its device.
        machine: as measured.
        rounds: of each way.
        counts: of clicks; None: `COUNTS`.
    """
    made = []
    with torch.inference_mode():
        features = base.encode_image(_frames(base))
        decoder = PromptDecoder(base)
        per_pass = decoder.prompts_per_pass(device_of(base))
        for count in counts or COUNTS:
            whole, parts = tokens(base, count, PROMPTS_PER_PASS), tokens(base, count, per_pass)
            runs: dict[str, Callable[[], object]] = {
                "transformers": lambda parts=whole: [base.decode(features, p).best_masks() for p in parts],  # type: ignore[misc]
                "samtailor": lambda parts=parts: [decoder(features, p).best_masks() for p in parts],  # type: ignore[misc]
            }
            moved = _moved(base, features, count)
            fewest = min(operations(run) for run in runs.values())
            floors = dict.fromkeys(runs, (machine.floor(fewest, moved), "fp32"))
            times = alternate(runs, rounds)
            made += rows(f"masks for {count} click{'s' if count > 1 else ''}, image encoded", times, floors)
    return made


def measure_images(base: Base, rounds: int, left_out: dict[str, str]) -> list[Row]:
    """Rows of one image with several objects, from normalized pixels to low-resolution masks.

    Args:
        base: on its device.
        rounds: of each way.
        left_out: gets what could not run, and why.
    """
    kind = getattr(base.model.config, "model_type", "")
    if kind not in ("sam", "sam2", "sam2_video"):
        left_out["transformers, a call for each object"] = f"not compared for models of type {kind}"
        return []
    model: Any = base.model
    frames, clicks = _frames(base), _clicks(base, OBJECTS)
    points, labels = (part.to(frames.device) for part in clicks)
    decoder, encoder = PromptDecoder(base), prepared(base)

    def each() -> object:
        return [
            model(pixel_values=frames, input_points=points[:, i : i + 1], input_labels=labels[:, i : i + 1])
            for i in range(OBJECTS)
        ]

    def together() -> object:
        return model(pixel_values=frames, input_points=points, input_labels=labels)

    def ours() -> object:
        features = encoder.encode_image(frames)
        per_pass = decoder.prompts_per_pass(frames.device)
        return [decoder(features, part).best_masks() for part in tokens(base, OBJECTS, per_pass)]

    with torch.inference_mode():
        times = alternate(
            {
                "transformers, a call for each object": each,
                "transformers, one call for all": together,
                "samtailor": ours,
            },
            rounds,
        )
    return rows(f"an image with {OBJECTS} objects, encoder included", times)


def _frames(base: Base) -> torch.Tensor:
    return torch.randn(1, 3, base.size, base.size, generator=torch.Generator().manual_seed(0)).to(device_of(base))


def _clicks(base: Base, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (1, P, 1, 2) in the model frame and labels (1, P, 1)."""
    points = torch.rand(1, count, 1, 2, generator=torch.Generator().manual_seed(1)) * (base.size - 1)
    return points, torch.ones(1, count, 1, dtype=torch.int64)


def tokens(base: Base, count: int, per_pass: int) -> list[Tokens]:
    """Tokens of clicks at random places, at most `per_pass` of them together."""
    points, labels = _clicks(base, count)
    parts = zip(points.split(per_pass, 1), labels.split(per_pass, 1), strict=True)
    frame, device = (base.size, base.size), device_of(base)
    return [base.encode_prompts(Prompts(frame, points=p, labels=one).to(device)) for p, one in parts]


def _moved(base: Base, features: Features, count: int) -> float:
    """Bytes: the embedding and the weights are read once, one mask for each click is written."""
    decoder: Any = base.model.mask_decoder
    numbers = sum(one.numel() for one in features.tensors()) + sum(p.numel() for p in decoder.parameters())
    return 4.0 * (numbers + count * base.low_res**2)


__all__ = ["COUNTS", "OBJECTS", "measure", "measure_images", "tokens"]
