"""Preprocessing of SAM (method-spec A3, I3), against a second short implementation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from samtailor.data.transform import Frame, coverage
from samtailor.errors import InputError
from samtailor.structures import Prompts

MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])


def random_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def reference(image: np.ndarray, size: int) -> np.ndarray:
    """SAM's resize_longest_side, preprocess: (3, size, size)."""
    scale = size / max(image.shape[:2])
    height, width = (int(side * scale + 0.5) for side in image.shape[:2])
    resized = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR), np.float64)
    out = np.zeros((3, size, size))
    out[:, :height, :width] = ((resized - MEAN) / STD).transpose(2, 0, 1)
    return out


@pytest.mark.parametrize(("height", "width"), [(48, 80), (80, 48), (64, 64), (33, 200), (7, 5), (300, 301)])
def test_image_is_preprocessed_as_sams(tiny_sam, height, width):
    image = random_image(height, width)
    got = Frame.of(tiny_sam, height, width).image(image, tiny_sam)
    np.testing.assert_allclose(got.numpy(), reference(image, 64), atol=1e-5)


def test_golden_numbers(tiny_sam):
    """Values of black and white by hand; the padding is the mean color, which is zero after normalization."""
    black = Frame.of(tiny_sam, 48, 80).image(np.zeros((48, 80, 3), np.uint8), tiny_sam)
    assert black[:, 0, 0].tolist() == pytest.approx([-2.11790, -2.03571, -1.80444], abs=1e-5)
    assert not black[:, 38:].any()
    assert black[:, :38].all()
    white = Frame.of(tiny_sam, 80, 48).image(np.full((80, 48, 3), 255, np.uint8), tiny_sam)
    assert white[:, 63, 37].tolist() == pytest.approx([2.24891, 2.42857, 2.64000], abs=1e-5)
    assert not white[..., 38:].any()


@pytest.mark.parametrize(
    ("height", "width", "inner"),
    [(48, 80, (38, 64)), (45, 80, (36, 64)), (80, 49, (64, 39)), (1, 5000, (1, 64)), (64, 64, (64, 64))],
)
def test_sides_are_rounded_half_up(tiny_sam, height, width, inner):
    assert Frame.of(tiny_sam, height, width).inner == inner


def test_sam2_squashes(tiny_sam2):
    frame = Frame.of(tiny_sam2, 48, 80)
    assert frame.inner == (64, 64)
    assert frame.scale == (64 / 80, 64 / 48)
    assert frame.valid().all()
    assert frame.image(random_image(48, 80), tiny_sam2).shape == (3, 64, 64)


def test_points_and_boxes_are_scaled_per_axis(tiny_sam):
    frame = Frame.of(tiny_sam, 48, 80)
    np.testing.assert_allclose(frame.points(np.array([[40, 24]])), [[40 * 64 / 80, 24 * 38 / 48]], rtol=1e-6)
    np.testing.assert_allclose(frame.boxes(np.array([[40, 24, 79, 47]])), [[32, 19, 63.2, 47 * 38 / 48]], rtol=1e-6)


def test_click_is_encoded_half_a_pixel_in(tiny_sam):
    """(p + 0.5) / size, mapped to [-1, 1], times the Gaussian matrix, times 2 pi, sine and cosine."""
    point = torch.tensor([32.0, 19.0])
    prompts = Prompts((64, 64), points=point.view(1, 1, 1, 2), labels=torch.ones(1, 1, 1).long())
    encoder = tiny_sam.model.prompt_encoder
    phase = 2 * torch.pi * ((2 * (point + 0.5) / 64 - 1) @ encoder.shared_embedding.positional_embedding)
    wanted = torch.cat([phase.sin(), phase.cos()]) + encoder.point_embed[1].weight[0]
    got = tiny_sam.encode_prompts(prompts).sparse[0, 0, 0]
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)


def test_prompts_change_frame_once(tiny_sam):
    frame = Frame.of(tiny_sam, 48, 80)
    prompts = Prompts((48, 80), points=torch.full((1, 1, 1, 2), 40.0), labels=torch.ones(1, 1, 1).long())
    inside = frame.prompts(prompts)
    assert inside.frame == (64, 64)
    assert inside.points[0, 0, 0].tolist() == pytest.approx([32.0, 40 * 38 / 48])
    with pytest.raises(InputError, match="the image is 48x80"):
        frame.prompts(inside)


def disc(height: int, width: int, x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def test_masks_are_thresholded_after_resizing(tiny_sam):
    """A line between two cells: thresholding first breaks or removes it, thresholding last keeps it."""
    frame = Frame.of(tiny_sam, 48, 80)
    logits = torch.full((1, 1, 32, 32), -1.0)
    for i in range(4, 18):
        logits[..., i, i] = 1.6
    got = frame.logits(logits)
    full = torch.nn.functional.interpolate(logits, (64, 64), mode="bilinear", align_corners=False)[..., :38, :64]
    wanted = torch.nn.functional.interpolate(full, (48, 80), mode="bilinear", align_corners=False)
    torch.testing.assert_close(got, wanted)
    early = frame.logits((logits > 0).float() - 0.5)
    assert not torch.equal(got > 0, early > 0)


def test_crop_is_made_in_the_model_frame(tiny_sam):
    """The padding begins at row 38 of 64, which is exactly at cell 19."""
    frame = Frame.of(tiny_sam, 47, 80)  # 37.6 -> 38 rows of 64; at low resolution 19 of 32
    assert frame.inner == (38, 64)
    frame = Frame.of(tiny_sam, 46, 80)  # 36.8 -> 37 rows: cell 18 is half image, half padding
    assert frame.inner == (37, 64)
    ramp = torch.arange(32.0).view(1, 1, 32, 1).expand(-1, -1, -1, 32)
    got = frame.logits(ramp)[0, 0, :, 40]
    rows = ((np.arange(46) + 0.5) * 37 / 46 - 0.5).clip(0, 36)  # image row to model row, then to cell
    np.testing.assert_allclose(got[3:-3], ((rows + 0.5) / 2 - 0.5)[3:-3], atol=1e-4)


def test_logits_return_to_the_position_of_the_mask(tiny_sam):
    mask = disc(480, 800, 500, 200, 150)
    frame = Frame.of(tiny_sam, 480, 800)
    back = frame.logits((frame.target(mask)[None, None] - 0.5) * 8)[0, 0] > 0
    assert (back.numpy() & mask).sum() / (back.numpy() | mask).sum() > 0.97


def test_true_masks_are_resized_without_inventing_values(tiny_sam):
    mask = np.random.default_rng(0).random((48, 80)) > 0.5
    got = Frame.of(tiny_sam, 48, 80).mask(mask)
    assert got.dtype == bool
    assert not got[38:].any()
    rows = np.floor((np.arange(38) + 0.5) * 48 / 38).astype(int)
    columns = np.floor((np.arange(64) + 0.5) * 80 / 64).astype(int)
    assert np.array_equal(got[:38, :64], mask[np.ix_(rows, columns)])


def test_target_is_the_share_of_each_cell(tiny_sam):
    mask = np.zeros((64, 64), bool)
    mask[0, 0] = mask[2:4, 2:4] = True
    target = Frame.of(tiny_sam, 64, 64).target(mask)
    assert target[0, 0] == 0.25
    assert target[1, 1] == 1
    assert target.sum() == 1.25
    assert torch.equal(coverage(np.ones((64, 64), bool), 32), torch.ones(32, 32))


@pytest.mark.parametrize(("height", "rows"), [(48, 19), (46, 19), (64, 26), (80, 32), (1, 1)])
def test_valid_is_the_image(tiny_sam, height, rows):
    valid = Frame.of(tiny_sam, height, 80).valid()
    assert valid[:rows].all()
    assert not valid[rows:].any()


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((48, 80), np.uint8), "uint8 RGB"),
        (np.zeros((48, 80, 3), np.float32), "float32"),
        (np.zeros((48, 81, 3), np.uint8), "\\(48, 81, 3\\)"),
    ],
)
def test_images_of_another_size_are_refused(tiny_sam, image, words):
    with pytest.raises(InputError, match=words):
        Frame.of(tiny_sam, 48, 80).image(image, tiny_sam)


def test_empty_image_is_refused(tiny_sam):
    with pytest.raises(InputError, match="at least one pixel"):
        Frame.of(tiny_sam, 0, 80)
