"""`onnx`: encoder and adapted decoder as two ONNX files with the interface of the base's family, verified before use.

The files include everything that an adapter uses for prediction: PLM, LoRA, learned prompts, trained parts of the
decoder, SAM-F's weights, calibration. The encoder is that of the base unless the adapter changes it (`encoder_of` in
export.json).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from importlib import metadata as packages
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor import __version__
from samtailor.data.listing import is_utf8
from samtailor.data.writing import flush, write_json
from samtailor.errors import InputError
from samtailor.export import _annotators, _graphs, _parity, _quantise, _trace
from samtailor.predict.files import new_folder
from samtailor.structures import WAYS, Sample

if TYPE_CHECKING:
    from samtailor.segmenter import Segmenter

REPORT = "export.json"


def export(
    segmenter: Segmenter,
    out: str | Path,
    *,
    name: str = "adapter",
    classes: Sequence[str] = (),
    int8: bool = False,
    all_masks: bool = False,
    tolerance: float = _parity.TOLERANCE,
    images: Sequence[Sample] | None = None,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Write `encoder.onnx`, `decoder.onnx`, annotators' configuration files and export.json into a new folder.

    The folder is created only after onnxruntime has given the same results as torch on real prompts (1 to 5 clicks,
    boxes, both, with and without a mask prompt), from pixels to logits.

    Args:
        segmenter: in evaluation mode, on the CPU.
        out: folder.
        name: of the adapter, for the annotators.
        classes: of the adapter.
        int8: also `encoder.int8.onnx` and `decoder.int8.onnx`, with their loss of quality in export.json.
        all_masks: SAM 1 only: return every candidate mask instead of the one with the highest predicted IoU.
            Annotation programs show the first mask.
        tolerance: largest allowed difference, see `_parity`.
        images: to verify on; None generates three.
        overwrite: replace an earlier export.
        progress: called with a description of each step.

    Returns:
        the content of export.json.

    Raises:
        MissingExtraError: onnx or onnxruntime is not installed.
        InputError: a base or method that cannot be exported, an adapter that is not on the CPU, or `out` exists.
        ParityError: the files do not reproduce the adapter.
    """
    _trace.require_onnx()
    if not is_utf8(str(out)):
        raise InputError(
            f"ONNX files need a folder whose name is valid UTF-8, got {os.fsencode(out)!r}. Choose another."
        )
    report_step = progress or (lambda text: None)
    _require_cpu(segmenter)
    training = segmenter.training
    encoder, decoder = (graph.eval() for graph in _graphs.graphs(segmenter.eval(), single=not all_masks))
    samples = list(images) if images is not None else _parity.synthetic()
    try:
        with new_folder(Path(out), REPORT if overwrite else None) as folder:
            for part, graph in (("encoder", encoder), ("decoder", decoder)):
                report_step(f"writing {part}.onnx")
                _trace.write(graph, folder / f"{part}.onnx")
            report_step("comparing onnxruntime with torch")
            full = _parity.Files(folder / "encoder.onnx", folder / "decoder.onnx", segmenter, decoder.pads)
            report = _report(segmenter, encoder, decoder, name, classes)
            report["parity"] = _parity.compare(full, segmenter, samples, tolerance)
            if int8:
                report_step("int8: quantizing and measuring the loss")
                report["int8"] = _small(folder, full, segmenter, decoder.pads, samples)
            family, size = report["family"], segmenter.base.size
            title = f"{', '.join(classes) or name} (samtailor, {segmenter.base.name})"
            report["annotators"] = _annotators.write(
                folder, _plain(name), title, family=family, size=size, classes=list(classes)
            )
            report["files"] = {str(f.relative_to(folder)): f.stat().st_size for f in _files(folder)}
            write_json(folder / REPORT, report)
            flush(folder)
    finally:
        segmenter.train(training)
    return report


def _small(folder: Path, full: Any, segmenter: Segmenter, pads: bool, images: Sequence[Sample]) -> dict[str, Any]:
    for part in ("encoder", "decoder"):
        _quantise.quantize(folder / f"{part}.onnx", folder / f"{part}.int8.onnx")
    names = {
        "encoder": ("encoder.int8.onnx", "decoder.onnx"),
        "decoder": ("encoder.onnx", "decoder.int8.onnx"),
        "both": ("encoder.int8.onnx", "decoder.int8.onnx"),
    }
    pairs = {which: _parity.Files(folder / a, folder / b, segmenter, pads) for which, (a, b) in names.items()}
    return _quantise.loss(full, pairs, segmenter, images)


def _report(segmenter: Segmenter, encoder: Any, decoder: Any, name: str, classes: Sequence[str]) -> dict[str, Any]:
    base = segmenter.base
    mean, std = _graphs.SAM2_INPUT if decoder.pads else (base.mean, base.std)
    libraries = ("torch", "transformers", "onnx", "onnxruntime")
    return {
        "adapter": name,
        "classes": list(classes),
        "family": "sam2" if decoder.pads else "sam",
        "base": {"name": base.name, "fingerprint": base.fingerprint},
        "companion": None
        if segmenter.companion is None
        else {"name": segmenter.companion.name, "fingerprint": segmenter.companion.fingerprint},
        "map_channels": _graphs.map_channels(segmenter),
        "encoder_of": "base" if segmenter.encoder_frozen else "adapter",
        "asked_with": "nothing: prompts are taken and ignored"
        if segmenter.inference.prompt == "none"
        else "points and boxes",
        "base_model_answers": list(segmenter.inference.base_prompts),
        "postprocess": {
            way: dict(how.active) for way in WAYS if not (how := segmenter.inference.postprocess_of(way)).nothing
        },
        "opset": _trace.OPSET,
        "geometry": {
            "size": base.size,
            "low_res": base.low_res,
            "squash": base.squash,
            "mean": list(mean),
            "std": list(std),
        },
        "encoder": {"inputs": list(encoder.inputs), "outputs": list(encoder.outputs)},
        "decoder": {"inputs": list(decoder.inputs), "outputs": list(decoder.outputs), "best_mask_only": decoder.single},
        "versions": {"samtailor": __version__, **{name: packages.version(name) for name in libraries}},
    }


def _require_cpu(segmenter: Segmenter) -> None:
    device = next(segmenter.base.model.parameters()).device
    if device.type != "cpu":
        raise InputError(f"Exporting needs an adapter on the CPU, this one is on {device}. Load it with device='cpu'.")


def _plain(name: str) -> str:
    """A name that is valid in file systems and container registries."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "adapter"


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


__all__ = ["REPORT", "export"]
