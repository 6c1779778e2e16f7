"""Precision of the image encoder: what `auto` decides, and where it is used."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from samtailor.cache import precision
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.cache.encoders import batch_size, fitting_batch
from samtailor.errors import InputError
from samtailor.predict.predictor import Predictor


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A machine with bfloat16 on which nothing was measured."""
    monkeypatch.setenv("SAMTAILOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(precision, "_resolved", {})
    monkeypatch.setattr(precision, "hardware_precision", lambda device: "bf16")


def deviation(change: float) -> precision.Deviation:
    return precision.Deviation("bf16", 20, change, 99.5)


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)


def test_the_deviation_of_masks_is_measured(tiny_base):
    measured = precision.measure(tiny_base, "bf16")
    assert measured.objects >= 8
    assert 50 < measured.agreement <= 100
    assert precision.measure(tiny_base, "fp32").change == 0
    assert precision.measure(tiny_base, "fp32").agreement == 100


@pytest.mark.parametrize(("change", "expected"), [(0.19, "bf16"), (-0.19, "bf16"), (0.21, "fp32"), (-0.21, "fp32")])
def test_auto_is_full_precision_where_masks_change(tiny_sam, change, expected, monkeypatch, caplog):
    asked = []
    monkeypatch.setattr(precision, "measure", lambda base, name: asked.append(name) or deviation(change))
    with caplog.at_level(logging.WARNING, "samtailor"):
        assert precision.resolve(tiny_sam, "auto") == expected
        assert precision.resolve(tiny_sam, "auto") == expected
    (said,) = [one.getMessage() for one in caplog.records]
    assert f"precision auto: {expected}." in said
    assert f"{change:+.2f} points" in said
    precision._resolved.clear()  # as in another process
    assert precision.resolve(tiny_sam, "auto") == expected
    assert asked == ["bf16"]  # measured once for a machine


@pytest.mark.parametrize("content", ["{", '{"precision": "bf16"}', '{"precision": "fp8", "objects": 1, "change": 0}'])
def test_a_damaged_measurement_is_made_again(tiny_sam, content, monkeypatch):
    monkeypatch.setattr(precision, "measure", lambda base, name: deviation(0.5))
    precision.resolve(tiny_sam, "auto")
    (file,) = precision.default_root("precision").iterdir()
    file.write_text(content, encoding="utf-8")
    precision._resolved.clear()
    monkeypatch.setattr(precision, "measure", lambda base, name: deviation(0.0))
    assert precision.resolve(tiny_sam, "auto") == "bf16"


def test_a_machine_without_instructions_stays_in_full_precision(tiny_sam, monkeypatch):
    monkeypatch.setattr(precision, "hardware_precision", lambda device: "fp32")
    monkeypatch.setattr(precision, "measure", lambda *_: pytest.fail("nothing to measure"))
    assert precision.resolve(tiny_sam, "auto") == "fp32"


def test_an_unknown_precision_is_refused(tiny_sam):
    with pytest.raises(InputError, match=r"fp32, bf16, fp16, auto.*'int4'"):
        Predictor(tiny_sam, precision="int4")


def test_the_precision_is_part_of_the_key(tiny_base, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "measure", lambda base, name: deviation(0.0))
    full = EmbeddingCache(tmp_path / "e").features(tiny_base, image()).main
    auto = EmbeddingCache(tmp_path / "e", encoder_precision="auto").features(tiny_base, image()).main
    mixed = EmbeddingCache(tmp_path / "e", encoder_precision="bf16").features(tiny_base, image()).main
    assert torch.equal(auto, mixed)
    assert not torch.equal(auto, full)
    assert len(list((tmp_path / "e").rglob("*.safetensors"))) == 2


@pytest.mark.parametrize(("free", "each", "count"), [(100, 1, 32), (100, 7, 4), (100, 6, 8), (1, 100, 1), (0, 0, 1)])
def test_a_batch_takes_half_of_the_free_memory_of_a_gpu(free, each, count):
    assert fitting_batch(free, each) == count


def test_images_are_encoded_one_at_a_time_on_a_cpu(tiny_sam):
    assert batch_size(tiny_sam) == 1


def test_predictors_encode_in_their_precision(tiny_base):
    features = {}
    for name in ("fp32", "bf16"):
        predictor = Predictor(tiny_base, precision=name)
        predictor.set_image(image())
        features[name] = predictor.features.main
        assert predictor.features.main.dtype == torch.float32
    difference = (features["bf16"] - features["fp32"]).abs().mean() / features["fp32"].abs().mean()
    assert 0 < float(difference) < 0.1
