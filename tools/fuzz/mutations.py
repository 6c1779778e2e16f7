"""Seeded mutations of valid files: bytes, numbers in a text, JSON values, pixels, headers of safetensors."""

from __future__ import annotations

import copy
import io
import json
import random
import re
from typing import Any

import numpy as np
from PIL import Image

NUMBERS = (
    *(b"0", b"-1", b"1.5", b"1e308", b"-1e308", b"NaN", b"Infinity", b"4294967296", b"1" * 30, b"9" * 5000, b"1e-320"),
    *(b"100000", b"1000000000", b"2147483647", b"00", b"0x10", b"1_000", b"true", b"null", b'"7"'),
)
SNIPPETS = (
    *(b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"{", b"}", b"[", b"]", b'"', b"'", b",", b":", b"\n", b"\r", b"\t"),
    *(b"<!--", b"&a", b"*a", b"!!binary ", b"!!timestamp 2020-99-99", b"? ", b"<<: *a\n", b"---\n", b"]]>", b"<", b">"),
    *(b"&lt;", b"&unknown;", b"\xef\xbb\xbf", "\u202e".encode(), "\u0130".encode(), b"%s", b"../../", b"/dev/zero"),
    *(b"[" * 2000, b"{" * 200, b"a: &a [x, x]\nb: &b [*a, *a]\n", b"<a>" * 500),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 255, 256, 0.5, -0.5, 1.5, 1e308, -1e308, float("nan"), float("inf"), 10**9),
    *(10**19, 2**31, 2**32, 2**63, -(2**63), 10**400, 65536, 100_000, "", "0", "a", "x" * 5000, "\0"),
    *("../../etc/passwd", "/dev/stdin", "nan", "\ud800", "é", [], {}, [None], [[]], [{}], {"a": None}, [0, 0]),
    *([1e9, 1e9], [[0, 0], [1, 1]], [1, 2, 3, 4, 5, 6], "b" * 100_000),
)


def of_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, delete, insert, repeat or cut bytes, or replace a number."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        size = len(result)
        place = rng.randrange(size + 1)
        length = min(size - place, rng.choice((1, 1, 2, 4, 16, 64)))
        kind = rng.randrange(7)
        if kind == 0 and length:
            result[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del result[place : place + length]
        elif kind == 2:
            result[place:place] = rng.choice(SNIPPETS)
        elif kind == 3:
            result[place:place] = result[place : place + length] * rng.choice((1, 2, 50))
        elif kind == 4:
            del result[place:]
        elif kind == 5:
            result[place : place + length] = rng.randbytes(length)
        else:
            result = bytearray(of_numbers(bytes(result), rng))
    return bytes(result)


def of_numbers(data: bytes, rng: random.Random) -> bytes:
    """Replace one number of a text."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", data[:200_000]))
    if not found:
        return data
    match = rng.choice(found)
    return data[: match.start()] + rng.choice(NUMBERS) + data[match.end() :]


def of_json(data: bytes, rng: random.Random) -> bytes:
    """Replace, delete, add or repeat values at random places of a JSON document; sometimes its bytes."""
    if rng.random() < 0.3:
        return of_bytes(data, rng)
    document = json.loads(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        document = of_value(document, rng)
    return json.dumps(document, ensure_ascii=rng.random() < 0.9).encode("utf-8", "surrogatepass")


def of_value(document: Any, rng: random.Random) -> Any:
    """A JSON document with one place changed."""
    document = copy.deepcopy(document)
    places = list(_places(document))
    if not places:
        return rng.choice(VALUES)
    holder, key = rng.choice(places)
    kind = rng.randrange(6)
    if kind <= 2:
        holder[key] = copy.deepcopy(rng.choice(VALUES))
    elif kind == 3:
        del holder[key]
    elif kind == 4:
        other, place = rng.choice(places)
        holder[key] = copy.deepcopy(other[place]) if place in _keys(other) else None
    elif isinstance(holder, list):
        holder.insert(key, copy.deepcopy(rng.choice((holder[key], rng.choice(VALUES)))))
    else:
        holder[rng.choice(("id", "name", "size", "type", "x", "", "0"))] = copy.deepcopy(rng.choice(VALUES))
    return document


def of_safetensors(data: bytes, rng: random.Random) -> bytes:
    """Change the header, with its length kept true, or any byte."""
    if rng.random() < 0.5:
        return of_bytes(data, rng)
    size = int.from_bytes(data[:8], "little")
    header = of_json(data[8 : 8 + size], rng)
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


def of_image(data: bytes, rng: random.Random) -> bytes:
    """Change bytes; or write the image again with other values, of another size, mode or number of pages."""
    if rng.random() < 0.4:
        return of_bytes(data, rng)
    with Image.open(io.BytesIO(data)) as image:
        kind, values = image.format, np.array(image)
    for _ in range(rng.choice((1, 1, 2, 3))):
        values = _other_values(values, rng)
    pages = [Image.fromarray(values)] * rng.choice((1, 1, 1, 2))
    stream = io.BytesIO()
    try:
        pages[0].save(stream, kind, **({"save_all": True, "append_images": pages[1:]} if pages[1:] else {}))
    except (OSError, ValueError, KeyError):  # the format cannot hold these values
        stream = io.BytesIO()
        pages[0].save(stream, "TIFF")
    return stream.getvalue()


def _other_values(values: np.ndarray, rng: random.Random) -> np.ndarray:
    height, width = values.shape[:2]
    kind = rng.randrange(7)
    if kind == 0:  # a region of another value
        y, x = rng.randrange(height), rng.randrange(width)
        values = values.copy()
        values[y : y + rng.randrange(1, 9), x : x + rng.randrange(1, 9)] = rng.choice((0, 1, 2, 127, 128, 254, 255))
    elif kind == 1:  # another size
        values = values[: rng.randrange(1, height + 1), : rng.randrange(1, width + 1)]
    elif kind == 2:
        values = np.swapaxes(values, 0, 1)
    elif kind == 3:  # another type
        values = values.astype(rng.choice((np.uint8, np.uint16, np.int32, np.float32, bool)))
        if values.ndim == 3 and values.dtype != np.uint8:
            values = values[..., 0]
    elif kind == 4:  # color, or one channel of it
        values = values[..., 0] if values.ndim == 3 else np.stack([values.astype(np.uint8)] * rng.choice((3, 4)), -1)
    elif kind == 5:
        noise = np.random.default_rng(rng.randrange(2**32)).integers(0, 256, values.shape)
        values = noise.astype(values.dtype)
    else:
        values = np.full_like(values, rng.choice((0, 1, 255)))
    return np.ascontiguousarray(values)


def _places(value: Any) -> Any:
    """(container, key) of every value of a document."""
    stack = [value]
    while stack:
        one = stack.pop()
        for key in _keys(one):
            yield one, key
            stack.append(one[key])


def _keys(value: Any) -> list[Any]:
    return list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []


BY_KIND = {
    "json": of_json, "text": of_bytes, "binary": of_bytes, "image": of_image, "safetensors": of_safetensors,
}  # fmt: skip
"""Mutation of a kind of file."""
