"""samtailor export, from an adapter's folder to files."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("onnxruntime")


def test_export_writes_a_folder(run, adapter_folder, tmp_path):
    result = run("export", adapter_folder, "--to", "onnx", "--out", "out")
    report = json.loads((tmp_path / "out" / "export.json").read_text())
    assert "agrees with torch on" in result.stderr
    assert report["classes"] == ["disc"]
    assert report["parity"]["prompts"] >= 40
    for name in ("encoder.onnx", "decoder.onnx", "cvat/function.yaml", "cvat/main.py"):
        assert (tmp_path / "out" / name).is_file()
    assert "exists already" in run("export", adapter_folder, "--out", "out", code=2).stderr
    assert "Known: onnx" in run("export", adapter_folder, "--to", "coreml", code=2).stderr
