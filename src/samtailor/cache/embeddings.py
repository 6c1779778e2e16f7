"""Image embeddings on disk: content-addressed, crash-safe, bounded, shared by everything that looks at an image.

The base is frozen, so an image is encoded once and for all. An entry is one safetensors file (half precision, one
tensor a level, checksum in its header) of a `CacheFolder`, named by the SHA-256 of (pixels, fingerprint of the base,
view). An entry that is gone or damaged is made again.

Numbers are the same cold and warm: what comes straight from the encoder is rounded to half precision too. On the CPU
images are encoded one at a time, hence an embedding does not depend on its neighbours either; on an accelerator
batches of other sizes may round the last bit differently. SAM 2's neck is summed in the cheaper order of
`bases/encoder.py`, which agrees with the vendor's far within half precision.
"""

from __future__ import annotations

import logging
import os
import sys
import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from samtailor.bases import Base
from samtailor.bases.encoder import fast_encoder
from samtailor.cache.digests import SCHEMA, ImageLike, PixelDigests, remember
from samtailor.cache.folder import CacheFolder, touch
from samtailor.data.augment import UNTOUCHED, View
from samtailor.data.transform import Frame
from samtailor.errors import InputError, counted
from samtailor.structures import Features, Sample

_log = logging.getLogger("samtailor.cache.embeddings")
_encoders: WeakKeyDictionary[Base, tuple[torch.device, Base | None]] = WeakKeyDictionary()


def default_root() -> Path:
    """Folder of the cache: below $SAMTAILOR_CACHE, else below the platform's user cache folder."""
    if given := os.environ.get("SAMTAILOR_CACHE"):
        return Path(given).expanduser() / "embeddings"
    if sys.platform == "win32":
        home = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        home = Path.home() / "Library" / "Caches"
    else:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "samtailor" / "embeddings"


class EmbeddingCache:
    """Embeddings of images under base models, made when first asked for.

    Args:
        root: folder; None for `default_root()`. Made when first written to. One that cannot be written to costs
            time, not correctness: it is said once, and embeddings are made anew.
        max_bytes: the least recently used entries go when the folder grows beyond this.
        batch: images a pass of the encoder; None is 1 on the CPU and 8 elsewhere.
    """

    def __init__(
        self, root: str | Path | None = None, *, max_bytes: int = 20 * 2**30, batch: int | None = None
    ) -> None:
        self.root = Path(root) if root is not None else default_root()
        self.max_bytes = max_bytes
        self._batch = batch
        self._folder = CacheFolder(self.root, max_bytes)
        self._digests = PixelDigests(self._folder)
        self._checked: OrderedDict[str, None] = OrderedDict()

    def features(
        self, base: Base, images: ImageLike | Sequence[ImageLike], views: Sequence[View] | None = None
    ) -> Features:
        """Embeddings of B images: float32 on the CPU, (B, D, H, W) and skips, ordinary tensors without a graph.

        Args:
            base: the base model, on any device.
            images: samples or uint8 RGB arrays, in any mixture; a single one is a batch of one.
            views: one view an image; None for the images as they are.

        Raises:
            InputError: something that is not an image, or a base that answers infinity or NaN.
        """
        jobs = _jobs(images, views)
        rows: list[Features | None] = [self._read(self._path(base, *job), base) for job in jobs]
        missing = [i for i, row in enumerate(rows) if row is None]
        size = self._batch_size(base)
        for start in range(0, len(missing), size):
            part = missing[start : start + size]
            for i, row in zip(part, self._make(base, [jobs[i] for i in part]), strict=True):
                rows[i] = row
        joined = Features.cat([row for row in rows if row is not None])
        return Features(joined.main.float(), tuple(skip.float() for skip in joined.skips))

    def prepare(
        self,
        base: Base,
        images: Sequence[ImageLike],
        views: Sequence[View] | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Make the embeddings that are missing, without reading any; returns how many were made.

        Args:
            base: the base model.
            images, views: as in `features`.
            progress: called with (done, total) after each image.
        """
        jobs, size, made = _jobs(images, views), self._batch_size(base), 0
        waiting: list[tuple[ImageLike, View]] = []
        for done, job in enumerate(jobs, 1):
            if not self._path(base, *job).exists():
                waiting.append(job)
            if len(waiting) == size or (waiting and done == len(jobs)):
                rows = self._make(base, waiting)
                if made == 0:
                    self._warn_if_too_small(rows[0], len(jobs))
                made += len(waiting)
                waiting = []
            if progress is not None:
                progress(done, len(jobs))
        return made

    def _path(self, base: Base, image: ImageLike, view: View) -> Path:
        key = f"{SCHEMA}\0{self._digests.of(image)}\0{base.fingerprint}\0{view.key}"
        return self._folder.place(key, ".safetensors")

    def _read(self, path: Path, base: Base) -> Features | None:
        """An entry as a batch of one in half precision, mapped from the file; None when it has to be made."""
        try:
            with safe_open(path, framework="pt") as entry:
                tensors = [entry.get_tensor(name) for name in ("main", *_skip_names(entry.keys()))]
                checksum = (entry.metadata() or {}).get("crc32")
            if tensors[0].shape != (base.dim, base.grid, base.grid):
                raise SafetensorError(f"unexpected shape {tuple(tensors[0].shape)}")
            if path.name not in self._checked:
                if checksum != _checksum(tensors):
                    raise SafetensorError("checksum differs")
                remember(self._checked, path.name, None)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, ValueError) as error:
            _log.warning("The cached embedding %s is damaged (%s); it is made again.", path, error)
            return None
        touch(path)
        return Features(tensors[0][None], tuple(t[None] for t in tensors[1:]))

    def _make(self, base: Base, jobs: Sequence[tuple[ImageLike, View]]) -> list[Features]:
        features = _encode(base, [view.image(_pixels(image)) for image, view in jobs])
        rows = [features[i : i + 1] for i in range(len(jobs))]
        for job, row in zip(jobs, rows, strict=True):
            tensors = {"main": row.main[0]} | {f"skip{i}": skip[0] for i, skip in enumerate(row.skips)}
            tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
            metadata = {"crc32": _checksum(list(tensors.values())), "base": base.fingerprint}
            path = self._path(base, *job)
            self._folder.write(path, partial(save_file, tensors, metadata=metadata))
            self._checked.pop(path.name, None)
        return rows

    def _batch_size(self, base: Base) -> int:
        return self._batch or (1 if _device(base).type == "cpu" else 8)

    def _warn_if_too_small(self, row: Features, count: int) -> None:
        needed = count * sum(t.numel() * t.element_size() for t in (row.main, *row.skips))
        if needed > self.max_bytes:
            _log.warning(
                "Room for %s: %.1f GB, but the cache is limited to %.1f GB: images will be encoded again and again. "
                "Raise the limit or use fewer views.",
                counted(count, "embedding"),
                needed / 1e9,
                self.max_bytes / 1e9,
            )


def _jobs(images: ImageLike | Sequence[ImageLike], views: Sequence[View] | None) -> list[tuple[ImageLike, View]]:
    single = isinstance(images, Sample | np.ndarray)
    listed: list[ImageLike] = [images] if single else list(images)  # type: ignore[list-item]
    chosen = [UNTOUCHED] * len(listed) if views is None else list(views)
    if len(chosen) != len(listed) or not listed:
        raise InputError(f"Expected at least one image and one view for each, got {len(listed)} and {len(chosen)}.")
    return list(zip(listed, chosen, strict=True))


def _pixels(image: ImageLike) -> np.ndarray:
    return image if isinstance(image, np.ndarray) else image.image


def _encode(base: Base, images: Sequence[np.ndarray]) -> Features:
    """Half precision on the CPU."""
    frames = [Frame.of(base, *image.shape[:2]).image(image, base) for image in images]
    with torch.inference_mode():
        made = _encoder(base).encode_image(torch.stack(frames).to(_device(base))).to("cpu", torch.float16)
    levels = [level.clone() for level in (made.main, *made.skips)]  # inference tensors cannot enter autograd
    if not all(torch.isfinite(level).all() for level in levels):
        raise InputError("The image encoder answered infinity or NaN (in half precision); its weights are not usable.")
    return Features(levels[0], tuple(levels[1:]))


def _encoder(base: Base) -> Base:
    """What encodes for a base: made once for each device it is on, and kept as long as the base."""
    device, known = _device(base), _encoders.get(base)
    if known is None or known[0] != device:
        with torch.inference_mode(False):
            made = fast_encoder(base)
        known = _encoders[base] = device, None if made is base else made  # itself, it would keep itself
    return base if known[1] is None else known[1]


def _device(base: Base) -> torch.device:
    return next(base.model.parameters()).device


def _checksum(tensors: Sequence[Tensor]) -> str:
    value = 0
    for tensor in tensors:
        value = zlib.crc32(tensor.contiguous().numpy(), value)
    return f"{value:08x}"


def _skip_names(names: Sequence[str]) -> list[str]:
    return sorted((name for name in names if name.startswith("skip")), key=lambda name: int(name[4:]))


__all__ = ["EmbeddingCache", "ImageLike", "default_root"]
