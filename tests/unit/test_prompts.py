"""Prompt sources: the single-click protocol, drawn clicks, boxes, a user's file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from samtailor.errors import InputError
from samtailor.masks import interior
from samtailor.prompts.mask_center import center
from samtailor.prompts.sampled_click import at, draw
from samtailor.registry import find
from samtailor.structures import Sample

SAMPLE = Sample("images/a", lambda: np.zeros((40, 60, 3), np.uint8), lambda: (), source=Path("/data/a.jpg"))


def build(name: str, **options):
    return find("prompts", name).build(**options)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def crescent() -> np.ndarray:
    """A disc with an eccentric hole, open to the right: its centroid lies outside."""
    y, x = np.mgrid[:40, :60]
    disc, hole = (y - 20) ** 2 + (x - 25) ** 2 < 340, (y - 21) ** 2 + (x - 28) ** 2 < 150
    return disc & ~hole & ((x < 30) | (y < 14) | (y > 27))


def depth_by_hand(mask: np.ndarray) -> np.ndarray:
    """Distance of every pixel to the nearest pixel outside, those around the image included."""
    padded = np.pad(mask, 1)
    outside = np.argwhere(~padded)
    out = np.zeros(mask.shape)
    for y, x in np.argwhere(mask):
        out[y, x] = np.sqrt(((outside - (y + 1, x + 1)) ** 2).sum(1).min())
    return out


@pytest.mark.parametrize("seed", range(4))
def test_distance_is_exact(seed):
    mask = np.kron(rng(seed).random((9, 11)) > 0.4, np.ones((4, 5), bool))
    got = np.zeros(mask.shape)
    part, (x, y) = interior.distance(mask)
    got[y : y + part.shape[0], x : x + part.shape[1]] = part
    np.testing.assert_allclose(got, depth_by_hand(mask), atol=1e-5)
    assert interior.radius(mask) == pytest.approx(depth_by_hand(mask).max(), abs=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_equal_masks_have_bit_identical_depths(seed):
    """OpenCV's distances depend in the last bit on the memory address, and fits with contours were not reproducible."""
    y, x = np.mgrid[:70, :90]
    cx, cy, r = rng(seed).uniform((20, 20, 8), (70, 50, 40), (4, 3)).T[:, :, None, None]
    mask = ((x - cx) ** 2 + 2 * (y - cy) ** 2 < r**2).any(0)
    exact = depth_by_hand(mask).astype(np.float32)
    part, (left, top) = interior.distance(mask)
    np.testing.assert_array_equal(part, exact[top : top + part.shape[0], left : left + part.shape[1]])
    assert interior.radius(mask) == exact.max()


def test_the_center_is_the_deepest_pixel_not_the_centroid():
    mask = crescent()
    rows, columns = np.nonzero(mask)
    assert not mask[round(rows.mean()), round(columns.mean())]
    x, y = center(mask)
    depth = depth_by_hand(mask)
    assert depth[y, x] == depth.max()


def test_image_border_is_boundary():
    """Without a ring of zeros the deepest pixel of a mask at the border would lie on the border."""
    mask = np.zeros((30, 30), bool)
    mask[:, :11] = True
    assert center(mask) == (5, 5)
    assert center(np.ones((31, 31), bool)) == (15, 15)


def test_of_several_deepest_pixels_the_first_in_raster_order():
    mask = np.zeros((20, 40), bool)
    mask[8:13, 30:35] = mask[2:7, 5:10] = mask[2:7, 20:25] = True
    assert {center(mask) for _ in range(3)} == {(7, 4)}
    assert center(np.ones((4, 9), bool)) == (1, 1)


def test_the_center_click_has_the_frame_of_the_mask():
    masks = [crescent(), np.ones((40, 60), bool)]
    prompts = build("mask-center")(SAMPLE, masks, rng())
    assert prompts.frame == (40, 60)
    assert prompts.points.shape == (1, 2, 1, 2)
    assert prompts.points.dtype == torch.float32
    assert prompts.labels.tolist() == [[[1], [1]]]
    assert tuple(prompts.points[0, 0, 0].int().tolist()) == center(masks[0])


@pytest.mark.parametrize("name", ["mask-center", "sampled-click", "pooled-click", "mask-box"])
def test_empty_mask_is_refused(name):
    with pytest.raises(InputError, match="empty mask"):
        build(name)(SAMPLE, [np.zeros((4, 4), bool)], rng())


# -- drawn clicks


def histogram(mask: np.ndarray, count: int = 4000, **options) -> np.ndarray:
    source, counts = rng(7), np.zeros(mask.shape)
    for _ in range(count):
        x, y = draw(mask, source, **options)
        counts[y, x] += 1
    return counts / count


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_clicks_are_drawn_by_depth(gamma):
    mask = np.zeros((9, 9), bool)
    mask[1:8, 1:8] = True
    weights = np.where(mask, depth_by_hand(mask) ** gamma, 0)
    np.testing.assert_allclose(histogram(mask, gamma=gamma), weights / weights.sum(), atol=0.015)


def test_large_gamma_is_the_center_click():
    depth = depth_by_hand(crescent())
    x, y = draw(crescent(), rng(), gamma=1e4)
    assert depth[y, x] == depth.max()


def test_gaussian_clicks_spread_by_the_area():
    mask = np.ones((9, 9), bool)
    y, x = np.mgrid[:9, :9]
    sigma = 0.5 * np.sqrt(81 / np.pi)
    weights = np.exp(-((x - 4) ** 2 + (y - 4) ** 2) / (2 * sigma**2))
    np.testing.assert_allclose(histogram(mask, shape="gaussian"), weights / weights.sum(), atol=0.012)


@pytest.mark.parametrize("shape", ["distance", "gaussian"])
def test_clicks_are_inside_and_seeded(shape):
    mask, source = crescent(), build("sampled-click", shape=shape)
    prompts = source(SAMPLE, [mask] * 50, rng(1))
    assert all(mask[int(y), int(x)] for x, y in prompts.points[0, :, 0].tolist())
    assert len(prompts.points[0, :, 0].unique(dim=0)) > 10
    assert torch.equal(prompts.points, source(SAMPLE, [mask] * 50, rng(1)).points)


def test_a_pool_of_clicks_follows_the_distribution_and_repeats():
    mask, source = crescent(), build("pooled-click", draws=8)
    clicks = [source(SAMPLE, [mask], rng(seed)).points[0, 0, 0].tolist() for seed in range(100)]
    assert {tuple(click) for click in clicks} == {at(mask, (step + 0.5) / 8) for step in range(8)}
    fine = build("pooled-click", draws=4000)  # as good as the distribution itself
    clicks = fine(SAMPLE, [mask] * 3000, rng(0)).points[0, :, 0]
    drawn = build("sampled-click")(SAMPLE, [mask] * 3000, rng(1)).points[0, :, 0]
    torch.testing.assert_close(clicks.mean(0), drawn.mean(0), atol=0.8, rtol=0)
    with pytest.raises(InputError, match="at least 1"):
        build("pooled-click", draws=0)


def test_one_pixel_can_be_clicked():
    mask = np.zeros((5, 5), bool)
    mask[4, 0] = True
    assert draw(mask, rng()) == (0, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": -1}, "gamma must be a number of at least 0, got -1"),
        ({"gamma": "deep"}, "gamma must be a number"),
        ({"shape": "gauss"}, "gaussian"),
    ],
)
def test_wrong_click_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        build("sampled-click", **options)


@pytest.mark.parametrize("name", ["mask-center", "sampled-click", "pooled-click", "mask-box"])
def test_unknown_options_are_refused(name):
    with pytest.raises(InputError, match=f"'{name}' has no option 'colour'"):
        build(name, colour=1)


# -- boxes


def test_box_is_tight():
    mask = np.zeros((40, 60), bool)
    mask[3:9, 10:31] = True
    prompts = build("mask-box")(SAMPLE, [mask], rng())
    assert prompts.boxes.tolist() == [[[10, 3, 30, 8]]]
    assert prompts.points is None


def test_a_jittered_box_stays_close_inside_the_frame_and_valid():
    masks = [np.zeros((40, 60), bool) for _ in range(200)]
    for mask in masks:
        mask[0:3, 20:50] = True
    source = build("mask-box", jitter=0.5, reach=40)
    boxes = source(SAMPLE, masks, rng(0)).boxes[0]
    assert (boxes[:, :2] <= boxes[:, 2:]).all()
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 59
    assert 0.5 < (boxes[:, 0] - 20).abs().max() <= 40 * 60 / 1024 + 1e-4
    assert torch.equal(boxes, source(SAMPLE, masks, rng(0)).boxes[0])


# -- a file


def written(folder: Path, content: object) -> Path:
    path = folder / "prompts.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_file_gives_an_images_prompts_in_order(tmp_path):
    entries = [{"points": [[3, 4]], "label": "banner"}, {"points": [[5, 6], [7, 8]], "labels": [1, 0]}]
    prompts = build("file", path=written(tmp_path, {"images/a": entries}))(SAMPLE, [], rng())
    assert prompts.frame == (40, 60)
    assert prompts.points.tolist() == [[[[3, 4], [0, 0]], [[5, 6], [7, 8]]]]
    assert prompts.labels.tolist() == [[[1, -1], [1, 0]]]


def test_file_names_images_by_file_name_too(tmp_path):
    path = written(tmp_path, {"a.jpg": [{"box": [1, 2, 30, 20]}]})
    assert build("file", path=path)(SAMPLE, [], rng()).boxes.tolist() == [[[1, 2, 30, 20]]]


def test_file_supports_an_evaluation_mask_by_mask(tmp_path):
    masks = [np.zeros((40, 60), bool) for _ in range(2)]
    masks[0][2:9, 2:9] = masks[1][20:30, 20:30] = True
    source = build("file", path=written(tmp_path, {"a.jpg": [{"points": [[25, 25]]}, {"points": [[4, 4]]}]}))
    assert source(SAMPLE, masks[:1], rng()).points.tolist() == [[[[4, 4]]]]
    with pytest.raises(InputError, match="0 of 2"):
        source(SAMPLE, [~(masks[0] | masks[1])], rng())


def test_file_prompts_are_of_the_image_frame(tmp_path):
    """Training passes masks of the model frame; the clicks are of the image frame."""
    inside = np.ones((64, 64), bool)
    source = build("file", path=written(tmp_path, {"a.jpg": [{"points": [[25, 25]]}]}))
    assert source(SAMPLE, [inside], rng()).frame == (40, 60)
    source = build("file", path=written(tmp_path, {"a.jpg": [{"points": [[25, 25]]}, {"points": [[1, 1]]}]}))
    with pytest.raises(InputError, match="2 prompts in the file"):
        source(SAMPLE, [inside], rng())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2", "invalid at the top level"),
        ({"a.jpg": [{"pts": [[1, 2]]}]}, "a.jpg > 0 > pts"),
        ({"a.jpg": [{"points": [[1, 2, 3]]}]}, "points"),
        ({"a.jpg": [{"label": "x"}]}, "neither points nor a box"),
        ({"a.jpg": [{"points": [[1, 2]], "labels": [1, 1]}]}, "1 points and 2 labels"),
        ({"a.jpg": [{"points": [[1, 2]], "labels": [7]}]}, "1 \\(on the object\\) or 0"),
        ({"a.jpg": [{"box": [9, 2, 3, 20]}]}, "x0 < x1"),
    ],
)
def test_file_of_another_form_is_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        build("file", path=written(tmp_path, content))


def test_file_without_the_image_is_refused(tmp_path):
    with pytest.raises(InputError, match="no prompts for the image 'images/a'"):
        build("file", path=written(tmp_path, {"b.jpg": [{"points": [[1, 2]]}]}))(SAMPLE, [], rng())
    with pytest.raises(InputError, match="cannot be read"):
        build("file", path=tmp_path / "absent.json")
    with pytest.raises(InputError, match="needs path=FILE"):
        build("file")


def test_file_with_mixed_kinds_is_refused(tmp_path):
    path = written(tmp_path, {"a.jpg": [{"points": [[1, 2]]}, {"box": [1, 2, 3, 4]}]})
    with pytest.raises(InputError, match="1 of 2"):
        build("file", path=path)(SAMPLE, [], rng())
