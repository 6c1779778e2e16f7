"""Image embeddings on disk: content-addressed, crash-safe, bounded, shared by everything that looks at a picture.

The base is frozen, so a picture is encoded once and for all. An entry is one safetensors file (half precision, one
tensor a level, checksum in its header), named by the SHA-256 of (pixels, fingerprint of the base, view). There are no
locks: a file takes its place by a rename, two processes that make the same entry make the same content, and an
entry that is gone or damaged is made again. For picture files a second, tiny file maps the digest of the file's
bytes to the digest of its pixels, so that a warm start does not decode pictures.

Numbers are the same cold and warm: what comes straight from the encoder is rounded to half precision too. On the CPU
pictures are encoded one at a time, hence an embedding does not depend on its neighbours either; on an accelerator
batches of other sizes may round the last bit differently.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from samtailor.bases import Base
from samtailor.data.augment import UNTOUCHED, View
from samtailor.data.picture import read_picture, replacing
from samtailor.data.transform import Frame
from samtailor.errors import InputError
from samtailor.types import Features, Sample

Picture = Sample | np.ndarray
"""A sample, or uint8 RGB of shape (height, width, 3)."""

_SCHEMA = "1"  # part of every key: raise it when decoding of pictures, views or the layout of an entry changes
_RACY_SECONDS = 2.0  # a file changed this recently may change again without its time stamp telling
_MEMO = 65536
_log = logging.getLogger("samtailor.embeddings")


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


class EmbeddingStore:
    """Embeddings of pictures under base models, made when first asked for.

    Args:
        root: folder; None for `default_root()`. Made when first written to. One that cannot be written to costs
            time, not correctness: it is said once, and embeddings are made anew.
        max_bytes: the least recently used entries go when the folder grows beyond this.
        batch: pictures a pass of the encoder; None is 1 on the CPU and 8 elsewhere.
    """

    def __init__(
        self, root: str | Path | None = None, *, max_bytes: int = 20 * 2**30, batch: int | None = None
    ) -> None:
        self.root = Path(root) if root is not None else default_root()
        self.max_bytes = max_bytes
        self._batch = batch
        self._by_sample: WeakKeyDictionary[Sample, str] = WeakKeyDictionary()
        self._by_stat: OrderedDict[tuple, str] = OrderedDict()
        self._checked: OrderedDict[str, None] = OrderedDict()
        self._bytes: int | None = None  # size of the folder as last counted, plus what was written since
        self._written = 0
        self._writable = True

    def features(
        self, base: Base, pictures: Picture | Sequence[Picture], views: Sequence[View] | None = None
    ) -> Features:
        """Embeddings of B pictures: float32 on the CPU, (B, D, H, W) and skips, ordinary tensors without a graph.

        Args:
            base: the base model, on any device.
            pictures: samples or uint8 RGB arrays, in any mixture; a single one is a batch of one.
            views: one view a picture; None for the pictures as they are.

        Raises:
            InputError: something that is not a picture, or a base that answers infinity or NaN.
        """
        jobs = _jobs(pictures, views)
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
        pictures: Sequence[Picture],
        views: Sequence[View] | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Make the embeddings that are missing, without reading any; returns how many were made.

        Args:
            base: the base model.
            pictures, views: as in `features`.
            progress: called with (done, total) after each picture.
        """
        jobs, size, made = _jobs(pictures, views), self._batch_size(base), 0
        waiting: list[tuple[Picture, View]] = []
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

    # -- keys

    def _path(self, base: Base, picture: Picture, view: View) -> Path:
        key = f"{_SCHEMA}\0{self._digest(picture)}\0{base.fingerprint}\0{view.key}"
        return self._place(key, ".safetensors")

    def _place(self, key: str, suffix: str) -> Path:
        name = hashlib.sha256(key.encode()).hexdigest()[:40]
        return self.root / name[:2] / (name + suffix)

    def _digest(self, picture: Picture) -> str:
        """SHA-256 of the pixels, remembered for samples and picture files."""
        if isinstance(picture, np.ndarray):
            return _of_pixels(picture)
        file = _file(picture)
        if file is not None:
            return self._digest_of_file(picture, file)
        if picture not in self._by_sample:
            self._by_sample[picture] = _of_pixels(picture.image)
        return self._by_sample[picture]

    def _digest_of_file(self, sample: Sample, file: Path) -> str:
        try:
            stat = file.stat()
            stamp = (str(file), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
            if known := self._by_stat.get(stamp):
                return known
            with file.open("rb") as stream:
                of_bytes = hashlib.file_digest(stream, "sha256") if sys.version_info >= (3, 11) else _hashed(stream)
        except OSError:
            return _of_pixels(sample.image)  # reading it says in words what is wrong with the file
        alias = self._place(f"{_SCHEMA}\0{of_bytes.hexdigest()}", ".pixels")
        digest = _read_alias(alias)
        if digest is None:
            digest = _of_pixels(sample.image)
            self._write(alias, lambda temporary: temporary.write_text(digest, encoding="ascii"))
        else:
            _touch(alias)
        if time.time() - max(stat.st_mtime, stat.st_ctime) > _RACY_SECONDS:
            _remember(self._by_stat, stamp, digest)
        return digest

    # -- entries

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
                _remember(self._checked, path.name, None)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, ValueError) as error:
            _log.warning("The cached embedding %s is damaged (%s); it is made again.", path, error)
            return None
        _touch(path)
        return Features(tensors[0][None], tuple(t[None] for t in tensors[1:]))

    def _make(self, base: Base, jobs: Sequence[tuple[Picture, View]]) -> list[Features]:
        features = _encode(base, [view.image(_pixels(picture)) for picture, view in jobs])
        rows = [features[i : i + 1] for i in range(len(jobs))]
        for job, row in zip(jobs, rows, strict=True):
            tensors = {"main": row.main[0]} | {f"skip{i}": skip[0] for i, skip in enumerate(row.skips)}
            tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
            metadata = {"crc32": _checksum(list(tensors.values())), "base": base.fingerprint}
            path = self._path(base, *job)
            self._write(path, partial(save_file, tensors, metadata=metadata))
            self._checked.pop(path.name, None)
        return rows

    def _write(self, path: Path, write: Callable[[Path], object]) -> None:
        if not self._writable:
            return
        try:
            if self._bytes is None:
                self._bytes = sum(size for _, size, _ in _entries(self.root))
            with replacing(path) as temporary:
                write(temporary)
                with temporary.open("rb") as file:
                    os.fsync(file.fileno())  # a rename that outlives a power cut must not outlive the content
                size = temporary.stat().st_size
        except (OSError, SafetensorError) as error:
            self._writable = False
            _log.warning("Embeddings cannot be kept in %s (%s); they are made anew each time.", self.root, error)
            return
        self._bytes += size
        self._written += size
        if self._bytes > self.max_bytes or self._written > self.max_bytes // 20:
            self._evict()  # counting now and then sees what other processes wrote

    def _evict(self) -> None:
        """Drop the least recently used entries until a tenth of the room is free, and what crashes left behind."""
        self._written = 0
        entries = sorted(_entries(self.root))
        self._bytes = sum(size for _, size, _ in entries)
        keep = self.max_bytes if self._bytes <= self.max_bytes else self.max_bytes * 9 // 10
        for used, size, path in entries:
            stale = path.name.startswith(".") and time.time() - used > 3600
            if self._bytes <= keep and not stale:
                continue
            try:
                path.unlink(missing_ok=True)
            except OSError:  # Windows: another process has it mapped
                continue
            self._bytes -= size

    def _batch_size(self, base: Base) -> int:
        return self._batch or (1 if _device(base).type == "cpu" else 8)

    def _warn_if_too_small(self, row: Features, count: int) -> None:
        needed = count * sum(t.numel() * t.element_size() for t in (row.main, *row.skips))
        if needed > self.max_bytes:
            _log.warning(
                "%d embeddings need %.1f GB but the cache is limited to %.1f GB: pictures will be encoded again and "
                "again. Raise the limit or use fewer views.",
                count,
                needed / 1e9,
                self.max_bytes / 1e9,
            )


def _jobs(pictures: Picture | Sequence[Picture], views: Sequence[View] | None) -> list[tuple[Picture, View]]:
    single = isinstance(pictures, Sample | np.ndarray)
    listed: list[Picture] = [pictures] if single else list(pictures)  # type: ignore[list-item]
    chosen = [UNTOUCHED] * len(listed) if views is None else list(views)
    if len(chosen) != len(listed) or not listed:
        raise InputError(f"Expected at least one picture and one view for each, got {len(listed)} and {len(chosen)}.")
    return list(zip(listed, chosen, strict=True))


def _pixels(picture: Picture) -> np.ndarray:
    return picture if isinstance(picture, np.ndarray) else picture.image


def _file(sample: Sample) -> Path | None:
    """The file whose plain decoding the sample's picture is, if it is that."""
    read = sample.read_image
    plain = isinstance(read, partial) and read.func is read_picture and len(read.args) == 1 and not read.keywords
    return Path(read.args[0]) if plain else None  # type: ignore[union-attr]


def _of_pixels(picture: np.ndarray) -> str:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise InputError(
            f"A picture must be uint8 RGB of shape (height, width, 3), got {picture.dtype} {picture.shape}."
        )
    digest = hashlib.sha256(repr(picture.shape).encode())
    digest.update(np.ascontiguousarray(picture))
    return digest.hexdigest()


def _hashed(stream: object) -> hashlib._Hash:
    digest = hashlib.sha256()
    while block := stream.read(1 << 20):  # type: ignore[attr-defined]
        digest.update(block)
    return digest


def _encode(base: Base, pictures: Sequence[np.ndarray]) -> Features:
    """Half precision on the CPU."""
    frames = [Frame.of(base, *picture.shape[:2]).image(picture, base) for picture in pictures]
    with torch.inference_mode():
        made = base.encode_image(torch.stack(frames).to(_device(base))).to("cpu", torch.float16)
    levels = [level.clone() for level in (made.main, *made.skips)]  # inference tensors cannot enter autograd
    if not all(torch.isfinite(level).all() for level in levels):
        raise InputError("The image encoder answered infinity or NaN (in half precision); its weights are not usable.")
    return Features(levels[0], tuple(levels[1:]))


def _device(base: Base) -> torch.device:
    return next(base.model.parameters()).device


def _checksum(tensors: Sequence[Tensor]) -> str:
    value = 0
    for tensor in tensors:
        value = zlib.crc32(tensor.contiguous().numpy(), value)
    return f"{value:08x}"


def _skip_names(names: Sequence[str]) -> list[str]:
    return sorted((name for name in names if name.startswith("skip")), key=lambda name: int(name[4:]))


def _read_alias(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
    return text if len(text) == 64 and set(text) <= set("0123456789abcdef") else None


def _touch(path: Path) -> None:
    """Mark as used now; access times of the file system are too coarse (relatime) or off."""
    try:
        os.utime(path)
    except OSError:  # evicted in between, or a cache that is only readable
        return


def _entries(root: Path) -> Iterator[tuple[float, int, Path]]:
    """(last use, bytes, path) of every file of the cache, half-written ones included."""
    for folder in (f for f in (root.iterdir() if root.is_dir() else ()) if len(f.name) == 2 and f.is_dir()):
        for path in folder.iterdir():
            try:
                stat = path.stat()
            except OSError:
                continue
            yield stat.st_mtime, stat.st_size, path


def _remember(memo: OrderedDict, key: object, value: object) -> None:
    memo[key] = value
    if len(memo) > _MEMO:
        memo.popitem(last=False)


__all__ = ["EmbeddingStore", "Picture", "default_root"]
