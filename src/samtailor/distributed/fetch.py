"""Read one image from a path or an address."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samtailor.cache.store import open_address
from samtailor.data.image import decode_image, read_image
from samtailor.distributed.items import Item, is_remote
from samtailor.errors import DataError, SamtailorError

TRIES = 3
"""Reads of a remote file before the image counts as not available for now."""
_BYTES = 2**31


@dataclass(frozen=True)
class Decoded:
    """An image that was read, or the reason why not.

    Args:
        item: the image.
        pixels: uint8 RGB (height, width, 3); None if it was not read.
        error: the file is missing, damaged or too large; it would be so again.
        retry: a fault that may pass, such as of the network.
    """

    item: Item
    pixels: np.ndarray | None = None
    error: str | None = None
    retry: str | None = None


def read(items: Sequence[Item]) -> list[Decoded]:
    """Read and decode images."""
    return [_read(item) for item in items]


def _read(item: Item) -> Decoded:
    try:
        return Decoded(item, _pixels(item.uri))
    except FileNotFoundError:
        return Decoded(item, error=f"There is no file {item.uri}.")
    except SamtailorError as error:  # damaged, not an image, or more pixels than the limit
        return Decoded(item, error=str(error))
    except Exception as error:  # any error of the library of an object store
        return Decoded(item, retry=f"{item.uri} cannot be read: {type(error).__name__}: {error}")


def _pixels(uri: str) -> np.ndarray:
    if not is_remote(uri):
        path = Path(uri.removeprefix("file://"))
        if not path.is_file():
            raise FileNotFoundError(uri)
        return read_image(path)
    return decode_image(_bytes(uri), uri)


def _bytes(uri: str) -> bytes:
    system, path = open_address(uri)
    for attempt in range(1, TRIES + 1):
        try:
            with system.open(path, "rb", cache_type="none") as stream:
                content = stream.read(_BYTES + 1)
            break
        except FileNotFoundError:
            raise
        except Exception:
            if attempt == TRIES:
                raise
            time.sleep(0.5 * 2**attempt)
    if len(content) > _BYTES:
        raise DataError(f"{uri} is larger than {_BYTES:,} bytes.")
    return content


__all__ = ["Decoded", "read"]
