"""The joint step: gradients go through the frozen decoder into the groups and nowhere else (method-spec I5, I17)."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from batches import batch_of
from samtailor.adapters.plm import PLM
from samtailor.registry import find
from samtailor.segmenter import Segmenter
from samtailor.train.joint import Joint, decay_groups
from samtailor.train.losses import segmentation_loss


@pytest.fixture
def batch(tiny_base, tiny_samples):
    return batch_of(tiny_base, tiny_samples[:4])


def lively(segmenter: Segmenter) -> Segmenter:
    torch.manual_seed(0)
    nn.init.normal_(segmenter.adapter("plm").head.weight, std=0.05)
    return segmenter


def joint(segmenter: Segmenter, accelerator: Accelerator | None = None, *, bare: bool = False, **options) -> Joint:
    optimizers = {name: torch.optim.SGD(group, lr=0.1) for name, group in segmenter.groups.items()}
    accelerator = accelerator or Accelerator(cpu=True)
    if bare:
        return Joint(segmenter, optimizers, accelerator, **options)
    segmenter, *prepared = accelerator.prepare(segmenter, *optimizers.values())
    return Joint(segmenter, dict(zip(optimizers, prepared, strict=True)), accelerator, **options)


def test_gradient_flows_through_the_frozen_base(tiny_base, batch):
    """Also from a zero head: only the head moves at the first step, everything at the next."""
    segmenter = Segmenter(tiny_base, tokens={"plm": PLM(tiny_base.dim, mlp_dim=64)})
    loss = segmentation_loss(segmenter(batch), batch)["loss"]
    loss.backward()
    assert segmenter.adapter("plm").head.weight.grad.abs().sum() > 0
    segmentation_loss(lively(segmenter)(batch), batch)["loss"].backward()
    assert all(p.grad.abs().sum() > 0 for n, p in segmenter.named_parameters() if "in_proj_bias" not in n)
    assert all(p.grad is None for p in tiny_base.model.parameters())


def test_a_step_changes_only_its_groups(tiny_base, batch):
    segmenter = lively(Segmenter(tiny_base, tokens={"plm": PLM(tiny_base.dim, mlp_dim=64)}))
    before = {k: v.clone() for k, v in tiny_base.model.state_dict().items()}
    learnt = {k: v.clone() for k, v in segmenter.state_dict().items()}
    figures = joint(segmenter)(batch, None)
    assert set(figures) == {"loss", "focal", "dice", "iou"}
    assert all(isinstance(value, float) for value in figures.values())
    assert all(torch.equal(v, before[k]) for k, v in tiny_base.model.state_dict().items())
    assert sum(not torch.equal(v, learnt[k]) for k, v in segmenter.state_dict().items()) > 10
    assert all(p.grad is None for p in segmenter.parameters())


def test_terms_are_weighted_and_reported(tiny_base, batch):
    segmenter = Segmenter(tiny_base, tokens={"plm": PLM(tiny_base.dim, mlp_dim=64)})
    plain = joint(segmenter).losses(batch)
    further = joint(segmenter, terms={"pull": (0.5, lambda output, batch: output.iou.mean() * 0 + 3.0)}).losses(batch)
    assert further["pull"] == 3
    torch.testing.assert_close(further["loss"], plain["loss"] + 1.5)


def test_loss_options_reach_the_loss(tiny_base, batch):
    segmenter = Segmenter(tiny_base, tokens={"plm": PLM(tiny_base.dim, mlp_dim=64)})
    got = joint(segmenter, focal_weight=0.0, iou_weight=0.0).losses(batch)
    torch.testing.assert_close(got["loss"].detach(), got["dice"])


def test_matching_reaches_the_plm_through_the_image_keys(tiny_base, batch):
    segmenter, step = find("methods", "plm-pmm").build(tiny_base, mlp_dim=64)
    nn.init.normal_(segmenter.adapter("pmm").decoder[-1].weight, std=0.1)
    _, term = step.keywords["terms"]["matching"]
    term(lively(segmenter)(batch), batch).backward()
    assert segmenter.adapter("plm").head.weight.grad.abs().sum() > 0
    assert segmenter.adapter("pmm").enter.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("bare", [False, True])
def test_two_accumulated_batches_equal_one_large_batch(tiny_sam, tiny_samples, bare):
    states = []
    for parts, accumulate in (([tiny_samples[:4]], 1), ([tiny_samples[:2], tiny_samples[2:4]], 2)):
        segmenter = lively(Segmenter(tiny_sam, tokens={"plm": seeded_plm(tiny_sam.dim)}))
        step = joint(segmenter, Accelerator(cpu=True, gradient_accumulation_steps=accumulate), bare=bare)
        start = segmenter.adapter("plm").head.weight.detach().clone()
        for number, part in enumerate(parts):
            step(batch_of(tiny_sam, part))
            moved = not torch.equal(start, segmenter.adapter("plm").head.weight)
            assert moved == (number == len(parts) - 1)
        states.append(segmenter.learned())
    for name, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][name], atol=1e-6, rtol=1e-4)


def seeded_plm(dim: int) -> PLM:
    torch.manual_seed(4)
    return PLM(dim, mlp_dim=64)


def test_loss_falls(tiny_base, batch):
    torch.manual_seed(0)
    segmenter, _ = find("methods", "plm").build(tiny_base, mlp_dim=64)
    optimizers = {"lower": torch.optim.AdamW(segmenter.groups["lower"], lr=3e-3)}
    step = Joint(segmenter, optimizers, Accelerator(cpu=True))
    losses = [step(batch)["loss"] for _ in range(15)]
    assert losses[-1] < losses[0]


def test_the_base_stays_in_evaluation_mode(tiny_base):
    segmenter, _ = find("methods", "plm-pmm").build(tiny_base)
    segmenter.train()
    assert segmenter.adapter("pmm").decoder[2].training
    assert not any(module.training for module in tiny_base.model.modules())
    tiny_base.train()
    assert not any(module.training for module in tiny_base.modules())


def test_weight_decay_is_for_matrices_by_default():
    plm = PLM(32)
    decayed, kept = decay_groups(plm.parameters(), 0.01)
    assert decayed["weight_decay"] == 0.01
    assert kept["weight_decay"] == 0
    assert all(p.ndim > 1 for p in decayed["params"])
    assert all(p.ndim == 1 for p in kept["params"])
    assert len(decayed["params"]) + len(kept["params"]) == len(list(plm.parameters()))
    (everything,) = decay_groups(plm.parameters(), 0.01, everything=True)
    assert len(everything["params"]) == len(list(plm.parameters()))
