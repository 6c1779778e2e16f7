"""Who segments the objects of learned proposals: the adapter, or the base model where the adapter is not better."""

from __future__ import annotations

import numpy as np
import pytest

from samtailor import artefact
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.evaluation.instance_gate import gate_instances
from samtailor.fitting.gate import gate_of
from samtailor.fitting.verdict import count_sentence
from samtailor.predict.instances import predict_instances
from samtailor.predict.predictor import Predictor
from samtailor.predict.source import AdapterSource
from samtailor.serve.adapters import Adapters
from saved import save


@pytest.fixture
def folder(tiny_sam2, tmp_path):
    return save(tmp_path / "a", tiny_sam2, proposals=True)


@pytest.mark.parametrize(("better", "answers"), [(0.2, "adapter"), (-0.2, "base")])
def test_the_better_one_segments(tiny_sam2, tiny_samples, folder, tmp_path, monkeypatch, better, answers):
    scores = iter([(0.5,) * 8, tuple(0.5 + better + np.linspace(-0.01, 0.01, 8))])  # base, adapter
    monkeypatch.setattr("samtailor.evaluation.instance_gate._by_image", lambda evaluation: next(scores))
    store = EmbeddingCache(tmp_path / "cache")
    decision = gate_instances(tiny_sam2, folder, tiny_samples, ["disc"], store)
    assert (decision.way, decision.answers, decision.images, decision.metric) == ("instances", answers, 8, "F1")
    meta = artefact.read_meta(folder)
    assert meta.inference.base_instances is (answers == "base")
    assert gate_of(meta.figures).decisions == (decision,)
    assert (meta.figures["count_images"], meta.figures["count_objects"]) == (8, 8)
    assert meta.figures["objects_per_image"] == 1
    (sentence,) = count_sentence(meta.figures)
    assert f"wrong by {meta.figures['count_error']:.1f} per image" in sentence
    assert "error of the number of objects" in (folder / "README.md").read_text()
    predictor = Predictor(tiny_sam2, {"a": artefact.load(folder, tiny_sam2).segmenter})
    source = AdapterSource.of(predictor, "a", folder)
    assert source.adapter == (None if answers == "base" else "a")
    assert Adapters(tiny_sam2, 1).add("a", folder).source(None).adapter == source.adapter
    bare = AdapterSource.of(predictor, None, folder, prompt_type="points")
    masks = [[one.rle for one in predict_instances(predictor, tiny_samples[0], one)] for one in (source, bare)]
    assert (masks[0] == masks[1]) is (answers == "base")
    if answers == "base":
        assert {one.label for one in predict_instances(predictor, tiny_samples[0], source)} == {"disc"}


def test_without_an_object_nothing_is_decided(tiny_sam2, tiny_samples, folder, tmp_path):
    before = artefact.read_meta(folder)
    assert gate_instances(tiny_sam2, folder, [], ["disc"], EmbeddingCache(tmp_path / "cache")) is None
    assert gate_instances(tiny_sam2, folder, tiny_samples, ["wheel"], EmbeddingCache(tmp_path / "cache")) is None
    assert artefact.read_meta(folder) == before
