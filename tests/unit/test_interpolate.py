"""Selection of the strength of a click adapter, between the base model and the full adapter."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from batches import batch_of
from samtailor import artefact
from samtailor.adapters.plm import PLM
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.split import split
from samtailor.errors import InputError
from samtailor.fitting import fit
from samtailor.fitting.interpolate import ALPHAS, interpolate_to_base, judging_images
from samtailor.registry import find
from samtailor.train.config import FitConfig
from samtailor.train.validate import Validation


@pytest.fixture
def learnt(tiny_base):
    torch.manual_seed(0)
    segmenter, _ = find("methods", "tailor").build(tiny_base, width=32)
    with torch.no_grad():
        for parameter in segmenter.adapter("plm").head.parameters():
            parameter.normal_(std=0.3)
        segmenter.adapter("map").map_gain.normal_(std=0.1)
    return segmenter.eval()


def of(miou, oracle=None):
    """A validation of one mask."""
    return Validation((miou,), (miou if oracle is None else oracle,), ("a",), ("s",))


def stub_validate(monkeypatch, miou):
    """Let `validate` return `miou[alpha]` for each alpha in turn."""
    alphas = iter(ALPHAS)
    monkeypatch.setattr("samtailor.fitting.interpolate.validate", lambda *_: of(miou[next(alphas)]))


def test_alpha_0_is_the_base_and_alpha_one_half_is_in_between(learnt, tiny_base, tiny_samples, monkeypatch):
    batch = batch_of(tiny_base, tiny_samples[:2])
    with torch.no_grad():
        plain = tiny_base.decode(batch.features, tiny_base.encode_prompts(batch.prompts)).logits
        tokens = tiny_base.encode_prompts(batch.prompts)
        whole = learnt.prompted(batch.features, batch.prompts).sparse - tokens.sparse
        stub_validate(monkeypatch, {1.0: 0.3, 0.75: 0.3, 0.5: 0.5, 0.25: 0.3, 0.0: 0.4})
        alpha, validations = interpolate_to_base(learnt, None, torch.device("cpu"))
        half = learnt.prompted(batch.features, batch.prompts).sparse - tokens.sparse
        assert (alpha, validations[0.0].miou) == (0.5, 0.4)
        torch.testing.assert_close(half, whole / 2, atol=1e-5, rtol=1e-4)
        stub_validate(monkeypatch, {1.0: 0.3, 0.75: 0.3, 0.5: 0.3, 0.25: 0.3, 0.0: 0.5})
        interpolate_to_base(learnt, None, torch.device("cpu"))
        assert torch.equal(learnt(batch).logits, plain)


def test_the_full_adapter_stays_unless_a_smaller_alpha_is_clearly_better(learnt, monkeypatch):
    before = learnt.learned()
    before = {name: tensor.clone() for name, tensor in before.items()}
    stub_validate(monkeypatch, {1.0: 0.3, 0.75: 0.305, 0.5: 0.305, 0.25: 0.3, 0.0: 0.309})
    assert interpolate_to_base(learnt, None, torch.device("cpu"))[0] == 1.0
    after = learnt.learned()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_no_images_are_kept_back_where_they_have_too_few_masks(tiny_samples):
    names = {a.label for s in tiny_samples for a in s.annotations}
    folds = {s.id: index % 2 for index, s in enumerate(tiny_samples)}
    many = [replace(s, read_annotations=lambda s=s: s.annotations * 4) for s in tiny_samples]
    assert judging_images(many, names, folds) == [s for s in many if folds[s.id] == 0]
    few = [replace(s, read_annotations=lambda s=s: s.annotations[:1]) for s in tiny_samples[:8]]
    assert judging_images(few, names, folds) == []
    assert judging_images(many, names, {many[0].id: 0}) == []
    assert judging_images(many, names, {}) == []


def test_the_paper_plain_head_cannot_be_interpolated():
    with pytest.raises(InputError, match="zero_linear"):
        PLM(32, head="paper_plain").interpolate_to_base(0.5)


@pytest.mark.parametrize("val", [0, 2])
def test_a_fit_exports_the_best_alpha(tiny_base, tiny_samples, tmp_path, monkeypatch, val):
    judged = []

    def validate(segmenter, feed, masks, device):
        judged.append({sample.id for sample, _ in feed.images()})
        return of(0.5 - abs(len(judged) - 1 - 4) / 20, 0.6)  # rises up to the fifth alpha, the base

    monkeypatch.setattr("samtailor.fitting.interpolate.validate", validate)
    monkeypatch.setattr("samtailor.fitting.select_inference.select_inference", lambda *_, **__: None)
    samples = [replace(s, read_annotations=lambda s=s: _four(s)) for s in tiny_samples]
    made = split(samples, val=val, test=0, seed=0, near_duplicates=False)
    config = FitConfig(
        method="tailor", options={"width": 32}, out=tmp_path / "a", steps=2, val=val, trackers=(),
        near_duplicates=False,
    )  # fmt: skip
    result = fit(config, samples=samples, base=tiny_base, split=made, store=EmbeddingCache(tmp_path / "c"))
    assert result.figures["alpha"] == 0.0
    assert result.figures["base_miou"] == result.figures["alpha_miou"] == 0.5
    assert (result.figures["alpha_images"], result.figures["alpha_masks"]) == (1, 1)
    if val:
        assert all(ids == set(made.val) for ids in judged)
        assert result.figures["held_out_miou"] == 0.5
    else:
        assert all(ids < set(made.train) and len(ids) >= 2 for ids in judged)
    tensors = artefact.load(tmp_path / "a", tiny_base).segmenter.learned()
    assert not tensors["tokens.plm.head.weight"].any()
    assert not tensors["maps.map.map_gain"].any()


def _four(sample):
    first = replace(sample.annotations[0], label="a")
    return [first] * 4
