"""SAM-F: two weights over three masks (method-spec D)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from torch.nn import functional as F

from batches import batch_of
from samtailor.adapters.sam_f import ScaleWeights
from samtailor.methods import sam_f
from samtailor.train.joint import Joint


@pytest.fixture
def batch(tiny_sam, tiny_samples):
    return batch_of(tiny_sam, tiny_samples[:4])


def stepper(base, kind=None, **options):
    segmenter, step = sam_f.build(base)
    optimizers = {name: torch.optim.AdamW(group, lr=1e-3, eps=1e-4) for name, group in segmenter.groups.items()}
    return segmenter, (step if kind is None else kind)(segmenter, optimizers, Accelerator(cpu=True), **options)


def test_weights_start_at_one_third_and_give_one_mask(tiny_sam, batch):
    segmenter, _ = stepper(tiny_sam)
    output = tiny_sam.decode(batch.features, tiny_sam.encode_prompts(batch.prompts))
    mixed = segmenter(batch)
    assert sum(p.numel() for p in segmenter.groups["lower"]) == 2
    assert mixed.candidates == (0,)
    assert mixed.logits.shape[2] == mixed.iou.shape[2] == 1
    torch.testing.assert_close(mixed.logits[:, :, 0], output.logits[:, :, 1:].mean(2))
    torch.testing.assert_close(mixed.iou[:, :, 0], output.iou[:, :, 1:].mean(2))


def test_weights_are_the_papers(tiny_sam, batch):
    scale = ScaleWeights()
    with torch.no_grad():
        scale.weights.copy_(torch.tensor([0.7, -0.2]))
    output = tiny_sam.decode(batch.features, tiny_sam.encode_prompts(batch.prompts))
    one, two, three = output.logits[:, :, 1], output.logits[:, :, 2], output.logits[:, :, 3]
    mixed = scale(output)
    torch.testing.assert_close(mixed.logits[:, :, 0], 0.7 * one - 0.2 * two + 0.5 * three)
    torch.testing.assert_close(mixed.hyper @ mixed.upscaled.flatten(3), mixed.logits.flatten(3), atol=1e-6, rtol=1e-4)
    large = F.interpolate(output.logits[:, 0, 1:], (64, 64), mode="bilinear")  # as PerSAM-F: resized, then summed
    weights = torch.tensor([0.7, -0.2, 0.5])[:, None, None]
    torch.testing.assert_close(
        F.interpolate(mixed.logits[:, 0], (64, 64), mode="bilinear")[:, 0], (large * weights).sum(1)
    )


def test_a_step_on_cached_logits_equals_a_plain_step(tiny_sam, batch):
    weights = []
    for kind in (None, Joint):
        options = {} if kind is None else {"focal_weight": 1.0, "iou_weight": 0.0}
        segmenter, step = stepper(tiny_sam, kind, **options)
        figures = [step(batch) for _ in range(3)]
        weights.append((segmenter.adapter("scale").weights.detach().clone(), figures[-1]["loss"]))
    torch.testing.assert_close(weights[0][0], weights[1][0], atol=1e-5, rtol=1e-5)
    assert weights[0][1] == pytest.approx(weights[1][1], abs=1e-4)
    assert not torch.equal(weights[0][0], torch.full((2,), 1 / 3))


def count_decodes(monkeypatch, step) -> list[int]:
    calls, real = [], step._decoder
    monkeypatch.setattr(step, "_decoder", lambda *a: calls.append(1) or real(*a))
    return calls


def test_decodes_each_mask_and_click_once(tiny_sam, batch, monkeypatch):
    _, step = stepper(tiny_sam)
    calls = count_decodes(monkeypatch, step)
    step(batch)
    step(batch)
    assert len(calls) == 4
    view = replace(batch, features=batch.features.to(torch.float64).to(torch.float32)[torch.tensor([1, 0, 2, 3])])
    step(view)  # rows 0 and 1 keep their ids and clicks, but have other pixels
    assert len(calls) == 6
    step(replace(batch, prompts=replace(batch.prompts, points=batch.prompts.points + 1)))
    assert len(calls) == 10


def test_cached_logits_are_bounded_and_eviction_changes_nothing(tiny_sam, batch, monkeypatch):
    one_row = 3 * tiny_sam.low_res**2 * 2 + 3 * 2
    small, step = stepper(tiny_sam, cache_bytes=2 * one_row)
    roomy, other = stepper(tiny_sam)
    calls = count_decodes(monkeypatch, step)
    for _ in range(3):
        step(batch)
    assert len(step._kept) == 2
    assert len(calls) == 12
    for _ in range(3):
        other(batch)
    assert torch.equal(small.adapter("scale").weights, roomy.adapter("scale").weights)


def test_boxes_are_prompts_too(tiny_sam, tiny_samples):
    segmenter, step = stepper(tiny_sam)
    boxed = batch_of(tiny_sam, tiny_samples[:2], prompt="mask-box")
    assert step(boxed)["loss"] > 0
    assert segmenter(boxed).logits.shape[:3] == (2, 1, 1)
