"""Image embeddings on disk: content-addressed, crash-safe, bounded, shared by training, evaluation and prediction.

The base is frozen, so each image is encoded once. An entry is one safetensors file (half precision or 8 bits, one
tensor per level, checksum in its header) of a `CacheFolder`, named by the SHA-256 of pixels, base fingerprint, view and
precision. The maps of a companion have their own entry, named by its fingerprint too, so that adapters with and without
a companion share the embedding. Missing or damaged entries are recomputed.

Results do not depend on the state of the cache: new embeddings are rounded as stored ones are. On the CPU images are
encoded one at a time, so an embedding does not depend on the rest of its batch. On an accelerator another batch size
may change the last bit. SAM 2's neck is summed in the cheaper order of `bases/encoder.py`, whose difference to the
original is far below half precision.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from samtailor.bases import Base
from samtailor.bases.companions import Companion
from samtailor.cache import entries
from samtailor.cache.bounded import BoundedCache
from samtailor.cache.digests import MEMO, SCHEMA, ImageLike, PixelDigests
from samtailor.cache.encoders import BaseEncoder, CompanionEncoder, Encoder, batch_size, encode
from samtailor.cache.entries import Precision
from samtailor.cache.folder import CacheFolder, default_root, touch
from samtailor.cache.precision import EncoderPrecision, resolve
from samtailor.cache.room import Room, free_disk, limit_bytes
from samtailor.cache.store import ObjectStore, default_store
from samtailor.data.augment import UNTOUCHED, View
from samtailor.errors import InputError
from samtailor.structures import Features, Sample

_log = logging.getLogger("samtailor.cache.embeddings")
_AHEAD = 256  # images whose embeddings are downloaded together


class EmbeddingCache:
    """Image embeddings of base models, computed on first use. May be used by several threads; one encodes at a time.

    Args:
        root: folder, created when first written to; None for `default_root()`. If the folder is not writable, warn
            once and recompute embeddings.
        max_bytes: the least recently used entries are removed when the folder grows beyond this size; None for
            `room.limit_bytes()`.
        batch: images per encoder pass; None for `encoders.batch_size`.
        precision: of the stored embeddings, "half" or "8bit" (`cache.entries`).
        encoder_precision: "fp32", "bf16" or "fp16" for mixed precision of the encoder, or "auto" (`cache.precision`).
        sharers: processes that fill this cache at the same time, each with other images.
        store: holds the embeddings of all machines; None for `store.default_store()`.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        max_bytes: int | None = None,
        batch: int | None = None,
        precision: Precision = "half",
        encoder_precision: EncoderPrecision = "fp32",
        sharers: int = 1,
        store: ObjectStore | None = None,
    ) -> None:
        self.root = Path(root) if root is not None else default_root()
        self.max_bytes = limit_bytes() if max_bytes is None else max_bytes
        self.precision, self.encoder_precision, self.sharers = precision, encoder_precision, sharers
        self._batch = batch
        self._folder = CacheFolder(self.root, self.max_bytes, store or default_store())
        self._digests = PixelDigests(self._folder)
        self._checked: BoundedCache[str, None] = BoundedCache(MEMO, lru=False, thread_safe=True)
        self._encoding = threading.RLock()

    def features(
        self,
        base: Base,
        images: ImageLike | Sequence[ImageLike],
        views: Sequence[View] | None = None,
        companions: Sequence[Companion] = (),
    ) -> Features:
        """Embeddings of B images: float32 on the CPU, (B, D, H, W) and skips, without gradients.

        Args:
            base: the base model, on any device.
            images: samples or uint8 RGB arrays (height, width, 3), also mixed; a single one is a batch of one.
            views: one view per image; None for the untransformed images.
            companions: whose maps the features get (`Features.companions`).

        Raises:
            InputError: something is not an image, or the encoder returns infinity or NaN.
        """
        jobs = _jobs(images, views)
        main, *skips = self._levels(BaseEncoder(base), jobs)
        return Features(main, tuple(skips), {one.fingerprint: self._maps(one, base, jobs) for one in companions})

    def maps(
        self,
        companion: Companion,
        base: Base,
        images: ImageLike | Sequence[ImageLike],
        views: Sequence[View] | None = None,
    ) -> tuple[Tensor, ...]:
        """Maps of a companion alone, as in `Features.companions`; arguments and errors as in `features`."""
        return self._maps(companion, base, _jobs(images, views))

    def prepare(
        self,
        base: Base,
        images: Sequence[ImageLike],
        views: Sequence[View] | None = None,
        companions: Sequence[Companion] = (),
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Compute missing embeddings without reading existing ones; returns the number computed.

        Warns if the embeddings do not fit in the cache.

        Args:
            base: the base model.
            images, views, companions: as in `features`.
            progress: called with (done, total) after each image.
        """
        jobs, size, made = _jobs(images, views), self._batch_size(base), 0
        room = self.room(base, len(jobs), companions)
        if not room.fits:
            advice = room.advice(self.precision)
            _log.warning("%s Images will be encoded repeatedly. %s", room.problem(), advice)
        waiting: dict[Encoder, list[Job]] = {encoder: [] for encoder in _encoders_of(base, companions)}
        for done, job in enumerate(jobs, 1):
            if self._folder.store is not None and done % _AHEAD == 1:
                coming = [
                    self._path(encoder, *one) for one in jobs[done - 1 : done - 1 + _AHEAD] for encoder in waiting
                ]
                self._folder.fetch_all([path for path in coming if not path.exists()])
            absent = [encoder for encoder in waiting if not self._path(encoder, *job).exists()]
            made += bool(absent)
            for encoder in absent:
                waiting[encoder].append(job)
            full = [e for e, listed in waiting.items() if len(listed) == size or (listed and done == len(jobs))]
            for encoder in full:
                self._make(encoder, waiting[encoder])
                waiting[encoder] = []
            if progress is not None:
                progress(done, len(jobs))
        return made

    def room(self, base: Base, count: int, companions: Sequence[Companion] = ()) -> Room:
        """Room for embeddings of `count` images, views counted, with the maps of companions."""
        shapes = [shape for encoder in _encoders_of(base, companions) for shape in encoder.shapes]
        each = entries.size(shapes, self.precision)
        room = Room(count, each, self.max_bytes, free_disk(self.root), 0, self.sharers)
        return room if room.fits else replace(room, held=self._folder.held())  # counting files takes a while

    def _maps(self, companion: Companion, base: Base, jobs: Sequence[Job]) -> tuple[Tensor, ...]:
        return tuple(self._levels(CompanionEncoder(companion, base), jobs))

    def _levels(self, encoder: Encoder, jobs: Sequence[Job]) -> list[Tensor]:
        """The levels of an encoder for all jobs, float32."""
        rows = [self._read(self._path(encoder, *job), encoder) for job in jobs]
        missing = [i for i, row in enumerate(rows) if row is None]
        if missing:
            with self._encoding:
                self._fill(encoder, jobs, rows, missing)
        levels = zip(*(row for row in rows if row is not None), strict=True)
        return [torch.stack(level).float() for level in levels]

    def _fill(
        self, encoder: Encoder, jobs: Sequence[Job], rows: list[list[Tensor] | None], missing: Sequence[int]
    ) -> None:
        """Encode what is missing. Each image once, also if several rows need it or another thread has made it."""
        by_path: dict[Path, list[int]] = {}
        for i in missing:
            by_path.setdefault(self._path(encoder, *jobs[i]), []).append(i)
        to_make: list[list[int]] = []
        for path, places in by_path.items():
            row = self._read(path, encoder, quiet=True)
            for i in places:
                rows[i] = row
            to_make += [places] if row is None else []
        size = self._batch_size(encoder.base)
        for start in range(0, len(to_make), size):
            part = to_make[start : start + size]
            for places, row in zip(part, self._make(encoder, [jobs[places[0]] for places in part]), strict=True):
                for i in places:
                    rows[i] = row

    def _path(self, encoder: Encoder, image: ImageLike, view: View) -> Path:
        key = f"{SCHEMA}\0{self._digests.of(image)}\0{encoder.key}\0{view.key}"
        precision = resolve(encoder.base, self.encoder_precision)
        if (self.precision, precision) != ("half", "fp32"):
            key += f"\0{self.precision}\0{precision}"
        return self._folder.place(key, ".safetensors")

    def _read(self, path: Path, encoder: Encoder, *, quiet: bool = False) -> list[Tensor] | None:
        """The levels of an entry as stored; None if it must be computed."""
        if self._folder.store is not None and not path.exists():
            self._folder.fetch(path)
        try:
            tensors = entries.read(path, check=path.name not in self._checked)
            levels = entries.restored(tensors)
            if not levels or levels[0].shape != encoder.shapes[0]:
                raise SafetensorError(f"unexpected shapes {[tuple(tensor.shape) for tensor in levels]}")
            self._checked.put(path.name, None)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
            if not quiet:
                _log.warning("The cached embedding %s is damaged (%s) and will be recomputed.", path, error)
            return None
        touch(path)
        return levels

    def _make(self, encoder: Encoder, jobs: Sequence[Job]) -> list[list[Tensor]]:
        with self._encoding:
            images = [view.image(_pixels(image)) for image, view in jobs]
            levels = encode(encoder, images, resolve(encoder.base, self.encoder_precision))
        rows = []
        for i, job in enumerate(jobs):
            tensors = entries.stored([level[i] for level in levels], self.precision)
            path = self._path(encoder, *job)
            self._folder.write(path, partial(entries.write, tensors=tensors, base=encoder.base.fingerprint))
            self._checked.discard(path.name)
            rows.append(entries.restored(tensors))
        return rows

    def _batch_size(self, base: Base) -> int:
        return self._batch or batch_size(base, resolve(base, self.encoder_precision))


Job = tuple[ImageLike, View]


def _encoders_of(base: Base, companions: Sequence[Companion]) -> list[Encoder]:
    return [BaseEncoder(base), *(CompanionEncoder(one, base) for one in companions)]


def _jobs(images: ImageLike | Sequence[ImageLike], views: Sequence[View] | None) -> list[Job]:
    listed = [images] if isinstance(images, Sample | np.ndarray) else list(images)
    chosen = [UNTOUCHED] * len(listed) if views is None else list(views)
    if len(chosen) != len(listed) or not listed:
        raise InputError(f"Expected at least one image and one view per image, got {len(listed)} and {len(chosen)}.")
    return list(zip(listed, chosen, strict=True))


def _pixels(image: ImageLike) -> np.ndarray:
    return image if isinstance(image, np.ndarray) else image.image


__all__ = ["EmbeddingCache", "EncoderPrecision", "ImageLike", "Precision"]
