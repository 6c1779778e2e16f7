"""Polygons of masks: filled polygons restore the mask, and budgets are kept."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from samtailor.errors import InputError
from samtailor.masks import polygons as outlines
from samtailor.masks.metrics import iou
from samtailor.masks.polygons import outlines as rings
from samtailor.masks.polygons import polygon, polygons
from samtailor.masks.rle import from_polygons as draw


def drawn(parts, shape):
    return coco.decode(draw([part.ravel().tolist() for part in parts], shape)).astype(bool)


def blobs(seed, holes=True):
    rng = np.random.default_rng(seed)
    mask = np.zeros((120, 160), np.uint8)
    for _ in range(3):
        center = int(rng.integers(30, 130)), int(rng.integers(30, 90))
        axes = int(rng.integers(8, 30)), int(rng.integers(8, 25))
        cv2.ellipse(mask, center, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    for _ in range(2 * holes):
        cv2.circle(mask, (int(rng.integers(30, 130)), int(rng.integers(30, 90))), int(rng.integers(3, 7)), 0, -1)
    return mask.astype(bool)


def test_a_rectangle_has_four_exact_corners():
    mask = np.zeros((20, 30), bool)
    mask[4:9, 6:17] = True
    (part,) = polygons(mask)
    assert sorted(map(tuple, part.tolist())) == [(6, 4), (6, 9), (17, 4), (17, 9)]
    assert np.array_equal(drawn([part], mask.shape), mask)


def test_parts_and_holes_are_restored():
    for seed in range(8):
        mask = blobs(seed)
        assert iou(drawn(polygons(mask), mask.shape), mask) > 0.97
        assert iou(drawn([polygon(mask)], mask.shape), mask) > 0.97  # cuts of no width between parts


def test_a_frame_with_a_hole_is_exact():
    mask = np.ones((12, 14), bool)
    mask[4:7, 5:9] = False
    (part,) = polygons(mask)
    assert len(part) == 10  # two rectangles and the way there and back
    assert np.array_equal(drawn([part], mask.shape), mask)


def test_parts_are_sorted_by_falling_area():
    mask = np.zeros((30, 40), bool)
    areas = {}
    for x, y, side in ((1, 1, 3), (10, 1, 9), (25, 2, 5), (2, 20, 7)):
        mask[y : y + side, x : x + side] = True
        areas[side * side] = (x, y)
    expected = [areas[area] for area in sorted(areas, reverse=True)]
    assert [tuple(ring.min(axis=0)) for ring in polygons(mask)] == expected
    assert [tuple(ring.min(axis=0)) for ring in polygons(mask, 16)] == expected
    assert [tuple(outer.min(axis=0)) for outer, _ in rings(mask, 0)] == expected
    assert tuple(polygon(mask)[0]) == expected[0]


@pytest.mark.parametrize("budget", [3, 4, 7, 12, 30, 60])
def test_the_budget_holds_and_more_vertices_are_better(budget):
    masks = [blobs(seed) for seed in range(5)]
    for mask in masks:
        assert 3 <= sum(map(len, polygons(mask, budget))) <= budget
        assert 3 <= len(polygon(mask, budget)) <= budget
    single, double = (np.mean([iou(drawn(polygons(m, n), m.shape), m) for m in masks]) for n in (budget, 2 * budget))
    assert single <= double + 0.01
    assert single > {3: 0.2, 4: 0.3, 7: 0.4, 12: 0.6, 30: 0.9, 60: 0.95}[budget]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("budget", [3, 9, 24, 70])
def test_only_as_many_rings_are_dropped_as_necessary(seed, budget):
    """Compared with dropping the smallest ring one by one, holes before their part."""
    ragged = cv2.blur(np.random.default_rng(seed).random((40, 50)).astype(np.float32), (5, 5)) > 0.5
    parts = outlines._rings(ragged)
    assert sum(map(len, parts)) > 8

    def one_by_one(parts):
        while sum(map(len, parts)) > 1 and not outlines._fits(parts, budget, False):
            rings = [(outlines._area(ring), p, r) for p, part in enumerate(parts) for r, ring in enumerate(part)]
            _, p, r = min(row for row in rings if row[2] > 0 or len(parts[row[1]]) == 1)
            parts = [[ring for j, ring in enumerate(part) if (i, j) != (p, r)] for i, part in enumerate(parts)]
            parts = [part for part in parts if part]
        return parts

    left = one_by_one(parts)
    kept = outlines._within(parts, budget, joined=False)
    assert [len(part) for part in outlines._simple(left, outlines._coarsest(left))] == [len(part) for part in kept]
    assert sum(len(path) for path in polygons(ragged, budget)) <= budget


def test_rings_are_squared_together_as_separately():
    contours, _ = cv2.findContours(blobs(3).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    assert len(contours) > 2
    for ring, alone in zip(outlines._square(contours), contours, strict=True):
        (one,) = outlines._square([alone])
        assert ring.dtype == np.float32
        assert np.array_equal(ring, one)
        assert len(one) > len(alone)  # there is a corner to square


def test_single_pixels_empty_masks_and_invalid_budgets():
    mask = np.zeros((9, 9), bool)
    assert polygons(mask) == []
    assert polygon(mask) is None
    mask[3, 5] = True
    assert np.array_equal(drawn(polygons(mask), mask.shape), mask)
    mask[4, 6] = True  # touches at a corner: still one part
    assert len(polygons(mask)) == 1
    with pytest.raises(InputError, match="3 vertices"):
        polygons(mask, 2)
