"""How much the cache of embeddings may hold, and whether the embeddings of a set of images fit.

The limit is an argument, the setting `cache_gb`, the variable SAMTAILOR_CACHE_GB, or 20 GB, in this order. A disk that
is nearly full lowers it.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from samtailor.errors import InputError, counted

VARIABLE = "SAMTAILOR_CACHE_GB"
DEFAULT_GB = 20.0
_FULL = 0.95  # share of the capacity that a set may take: other entries, and files of a few bytes, are there too
_SPARE = 0.05  # share of the free disk that stays free


def limit_bytes(gigabytes: float | None = None) -> int:
    """Bytes that the cache may hold; None: `VARIABLE`, or `DEFAULT_GB` (1 GB is 1e9 bytes).

    Raises:
        InputError: not a number above 0.
    """
    if gigabytes is None:
        text = os.environ.get(VARIABLE, "").strip()
        try:
            gigabytes = float(text) if text else DEFAULT_GB
        except ValueError:
            gigabytes = -1.0
        if not 0 < gigabytes < 1e9:
            raise InputError(f"{VARIABLE} must be a number of gigabytes above 0, such as 50, got {text!r}.")
    return int(gigabytes * 1e9)


@dataclass(frozen=True)
class Room:
    """Room for the embeddings of a set of images.

    Args:
        count: number of embeddings: images, times their views.
        each: bytes of one.
        limit: bytes that the cache may hold.
        free: free bytes on its disk.
        held: bytes that the cache holds now, of any images; they make room when needed. 0 if not counted.
        sharers: processes that fill the cache at the same time, each with its own share.
    """

    count: int
    each: int
    limit: int
    free: int
    held: int
    sharers: int = 1

    @property
    def capacity(self) -> int:
        """Bytes for this set."""
        disk = self.held + int((1 - _SPARE) * self.free)
        return int(_FULL * min(self.limit, disk)) // self.sharers

    @property
    def fits(self) -> bool:
        """Whether all embeddings can be kept at once."""
        return self.count * self.each <= self.capacity

    def problem(self) -> str:
        """What does not fit, in numbers; a sentence."""
        needed, whole = self.count * self.each, min(self.limit, self.held + self.free)
        share = "" if self.sharers == 1 else f", shared by {self.sharers} fits at a time"
        return (
            f"{counted(self.count, 'embedding')} of {_gb(self.each)} each need {_gb(needed)}, but the cache "
            f"has room for {_gb(whole)}{share} (limit {_gb(self.limit)}, free disk {_gb(self.free)})."
        )

    def advice(self, precision: str) -> str:
        """What to do about it; a sentence."""
        needed = self.count * self.each * self.sharers / _FULL
        means = []
        if self.held + (1 - _SPARE) * self.free >= needed:
            means.append(f"set cache_gb={-(-needed // 1e9):.0f} (or {VARIABLE})")
        else:
            means.append(f"move the cache to a disk with {_gb(needed)} free (SAMTAILOR_CACHE) and raise cache_gb")
        if precision == "half":
            means.append("use embedding_precision=8bit, which takes half the room")
        return f"To keep all of them, {' or '.join(means)}."


def free_disk(folder: Path) -> int:
    """Free bytes on the disk of a folder that may not exist yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _gb(bytes: float) -> str:
    return f"{bytes / 1e9:.1f} GB" if bytes >= 1e9 else f"{bytes / 1e6:.3g} MB"


__all__ = ["DEFAULT_GB", "VARIABLE", "Room", "free_disk", "limit_bytes"]
