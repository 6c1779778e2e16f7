"""Selection of postprocessing: what helps on left-out groups is found, nothing else; paired, groups as units."""

from __future__ import annotations

import numpy as np
import pytest

from samtailor.errors import InputError
from samtailor.fitting.select_postprocess import MAX_OBJECTS, choose_postprocess
from samtailor.masks.postprocess import postprocessed
from samtailor.structures import NOTHING, Annotation, Postprocess


def discs(count: int, size: tuple[int, int] = (60, 80), seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    return [
        (rows - rng.integers(20, 40)) ** 2 + (columns - rng.integers(20, 60)) ** 2 <= rng.integers(10, 18) ** 2
        for _ in range(count)
    ]


def damaged(mask: np.ndarray, rng: np.random.Generator, *, holes: int = 0, crumbs: int = 0) -> np.ndarray:
    mask = mask.copy()
    inside, outside = np.argwhere(mask), np.argwhere(~mask)
    for pixels, count, value in ((inside, holes, False), (outside, crumbs, True)):
        for row, column in pixels[rng.choice(len(pixels), count, replace=False)]:
            mask[row : row + 2, column : column + 2] = value
    return mask


def groups_of(count: int, of: int = 8) -> list[str]:
    return [f"g{index % of}" for index in range(count)]


def test_holes_and_crumbs_are_found_and_a_right_mask_is_left_alone():
    rng, truths = np.random.default_rng(1), discs(16)
    groups = groups_of(16)
    holes = [damaged(one, rng, holes=12) for one in truths]
    chosen, evidence = choose_postprocess(holes, truths, groups)
    assert set(chosen.active) <= {"fill_holes", "smoothing"}
    assert not chosen.nothing
    assert evidence.after > evidence.before + 0.01
    assert evidence.left_out.better
    assert evidence.to_json()["steps"][0]["gain"] > 0
    assert evidence.reason
    crumbs = [damaged(one, rng, crumbs=12) for one in truths]
    chosen, evidence = choose_postprocess(crumbs, truths, groups)
    better = np.mean([(postprocessed(mask, chosen) != true).mean() for mask, true in zip(crumbs, truths, strict=True)])
    assert better < np.mean([(mask != true).mean() for mask, true in zip(crumbs, truths, strict=True)])
    chosen, evidence = choose_postprocess(truths, truths, groups)
    assert chosen is NOTHING
    assert evidence.before == evidence.after == 1
    assert evidence.left_out is None


def test_rectangles_are_selected_where_the_true_masks_are_rectangles():
    rng = np.random.default_rng(0)
    truths, masks = [], []
    for _ in range(16):
        true = np.zeros((60, 80), bool)
        y, x = rng.integers(5, 20, 2)
        true[y : y + 25, x : x + 30] = True
        truths.append(true)
        rows, columns = np.indices(true.shape)
        masks.append(true & ((rows - y - 12) ** 2 + (columns - x - 15) ** 2 < 250))
        masks[-1][y + 12, x : x + 30] = masks[-1][y : y + 25, x + 15] = True
    chosen, evidence = choose_postprocess(masks, truths, groups_of(16))
    assert chosen.rectangles
    assert evidence.after == 1.0
    round_ones, _ = choose_postprocess(masks, discs(16), groups_of(16))
    assert not round_ones.rectangles


def test_a_gain_of_one_group_is_not_enough():
    rng, truths = np.random.default_rng(2), discs(16)
    masks = [damaged(one, rng, holes=20) if index % 8 == 0 else one for index, one in enumerate(truths)]
    chosen, evidence = choose_postprocess(masks, truths, groups_of(16))
    assert chosen == NOTHING
    assert evidence.after == evidence.before
    chosen, evidence = choose_postprocess(masks, truths, groups_of(16, of=2))
    assert chosen == NOTHING
    assert "2 groups" in evidence.reason


def test_noise_on_either_side_rarely_selects_anything():
    selected = 0
    for seed in range(10):
        rng, truths = np.random.default_rng(seed), discs(8, seed=seed)
        masks = [np.roll(one, rng.integers(-3, 4, 2), (0, 1)) for one in truths]
        selected += not choose_postprocess(masks, truths, groups_of(8))[0].nothing
    assert selected <= 2


def test_logits_and_run_lengths_are_read_and_clicks_are_never_emptied():
    rng, truths = np.random.default_rng(3), discs(12)
    masks = [damaged(one, rng, holes=12) for one in truths]
    logits = [np.where(one, 2.0, -2.0) for one in masks]
    runs = [Annotation.from_mask("", one) for one in masks]
    chosen = {choose_postprocess(given, truths, groups_of(12))[0] for given in (masks, logits, runs)}
    assert len(chosen) == 1
    clicks, evidence = choose_postprocess(masks, truths, groups_of(12), way="click")
    assert "min_area" not in clicks.active
    assert evidence.metric == "IoU"


def test_instances_are_judged_by_f1_and_small_ones_dropped():
    rng = np.random.default_rng(4)
    predictions, truths = [], []
    for _ in range(10):
        objects = [np.zeros((64, 96), bool) for _ in range(4)]
        for place, one in enumerate(objects):
            one[10:30, 4 + 23 * place : 20 + 23 * place] = True
        false = np.zeros((64, 96), bool)
        false[50, rng.integers(0, 90)] = True
        predictions.append([*objects, false])
        truths.append(objects)
    chosen, evidence = choose_postprocess(predictions, truths, groups_of(10, of=10), way="instances")
    assert chosen == Postprocess(min_area=chosen.min_area)
    assert 0 < chosen.min_area < 320 / (64 * 96)
    assert evidence.before == pytest.approx(2 * 4 / 9)
    assert evidence.after == 1
    assert evidence.images == evidence.groups == 10


def test_many_objects_are_drawn_by_image():
    mask = np.zeros((20, 20), bool)
    mask[2:6, 2:6] = True
    many = [[mask] * (MAX_OBJECTS // 4)] * 6
    evidence = choose_postprocess(many, [[mask]] * 6, groups_of(6, of=6), way="instances")[1]
    assert evidence.images == 4


def test_wrong_arguments_are_refused():
    (mask,) = discs(1)
    for arguments, way in (
        (([], [], []), "region"), (([mask], [mask, mask], ["a"]), "region"), (([mask], [mask], ["a"]), "clicks")
    ):  # fmt: skip
        with pytest.raises(InputError, match="one of click"):
            choose_postprocess(*arguments, way=way)
    with pytest.raises(InputError, match="one size"):
        choose_postprocess([mask] * 3, [mask[1:]] * 3, list("abc"))
