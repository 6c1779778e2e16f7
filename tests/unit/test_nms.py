"""Non-maximum suppression of masks against a slow reference on pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from samtailor.masks.nms import box_nms, duplicates, mask_nms
from samtailor.masks.rle import encode


@dataclass(frozen=True)
class Prediction:
    label: str
    rle: dict[str, Any]
    score: float
    pixels: np.ndarray


def prediction(rows: slice, columns: slice, score: float, label: str = "a") -> Prediction:
    mask = np.zeros((20, 20), bool)
    mask[rows, columns] = True
    return Prediction(label, encode(mask), score, mask)


def kept_scores(predictions: list[Prediction], **options: Any) -> list[float]:
    return [one.score for one in mask_nms(predictions, rank=lambda one: one.score, **options)]


def test_the_mask_of_higher_rank_is_kept():
    low, high = prediction(slice(0, 10), slice(0, 10), 0.3), prediction(slice(0, 10), slice(0, 9), 0.8)
    assert kept_scores([low, high]) == [0.8]


def test_an_iou_equal_to_the_threshold_is_no_duplicate():
    half = [prediction(slice(0, 10), slice(0, 10), 0.9), prediction(slice(0, 10), slice(0, 5), 0.5)]
    assert kept_scores(half, iou=0.5, containment=None) == [0.9, 0.5]
    assert kept_scores(half, iou=0.49, containment=None) == [0.9]


def test_a_part_is_dropped_for_the_whole_but_not_the_whole_for_a_part():
    whole, part = prediction(slice(0, 20), slice(0, 20), 0.9), prediction(slice(2, 8), slice(2, 8), 0.5)
    assert kept_scores([whole, part]) == [0.9]
    assert kept_scores([whole, part], containment=None) == [0.9, 0.5]
    better_part = prediction(slice(2, 8), slice(2, 8), 0.95)
    assert kept_scores([whole, better_part]) == [0.95, 0.9]


def test_classes_are_compared_only_on_request():
    pair = [prediction(slice(0, 10), slice(0, 10), 0.9, "a"), prediction(slice(0, 10), slice(0, 10), 0.8, "b")]
    assert kept_scores(pair) == [0.9, 0.8]
    assert kept_scores(pair, per_class=False) == [0.9]


def test_empty_masks_are_dropped_and_equal_ranks_keep_their_order():
    empty = prediction(slice(0, 0), slice(0, 0), 1.0)
    first, second = prediction(slice(0, 5), slice(0, 5), 0.5, "b"), prediction(slice(8, 12), slice(8, 12), 0.5, "a")
    assert mask_nms([empty, first, second], rank=lambda one: one.score) == [first, second]
    assert mask_nms([], rank=lambda one: 0.0) == []


@pytest.mark.parametrize(("iou", "containment"), [(0.6, 0.8), (0.3, None), (0.8, 0.5)])
def test_random_masks_against_pixels(iou: float, containment: float | None):
    rng = np.random.default_rng(0)
    predictions = []
    for _ in range(60):
        (y0, y1), (x0, x1) = np.sort(rng.integers(0, 20, (2, 2)), axis=1)
        window, label = (slice(y0, y1 + 1), slice(x0, x1 + 1)), str(rng.choice(["a", "b"]))
        predictions.append(prediction(*window, float(rng.random()), label))
    expected: list[Prediction] = []
    for one in sorted(predictions, key=lambda one: -one.score):
        for other in (other for other in expected if other.label == one.label):
            shared, area = (one.pixels & other.pixels).sum(), one.pixels.sum()
            inside = containment is not None and area <= other.pixels.sum() and shared / area > containment
            if inside or shared / (one.pixels | other.pixels).sum() > iou:
                break
        else:
            expected.append(one)
    assert 5 < len(expected) < 50
    assert kept_scores(predictions, iou=iou, containment=containment) == [one.score for one in expected]


def test_a_mask_is_compared_with_objects_that_are_kept_in_any_case():
    whole, part = prediction(slice(0, 20), slice(0, 20), 0.9), prediction(slice(2, 8), slice(2, 8), 0.5)
    assert duplicates(part.rle, [whole.rle])
    assert not duplicates(whole.rle, [part.rle])
    assert not duplicates(whole.rle, [])


def test_boxes_of_several_classes_and_containment():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [2, 2, 5, 5], [8, 0, 18, 10]], np.float32)
    assert box_nms(boxes, iou=0.5) == [0, 2, 3]
    assert box_nms(boxes, iou=0.5, containment=0.7) == [0, 3]
    assert box_nms(boxes, ["a", "b", "b", "a"], iou=0.5, containment=0.7) == [0, 1, 3]
