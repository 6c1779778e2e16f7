"""Selection of tiled inference on images that the map, or a member of it, has not learnt from."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from batches import batch_of
from samtailor import artefact
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.split import Split, split
from samtailor.data.transform import Frame
from samtailor.errors import ArtefactError
from samtailor.fitting import fit
from samtailor.fitting.select_inference import PLANS, _best, _dice, assign_folds, select_inference
from samtailor.registry import find
from samtailor.structures import Annotation, Prompts, Sample, TilingPlan
from samtailor.train.config import FitConfig
from samtailor.train.multitask import map_loss


def split_of(ids, groups=(), val=()):
    return Split(train=tuple(ids), val=tuple(val), test=(), groups=tuple(map(tuple, groups)))


def test_groups_are_left_out_together_and_evenly():
    made = assign_folds(split_of("abcdefgh", groups=["ab"]), 4)
    assert made["a"] == made["b"]
    assert sorted(made.values()) == [0, 0, 0, 1, 1, 2, 2, 3]
    assert assign_folds(split_of("abc"), 4) == {}
    assert assign_folds(split_of("abcdefgh", val="x"), 4) == {}
    assert assign_folds(split_of("abcdefgh"), 1) == {}


def test_a_member_learns_nothing_from_what_it_leaves_out(tiny_base, tiny_samples):
    segmenter, _ = find("methods", "tailor").build(tiny_base, width=32)
    region_map = segmenter.eval().adapter("map")
    batch = batch_of(tiny_base, tiny_samples[:2])
    batch = replace(batch, prompts=Prompts((tiny_base.size, tiny_base.size), count=batch.prompts.shape))
    region_map.folds = {id: 1 for id in batch.ids}
    map_loss(segmenter, batch).backward()
    moved = [sum(float(p.grad.abs().sum()) for p in m.parameters() if p.grad is not None) for m in region_map.members]
    assert moved[1] == 0
    assert min(moved[0], moved[2], moved[3]) > 0
    region_map.folds = {batch.ids[0]: 0}
    segmenter.zero_grad()
    map_loss(segmenter, batch).backward()
    own = region_map.members[0].last.bias.grad.clone()
    segmenter.zero_grad()
    region_map.folds = {}
    map_loss(segmenter, batch[[1]]).backward()
    torch.testing.assert_close(region_map.members[0].last.bias.grad, own)


def test_noise_and_small_gains_select_no_plan():
    plain = np.full((8, len(PLANS)), 0.5)
    assert _best(plain) == 0
    better = plain.copy()
    better[:, 2] += 0.05
    better[:, 4] += 0.03
    assert _best(better) == 2
    small = plain.copy()
    small[:, 2] += 0.005
    assert _best(small) == 0
    noisy = plain.copy()
    noisy[:, 2] += np.array([0.4, -0.3, 0.3, -0.3, 0.4, -0.3, 0.2, -0.3])
    assert _best(noisy) == 0


def test_the_best_plan_on_left_out_images_is_selected(tiny_base, tiny_samples, monkeypatch):
    segmenter, _ = find("methods", "tailor").build(tiny_base, width=32)
    evaluated = []

    def dice(segmenter, predict, sample, store):
        evaluated.append(predict)
        return [0.4, 0.4, 0.6, 0.5, 0.3, 0.3]

    monkeypatch.setattr("samtailor.fitting.select_inference._dice", dice)
    made = select_inference(
        segmenter, tiny_samples[:4], None, None, left_out={s.id: i for i, s in enumerate(tiny_samples[:4])}
    )
    assert segmenter.inference.tiling == made.tiling == TilingPlan((1, 2))
    assert (made.dice, made.untiled, made.images) == (pytest.approx(0.6), pytest.approx(0.4), 4)
    assert made.objects == 8
    assert made.interval == pytest.approx([0.6, 0.6])
    assert evaluated == list(segmenter.adapter("map").members)  # each with the member that left it out
    evaluated.clear()
    select_inference(segmenter, tiny_samples[:2], None, None)
    assert evaluated == [segmenter.adapter("map").logits] * 2
    assert select_inference(segmenter, tiny_samples[:1], None, None) is None


class View:
    """A stand-in for an embedding: the view it was made of."""

    def __init__(self, view):
        self.view = view

    def to(self, device):
        return self


class Views:
    """A stand-in for a cache."""

    def features(self, base, samples, views, companions):
        return View(views[0])


def test_plans_are_compared_at_the_size_of_the_image(tiny_base, monkeypatch):
    monkeypatch.setattr("samtailor.fitting.select_inference.PLANS", (TilingPlan(), TilingPlan((2,))))
    segmenter, _ = find("methods", "tailor").build(tiny_base, width=32)
    mask = np.hypot(*(np.mgrid[:200, :300] - np.array([60, 200])[:, None, None])) < 22
    sample = Sample("s", lambda: np.zeros((200, 300, 3), np.uint8), lambda: [Annotation.from_mask("a", mask)])

    def oracle(embedding):
        view = embedding.view
        frame = Frame.of(tiny_base, *view.size(200, 300))
        return 12 * frame.target(view.mask(mask))[None, None] - 6

    untiled, tiled = _dice(segmenter, oracle, sample, Views())
    assert 0.3 < untiled < tiled


@pytest.mark.parametrize("shots", [None, 4])
def test_a_fit_selects_a_plan_and_the_adapter_stores_it(tiny_base, tiny_samples, tmp_path, monkeypatch, shots):
    monkeypatch.setattr("samtailor.fitting.select_inference._best", lambda table: 3)
    one = [replace(s, read_annotations=lambda s=s: s.annotations[:1]) for s in tiny_samples]
    one = [replace(s, read_annotations=lambda s=s: [replace(s.annotations[0], label="a")]) for s in one]
    config = FitConfig(
        method="tailor", options={"width": 32}, out=tmp_path / "a", steps=1, val=2 if shots is None else 0,
        shots=shots, trackers=(), near_duplicates=False,
    )  # fmt: skip
    updates = []
    made = split(one, val=config.val, test=0, seed=0, near_duplicates=False)
    result = fit(
        config, samples=one, base=tiny_base, split=made, store=EmbeddingCache(tmp_path / "c"), progress=updates.append
    )
    assert {"region_dice", "region_dice_untiled", "region_images", "region_objects", "region_interval"} <= set(
        result.figures
    )
    assert result.figures["region_images"] == (2 if shots is None else 4)
    assert [at.done for at in updates if at.stage == "select"][-1] == result.figures["region_images"]
    loaded = artefact.load(tmp_path / "a", tiny_base)
    assert loaded.segmenter.inference.tiling == PLANS[3]
    assert loaded.meta.inference.tiling == TilingPlan((1, 2), 2.0)
    card = (tmp_path / "a" / "README.md").read_text()
    assert "| tiled inference | the whole image and 2 x 2 overlapping tiles, combined" in card
    stored = json.loads((tmp_path / "a" / "adapter.json").read_text())
    for wrong in ({"tiles": [0]}, {"glances": 3}):
        inference = stored["inference"] | {"tiling": wrong}
        (tmp_path / "a" / "adapter.json").write_text(json.dumps(stored | {"inference": inference}))
        with pytest.raises(ArtefactError, match=r"damaged: (invalid )?inference"):
            artefact.load(tmp_path / "a", tiny_base)
    plain = config.model_copy(update={"out": tmp_path / "b", "options": {"width": 32, "select_inference": False}})
    fit(plain, samples=one, base=tiny_base, split=made, store=EmbeddingCache(tmp_path / "c"))
    assert artefact.load(tmp_path / "b", tiny_base).segmenter.inference.tiling.plain
