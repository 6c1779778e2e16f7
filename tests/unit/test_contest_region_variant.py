"""Offsets of a region map: selected on out-of-fold predictions, and part of the adapter."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from samtailor import artefact
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.augment import UNTOUCHED
from samtailor.errors import InputError
from samtailor.fitting import fit
from samtailor.fitting.contest import scoring
from samtailor.fitting.contest.candidates import Candidate
from samtailor.fitting.contest.choice import choose, untiled
from samtailor.fitting.contest.plan_file import ContestPlan
from samtailor.fitting.contest.region_variant import ALL, RegionVariant, threshold
from samtailor.fitting.contest.scoring import Scores, region_scores
from samtailor.structures import Annotation, Features
from samtailor.train.config import FitConfig

TAILOR = Candidate("tailor", "region map", ("region",), 2)


def fitted(tmp_path, base, samples, **region):
    plan = {
        "schema_version": 1,
        "method": "auto",
        "decisions": {"region": {"candidate": "tailor", "steps": 2, **region}},
    }
    file, out = tmp_path / "plan.json", tmp_path / "a"
    file.write_text(json.dumps(plan))
    config = FitConfig(
        method="auto", classes=("disc",), steps=2, views=1, trackers=(), plan=file, out=out, device="cpu"
    )
    fit(config, samples=samples, base=base, store=EmbeddingCache(tmp_path / "cache"), overwrite=True)
    return artefact.load(out, base).segmenter


def mask(scores, variant):
    return Annotation("", scores.masks[variant][0]).mask


def test_names_are_read_again():
    assert len({one.name for one in ALL}) == len(ALL)
    assert all(RegionVariant.of(one.name) == one for one in ALL)
    assert (RegionVariant(3, -1).name, RegionVariant(2).name, RegionVariant(4, 0.5).name) == ("3-1", "2", "4+0.5")
    assert threshold(0) == 0.5
    assert threshold(2) < 0.2 < 0.5 < threshold(-1)
    assert "0.12" in str(RegionVariant(0, 2))
    assert not str(RegionVariant())


def test_the_offset_of_a_plan_moves_the_logits_of_the_map(tmp_path, tiny_lite, tiny_samples):
    store, samples = EmbeddingCache(tmp_path / "features"), tiny_samples[:3]
    plain, moved = (fitted(tmp_path, tiny_lite, samples, offset=offset) for offset in (0, 2.5))
    features = store.features(tiny_lite, samples[:1], [UNTOUCHED], plain.companions)
    before, after = (one.adapter("map").logits(features) for one in (plain, moved))
    assert torch.allclose(after, before + 2.5, atol=1e-4)


@pytest.mark.parametrize("offset", ["2", 11, True, float("nan")])
def test_an_offset_that_is_no_offset_is_refused(offset):
    plan = ContestPlan(decisions={"region": {"candidate": "tailor", "steps": 2, "offset": offset}})
    with pytest.raises(InputError, match=r"decisions\.region\.offset"):
        _ = plan.offset


def test_scores_of_an_offset_are_those_of_the_moved_map(tmp_path, tiny_lite, tiny_samples, monkeypatch):
    """The masks of offsets that need no decoder are cut from one map; those with a decoder are decoded anew."""
    place = torch.linspace(-3, 3, tiny_lite.low_res)

    def logits(features: Features) -> torch.Tensor:
        return place.expand(1, 1, tiny_lite.low_res, -1)

    monkeypatch.setattr(scoring, "member_map", lambda segmenter: SimpleNamespace(logits=logits))
    segmenter = SimpleNamespace(base=tiny_lite, companions=())
    scores = region_scores(segmenter, tiny_samples[:2], ("disc",), EmbeddingCache(tmp_path / "cache"))
    assert set(scores.values) == {one.name for one in ALL}
    widths = {one.name: float(mask(scores, one.name).mean()) for one in ALL if one.plan == 0}
    assert widths["0+1"] == pytest.approx(2 / 3, abs=0.03)
    assert widths["0"] == pytest.approx(1 / 2, abs=0.03)
    assert widths["0+2"] == pytest.approx(5 / 6, abs=0.03)
    assert not np.array_equal(mask(scores, "1"), mask(scores, "1+2"))


def test_a_cautious_map_gets_an_offset_and_a_good_one_none():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.02, 8)

    def scores(means):
        names = [f"i{k}" for k in range(8)]
        values = {name: list(np.clip(mean + noise + rng.normal(0, 0.004, 8), 0, 1)) for name, mean in means.items()}
        return Scores(names, ["region"] * 8, values, 16)

    groups: dict[str, str] = {}
    cautious = scores({"0": 0.1, "0+2": 0.3, "0+3": 0.2, "2": 0.12, "2+2": 0.301, "4": 0.1, "4+2": 0.302})
    assert choose([(TAILOR, 9, {"region": cautious})], groups).region.variant == "0+2"  # tiles are not enough better
    assert untiled(cautious, groups) == "0+2"
    tiled = scores({"0": 0.1, "0+2": 0.3, "2": 0.12, "2+2": 0.5})
    assert choose([(TAILOR, 9, {"region": tiled})], groups).region.variant == "2+2"
    good = scores({"0": 0.8, "0+2": 0.7, "0+1": 0.82, "2": 0.78})
    assert choose([(TAILOR, 9, {"region": good})], groups).region.variant == "0"
