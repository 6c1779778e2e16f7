"""Encoders with 8-bit weights and activations on a CPU, beside full precision and bfloat16: time, and change of masks.

    OMP_NUM_THREADS=1 python tools/measure_int8.py [--only products,lite]

`products`: a linear layer of ViT-B at 1024 px, quantized dynamically by torch. `lite`: the bundled base, exported and
quantized statically by onnxruntime (convolutions included, calibrated on photographs of the demo), with the IoU of its
masks with those of full precision.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import results
from results import Cell, Column, Table
from samtailor.bases import Base, load_base
from samtailor.bases.encoder import fast_encoder
from samtailor.bench.timing import alternate
from samtailor.cache.encoders import encode_image
from samtailor.data import coffee_leaves
from samtailor.data.dataset import open_dataset
from samtailor.data.transform import Frame
from samtailor.export import _graphs, _trace
from samtailor.export._encoder_graphs import SAM2_INPUT
from samtailor.export._parity import Files, synthetic
from samtailor.export._quantise import loss
from samtailor.registry import find
from samtailor.structures import Sample

ENGINES = ("x86", "onednn")
Runs = dict[str, Callable[[], object]]


def main() -> None:
    """Measure, and write results/int8.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="products,lite", type=lambda text: text.split(","))
    parser.add_argument("--rounds", type=int, default=3)
    results.add_option(parser, "int8")
    options = parser.parse_args()
    warnings.simplefilter("ignore", DeprecationWarning)
    torch.set_num_threads(1)
    lite, tables = load_base("lite"), {}
    if "products" in options.only:
        with torch.inference_mode():
            tables["products"] = timed("Product of (4096, 768) and (768, 3072)", products(), options.rounds)
    if "lite" in options.only:
        tables |= exported(lite, options.rounds)
    results.save(
        "int8", tables, title="8-bit encoders on a CPU", base=lite, seeds=[0], file=options.results,
        units="processor time of one thread; ratios are medians over rounds that alternate, against the first way",
    )  # fmt: skip


def timed(title: str, runs: Runs, rounds: int) -> Table:
    """Processor time of several ways of doing the same."""
    times = alternate(runs, rounds)
    first = next(iter(times.values())).cpu
    rows: dict[str, dict[str, Cell]] = {}
    for number, (name, one) in enumerate(times.items()):
        ratio = float(np.median([a / b for a, b in zip(first, one.cpu, strict=True)]))
        rows[f"row-{number}"] = {"way": name, "ms": round(1e3 * float(np.median(one.cpu)), 2), "ratio": round(ratio, 3)}
    columns = (
        Column(key="way", label="Way"),
        Column(key="ms", label="ms of one thread", digits=1),
        Column(key="ratio", label="Times as fast", digits=2),
    )
    return Table(title=title, columns=columns, rows=rows)


def quantized(module: nn.Module, engine: str) -> nn.Module:
    """A copy whose linear layers have 8-bit weights, and quantize their input when they are called."""
    torch.backends.quantized.engine = engine
    dynamic: Any = torch.ao.quantization.quantize_dynamic
    return dynamic(module, {nn.Linear}, dtype=torch.qint8)


def products() -> Runs:
    """One linear layer."""
    torch.manual_seed(0)
    x, linear = torch.randn(1, 4096, 768), nn.Linear(768, 3072)
    half, short = nn.Linear(768, 3072).bfloat16(), x.bfloat16()
    runs: Runs = {"fp32": lambda: linear(x), "bf16": lambda: half(short)}
    for engine in ENGINES:
        runs[f"int8, torch dynamic, {engine}"] = _with(engine, quantized(linear, engine), x)
    return runs


def _with(engine: str, module: Any, x: torch.Tensor) -> Callable[[], object]:
    def run() -> object:
        torch.backends.quantized.engine = engine
        return module(x)

    return run


def exported(base: Base, rounds: int) -> dict[str, Table]:
    """The exported encoder in onnxruntime, quantized statically."""
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    segmenter, _ = find("methods", "sam").build(base)
    graphs = dict(zip(("encoder", "decoder"), _graphs.graphs(segmenter.eval(), single=True), strict=True))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        leaves = open_dataset(coffee_leaves.write(folder / "leaves"))
        for part, graph in graphs.items():
            _trace.write(graph.eval(), folder / f"{part}.onnx")

        class Images(CalibrationDataReader):
            """Photographs to calibrate on."""

            def __init__(self) -> None:
                self._left: Iterator[Sample] = iter(leaves[::2])

            def get_next(self) -> dict[str, np.ndarray] | None:
                sample = next(self._left, None)
                return None if sample is None else {"image": frame_of(base, sample)}

        quant_pre_process(str(folder / "encoder.onnx"), str(folder / "prepared.onnx"), skip_symbolic_shape=True)
        quantize_static(
            str(folder / "prepared.onnx"), str(folder / "int8.onnx"), Images(), quant_format=QuantFormat.QDQ,
            per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
        image, settings = frame_of(base, leaves[1]), onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1
        fast, x = fast_encoder(base), torch.from_numpy(image)
        runs: Runs = {
            "fp32, samtailor": torch.inference_mode()(lambda: encode_image(fast, x, "fp32")),
            "bf16, samtailor": torch.inference_mode()(lambda: encode_image(fast, x, "bf16")),
        }
        for way, file in (("fp32, onnxruntime", "encoder.onnx"), ("int8, onnxruntime static", "int8.onnx")):
            session = onnxruntime.InferenceSession(str(folder / file), settings, providers=["CPUExecutionProvider"])
            runs[way] = lambda session=session: session.run(None, {"image": image})
        table = timed("Encoder of the bundled base", runs, rounds)
        decoder = folder / "decoder.onnx"
        full, small = (Files(folder / file, decoder, segmenter, True) for file in ("encoder.onnx", "int8.onnx"))
        found = {
            "scenes": ("Synthetic scenes", loss(full, {"int8": small}, segmenter, synthetic())["int8"]),
            "leaves": ("Photographs of leaves, others", loss(full, {"int8": small}, segmenter, leaves[1::4])["int8"]),
        }
    labels = {"what": "Images", "masks": "Masks", "mean": "Mean IoU with full precision", "lowest": "Lowest IoU"}
    rows: dict[str, dict[str, Cell]] = {
        key: {"what": what, "masks": one["masks"], "mean": 100 * one["mean_iou"], "lowest": 100 * one["lowest_iou"]}
        for key, (what, one) in found.items()
    }
    columns = tuple(Column(key=key, label=label, digits=0 if key == "masks" else 1) for key, label in labels.items())
    return {"lite": table, "masks": Table(title="Masks of the 8-bit encoder", columns=columns, rows=rows)}


def frame_of(base: Base, sample: Sample) -> np.ndarray:
    """The input of the exported encoder: float32 (1, 3, s, s)."""
    image = sample.image
    return Frame.of(base, *image.shape[:2]).image(image, SAM2_INPUT)[None].numpy()


if __name__ == "__main__":
    main()
