"""Methods on the same split, seeds and clicks; resumable; cross-model; what a method weighs."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from samtailor.cache.embeddings import EmbeddingCache
from samtailor.compare import compare, cross_model, limit_shots, parameters, split_for_seed, variants
from samtailor.errors import InputError
from samtailor.registry import find
from samtailor.train.config import load

FAST = {"steps": 2, "batch_size": 2, "trackers": (), "val": 0.25, "eval_masks": 2, "near_duplicates": False}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return EmbeddingCache(tmp_path_factory.mktemp("embeddings"))


def test_matched_images_and_seeds_and_no_fit_twice(tiny_sam, tiny_samples, tmp_path, store, monkeypatch):
    runs = variants(load(None, FAST), ["sam", "sam-f", "plm"])
    assert list(runs) == ["SAM", "SAM-F", "SAM+PLM"]
    updates = []
    comparison = compare(
        runs,
        tmp_path,
        tiny_sam,
        tiny_samples,
        seeds=[0, 1],
        classes=["disc"],
        store=store,
        watch=lambda w, p: updates.append(w),
    )
    fits = {f"{name}, seed {seed}" for name in ("SAM-F", "SAM+PLM") for seed in (0, 1)}
    assert set(updates) == fits | {"evaluation, seed 0", "evaluation, seed 1"}
    for seed, parts in zip(comparison.seeds, zip(*comparison.scores.values(), strict=True), strict=True):
        evaluated = [[(r.id, r.label, r.index) for r in part.rows] for part in parts]
        assert evaluated[0] == evaluated[1] == evaluated[2]
        assert {row[0] for row in evaluated[0]} == set(comparison.held_out[seed])
    splits = [json.loads((f / "split.json").read_text()) for f in comparison.folders.values() if f is not None]
    assert splits[0] == splits[1]
    assert splits[0]["train"] != splits[2]["train"]
    metas = [json.loads((f / "adapter.json").read_text()) for f in comparison.folders.values() if f is not None]
    assert [meta["seed"] for meta in metas] == [0, 0, 1, 1]
    for made in splits[:2]:
        assert not set(made["train"] + made["val"]) & set(comparison.held_out[0])
    summary = comparison.summary()
    assert set(summary["SAM"]["seeds"]) == {"0", "1"}
    assert "difference" not in summary["SAM"]
    assert summary["SAM+PLM"]["difference"]["miou_interval"] is not None
    with pytest.raises(InputError, match="no 'PLM'"):
        comparison.summary("PLM")
    monkeypatch.setattr("samtailor.compare.scoring.evaluate_many", None)
    again = compare(runs, tmp_path, tiny_sam, tiny_samples, seeds=[0, 1], classes=["disc"], store=store)
    assert again.scores == comparison.scores


def test_one_adapter_per_class_and_cross_model(tiny_sam, tiny_samples, tmp_path, store):
    runs = variants(load(None, FAST), ["sam", "plm"])
    comparison = compare(
        runs, tmp_path, tiny_sam, tiny_samples[:6], tiny_samples[6:], per_class=True, store=store, seeds=[3]
    )
    assert set(comparison.folders) == {f"{n}/3/{c}" for n in ("SAM", "SAM+PLM") for c in ("disc", "square")}
    assert comparison.folders["SAM/3/disc"] is None
    (plm,) = comparison.scores["SAM+PLM"]
    assert sorted(plm.labels) == ["disc", "square"]
    assert {row.id for row in plm.rows} == {sample.id for sample in tiny_samples[6:]}
    adapters = {"disc": find("methods", "plm").build(tiny_sam)[0]}
    cross = cross_model(tiny_sam, adapters, tiny_samples[6:], ["disc", "square", "nose"])
    assert cross["rows"] == ["SAM", "disc"]
    assert cross["miou"][0][2] is None
    assert cross["miou"][0][:2] == cross["miou"][1][:2]  # a fresh PLM


def test_shots_are_counted_per_class(tiny_samples):
    config = load(None, FAST | {"shots": 2})
    images = split_for_seed(tiny_samples, config, 0, ["disc", "square"])
    kept = limit_shots(images, config, ["disc"])
    assert len(kept.split.train) == 2
    assert set(kept.split.train) <= set(images.split.train)
    assert kept.held_out == images.held_out


def test_an_empty_comparison_is_refused(tiny_sam, tiny_samples, tmp_path):
    with pytest.raises(InputError, match="at least one method"):
        compare({}, tmp_path, tiny_sam, tiny_samples)


def test_parameter_counts(tiny_sam, tiny_sam_model):
    """Kim et al., Table 4: PLM 1.6M, PMM 1.2M, 2.8M in training at D = 256."""
    counts = parameters(SimpleNamespace(model=tiny_sam_model, dim=256))
    assert counts["plm_paper"] == counts["inference"] == 1_578_752
    assert counts["plm"] == 1_644_544
    assert counts["pmm"] == 1_245_250
    assert counts["train"] == 2_824_002
    whole = sum(p.numel() for n, p in tiny_sam_model.named_parameters() if not n.endswith("positional_embedding"))
    assert counts["image_encoder"] + counts["prompt_encoder"] + counts["mask_decoder"] <= counts["base"] == whole
