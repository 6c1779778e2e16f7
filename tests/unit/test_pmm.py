"""Point matching (Kim et al. 4.2): the module, its sampling, its loss, contours and refinement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from samtailor.adapters.pmm import JITTER, PMM, jitter, place_code, refine, sample, subsample
from samtailor.data.transform import Frame
from samtailor.errors import InputError
from samtailor.masks import contours
from samtailor.structures import Batch, Features, Output, Prompts
from samtailor.train.losses import contour_matching
from samtailor.train.matching import matching_loss

SIZE = 64


def lively(pmm: PMM) -> PMM:
    """Initialize the last layer, which is zero at the start."""
    nn.init.normal_(pmm.decoder[-1].weight, std=0.02)
    return pmm.eval()


def ring(count: int, center: float = 32.0, radius: float = 14.0) -> torch.Tensor:
    turn = torch.arange(count) * 2 * torch.pi / count
    return center + radius * torch.stack([turn.cos(), turn.sin()], 1)


@pytest.mark.parametrize("form", ["sound", "reference"])
def test_count_at_sams_width(form):
    assert sum(p.numel() for p in PMM(256, form=form).parameters()) == 1_245_250


# -- attention, residuals, normalization


def changed_by_moving_a_point(form: str) -> torch.Tensor:
    torch.manual_seed(1)
    pmm, keys = lively(PMM(16, points=12, form=form, shape_code=False)), torch.randn(4, 16, 8, 8)
    points = ring(12).expand(4, -1, -1).clone()
    moved = points.clone()
    moved[0, 5] += 9.0
    return (pmm(keys, points, SIZE) - pmm(keys, moved, SIZE)).abs().amax(-1) > 1e-7


def test_attention_runs_along_the_contour():
    changed = changed_by_moving_a_point("sound")
    assert changed[0].all()
    assert not changed[1:].any()


def test_reference_attends_across_polygons_as_its_code_does():
    changed = changed_by_moving_a_point("reference")
    assert changed[:, 5].all()
    assert not changed[:, :5].any()
    assert not changed[:, 6:].any()


@pytest.mark.parametrize(("form", "factor"), [("sound", 1), ("reference", 2)])
def test_residuals(form, factor):
    block = PMM(16, form=form).blocks[0]
    for silent in (block.attention.out_proj, block.mlp[2]):
        nn.init.zeros_(silent.weight)
        nn.init.zeros_(silent.bias)
    x = torch.randn(2, 12, 128)
    torch.testing.assert_close(block(x), factor * x)


def test_training_on_one_contour_is_training_on_it_in_a_batch():
    """With a BatchNorm contours would interact, and training would differ from evaluation."""
    torch.manual_seed(2)
    pmm, keys, points = lively(PMM(16)), torch.randn(3, 16, 8, 8), ring(64).expand(3, -1, -1) + torch.randn(3, 64, 2)
    pmm.decoder[2].p = 0.0
    together, alone = pmm.train()(keys, points, SIZE)[1:2], pmm(keys[1:2], points[1:2], SIZE)
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(pmm.eval()(keys[1:2], points[1:2], SIZE), alone)


# -- sampling and offsets


@pytest.mark.parametrize(("size", "grid"), [(1024, 64), (256, 16), (64, 8), (96, 12)])
def test_sampling_is_exact_for_any_frame(size, grid):
    ramp = torch.arange(grid, dtype=torch.float32)
    keys = torch.stack([ramp[None, :].expand(grid, -1), ramp[:, None].expand(-1, grid)])[None]
    cell = size / grid
    points = torch.rand(1, 50, 2) * (size - 1)
    wanted = ((points + 0.5) / cell - 0.5).clamp(0, grid - 1)
    torch.testing.assert_close(sample(keys, points, size), wanted, atol=1e-4, rtol=1e-4)


def test_sampling_repeats_the_border():
    corners = torch.tensor([[[0.0, 0.0], [63.0, 63.0], [-5.0, 80.0]]])
    assert torch.equal(sample(torch.ones(1, 1, 8, 8), corners, SIZE), torch.ones(1, 3, 1))
    assert (sample(torch.ones(1, 1, 8, 8), corners, SIZE, reference=True) < 1).all()


def test_offsets_start_at_zero_and_stay_within_a_cell():
    pmm, keys, points = PMM(16), torch.randn(2, 16, 8, 8), ring(64).expand(2, -1, -1)
    assert not pmm(keys, points, SIZE).any()
    nn.init.normal_(pmm.decoder[-1].weight, std=100)
    assert pmm(keys, points, SIZE).abs().max() == SIZE / 8


def test_shape_code_distinguishes_points_on_a_uniform_image():
    keys, points = torch.ones(1, 16, 8, 8), ring(64)[None]
    with_code, without = (lively(PMM(16, shape_code=on))(keys, points, SIZE) for on in (True, False))
    assert with_code.std(dim=1).min() > 0
    assert without.std(dim=1).max() < 1e-6


def test_place_code_is_relative_to_the_center_and_the_extent():
    """A contour has the same code wherever it lies and whatever its size is."""
    contour = torch.cat([ring(32), ring(32) * torch.tensor([1.5, 0.5])])[None] - torch.tensor([32.0, 32.0])
    code = place_code(contour, 64)
    for shift in ([20.0, 0.0], [-7.0, 300.0]):
        torch.testing.assert_close(place_code(contour + torch.tensor(shift), 64), code, atol=1e-4, rtol=0)
    torch.testing.assert_close(place_code(3 * contour, 64), code, atol=1e-5, rtol=0)
    assert not torch.allclose(place_code(contour.flip(2), 64), code, atol=0.1)  # x and y differ
    center = torch.tensor([[[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]]) + 40
    assert place_code(center, 64)[0, 2, 32:48].abs().max() < 1e-5  # the sines of a point at the center


def test_jitter_is_proportional_to_the_depth_of_the_mask():
    radius = torch.tensor([1.0, 100.0, 1000.0])
    reach = (jitter(torch.zeros(3, 5000, 2), radius, 16.0)).abs().amax(dim=(1, 2))
    torch.testing.assert_close(reach, torch.tensor([1.0, 100 * JITTER, 16.0]), rtol=1e-2, atol=0)


# -- the loss


def matching_batch(keys: torch.Tensor, true: torch.Tensor, radius: float) -> tuple[Output, Batch]:
    count = len(true)
    blank = torch.zeros(count, 1, 1, 1, 1)
    output = Output(blank, blank[..., 0, 0], keys[:, None], blank, blank[..., 0])
    prompts = Prompts((SIZE, SIZE), points=torch.zeros(count, 1, 1, 2), labels=torch.ones(count, 1, 1).long())
    valid, depth = torch.ones(count, 1, 1, 1, dtype=torch.bool), torch.full((count, 1), radius)
    return output, Batch(Features(keys), prompts, blank[:, :, 0], valid, true[:, None], depth)


def test_offsets_are_added_to_the_jittered_contour_and_measured_in_cells():
    pmm, keys, true = PMM(16), torch.randn(2, 16, 8, 8), ring(64).expand(2, -1, -1)
    torch.manual_seed(5)
    got = matching_loss(pmm, *matching_batch(keys, true, 20.0))
    torch.manual_seed(5)
    jittered = jitter(true, torch.tensor([20.0, 20.0]), 8.0)
    torch.testing.assert_close(got, contour_matching(jittered, true, unit=8.0))
    assert 0 < got < 0.1


def test_training_learns_to_undo_the_jitter():
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    depth = 14 - ((8 * x + 3.5 - 32) ** 2 + (8 * y + 3.5 - 32) ** 2).sqrt()
    keys = torch.stack([depth / 8, x / 4 - 1, y / 4 - 1, *torch.zeros(13, 8, 8)])[None].expand(8, -1, -1, -1)
    pmm = PMM(16, points=32, width=64, mlp_dim=128, blocks=1)
    optimizer, losses = torch.optim.AdamW(pmm.parameters(), lr=1e-3), []
    batch = matching_batch(keys, ring(64).expand(8, -1, -1), 60.0)
    for _ in range(80):
        optimizer.zero_grad()
        loss = matching_loss(pmm, *batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])


def test_contours_are_subsampled_or_refused():
    points = ring(128)[None]
    torch.testing.assert_close(subsample(points, 64), ring(64)[None], atol=1e-4, rtol=1e-4)
    with pytest.raises(InputError, match="subsampled to 48"):
        subsample(points, 48)


def test_batch_without_contours_is_refused():
    output, batch = matching_batch(torch.zeros(1, 16, 8, 8), ring(64)[None], 5.0)
    without = Batch(batch.features, batch.prompts, batch.targets, batch.valid)
    with pytest.raises(InputError, match="contours"):
        matching_loss(PMM(16), output, without)


def test_wrong_options_are_refused():
    with pytest.raises(InputError, match="form must be one of sound, reference"):
        PMM(16, form="faithful")
    with pytest.raises(InputError, match="at least 3"):
        PMM(16, points=2)


# -- contours


def disc(height: int, width: int, x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def test_the_largest_component_is_used_wherever_it_lies():
    mask = disc(60, 60, 30, 30, 12) | disc(60, 60, 5, 5, 3) | disc(60, 60, 54, 54, 4)
    points = contours.resample(mask, 64)
    np.testing.assert_allclose(np.hypot(*(points - 30).T), 12, atol=1)


def test_outline_is_the_outer_one():
    mask = disc(60, 60, 30, 30, 20) & ~disc(60, 60, 30, 30, 15)
    assert np.hypot(*(contours.resample(mask, 64) - 30).T).min() > 18


def test_points_are_at_equal_arc_length():
    square = np.zeros((50, 50), bool)
    square[10:31, 5:46] = True  # outline 20 by 40, 120 long
    points = contours.resample(square, 24)
    steps = np.abs(np.diff(np.concatenate([points, points[:1]]), axis=0)).sum(axis=1)
    np.testing.assert_allclose(steps, 5, atol=1e-4)
    assert points.dtype == np.float32


def test_polygon_of_every_pixel_fills_back_to_the_mask():
    mask = disc(60, 70, 40, 25, 17) | disc(60, 70, 25, 35, 12)
    assert np.array_equal(contours.fill(contours.largest(mask), *mask.shape), mask)


def test_ceiling_rises_with_points():
    turn = np.linspace(0, 2 * np.pi, 721)[:-1]
    star = np.stack([100 + (60 + 25 * np.sin(9 * turn)) * f(turn) for f in (np.cos, np.sin)], 1)
    mask = contours.fill(star, 200, 200)
    few, default, many = (contours.ceiling(mask, k) for k in (20, 64, 256))
    assert few < 0.8 < 0.9 < default < 0.98 < many <= 1


def test_one_pixel_has_an_outline_and_an_empty_mask_has_none():
    mask = np.zeros((9, 9), bool)
    with pytest.raises(InputError, match="empty mask"):
        contours.resample(mask, 8)
    mask[4, 6] = True
    np.testing.assert_array_equal(contours.resample(mask, 8), np.tile([6, 4], (8, 1)))


# -- refinement


@dataclass
class Mover(nn.Module):
    """Stands in for a PMM: scales contours about their center, in the model frame."""

    factor: float
    points: int = 64

    def __post_init__(self) -> None:
        super().__init__()

    def forward(self, keys, points, size):
        return (self.factor - 1) * (points - points.mean(dim=1, keepdim=True))


FRAME = Frame(height=120, width=200, size=64, squash=False, low_res=32)  # 0.32 model pixels per image pixel
KEYS = torch.zeros(16, 8, 8)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def test_refinement_with_zero_offsets_keeps_components_and_holes():
    mask = disc(120, 200, 60, 60, 40) & ~disc(120, 200, 60, 60, 20) | disc(120, 200, 60, 60, 8)
    mask |= disc(120, 200, 150, 70, 25)
    mask[5, 190] = True
    got = refine(mask, KEYS, FRAME, PMM(16))
    assert overlap(got, mask) > 0.97
    assert got[5, 190]
    assert got[60, 60]
    assert not got[60, 74]


def test_refinement_is_in_the_image_frame():
    mask = disc(120, 200, 130, 60, 30)
    got = refine(mask, KEYS, FRAME, Mover(1.2))
    assert overlap(got, disc(120, 200, 130, 60, 36)) > 0.97


@pytest.mark.parametrize("factor", [0.0, 3.0, float("nan")])
def test_degenerate_refinement_falls_back(factor):
    mask = disc(120, 200, 130, 60, 30)
    assert np.array_equal(refine(mask, KEYS, FRAME, Mover(factor)), mask)


def test_small_and_empty_masks_are_not_refined():
    for mask in (disc(120, 200, 20, 20, 3), np.zeros((120, 200), bool)):
        assert np.array_equal(refine(mask, KEYS, FRAME, Mover(1.5)), mask)


def test_refinement_needs_no_gradient_and_no_dropout():
    pmm = lively(PMM(16)).train()
    mask = disc(120, 200, 130, 60, 30)
    first, second = (refine(mask, torch.ones(16, 8, 8), FRAME, pmm) for _ in range(2))
    assert np.array_equal(first, second)
    assert pmm.training


def test_mask_of_another_image_is_refused():
    with pytest.raises(InputError, match="must have shape \\(120, 200\\)"):
        refine(np.zeros((10, 10), bool), KEYS, FRAME, PMM(16))
