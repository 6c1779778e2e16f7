"""Write a module of tensors as an ONNX file with torch's tracing exporter."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch

from samtailor.errors import MissingExtraError

OPSET = 17
"""LayerNormalization is a single operator from opset 17; onnxruntime supports it since 1.12."""
_WEIGHT_BYTES = 1024
_PROTOBUF_LIMIT = 1_900_000_000  # 2 GiB with a margin


def require_onnx() -> None:
    """Raise MissingExtraError unless onnx and onnxruntime are installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"Exporting to ONNX needs {error.name}. Install it with: pip install 'samtailor[export]'"
        ) from error


class Graph(Protocol):
    """A module that can be traced.

    Args:
        inputs, outputs: names, in order.
        dynamic: input or output to its dynamic axes by index.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dynamic: ClassVar[dict[str, dict[int, str]]]

    def example(self) -> tuple[torch.Tensor, ...]:
        """Inputs for tracing."""


@torch.no_grad()
def write(graph: Graph, file: Path) -> None:
    """Trace a module into an ONNX file of opset 17, on the CPU."""
    export: Any = torch.onnx.export
    options = {"dynamo": False} if "dynamo" in inspect.signature(export).parameters else {}
    with _traceable():
        export(
            graph,
            graph.example(),
            str(file),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_axes=graph.dynamic,
            opset_version=OPSET,
            do_constant_folding=True,
            **options,
        )
    _tidy(file)


def _tidy(file: Path) -> None:
    """Turn large constants into weights, which quantization needs, and delete the inferred shapes: some of the tracer's
    are wrong, and onnxruntime infers its own. The weights of a model over 2 GB go into a separate file."""
    import onnx

    model = onnx.load(str(file))
    del model.graph.value_info[:]
    for node in [n for n in model.graph.node if n.op_type == "Constant" and _large(n)]:
        tensor = node.attribute[0].t
        tensor.name = node.output[0]
        model.graph.initializer.append(tensor)
        model.graph.node.remove(node)
    if file.stat().st_size < _PROTOBUF_LIMIT and not any(t.external_data for t in model.graph.initializer):
        onnx.save(model, str(file))
    else:
        onnx.save(model, str(file), save_as_external_data=True, location=f"{file.name}.data", size_threshold=1024)


def _large(node: Any) -> bool:
    return node.attribute[0].name == "value" and len(node.attribute[0].t.raw_data) >= _WEIGHT_BYTES


@contextmanager
def _traceable() -> Iterator[None]:
    """Disable torch's fused attention kernel, define `.mT`, and silence warnings about constants."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    torch.onnx.register_custom_op_symbolic("aten::mT", _swap_last_two, OPSET)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # shapes that never change (frame, grid) become constants on purpose
            yield
    finally:
        torch.onnx.unregister_custom_op_symbolic("aten::mT", OPSET)
        torch.backends.mha.set_fastpath_enabled(fused)


def _swap_last_two(g: Any, x: Any) -> Any:
    rank = x.type().dim()
    return g.op("Transpose", x, perm_i=[*range(rank - 2), rank - 1, rank - 2])


__all__ = ["OPSET", "Graph", "require_onnx", "write"]
