"""ONNX networks with the same output for every image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def constant(
    path: Path, output: np.ndarray, size: tuple[int, int], *, names: str | None = None, score_of_first_channel=False
) -> Path:
    """A network with a fixed `output`; a batch axis is added in front.

    With `score_of_first_channel` it is multiplied by 1 in the first four columns and by the mean of the image's first
    channel in the others.
    """
    nodes = [helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=1)]
    initial = [numpy_helper.from_array(np.array([1, 2, 3]), "axes"), numpy_helper.from_array(output[None], "fixed")]
    if score_of_first_channel:
        scores = np.ones(output.shape[-1], np.float32)
        scores[:4] = 0
        initial += [
            numpy_helper.from_array(scores, "scores"),
            numpy_helper.from_array(1 - scores, "places"),
            *(numpy_helper.from_array(np.array([v]), n) for v, n in ((0, "zero"), (1, "one"))),
        ]
        nodes = [
            helper.make_node("Slice", ["image", "zero", "one", "one"], ["first"]),
            helper.make_node("ReduceMean", ["first", "axes"], ["mean4"], keepdims=0),
            helper.make_node("Mul", ["scores", "mean4"], ["scaled"]),
            helper.make_node("Add", ["scaled", "places"], ["factors"]),
            helper.make_node("Mul", ["fixed", "factors"], ["output"]),
        ]
    else:
        initial += [numpy_helper.from_array(np.zeros(1, np.float32), "nothing")]
        nodes += [
            helper.make_node("Mul", ["mean", "nothing"], ["silent4"]),
            helper.make_node("ReduceSum", ["silent4"], ["silent"], keepdims=0),
            helper.make_node("Add", ["fixed", "silent"], ["output"]),
        ]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *size])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
        initial,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if names is not None:
        entry = model.metadata_props.add()
        entry.key, entry.value = "names", names
    onnx.save(model, str(path))
    return path


def grid_rows(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Cell (x, y) and stride of each row of a YOLOX output, computed by loops."""
    rows = [
        (x, y, stride) for stride in (8, 16, 32) for y in range(size[0] // stride) for x in range(size[1] // stride)
    ]
    table = np.array(rows)
    return table[:, :2], table[:, 2]
