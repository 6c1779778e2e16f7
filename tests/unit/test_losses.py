"""Losses against plain loops, and the traps around them (method-spec I2, I4, I8)."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from samtailor.errors import InputError
from samtailor.structures import Batch, Features, Output, Prompts
from samtailor.train.losses import contour_matching, dice, focal, measured_iou, segmentation_loss


def case(seed: int = 0, soft: bool = False) -> tuple[Output, Batch]:
    """B = 2, P = 1, four mask tokens of 6x6; the right two columns are padding."""
    draw = torch.Generator().manual_seed(seed)
    logits = (3 * torch.randn(2, 1, 4, 6, 6, generator=draw)).requires_grad_()
    iou = torch.rand(2, 1, 4, generator=draw).requires_grad_()
    targets = torch.rand(2, 1, 6, 6, generator=draw)
    targets = targets if soft else (targets > 0.6).float()
    valid = torch.ones(2, 1, 6, 6, dtype=torch.bool)
    valid[..., 4:] = False
    blank = torch.zeros(2, 1, 1, 1, 1)
    prompts = Prompts((64, 64), points=torch.zeros(2, 1, 1, 2), labels=torch.ones(2, 1, 1).long())
    return Output(logits, iou, blank, blank, blank[..., 0]), Batch(Features(blank[:, 0]), prompts, targets, valid)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def cells(tensor: torch.Tensor) -> list[float]:
    """The valid 6x4 cells of one mask, in order."""
    return tensor[..., :4].reshape(-1).tolist()


def by_hand(logits: torch.Tensor, target: torch.Tensor) -> tuple[float, float, float]:
    """(focal, dice, IoU) of one mask with a hard target, cell by cell."""
    total, inter, sums, both, either = 0.0, 0.0, 0.0, 0, 0
    for x, t in zip(cells(logits), cells(target), strict=True):
        p = sigmoid(x)
        p_t, alpha_t = (p, 0.25) if t == 1 else (1 - p, 0.75)
        total += -alpha_t * (1 - p_t) ** 2 * math.log(p_t)
        inter, sums = inter + p * t, sums + p + t
        both, either = both + (x > 0 and t == 1), either + (x > 0 or t == 1)
    return total / 24, 1 - (2 * inter + 1) / (sums + 1), both / either


@pytest.mark.parametrize("supervise", ["all", "best"])
def test_segmentation_loss_is_the_formula(supervise):
    output, batch = case()
    got, wanted = segmentation_loss(output, batch, supervise=supervise), 0.0
    for b in range(2):
        rows = [by_hand(output.logits[b, 0, m], batch.targets[b, 0]) for m in (1, 2, 3)]
        masks = [20 * f + d for f, d, _ in rows]
        best = masks.index(min(masks))
        errors = [(output.iou[b, 0, m + 1].item() - rows[m][2]) ** 2 for m in range(3)]
        wanted += (masks[best] + (sum(errors) / 3 if supervise == "all" else errors[best])) / 2
    assert got["loss"].item() == pytest.approx(wanted, rel=1e-5)
    parts = 20 * got["focal"] + got["dice"] + got["iou"]
    assert parts.item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("weight", [0.25, 1.0, 2.0])
def test_multimask_dice_weight_adds_the_mean_dice_of_the_three(weight):
    output, batch = case()
    rows = [[by_hand(output.logits[b, 0, m], batch.targets[b, 0]) for m in (1, 2, 3)] for b in range(2)]
    wanted = sum(min(20 * f + d for f, d, _ in row) + weight * sum(d for _, d, _ in row) / 3 for row in rows) / 2
    plain, mixed = segmentation_loss(output, batch), segmentation_loss(output, batch, multimask_dice_weight=weight)
    assert (mixed["loss"] - mixed["iou"]).item() == pytest.approx(wanted, rel=1e-5)
    assert mixed["dice"] == plain["dice"]  # the reported value is that of the best mask


def test_a_candidate_that_fills_the_image_does_not_dominate_a_small_object():
    """Its focal loss is tens of times that of the whole small object; an empty mask would avoid it."""
    output, batch = case()
    batch.targets.zero_()[..., 2, 2] = 1
    output.logits.data[:, :, 3] = 20.0
    plain, mixed = segmentation_loss(output, batch), segmentation_loss(output, batch, multimask_dice_weight=0.5)
    assert 0 < (mixed["loss"] - plain["loss"]).item() < 0.5


@pytest.mark.parametrize("weight", [-0.1, float("nan")])
def test_multimask_dice_weight_is_a_weight(weight):
    with pytest.raises(InputError, match="must be 0 or more"):
        segmentation_loss(*case(), multimask_dice_weight=weight)


def test_only_the_best_of_three_masks_learns_and_never_token_0():
    output, batch = case()
    segmentation_loss(output, batch)["loss"].backward()
    touched = output.logits.grad.abs().sum(dim=(-2, -1)) > 0
    assert not touched[:, :, 0].any()
    assert (touched.sum(dim=-1) == 1).all()


@pytest.mark.parametrize(("supervise", "slots"), [("all", 3), ("best", 1)])
def test_candidates_that_the_iou_head_learns_from(supervise, slots):
    output, batch = case()
    segmentation_loss(output, batch, supervise=supervise)["loss"].backward()
    touched = output.iou.grad != 0
    assert not touched[:, :, 0].any()
    assert (touched.sum(dim=-1) == slots).all()


def test_iou_target_has_no_gradient():
    output, batch = case()
    segmentation_loss(output, batch, focal_weight=0, dice_weight=0)["loss"].backward()
    assert output.logits.grad is None or not output.logits.grad.any()


@pytest.mark.parametrize("garbage", [50.0, -1000.0, float("inf"), float("nan")])
def test_padding_does_not_change_the_loss(garbage):
    output, batch = case()
    spoilt = output.logits.detach().clone()
    spoilt[..., 4:] = garbage
    targets = batch.targets.clone()
    targets[..., 4:] = 1.0
    wanted = segmentation_loss(output, batch)["loss"]
    got = segmentation_loss(replace(output, logits=spoilt), replace(batch, targets=targets))["loss"]
    assert got.item() == pytest.approx(wanted.item(), rel=1e-6)


def test_padding_gets_no_gradient():
    output, batch = case()
    segmentation_loss(output, batch)["loss"].backward()
    assert not output.logits.grad[..., 4:].any()


def test_focal_factor_is_taken_per_cell():
    """One cell wrong by far, many right: a factor of the mean loss (lightning-sam) would hardly see it."""
    logits, targets = torch.full((1, 1, 1, 10, 10), -6.0), torch.zeros(1, 1, 1, 10, 10)
    logits[..., 0, 0] = 6.0
    valid = torch.ones(1, 1, 1, 10, 10, dtype=torch.bool)
    right = 0.75 * sigmoid(-6) ** 2 * math.log1p(math.exp(-6))
    wrong = 0.75 * sigmoid(6) ** 2 * math.log1p(math.exp(6))
    assert focal(logits, targets, valid).item() == pytest.approx((99 * right + wrong) / 100, rel=1e-5)


def test_focal_of_coverage_is_least_at_the_coverage():
    logits = torch.linspace(-3, 3, 601).reshape(601, 1, 1, 1, 1)
    targets, valid = torch.full((601, 1, 1, 1, 1), 0.3), torch.ones(601, 1, 1, 1, 1, dtype=torch.bool)
    best = focal(logits, targets, valid).flatten().argmin()
    assert logits.flatten()[best].sigmoid().item() == pytest.approx(0.3, abs=0.01)


def test_dice_counts_small_and_large_masks_alike():
    """Flattened over the batch, the correct large mask would outweigh the missed small one."""
    targets = torch.zeros(2, 1, 1, 32, 32)
    targets[0, ..., :30, :] = 1
    targets[1, ..., :3, :3] = 1
    logits = torch.full((2, 1, 1, 32, 32), -20.0)
    logits[0, ..., :30, :] = 20
    each = dice(logits, targets, torch.ones(2, 1, 1, 32, 32, dtype=torch.bool)).flatten()
    assert each[0] < 0.01
    assert each[1] > 0.85


def test_measured_iou_of_an_object_smaller_than_a_cell():
    targets = torch.zeros(1, 1, 1, 4, 4)
    targets[..., 1, 1] = 0.2
    logits = torch.full((1, 1, 1, 4, 4), -1.0)
    valid = torch.ones(1, 1, 1, 4, 4, dtype=torch.bool)
    assert measured_iou(logits, targets, valid).item() == 0
    logits[..., 1, 1] = 1
    assert measured_iou(logits, targets, valid).item() == 1
    assert measured_iou(-logits.abs(), 0 * targets, valid).item() == 1


def test_soft_targets_and_half_precision_are_finite():
    output, batch = case(soft=True)
    half = replace(output, logits=output.logits.bfloat16() * 100, iou=output.iou.bfloat16())
    loss = segmentation_loss(half, batch)["loss"]
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(output.logits.grad).all()


def test_unknown_supervision_is_refused():
    with pytest.raises(InputError, match="all, best"):
        segmentation_loss(*case(), supervise="bst")


# -- contours

TRUE = torch.tensor([[[0.0, 0.0], [10, 0], [10, 10], [0, 10]]])


def test_index_matching_is_smooth_l1_in_units():
    assert contour_matching(TRUE + 4, TRUE, unit=8).item() == pytest.approx(0.5 * 0.5**2)
    assert contour_matching(TRUE + 40, TRUE, unit=8).item() == pytest.approx(5 - 0.5)


def test_only_index_and_cyclic_matching_depend_on_the_order():
    shuffled, turned = TRUE[:, [0, 2, 1, 3]], TRUE[:, [2, 3, 0, 1]]
    for kind in ("paper", "symmetric"):
        assert contour_matching(shuffled, TRUE, kind=kind) == 0
    assert contour_matching(shuffled, TRUE, kind="index") > 0
    assert contour_matching(shuffled, TRUE, kind="cyclic") > 0
    assert contour_matching(turned, TRUE, kind="index") > 0
    assert contour_matching(turned, TRUE, kind="cyclic") == 0


def test_paper_matching_is_equation_4():
    """Each true point to its nearest predicted one: a collapse costs, a stray predicted point is free and idle."""
    collapsed = TRUE[:, :1].expand(-1, 4, -1)
    assert contour_matching(collapsed, TRUE, kind="paper").item() == pytest.approx((0 + 100 + 200 + 100) / 4)
    stray = torch.cat([TRUE[:, :3], torch.tensor([[[500.0, 500.0]]])], 1).requires_grad_()
    loss = contour_matching(stray, TRUE, kind="paper")
    loss.backward()
    assert loss.item() == pytest.approx(100 / 4)
    assert not stray.grad[0, 3].any()
    symmetric = contour_matching(stray.detach().requires_grad_(), TRUE, kind="symmetric")
    assert symmetric.item() == pytest.approx((25 + (490**2 + 490**2) / 4) / 2)


def test_unknown_matching_is_refused():
    with pytest.raises(InputError, match="Did you mean 'index'"):
        contour_matching(TRUE, TRUE, kind="indx")


def test_a_cell_belongs_to_the_target_from_half_its_area_on():
    targets = torch.zeros(1, 1, 4, 4)
    targets[0, 0, 0] = torch.tensor([1.0, 0.5, 0.49, 0.0])
    logits = torch.full((1, 1, 1, 4, 4), -1.0)
    logits[..., 0, :2] = 1.0
    assert measured_iou(logits, targets[:, :, None], torch.ones(1, 1, 4, 4, dtype=torch.bool)) == 1.0
