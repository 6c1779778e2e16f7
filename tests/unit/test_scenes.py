"""Procedural scenes: the same seed gives the same scene with consistent masks, labels and parents."""

import numpy as np
import pytest

from samtailor.data.synth.scenes import SMALLEST, scene

SEEDS = range(12)


@pytest.fixture(scope="module")
def scenes():
    return [scene(seed) for seed in SEEDS]


def test_a_seed_determines_the_scene(scenes):
    for seed, first in zip(SEEDS, scenes, strict=True):
        again = scene(seed)
        assert np.array_equal(first.image, again.image)
        assert (first.labels, first.parents) == (again.labels, again.parents)
        assert all(np.array_equal(a, b) for a, b in zip(first.masks, again.masks, strict=True))


def test_seeds_differ(scenes):
    assert len({s.image.tobytes() for s in scenes}) == len(scenes)


@pytest.mark.parametrize("size", [64, 200, 256])
def test_shapes_and_types(size):
    drawn = scene(3, size=size)
    assert (drawn.image.shape, drawn.image.dtype) == ((size, size, 3), np.uint8)
    assert len(drawn.masks) == len(drawn.labels) == len(drawn.parents) > 0
    assert all(m.shape == (size, size) and m.dtype == bool for m in drawn.masks)


def test_parts_lie_in_their_object_and_are_smaller(scenes):
    parts = [(s, i) for s in scenes for i, parent in enumerate(s.parents) if parent >= 0]
    assert parts, "none of the test's seeds has a part"
    for s, i in parts:
        whole = s.masks[s.parents[i]]
        assert s.parents[s.parents[i]] == -1
        assert not (s.masks[i] & ~whole).any()
        assert s.masks[i].sum() < whole.sum()


def test_masks_of_objects_do_not_overlap(scenes):
    for s in scenes:
        objects = [m for m, parent in zip(s.masks, s.parents, strict=True) if parent < 0]
        assert np.sum(objects, axis=0).max() <= 1


def test_tiny_masks_are_left_out(scenes):
    assert min(m.sum() for s in scenes for m in s.masks) >= SMALLEST * 256**2


def test_most_scenes_have_objects():
    assert np.mean([bool(scene(seed, size=96).masks) for seed in range(40)]) > 0.95
