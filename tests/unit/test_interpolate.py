"""Selection of the strength of an adapter for clicks and boxes, between the base model and the full adapter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from batches import batch_of
from samtailor import artefact
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.split import split
from samtailor.fitting import fit
from samtailor.fitting.gate import gate_of
from samtailor.fitting.interpolate import STRENGTHS, as_new, choose_strength, judging_images
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


def of(*ious):
    """A validation of one mask per image."""
    images = tuple(f"s{i}" for i in range(len(ious)))
    return Validation(tuple(ious), tuple(ious), ("a",) * len(ious), images)


def choose(segmenter, monkeypatch, by_strength, prompt_type="click", **options):
    """`choose_strength` with a validation of eight masks for each strength, 0 first."""
    rows = iter(by_strength)
    spread = np.linspace(-0.02, 0.02, 8)
    monkeypatch.setattr(
        "samtailor.fitting.interpolate.validate", lambda *_: of(*(next(rows) + spread * len(by_strength) / 9))
    )
    strengths = options.pop("strengths", STRENGTHS["click"])
    return choose_strength(
        segmenter, prompt_type, object(), torch.device("cpu"), groups={}, strengths=strengths, **options
    )


def test_the_best_strength_is_set_in_the_segmenter(learnt, monkeypatch):
    before = {name: tensor.clone() for name, tensor in learnt.learned().items()}
    chosen = choose(learnt, monkeypatch, (0.4, 0.3, 0.3, 0.5, 0.3))
    assert (chosen.strength, learnt.inference.strength) == (0.5, {"click": 0.5})
    assert (chosen.base.miou, chosen.final.miou) == (pytest.approx(0.4), pytest.approx(0.5))
    after = learnt.learned()
    assert all(torch.equal(before[name], after[name]) for name in before)  # nothing is scaled in place


@pytest.mark.parametrize(("prompt_type", "base"), [("click", 0.6), ("box", 0.6), ("click", 0.5), ("box", 0.5)])
def test_the_base_model_answers_where_it_is_better_or_equal(learnt, monkeypatch, prompt_type, base):
    chosen = choose(learnt, monkeypatch, (base, 0.5), prompt_type, strengths=(1.0,))
    assert chosen.strength == 0
    assert learnt.inference.base_prompts == (prompt_type,)
    assert chosen.final is chosen.base


def test_without_fallback_the_adapter_answers_all_the_same(learnt, monkeypatch):
    chosen = choose(learnt, monkeypatch, (0.6, 0.5), strengths=(1.0,), fallback=False)
    assert chosen.strength == 1
    assert learnt.inference.strength == {}
    assert chosen.decision.over_base.mean == pytest.approx(-0.1)


def test_the_full_adapter_stays_unless_a_smaller_strength_is_clearly_better(learnt, monkeypatch):
    assert choose(learnt, monkeypatch, (0.2, 0.3, 0.305, 0.309, 0.3)).strength == 1.0
    assert learnt.inference.strength == {}


@pytest.mark.parametrize(("unjudged", "strength"), [("base", 0.0), ("adapter", 1.0)])
def test_without_a_judged_mask_nothing_is_claimed(learnt, unjudged, strength):
    chosen = choose_strength(learnt, "click", None, torch.device("cpu"), groups={}, unjudged=unjudged)
    assert (chosen.strength, chosen.decision.objects, chosen.decision.new) == (strength, 0, None)
    assert learnt.inference.strength == ({} if strength else {"click": 0.0})


def test_a_left_out_image_is_judged_by_the_member_that_did_not_learn_from_it(learnt, tiny_base, tiny_samples):
    """The members that learnt from an image draw it almost perfectly, which says nothing about other images."""
    batch = batch_of(tiny_base, tiny_samples[:2])
    region_map = learnt.adapter("map")
    ids = batch.ids
    with torch.no_grad():
        region_map.map_gain.fill_(1.0)
        judged = as_new(learnt, {ids[0]: 0, ids[1]: 1})(batch).logits
        for row in (0, 1):
            region_map.members[row].last.bias.fill_(3.0)
        moved = as_new(learnt, {ids[0]: 0, ids[1]: 1})(batch).logits
        others = as_new(learnt, {ids[0]: 2, ids[1]: 3})(batch).logits
        region_map.members[0].last.bias.fill_(-3.0)
        assert torch.equal(as_new(learnt, {ids[0]: 2, ids[1]: 3})(batch).logits, others)
    assert not torch.equal(judged, moved)
    assert as_new(learnt, None) is learnt


def test_no_images_are_kept_back_where_they_have_too_few_masks(tiny_samples):
    names = {a.label for s in tiny_samples for a in s.annotations}
    folds = {s.id: index % 4 for index, s in enumerate(tiny_samples)}
    many = [replace(s, read_annotations=lambda s=s: s.annotations * 4) for s in tiny_samples]
    assert judging_images(many, names, folds) == [s for s in many if folds[s.id] == 0]
    single = [replace(s, read_annotations=lambda s=s: s.annotations[:1]) for s in tiny_samples]
    assert judging_images(single, names, folds) == []  # four masks in half of the folds
    more = [replace(s, id=f"{s.id}-{turn}") for turn in (0, 1) for s in single]
    folds = {s.id: index % 4 for index, s in enumerate(more)}
    assert [folds[s.id] for s in judging_images(more, names, folds)] == [0] * 4 + [1] * 4  # two of four folds
    assert judging_images(many, names, {many[0].id: 0}) == []
    assert judging_images(many, names, {}) == []


@pytest.mark.parametrize(("val", "per_image"), [(0, 4), (2, 4), (0, 1)])
def test_a_fit_compares_base_and_adapter_and_the_base_wins_ties(tiny_base, tiny_samples, tmp_path, val, per_image):
    """Untrained, the adapter answers as the base: nothing is better, so the base model answers."""
    samples = [replace(s, read_annotations=lambda s=s: _repeated(s, per_image)) for s in tiny_samples]
    made = split(samples, val=val, test=0, seed=0, near_duplicates=False)
    config = FitConfig(
        method="tailor", options={"width": 16, "members": 2}, out=tmp_path / "a", steps=1, lr=1e-9, warmup=0, val=val,
        trackers=(), near_duplicates=False,
    )  # fmt: skip
    result = fit(config, samples=samples, base=tiny_base, split=made, store=EmbeddingCache(tmp_path / "c"))
    gate = gate_of(result.figures)
    click, box, *region = gate.decisions
    assert gate.base_prompts == ("click", "box") == artefact.read_meta(tmp_path / "a").inference.base_prompts
    assert result.figures["alpha"] == 0
    if val:
        assert (click.images, click.part) == (2, "validation")
        assert result.figures["held_out_miou"] == pytest.approx(click.base)
    elif per_image == 4:
        assert click.objects >= 8
        assert click.part == "left-out training"
        assert region[0].way == "region"
        assert region[0].over_base is None
    else:
        assert click.objects == box.objects == 0  # four masks could be kept back: too few to say


def _repeated(sample, times):
    return [replace(sample.annotations[0], label="a")] * times
