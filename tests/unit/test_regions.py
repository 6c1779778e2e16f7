"""Merging the objects of a class into one region per image."""

from __future__ import annotations

import numpy as np

from samtailor.data.regions import regions
from samtailor.structures import Annotation, Sample


def _sample() -> Sample:
    masks = np.zeros((4, 6, 8), bool)
    masks[0, :2, :2] = masks[1, 4:, 6:] = masks[2, 2, 2] = masks[3, 0, 7] = True
    labels = ["cell", "cell", "dish", "cell"]
    annotations = [
        Annotation.from_mask(name, mask, crowd=i == 3) for i, (name, mask) in enumerate(zip(labels, masks, strict=True))
    ]
    annotations.append(Annotation.from_mask("none", np.zeros((6, 8), bool)))
    return Sample("a", lambda: np.zeros((6, 8, 3), np.uint8), lambda: annotations, group="g")


def test_one_region_per_class_contains_all_objects_and_crowds():
    (joined,) = regions([_sample()])
    assert [a.label for a in joined.annotations] == ["cell", "dish"]
    cell = joined.annotations[0]
    assert cell.area == 4 + 4 + 1
    assert not cell.crowd
    assert (joined.id, joined.group) == ("a", "g")


def test_only_requested_classes_are_kept():
    (joined,) = regions([_sample()], ["dish"])
    assert [a.label for a in joined.annotations] == ["dish"]
    (none,) = regions([_sample()], ["other"])
    assert none.annotations == ()
