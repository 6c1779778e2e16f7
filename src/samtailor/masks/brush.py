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

_SIZES = (3, 4, 8, 16)
_WORD = 8
_HEAD = 32 + 5 + 4 * 4


def encode(mask: np.ndarray) -> list[int]:
    """Encode a boolean mask (height, width) to the bytes of `value.rle`."""
    flat = np.repeat(np.asarray(mask, bool).ravel(), 4)
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(starts, append=flat.size)
    head = f"{flat.size:032b}{_WORD - 1:05b}" + "".join(f"{size - 1:04b}" for size in _SIZES)
    runs = (run for start, length in zip(starts, lengths, strict=True) for run in _runs(int(length), bool(flat[start])))
    bits = "".join((head, *runs))
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def _runs(length: int, on: bool) -> Iterator[str]:
    value = "1" * _WORD if on else "0" * _WORD
    while length > 0:
        part = min(length, 1 << _SIZES[-1])
        index = next(i for i, size in enumerate(_SIZES) if part <= 1 << size)
        yield f"1{index:02b}{part - 1:0{_SIZES[index]}b}{value}"
        length -= part


def decode(rle: Sequence[int], height: int, width: int) -> np.ndarray:
    """Decode `value.rle` to a boolean mask (height, width): where alpha is above one half, as in the browser.

    The time is linear in the number of bytes and pixels.

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
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    word = _number(bits, 32, 5) + 1
    sizes = [_number(bits, 37 + 4 * i, 4) + 1 for i in range(4)]
    if word > 8:
        raise DataError(f"A brush region has {word} bits per value; expected 8.")
    return _values(data, bits, count, word, sizes).reshape(height, width, 4)[..., 3] > (1 << word >> 1) - 1


def _values(data: bytes, bits: np.ndarray, count: int, word: int, sizes: Sequence[int]) -> np.ndarray:
    """All values, uint8 (count,)."""
    values = np.zeros(count, np.uint8)
    weights = 1 << np.arange(word)[::-1]
    end_of_data = 8 * len(data)
    position, place = _HEAD, 0
    while place < count:
        if position + 3 > end_of_data:
            raise DataError("A brush region is truncated.")
        head = _window(data, position, 3)
        size = sizes[head & 3]
        length = min(_window(data, position + 3, size) + 1, count - place)
        position += 3 + size
        run = bool(head & 4)
        wide = word if run else word * length
        if position + wide > end_of_data:
            raise DataError("A brush region is truncated.")
        if run:
            value = _window(data, position, word)
            if value:
                values[place : place + length] = value
        else:
            values[place : place + length] = bits[position : position + wide].reshape(length, word) @ weights
        position += wide
        place += length
    return values


def _window(data: bytes, first: int, count: int) -> int:
    """`count` bits from the bit `first`; bits after the end are 0."""
    last = first + count
    whole = int.from_bytes(data[first >> 3 : (last + 7) >> 3], "big")
    return (whole >> (-last & 7)) & ((1 << count) - 1)


def _number(bits: np.ndarray, first: int, count: int) -> int:
    return int(bits[first : first + count] @ (1 << np.arange(count)[::-1]))


__all__ = ["decode", "encode"]
