"""Method `auto`: candidates, folds, choice, and the adapter that a contest writes."""

from __future__ import annotations

import json

import pytest

from samtailor import artefact
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.errors import InputError
from samtailor.fitting import fit
from samtailor.fitting.contest.budget import Budget, seconds
from samtailor.train.config import FitConfig


def settings(tmp_path, **fields):
    fields = {"classes": ("disc",), "steps": 3, "views": 2, "trackers": (), "budget": "20s"} | fields
    return FitConfig(method="auto", out=tmp_path / "a", device="cpu", **fields)


def test_a_budget_is_read_and_anything_else_refused():
    assert [seconds(text) for text in ("30s", "2m", "1.5 M", "1h")] == [30, 120, 90, 3600]
    for wrong in ("2", "m", "0s", "-3s", "2 days"):
        with pytest.raises(InputError, match="30s, 2m or 1h"):
            seconds(wrong)
    assert Budget(0.0, clock="cpu").left == 0


def test_a_contest_writes_one_adapter_and_its_plan(tmp_path, tiny_lite, tiny_samples):
    store = EmbeddingCache(tmp_path / "cache")
    result = fit(settings(tmp_path), samples=tiny_samples[:5], base=tiny_lite, store=store)
    loaded = artefact.load(tmp_path / "a", tiny_lite)
    assert loaded.meta.method == "tailor" and loaded.segmenter.promptless
    plan = json.loads((tmp_path / "a" / "plan.json").read_text())
    assert plan["complete"] and plan["decisions"]["region"]["candidate"] == "tailor"
    assert {row["candidate"] for row in plan["evidence"]["click"]} == {"base", "plm"}
    decisions = {one["way"]: one for one in result.figures["comparison"]["decisions"]}
    assert set(decisions) == {"click", "box", "region"}
    assert decisions["click"]["objects"] == 5
    assert not (tmp_path / "a" / "contest").exists()
    assert loaded.meta.inference == result.inference
