"""Held-out figures: single clicks at the centre and at random, and boxes, on scenes never trained on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nano.images import HELD_OUT
from nano.network import MEAN, STD
from nano.prompting import anywhere, centre
from samtailor.data.synth.scenes import scene

LEAST = 256  # px at 256 x 256: masks from 16 x 16 px on


def normalise(images: Tensor) -> Tensor:
    """``(B, 3, S, S)`` uint8 -> float, ImageNet mean and deviation."""
    mean, std = (torch.tensor(v, device=images.device)[None, :, None, None] * 255 for v in (MEAN, STD))
    return (images.float() - mean) / std


class HeldOut:
    """Fixed scenes with their prompts."""

    def __init__(self, count: int, first: int = HELD_OUT):
        self.items = [item for item in (self._item(first + i) for i in range(count)) if item]

    @staticmethod
    def _item(seed: int) -> dict | None:
        drawn, rng = scene(seed), np.random.default_rng(seed)
        masks = [mask for mask in drawn.masks if mask.sum() >= LEAST]
        if not masks:
            return None
        found = [centre(mask)[:2] for mask in masks]
        random = [anywhere(rng, mask) for mask in masks]
        boxes = [(*np.argwhere(m).min(0)[::-1], *np.argwhere(m).max(0)[::-1]) for m in masks]
        found, random, boxes = (torch.tensor(np.array(v, np.float32)).unsqueeze(0) for v in (found, random, boxes))
        return {
            "image": torch.from_numpy(drawn.image.transpose(2, 0, 1).copy())[None],
            "masks": torch.from_numpy(np.stack(masks)),
            "centre": found[:, :, None],
            "random": random[:, :, None],
            "box": boxes.unflatten(2, (2, 2)),
        }

    @torch.no_grad()
    def measure(self, features, decode, *, half: bool = True) -> dict[str, np.ndarray]:
        """IoU of every mask by prompt: ``_oracle``, ``_default``, ``_single`` (token 0); image = its scene."""
        rows: dict[str, list] = {}
        device = next(decode.parameters()).device
        for number, item in enumerate(self.items):
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                levels = features(normalise(item["image"].to(device)))
                found = {
                    kind: decode(*levels, item[kind].to(device), _labels(item, kind).to(device))
                    for kind in ("centre", "random", "box")
                }
            for name, value in _figures(found, item["masks"].to(device)).items():
                rows.setdefault(name, []).append(value)
            rows.setdefault("image", []).append(np.full(len(item["masks"]), number))
        return {name: np.concatenate(values) for name, values in rows.items()}


def _labels(item: dict, kind: str) -> Tensor:
    shape = item[kind].shape[:3]
    return torch.tensor([2, 3]).expand(shape) if kind == "box" else torch.ones(shape, dtype=torch.long)


def _figures(found: dict, masks: Tensor) -> dict[str, np.ndarray]:
    figures = {}
    for kind, (logits, scores) in found.items():
        logits = F.interpolate(logits[0].float(), masks.shape[-2:], mode="bilinear", align_corners=False) > 0
        true = masks[:, None]
        overlap = ((logits & true).sum((-2, -1)) / (logits | true).sum((-2, -1)).clamp(min=1)).cpu()
        best = scores[0, :, 1:].float().argmax(1, keepdim=True).cpu()
        figures[f"{kind}_oracle"] = overlap[:, 1:].max(1).values.numpy()
        figures[f"{kind}_default"] = overlap[:, 1:].gather(1, best)[:, 0].numpy()
        figures[f"{kind}_single"] = overlap[:, 0].numpy()
    return figures


def interval(values: np.ndarray, groups: np.ndarray, rounds: int = 1000, seed: int = 0) -> tuple[float, float, float]:
    """Mean and its 95 % bootstrap interval; whole images are redrawn, since masks of one image are alike."""
    rng, ids = np.random.default_rng(seed), np.unique(groups)
    total = np.array([values[groups == i].sum() for i in ids])
    count = np.array([(groups == i).sum() for i in ids])
    picks = rng.integers(0, len(ids), (rounds, len(ids)))
    means = total[picks].sum(1) / count[picks].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(values.mean()), float(low), float(high)
