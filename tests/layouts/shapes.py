"""Masks and files that the small data sets share, and the comparison with what is read."""

import io
import json
import math

import numpy as np
from PIL import Image

SIZE = (24, 36)
H, W = SIZE
IDS = (1, 2, 10)
"""Numbers of the images of a data set; names sort in natural order."""


def blob(seed, size=SIZE):
    """A ragged mask of several parts."""
    mask = np.random.default_rng(seed).random(size) > 0.8
    mask[4:15, 5 + seed % 7 : 25] = True
    return mask


def box(x0, y0, x1, y1, size=SIZE):
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def ellipse(x, y, rx, ry, degrees=0.0, size=SIZE):
    """Pixels whose center is inside."""
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    across, down = columns - x, rows - y
    return ((across * cos + down * sin) / rx) ** 2 + ((down * cos - across * sin) / ry) ** 2 <= 1


RING = [[4, 3], [20, 3], [20, 13], [4, 13]]
HOLE = [[8, 5], [14, 5], [14, 9], [8, 9]]
ring = box(4, 3, 20, 13) & ~box(8, 5, 14, 9)
PART = blob(3, (10, 12))
part = np.zeros(SIZE, bool)
part[5:15, 8:20] = PART


def save(path, values, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    image.save(path, **options)


def photo(path, size=SIZE, seed=0, **options):
    save(path, np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8), **options)


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def png(values):
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


def packed(mask):
    from pycocotools import mask as coco

    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


def run_lengths(flat):
    """Run lengths of a flat mask, background first."""
    edges = np.concatenate([[0], np.flatnonzero(np.diff(flat.astype(int))) + 1, [flat.size]])
    return ([0] if flat[0] else []) + np.diff(edges).tolist()


def index_map(values, size=SIZE):
    index = np.zeros(size, np.int32)
    for value, mask in values:
        index[mask] = value
    return index


def colored(pairs):
    image = np.zeros((*SIZE, 3), np.uint8)
    for color, mask in pairs:
        image[mask] = color
    return image


def masks_of(samples):
    return {s.id: [(a.label, a.mask) for a in s.annotations] for s in samples}


def mismatch(samples, expected):
    """Description of the first difference in ids, labels or masks (and their order); empty if there is none."""
    got = masks_of(samples)
    if list(got) != list(expected):
        return f"ids {list(got)}, not {list(expected)}"
    for id, wanted in expected.items():
        labels, hoped = [label for label, _ in got[id]], [label for label, _ in wanted]
        if labels != hoped:
            return f"{id}: labels {labels}, not {hoped}"
        for (label, mask), (_, want) in zip(got[id], wanted, strict=True):
            if not np.array_equal(mask, want):
                return f"{id}: {label!r} has a mask {mask.shape} of {mask.sum()} px, not {want.shape} of {want.sum()}"
    return ""
