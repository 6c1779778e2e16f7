"""The suite of `samtailor bench`: ratios, floors, and what is left out."""

from __future__ import annotations

import json

import pytest
import torch

from samtailor import bench
from samtailor.bench import machine, prompts
from samtailor.bench.timing import Times, rows
from samtailor.errors import InputError


def test_ratios_are_medians_of_rounds_that_alternate():
    times = {"one": Times((2.0, 4.0, 9.0), (2.0, 2.0, 2.0)), "other": Times((1.0, 1.0, 3.0), (4.0, 4.0, 4.0))}
    first, second = rows("group", times, {"other": (0.5, "bf16")})
    assert (first.ratio, first.cpu_ratio, first.distance) == (1, 1, None)
    assert (second.seconds, second.ratio, second.cpu_ratio) == (1, 3, 0.5)
    assert (second.distance, second.precision) == (2, "bf16")


def test_a_floor_is_the_slower_of_products_and_memory():
    device = machine.Machine("cpu", "x", 1, {"fp32": 100.0, "bf16": 400.0}, 10.0, "2")
    assert device.floor(200, 5) == 2
    assert device.floor(200, 5, "bf16") == 0.5
    assert device.floor(200, 50, "bf16") == 5


def test_operations_of_products_and_attention_are_counted():
    left, right = torch.ones(2, 3), torch.ones(3, 5)
    assert machine.operations(lambda: left @ right) == 2 * 2 * 3 * 5
    query = torch.randn(1, 2, 8, 4)
    attention = torch.nn.functional.scaled_dot_product_attention
    assert machine.operations(lambda: attention(query, query, query)) == 2 * (2 * 8 * 8 * 4) * 2


def test_the_suite_measures_a_base(tiny_sam2, monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_SIDE", 64)
    monkeypatch.setattr(machine, "_COPIED", 1 << 12)
    monkeypatch.setattr(prompts, "COUNTS", (1, 3))
    report = bench.run(tiny_sam2, groups=["encode", "prompts", "images", "label"], rounds=1, images=1)
    groups: dict[str, list[str]] = {}
    for row in report.rows:
        groups.setdefault(row.group, []).append(row.name)
        assert row.seconds > 0
        assert row.floor is None or row.floor > 0
    assert [names[0] for names in groups.values()] == [
        *["transformers"] * (len(groups) - 2), "transformers, a call for each object", "reading and encoding alone",
    ]  # fmt: skip
    assert all("samtailor" in names[-1] or "label" in names[-1] or "onnx" in names[-1] for names in groups.values())
    assert "segment-anything" in report.left_out
    assert json.loads(json.dumps(report.to_json()))["base"]["fingerprint"] == tiny_sam2.fingerprint


def test_wrong_groups_and_numbers_are_refused(tiny_sam2):
    with pytest.raises(InputError, match=r"'speed'.*encode, prompts, images, label, fit"):
        bench.run(tiny_sam2, groups=["speed"])
    with pytest.raises(InputError, match="at least 1, got 0"):
        bench.run(tiny_sam2, rounds=0)


def test_fused_convolutions_count_as_plain_ones(tiny_lite):
    from samtailor.cache.encoders import prepared

    frames = torch.randn(1, 3, tiny_lite.size, tiny_lite.size)
    plain, fused = tiny_lite.model.vision_encoder.backbone, prepared(tiny_lite).model.vision_encoder.backbone
    assert type(plain) is not type(fused)
    with torch.no_grad():
        assert machine.operations(lambda: fused(frames)) == machine.operations(lambda: plain(frames))
