"""Label Studio's brush regions: bit-packed run lengths (the format of @thi.ng/rle-pack) of RGBA pixels.

Bits, most significant first: 32 for the number of values, 5 for the bits per value minus one, 4 x 4 for four sizes
minus one; then blocks: 1 bit whether the block is a run, 2 bits for the index of a size, as many bits as that size for
the length minus one; a run has one value, another block one per element. The mask is the alpha channel: four values
per pixel, row by row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from samtailor.errors import DataError
from samtailor.limits import tick

_SIZES = (3, 4, 8, 16)
_WORD = 8


def encode(mask: np.ndarray) -> list[int]:
    """Encode a boolean mask (height, width) to the bytes of `value.rle`."""
    flat = np.repeat(np.asarray(mask, bool).ravel(), 4)
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(starts, append=flat.size)
    head = f"{flat.size:032b}{_WORD - 1:05b}" + "".join(f"{size - 1:04b}" for size in _SIZES)
    runs = (run for start, length in zip(starts, lengths, strict=True) for run in _runs(int(length), bool(flat[start])))
    bits = head + "".join(runs)
    bits += "0" * (-len(bits) % 8)
    return list(int(bits, 2).to_bytes(len(bits) // 8, "big"))


def _runs(length: int, on: bool) -> Iterator[str]:
    value = "1" * _WORD if on else "0" * _WORD
    while length > 0:
        part = min(length, 1 << _SIZES[-1])
        index = next(i for i, size in enumerate(_SIZES) if part <= 1 << size)
        yield f"1{index:02b}{part - 1:0{_SIZES[index]}b}{value}"
        length -= part


def decode(rle: Sequence[int], height: int, width: int) -> np.ndarray:
    """Decode `value.rle` to a boolean mask (height, width): where alpha is above one half, as in the browser.

    Raises:
        DataError: invalid bytes, or an image of another size.
    """
    try:
        if not isinstance(rle, list | tuple | bytes):  # an integer would become as many bytes
            raise TypeError
        data = bytes(rle)
    except (TypeError, ValueError) as error:
        raise DataError("A brush region must be a list of bytes.") from error
    count = int.from_bytes(data[:4], "big")
    if len(data) < 7 or count != 4 * height * width:
        raise DataError(f"A brush region of {count} values does not fit an image of {width}x{height} px in RGBA.")
    values = np.zeros(count, np.uint8)
    reader = _Bits(data, 32)
    word = reader.read(5) + 1
    sizes = [reader.read(4) + 1 for _ in range(4)]
    if word > 8:
        raise DataError(f"A brush region has {word} bits per value; expected 8.")
    place = 0
    while place < count:
        run = reader.read(1)
        end = min(place + 1 + reader.read(sizes[reader.read(2)]), count)
        if run:
            values[place:end] = reader.read(word)
        else:
            values[place:end] = reader.read_many(end - place, word)
        place = end
        tick()
    return values.reshape(height, width, 4)[..., 3] > (1 << word >> 1) - 1


class _Bits:
    """Reads bits of a byte string."""

    def __init__(self, data: bytes, place: int) -> None:
        self._data, self._place = data, place

    def read(self, count: int) -> int:
        first, self._place = self._place, self._place + count
        if self._place > 8 * len(self._data):
            raise DataError("A brush region is truncated.")
        last = (self._place + 7) // 8
        window = int.from_bytes(self._data[first // 8 : last], "big")
        return (window >> (8 * last - self._place)) & ((1 << count) - 1)

    def read_many(self, number: int, word: int) -> np.ndarray:
        """`number` values of `word` bits (at most 8) each, uint8."""
        first, self._place = self._place, self._place + number * word
        if self._place > 8 * len(self._data):
            raise DataError("A brush region is truncated.")
        part = np.frombuffer(self._data, np.uint8)[first // 8 : (self._place + 7) // 8]
        bits = np.unpackbits(part)[first % 8 :][: number * word].reshape(number, word)
        return (bits << np.arange(word - 1, -1, -1, dtype=np.uint8)).sum(axis=1, dtype=np.uint8)


__all__ = ["decode", "encode"]
