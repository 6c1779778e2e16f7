"""Output layouts of one-stage detectors: from raw tensors to boxes and class scores.

Each `decode_...` takes one image's output and the network's input size and returns boxes float32 (N, 4), edges in
pixels of the network's input, and scores float32 (N, C).

| head | output | score |
|---|---|---|
| yolov8 | (4 + C, N) or (N, 4 + C): center, size, class scores | class |
| yolov5 | (3 * cells, 5 + C): center, size, objectness, class scores | objectness * class |
| yolox | (cells, 5 + C): as yolov5; raw exports need the grid: (xy + cell) * stride, exp(wh) * stride | as yolov5 |
| fastestdet | (1 + 4 + C, h, w): objectness, tanh offset, sigmoid size, class scores | objectness^0.6 * class^0.4 |
| end2end | (N, 6): x0 y0 x1 y1 score class, after suppression | score |

The conventions follow the export code of ultralytics and YOLOX and FastestDet's `handle_preds`.
"""

from __future__ import annotations

import numpy as np

from samtailor.errors import InputError

Decoded = tuple[np.ndarray, np.ndarray]
STRIDES = (8, 16, 32)
HEADS = ("yolov8", "yolov5", "yolox", "fastestdet", "end2end")


def cells(size: tuple[int, int]) -> int:
    """Grid cells of strides 8, 16 and 32 over an input of (height, width)."""
    return sum((size[0] // s) * (size[1] // s) for s in STRIDES)


def head_of(shape: tuple[int, ...], size: tuple[int, int], classes: int | None) -> str:
    """The head whose output has this shape.

    Args:
        shape: of the first output, with the batch axis.
        size: (height, width) of the network's input.
        classes: number of classes; None if unknown.

    Raises:
        InputError: no known head has such an output; the message lists the known ones.
    """
    count = cells(size)
    if len(shape) == 4 and shape[1] > 5 and classes in (None, shape[1] - 5):
        return "fastestdet"
    if len(shape) == 3:
        rows, columns = shape[1:]
        if columns == count and rows > 4 and classes in (None, rows - 4):
            return "yolov8"
        if columns == 6 and rows not in (count, 3 * count) and classes != 2:
            return "end2end"
        if rows == count and columns > 4 and (columns - 4 == classes or (classes is None and columns == 84)):
            return "yolov8"
        if columns > 5 and classes in (None, columns - 5) and rows in (count, 3 * count):
            return "yolox" if rows == count else "yolov5"
    raise InputError(
        f"The output of shape {shape} for an input of {size[0]}x{size[1]} px does not match any known head: "
        f"v8 (1, 4+C, {count}), v5 (1, {3 * count}, 5+C), YOLOX (1, {count}, 5+C), "
        "FastestDet (1, 5+C, h, w), end-to-end (1, N, 6)"
        + ("" if classes is None else f", with C = {classes}")
        + f". Set layout={' or '.join(HEADS)} and the class names with names=[...]."
    )


def decode_yolov8(output: np.ndarray, size: tuple[int, int]) -> Decoded:
    """(4 + C, N), or (N, 4 + C) with more rows than columns."""
    rows = output.T if output.shape[0] < output.shape[1] else output
    return _corners(rows[:, :4]), rows[:, 4:]


def decode_yolov5(output: np.ndarray, size: tuple[int, int]) -> Decoded:
    """(N, 5 + C), decoded by the network."""
    return _corners(output[:, :4]), output[:, 4:5] * output[:, 5:]


def decode_yolox(output: np.ndarray, size: tuple[int, int]) -> Decoded:
    """(N, 5 + C). Raw exports hold offsets of a few cells, decoded exports pixels; the largest center decides."""
    places = output[:, :4]
    if float(np.abs(places).max()) < max(size) / 8:
        cell, stride = _grid(size)
        places = np.concatenate([(places[:, :2] + cell) * stride, np.exp(places[:, 2:]) * stride], axis=1)
    return _corners(places), output[:, 4:5] * output[:, 5:]


def decode_fastestdet(output: np.ndarray, size: tuple[int, int]) -> Decoded:
    """(5 + C, h, w)."""
    height, width = output.shape[1:]
    rows = output.reshape(len(output), -1).T
    y, x = (axis.reshape(-1) for axis in np.mgrid[:height, :width])
    center = (np.tanh(rows[:, 1:3]) + np.stack([x, y], 1)) / (width, height)
    sides = 1 / (1 + np.exp(-rows[:, 3:5]))
    boxes = _corners(np.concatenate([center, sides], 1) * (size[1], size[0], size[1], size[0]))
    return boxes, rows[:, :1].clip(0) ** 0.6 * rows[:, 5:].clip(0) ** 0.4


def decode_end2end(output: np.ndarray, size: tuple[int, int]) -> Decoded:
    """(N, 6)."""
    classes = output[:, 5].astype(int)
    scores = np.zeros((len(output), max(classes.max(initial=0), 0) + 1), np.float32)
    scores[np.arange(len(output)), classes] = output[:, 4]
    return output[:, :4], scores


DECODE = {head: globals()[f"decode_{head}"] for head in HEADS}


def _grid(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Cell (x, y) and stride of every row, fine to coarse, row by row."""
    cells_by_stride = []
    for stride in STRIDES:
        y, x = np.mgrid[: size[0] // stride, : size[1] // stride]
        cells_by_stride.append(np.stack([x.reshape(-1), y.reshape(-1), np.full(x.size, stride)], 1))
    rows = np.concatenate(cells_by_stride).astype(np.float32)
    return rows[:, :2], rows[:, 2:]


def _corners(places: np.ndarray) -> np.ndarray:
    half = places[:, 2:] / 2
    return np.concatenate([places[:, :2] - half, places[:, :2] + half], axis=1)


__all__ = ["DECODE", "HEADS", "head_of"]
