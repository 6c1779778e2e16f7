"""The region map: clamped logits, the mean of its members, and its gain."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from batches import batch_of
from samtailor.adapters.pyramid import CONVOLUTIONS
from samtailor.adapters.region_map import RegionMap
from samtailor.adapters.tiled import LOGIT_LIMIT
from samtailor.errors import InputError
from samtailor.structures import Features


@pytest.fixture
def features(tiny_base, tiny_samples) -> Features:
    return batch_of(tiny_base, tiny_samples[:2]).features


@pytest.fixture
def output(tiny_base, tiny_samples):
    batch = batch_of(tiny_base, tiny_samples[:2])
    with torch.no_grad():
        return tiny_base.decode(batch.features, tiny_base.encode_prompts(batch.prompts))


def constant_map(base, *logits: float) -> RegionMap:
    """A map whose members predict one number each in all cells."""
    region_map = RegionMap(base, members=len(logits), width=16).eval()
    for member, logit in zip(region_map.members, logits, strict=True):
        nn.init.zeros_(member.last.weight)
        nn.init.constant_(member.last.bias, logit)
    return region_map


@pytest.mark.parametrize(("logit", "clamped"), [(50.0, LOGIT_LIMIT), (-50.0, -LOGIT_LIMIT), (3.0, 3.0)])
def test_the_map_is_clamped_before_it_is_added(tiny_base, features, output, logit, clamped):
    region_map = constant_map(tiny_base, logit)
    with torch.no_grad():
        region_map.map_gain.copy_(torch.tensor([0.1, 0.0, 0.05, -0.1]))
        changed = region_map(output, features)
    gain = torch.tensor([1.0, 0.0, 0.5, -1.0])[:, None, None]
    torch.testing.assert_close(changed.logits, output.logits + gain * clamped)
    assert changed.iou is output.iou


def test_the_map_is_the_mean_of_its_members_not_clamped(tiny_base, features):
    region_map = constant_map(tiny_base, -50.0, 2.0, 3.0)
    with torch.no_grad():
        logits = region_map.logits(features)
    torch.testing.assert_close(logits, torch.full_like(logits, -15.0))


def test_members_learn_from_images_that_are_not_held_out_for_them(tiny_base):
    region_map = RegionMap(tiny_base, members=2, width=16)
    region_map.folds = {"a": 0, "b": 1}
    assert region_map.learners(["a", "b", "c", "a"]) == [[1, 2], [0, 2, 3]]


def test_a_member_learns_from_at_most_member_batch_images_and_all_images_are_used(tiny_base):
    region_map = RegionMap(tiny_base, members=4, width=16, member_batch=2)
    region_map.folds = {"a": 0, "b": 1, "c": 2, "d": 3}
    rows = region_map.learners(["a", "b", "c", "d"])
    assert [len(each) for each in rows] == [2, 2, 2, 2]
    assert all(fold not in each for fold, each in enumerate(rows))
    assert set().union(*rows) == {0, 1, 2, 3}
    assert region_map.learners(["b", "b"]) == [[0, 1], [], [0, 1], [0, 1]]


def test_prompts_read_the_mean_of_the_members_in_training_too(tiny_base, features, output):
    region_map = RegionMap(tiny_base, members=2, width=16, dropout=0.0, member_batch=2).train()
    with torch.no_grad():
        region_map.map_gain.fill_(0.1)
        each = region_map.each(features).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)[:, :, None]
        added = region_map(output, features).logits - output.logits
    torch.testing.assert_close(added, each.mean(0).expand_as(added), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("convolutions", CONVOLUTIONS)
def test_joining_the_last_layers_gives_the_same_logits_and_gradients(tiny_sam2, convolutions, tiny_samples):
    features = batch_of(tiny_sam2, tiny_samples[:2]).features
    member = RegionMap(tiny_sam2, members=1, width=32, convolutions=convolutions).eval().members[0]
    results = []
    for logits in (member(features), member.last(member.climb(features))):
        member.zero_grad()
        logits.square().mean().backward()
        results.append((logits.detach(), {name: p.grad.clone() for name, p in member.named_parameters()}))
    torch.testing.assert_close(*(logits for logits, _ in results), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(*(gradients for _, gradients in results), atol=1e-5, rtol=1e-4)


def test_depthwise_convolutions_have_a_fraction_of_the_parameters(tiny_base):
    full, depthwise = (
        sum(p.numel() for p in RegionMap(tiny_base, members=1, convolutions=kind).parameters()) for kind in CONVOLUTIONS
    )
    assert depthwise < full / 3


@pytest.mark.parametrize("option", [{"convolutions": "none"}, {"member_batch": 0}, {"members": 0}])
def test_unknown_options_are_refused(tiny_base, option):
    with pytest.raises(InputError):
        RegionMap(tiny_base, **option)


def test_best_masks_have_the_highest_predicted_iou_of_the_candidates(output):
    iou = output.iou.clone()
    iou[:, :, 0] = 9.0  # not a candidate
    output = replace(output, iou=iou)
    scores, logits = output.best_masks()
    for image in range(2):
        best = 1 + int(output.candidate_iou()[image, 0].argmax())
        assert scores[image, 0] == output.iou[image, 0, best]
        assert torch.equal(logits[image, 0], output.logits[image, 0, best])
    swapped = replace(output, iou=output.iou[:, :, [0, 3, 1, 2]])
    assert not torch.equal(swapped.best_masks()[1], logits)
    single = replace(output, candidates=(0,))
    assert torch.equal(single.best_masks()[1], output.logits[:, :, 0])
