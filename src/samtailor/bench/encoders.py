"""The image encoder: transformers', samtailor's, the exported file in onnxruntime, segment-anything."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from samtailor.bases import Base
from samtailor.bench.machine import Machine, operations
from samtailor.bench.timing import Row, alternate, rows, timed
from samtailor.cache.encoders import device_of, encode_image, prepared
from samtailor.cache.precision import hardware_precision
from samtailor.errors import MissingExtraError, SamtailorError

_NUMBERS = {"fp32": 4, "bf16": 2, "fp16": 2}
_SEGMENT_ANYTHING = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}


def measure(base: Base, machine: Machine, rounds: int, *, compiled: bool, left_out: dict[str, str]) -> list[Row]:
    """Rows of one image through the encoder.

    Args:
        base: on its device.
        machine: as measured.
        rounds: of each way.
        compiled: also with torch.compile, whose warm-up is noted.
        left_out: gets what could not run, and why.
    """
    device = device_of(base)
    frames = torch.randn(1, 3, base.size, base.size, generator=torch.Generator().manual_seed(0)).to(device)
    mixed, notes = hardware_precision(device), {}
    cheaper = prepared(base)
    runs: dict[str, Callable[[], object]] = {
        "transformers": lambda: base.encode_image(frames),
        "samtailor": lambda: cheaper.encode_image(frames),
    }
    if mixed != "fp32":
        runs[f"samtailor, {mixed}"] = lambda: encode_image(base, frames, mixed)
    else:
        left_out["samtailor, mixed precision"] = "this machine has no instructions for it"
    if compiled:
        runs["samtailor, compiled"], seconds = _compiled(cheaper, frames)
        notes["samtailor, compiled"] = f"compiled in {seconds:.0f} s"
    with tempfile.TemporaryDirectory() as folder:
        for name, make in {
            "onnxruntime, exported file": lambda: _exported(base, frames, Path(folder)),
            "segment-anything": lambda: _segment_anything(base, frames),
        }.items():
            try:
                runs[name] = make()
            except (SamtailorError, ImportError) as error:
                left_out[name] = str(error)
        with torch.inference_mode():
            counted = min(operations(runs[name]) for name in ("transformers", "samtailor"))
            times = alternate(runs, rounds)
    floors = {}
    for name in runs:
        precision = mixed if name == f"samtailor, {mixed}" else "fp32"
        moved = _NUMBERS[precision] * _encoder_numbers(base) + frames.nbytes
        floors[name] = machine.floor(counted, moved, precision), precision
    return rows(f"encode an image of {base.size} px", times, floors, notes)


def _encoder_numbers(base: Base) -> int:
    encoder: Any = base.model.vision_encoder
    return sum(parameter.numel() for parameter in encoder.parameters())


def _compiled(base: Base, frames: torch.Tensor) -> tuple[Callable[[], object], float]:
    encode: Any = torch.compile(base.encode_image)

    def run() -> object:
        with torch.inference_mode():
            return encode(frames)

    return run, timed(run)[0]


def _exported(base: Base, frames: torch.Tensor, folder: Path) -> Callable[[], object]:
    """The exported encoder in onnxruntime, on the CPU.

    Raises:
        MissingExtraError: onnx or onnxruntime is not installed.
        SamtailorError: the base cannot be exported, or it is not on a CPU.
    """
    from samtailor.export import _graphs, _trace
    from samtailor.registry import find

    _trace.require_onnx()
    if frames.device.type != "cpu":
        raise SamtailorError("exported files are compared on a CPU only")
    import onnxruntime

    segmenter, _ = find("methods", "sam").build(base)
    encoder, _ = _graphs.graphs(segmenter.eval(), single=True)
    file = folder / "encoder.onnx"
    _trace.write(encoder.eval(), file)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    inputs = {name: x.numpy() for name, x in zip(encoder.inputs, encoder.example(), strict=True)}
    return lambda: session.run(None, inputs)


def _segment_anything(base: Base, frames: torch.Tensor) -> Callable[[], object]:
    """The encoder of segment-anything of the same size, with random weights, which cost the same.

    Raises:
        ImportError: it is not installed.
        MissingExtraError: it has no model of this size.
    """
    config: Any = base.model.config
    kind = getattr(config, "model_type", "")
    width = getattr(getattr(config, "vision_config", None), "hidden_size", 0)
    if kind != "sam" or width not in _SEGMENT_ANYTHING or base.size != 1024:
        raise MissingExtraError("it has SAM ViT-B, ViT-L and ViT-H at 1024 px only")
    try:
        from segment_anything import sam_model_registry  # type: ignore[import-not-found]
    except ImportError as error:
        raise ImportError("it is not installed: pip install segment-anything torchvision") from error
    model = sam_model_registry[_SEGMENT_ANYTHING[width]](checkpoint=None).to(frames.device).eval()
    return lambda: model.image_encoder(frames)


__all__ = ["measure"]
