"""Scene of `samtailor export`: the files of an ONNX export. What the graphs compute does not matter here."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from faults.outcome import Wrong

PARITY = {"tolerance": 1e-4, "prompts": 1, "largest_difference": {"logits": 0.0}}


@cache
def _segmenter() -> Any:
    import torch
    from transformers import SamConfig, SamModel

    from samtailor.bases.sam import Sam
    from samtailor.registry import find
    from tiny import SAM

    torch.manual_seed(0)
    return find("methods", "sam").build(Sam(SamModel(SamConfig(**SAM)).eval(), "tiny"))[0]


@cache
def _graphs() -> dict[str, bytes]:
    """The two graphs, traced once."""
    import tempfile

    from samtailor.export import _graphs, _trace

    with tempfile.TemporaryDirectory() as text:
        made = {}
        for name, graph in zip(("encoder", "decoder"), _graphs.graphs(_segmenter(), single=True), strict=True):
            _trace.write(graph.eval(), Path(text) / name)
            made[f"{name}.onnx"] = (Path(text) / name).read_bytes()
    return made


def prepare(folder: Path) -> None:
    """Trace the graphs, before processes are forked, and export an earlier version, which is replaced."""
    _graphs()
    _export(folder, "before")


def work(folder: Path) -> None:
    """Export over the earlier version."""
    _export(folder, "mine")


def judge(folder: Path) -> str:
    """Whatever is there is complete; the same command again gives the same files."""
    if (folder / "out").exists() and not _complete(folder / "out"):
        raise Wrong("an incomplete export has its final name")
    work(folder)
    if not _complete(folder / "out"):
        raise Wrong("the repeated export differs")
    if leftovers := [path.name for path in folder.iterdir() if path.name.startswith(".")]:
        raise Wrong(f"leftovers: {leftovers}")
    return "complete"


def _export(folder: Path, name: str) -> None:
    from samtailor.export import _parity, _trace, onnx

    def write(graph: Any, file: Path) -> None:
        file.write_bytes(_graphs()[file.name])

    with mock.patch.object(_trace, "write", write), mock.patch.object(_parity, "compare", return_value=dict(PARITY)):
        onnx.export(_segmenter(), folder / "out", name=name, classes=["disc"], overwrite=True)


def _complete(folder: Path) -> bool:
    import json

    from samtailor.export.onnx import REPORT

    try:
        report = json.loads((folder / REPORT).read_text())
    except (OSError, ValueError):
        return False
    sizes = {str(file.relative_to(folder)): file.stat().st_size for file in folder.rglob("*") if file.is_file()}
    sizes.pop(REPORT)
    return sizes == report["files"] and all((folder / name).read_bytes() == data for name, data in _graphs().items())
