"""The linear map: a discriminant in closed form, alone and averaged with networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from batches import batch_of
from samtailor import artefact
from samtailor.adapters.descriptors import describe_linear
from samtailor.adapters.linear_map import LinearMap
from samtailor.adapters.region_map import RegionMap
from samtailor.adapters.tiled import LOGIT_LIMIT
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.split import Split
from samtailor.errors import DataError
from samtailor.export.onnx import export
from samtailor.fitting import fit
from samtailor.masks import metrics
from samtailor.predict.predictor import Predictor
from samtailor.registry import find
from samtailor.train.config import FitConfig
from tiny import disc_sample

CLOSED = {"members": 0, "linear": True, "task": "region", "select_inference": False}


@pytest.fixture
def features(tiny_base, tiny_samples):
    return batch_of(tiny_base, tiny_samples[:2]).features


def filled(linear: LinearMap, size: float = 1.0) -> LinearMap:
    generator = torch.Generator().manual_seed(0)
    linear.assign(size * torch.randn(linear.weight.shape, generator=generator), torch.tensor(0.3))
    return linear


def settings(out: Path, **changes):
    return FitConfig(method="tailor", classes=("disc",), out=out, steps=1, lr=1e-3, max_grad_norm=0.0, trackers=(),
                     **{"options": CLOSED, **changes})  # fmt: skip


def test_it_is_linear_in_the_descriptors_of_a_cell(tiny_base, features):
    linear, side = filled(LinearMap(tiny_base), 0.1), tiny_base.low_res
    logits = describe_linear(features, (), side) @ linear.weight + linear.bias
    torch.testing.assert_close(linear(features), logits.reshape(2, 1, side, side), atol=1e-4, rtol=1e-4)


def test_its_logits_are_clamped(tiny_base, features):
    logits = filled(LinearMap(tiny_base), 1000.0)(features)
    assert logits.min() == -LOGIT_LIMIT
    assert logits.max() == LOGIT_LIMIT


def test_a_region_map_averages_it_with_the_mean_of_the_members(tiny_base, features):
    region_map = RegionMap(tiny_base, members=2, width=16, linear=True).eval()
    filled(region_map.linear)
    with torch.no_grad():
        expected = (region_map.each(features).mean(dim=0) + region_map.linear(features)) / 2
        torch.testing.assert_close(region_map.logits(features), expected)
        region_map.members = torch.nn.ModuleList()
        torch.testing.assert_close(region_map.logits(features), region_map.linear(features))


@pytest.mark.parametrize("members", [0, 2])
def test_an_offset_moves_the_whole_map(tiny_base, features, members):
    region_map = RegionMap(tiny_base, members=members, width=16, linear=True).eval()
    filled(region_map.linear, 0.01)  # far from the clamp
    with torch.no_grad():
        before = region_map.logits(features)
        region_map.add_offset(1.5)
        torch.testing.assert_close(region_map.logits(features), before + 1.5)


def test_a_fit_in_closed_form_segments_other_images(tiny_sam2, tiny_samples, tmp_path):
    ids = [sample.id for sample in tiny_samples]
    split = Split(train=tuple(ids[:4]), test=tuple(ids[4:6]))
    result = fit(settings(tmp_path / "a"), samples=tiny_samples, base=tiny_sam2, split=split,
                 store=EmbeddingCache(tmp_path / "cache"))  # fmt: skip
    loaded = artefact.load(result.folder, tiny_sam2)
    region_map = loaded.segmenter.adapter("map")
    assert not region_map.linear.weight.requires_grad
    assert region_map.linear.weight.any()
    predictor = Predictor(tiny_sam2, {"it": loaded.segmenter})
    for sample in tiny_samples[4:6]:
        predictor.set_image(sample.image)
        truth = sample.of(("disc",))[0].mask
        mask = predictor.predict(adapter="it")[0][0]
        assert metrics.dice(mask, truth) > 0.5, sample.id
        assert metrics.dice(mask, sample.of(("square",))[0].mask) < 0.1


def test_a_fit_is_repeatable(tiny_sam2, tiny_samples, tmp_path):
    split = Split(train=tuple(sample.id for sample in tiny_samples[:3]))
    maps = []
    for name in "ab":
        fit(settings(tmp_path / name), samples=tiny_samples, base=tiny_sam2, split=split,
            store=EmbeddingCache(tmp_path / "cache"))  # fmt: skip
        maps.append(artefact.load(tmp_path / name, tiny_sam2).segmenter.adapter("map").linear.weight)
    assert torch.equal(*maps)


def test_one_image_is_enough(tiny_sam2, tiny_samples, tmp_path):
    split = Split(train=(tiny_samples[0].id,))
    fit(settings(tmp_path / "a"), samples=tiny_samples, base=tiny_sam2, split=split,
        store=EmbeddingCache(tmp_path / "cache"))  # fmt: skip
    weight = artefact.load(tmp_path / "a", tiny_sam2).segmenter.adapter("map").linear.weight
    assert np.isfinite(weight.numpy()).all()


def test_it_is_exported_with_the_map(tiny_lite, tmp_path):
    segmenter = find("methods", "tailor").build(tiny_lite, members=1, width=16, linear=True)[0].eval()
    region_map = segmenter.adapter("map")
    with torch.no_grad():
        region_map.map_gain.fill_(0.05)  # the map changes the answers to prompts
    filled(region_map.linear)
    report = export(segmenter, tmp_path / "out", name="disc", classes=["disc"], images=[disc_sample(1)])
    assert report["parity"]["largest_difference"]["logits"] < 1e-3


def test_without_a_mask_of_the_class_it_raises(tiny_sam2, tiny_samples, tmp_path):
    split = Split(train=(tiny_samples[0].id,))
    with pytest.raises(DataError, match="has a mask of moon"):
        fit(settings(tmp_path / "a").model_copy(update={"classes": ("moon",)}), samples=tiny_samples, base=tiny_sam2,
            split=split, store=EmbeddingCache(tmp_path / "cache"))  # fmt: skip
    assert not (tmp_path / "a" / "adapter.json").exists()
