"""Confusion between classes, per pixel and per object; annotations that stand out against out-of-fold answers."""

from __future__ import annotations

import numpy as np
import pytest

from samtailor.errors import InputError
from samtailor.evaluation.instances import InstanceEvaluation
from samtailor.evaluation.regions import confusion_of_regions
from samtailor.masks.average_precision import ImageResult, Instance
from samtailor.masks.confusion import BACKGROUND, NOTHING_FOUND, instance_confusion, region_confusion
from samtailor.masks.disagreement import Answer, disagreements, instance_answers, region_answers, sheet, worst
from samtailor.masks.rle import encode
from samtailor.report.panels import doubtful_sheet
from samtailor.report.tables import confusion_table
from samtailor.structures import Annotation, Sample


def block(left: int, width: int = 10, top: int = 5) -> np.ndarray:
    mask = np.zeros((40, 60), bool)
    mask[top : top + 10, left : left + width] = True
    return mask


def annotation(label: str, left: int, **options) -> Annotation:
    return Annotation.from_mask(label, block(left), **options)


def found(label: str, left: int, score: float = 0.9, width: int = 10, accepted: bool = True) -> Instance:
    return Instance(label, encode(block(left, width)), score, accepted)


def test_pixels_of_a_class_that_another_class_covers():
    hair, skin = block(0, 20), block(30, 20)
    answers = {"hair": block(0, 20), "skin": block(10, 30)}
    confusion = region_confusion([({"hair": hair, "skin": skin}, answers)], ["hair", "skin"], ["hair", "skin"])
    assert confusion.counts.tolist() == [[200, 100, 0], [0, 100, 100], [0, 100, 0]]
    assert confusion.confused() == [("hair", "skin", 0.5)]
    assert confusion.shares[-1, 1] == pytest.approx(100 / 300)
    head, rows = confusion.cells()
    assert head == ["", "hair", "skin", NOTHING_FOUND]
    assert rows[1] == ["skin", "0.0", "50.0", "50.0"]
    assert rows[2][0] == BACKGROUND
    assert len(confusion_table(confusion)["rows"]) == 3
    with pytest.raises(InputError, match="one size"):
        region_confusion([({"hair": hair}, {"hair": hair[1:]})], ["hair"], ["hair"])
    empty = region_confusion([], ["hair"], ["hair"])
    assert empty.cells()[1] == [["hair", "-", "-"], [BACKGROUND, "-", "-"]]


def test_objects_are_found_as_another_class_or_not_at_all():
    truths = (annotation("cat", 0), annotation("dog", 15), annotation("dog", 30), annotation("dog", 45, crowd=True))
    predictions = (
        found("dog", 1), found("dog", 15), found("cat", 15, 0.8, 9), found("cat", 45), found("cat", 30, 0.1, 10, False)
    )  # fmt: skip
    confusion = instance_confusion([ImageResult("p", truths, predictions)], ["cat", "dog"])
    # the cat is found as a dog, one dog as a dog, one not at all; a second answer lies on a dog, one on a crowd
    assert confusion.counts.tolist() == [[0, 1, 0], [0, 1, 1], [1, 0, 0]]
    assert confusion.confused() == [("cat", "dog", 1.0)]
    evaluation = InstanceEvaluation((ImageResult("p", truths, predictions),), ("cat", "dog"))
    assert evaluation.summary(draws=10)["confusion"]["counts"] == confusion.counts.tolist()
    single = InstanceEvaluation((ImageResult("p", truths, predictions),), ("cat",))
    assert "confusion" not in single.summary(draws=10)


def test_the_region_of_an_adapter_is_compared_with_all_classes():
    class Whole:
        def set_sample(self, sample):
            self.size = sample.size

        def predict(self, adapter):
            masks = np.stack([np.zeros(self.size, bool), np.ones(self.size, bool)])
            return masks, np.array([0.1, 0.9]), None

    objects = (annotation("cat", 0), annotation("dog", 15), annotation("dog", 30))
    sample = Sample("p", lambda: np.zeros((40, 60, 3), np.uint8), lambda: objects)
    confusion = confusion_of_regions(Whole(), {"cat": "a"}, [sample])
    assert confusion.counts.tolist() == [[100, 0], [200, 0], [40 * 60 - 300, 0]]
    assert confusion.confused() == [("dog", "cat", 1.0)]
    cats = Sample("q", lambda: None, lambda: (annotation("cat", 0),))
    assert confusion_of_regions(Whole(), {"cat": "a"}, [cats]) is None


def results(count: int = 12) -> list[ImageResult]:
    """Images with a cat and a dog each that are found, and three exceptions in the last image."""
    images = [
        ImageResult(f"p{i:02d}", (annotation("cat", 0), annotation("dog", 15)), (found("cat", 0), found("dog", 15)))
        for i in range(count)
    ]
    wrong = (annotation("cat", 0), annotation("cat", 15), annotation("dog", 45))
    images.append(ImageResult("wrong", wrong, (found("cat", 0), found("dog", 15), found("dog", 30))))
    return images


def test_annotations_that_stand_out_are_named():
    answers = instance_answers(results(), ["cat", "dog"])
    listed = disagreements(answers)
    assert {(one.kind, one.answer.label) for one in listed} == {
        ("class", "cat"), ("missed", "dog"), ("unannotated", "dog")
    }  # fmt: skip
    assert {one.answer.id for one in listed} == {"wrong"}
    assert all(one.reason.endswith(".") for one in listed)
    assert worst(answers, 1) == [("wrong", pytest.approx(0.5))]
    assert len(disagreements(answers, count=1)) == 1


def test_a_poor_model_accuses_no_annotation():
    rng = np.random.default_rng(0)
    rle = encode(block(0))
    poor = [Answer(f"p{i}", "cat", float(score), rle, rle, "cat", 0.95) for i, score in enumerate(rng.random(40))]
    stray = [Answer("q", "cat", 0.0, None, rle, "cat", 0.95)] * 20
    assert disagreements([*poor, *stray]) == []
    few = [Answer(f"p{i}", "cat", 0.95, rle, rle, "cat", 0.9) for i in range(5)]
    assert disagreements([*few, Answer("q", "cat", 0.0, rle)]) == []
    many = [Answer(f"p{i}", "cat", 0.95, rle, rle, "cat", 0.9) for i in range(9)]
    (one,) = disagreements([*many, Answer("q", "cat", 0.1, rle, rle, "cat", 0.9)])
    assert (one.kind, one.answer.id) == ("outline", "q")


def test_a_region_without_an_answer_stands_out():
    right, empty = block(0), np.zeros((40, 60), bool)
    masks = [right] * 9 + [empty, empty]
    truths = [right] * 10 + [empty]
    answers = region_answers([f"p{i:02d}" for i in range(11)], "cat", truths, masks)
    assert len(answers) == 10
    (one,) = disagreements(answers)
    assert (one.answer.id, one.kind) == ("p09", "missed")


def test_a_sheet_shows_each_place():
    listed = disagreements(instance_answers(results(), ["cat", "dog"]))
    samples = [Sample("wrong", lambda: np.full((40, 60, 3), 90, np.uint8), lambda: ())]
    drawn = sheet(listed, samples, side=80, columns=2)
    assert drawn.shape == (2 * 86, 2 * 86, 3)
    assert drawn.dtype == np.uint8
    section = doubtful_sheet(listed, samples)
    assert [row["rank"] for row in section["cases"]] == [one.kind for one in listed]
    assert doubtful_sheet([], samples) is None
