"""Mask AP against pycocotools' own averaging; intervals against the data set written out; crowds and limits."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from samtailor.errors import InputError
from samtailor.masks import average_precision as ap
from samtailor.masks.average_precision import Answered, Instance
from samtailor.structures import Annotation

CLASSES = ("a", "b", "c")


def rectangle(x: int, y: int, width: int, height: int) -> np.ndarray:
    mask = np.zeros((40, 60), bool)
    mask[y : y + height, x : x + width] = True
    return mask


def images(seed: int = 0, count: int = 12) -> list[Answered]:
    """Objects of two classes (c has none), answers that hit, miss, double and lie on crowds; ties among the scores."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        truths, found = [], []
        for label in ("a", "b")[: 1 + i % 2]:
            for _ in range(rng.integers(0, 4)):
                x, y, w, h = (int(v) for v in (*rng.integers(0, 25, 2), *rng.integers(6, 15, 2)))
                truths.append(Annotation.from_mask(label, rectangle(x, y, w, h), crowd=bool(rng.random() < 0.2)))
                for _ in range(rng.integers(0, 3)):
                    dx, dy = (int(v) for v in rng.integers(0, 4, 2))
                    mask = Annotation.from_mask(label, rectangle(x + dx, y + dy, w, h))
                    found.append(Instance(label, mask.rle, round(float(rng.random()), 1)))
            stray = Annotation.from_mask(label, rectangle(*(int(v) for v in rng.integers(0, 30, 2)), 5, 5))
            found.append(Instance(label, stray.rle, round(float(rng.random()), 1)))
        made.append(Answered(f"p{i}", tuple(truths), tuple(found), f"g{i // 2}"))
    return made


def by_pycocotools(seen: list[Answered], classes: tuple[str, ...], most: int) -> COCOeval:
    """COCOeval from evaluate to accumulate, all of it the vendor's."""
    with contextlib.redirect_stdout(io.StringIO()):
        sets = []
        for part in ("truths", "found"):
            one = COCO()
            rows = []
            for number, image in enumerate(seen, 1):
                for item in getattr(image, part):
                    row = {"id": len(rows) + 1, "image_id": number, "category_id": CLASSES.index(item.label) + 1}
                    row |= {"segmentation": item.rle, "area": item.area, "iscrowd": int(getattr(item, "crowd", False))}
                    rows.append(row | {"score": getattr(item, "score", 1.0)})
            images = [{"id": number, "height": 40, "width": 60} for number in range(1, len(seen) + 1)]
            kinds = [{"id": i, "name": n} for i, n in enumerate(CLASSES, 1) if n in classes]
            one.dataset = {"images": images, "annotations": rows, "categories": kinds}
            one.createIndex()
            sets.append(one)
        judge = COCOeval(*sets, "segm")
        judge.params.maxDets = [most]
        judge.evaluate()
        judge.accumulate()
    return judge


@pytest.mark.parametrize("most", [100, 2])
def test_the_figures_are_those_of_pycocotools(most):
    seen = images()
    found = ap.mean_precision(ap.match(seen, CLASSES, most))
    table = by_pycocotools(seen, CLASSES, most).eval["precision"][..., 0, -1]  # thresholds, recalls, classes
    table = table[..., (table > -1).all(axis=(0, 1))]
    assert table.shape[-1] == 2  # c has no object and counts for nothing
    wanted = {"ap": table.mean(), "ap50": table[0].mean(), "ap75": table[5].mean()}
    assert found == pytest.approx(wanted, abs=1e-12)
    assert 0.03 < found["ap"] < found["ap50"] < 0.95


def test_an_image_drawn_twice_is_an_image_that_is_there_twice():
    seen = images()
    weights = np.array([2, 0, 1, 3, 1, 0, 1, 1, 2, 0, 1, 1])
    # scores that differ: of equal ones the order among copies would be another
    seen = [
        Answered(p.id, p.truths, tuple(Instance(f.label, f.rle, f.score + 1e-3 * i + 1e-4 * k) for k, f in
                 enumerate(p.found)))
        for i, p in enumerate(seen)
    ]  # fmt: skip
    written_out = [p for p, count in zip(seen, weights, strict=True) for _ in range(count)]
    drawn = ap.mean_precision(ap.match(seen, CLASSES), weights.astype(float))
    assert drawn == pytest.approx(ap.mean_precision(ap.match(written_out, CLASSES)), abs=1e-12)
    assert drawn != pytest.approx(ap.mean_precision(ap.match(seen, CLASSES)), abs=1e-3)


def test_the_interval_draws_groups():
    seen = images(count=30)
    matched = ap.match(seen, CLASSES)
    groups = [p.group for p in seen]
    found = ap.with_intervals(matched, groups, draws=200)
    low, high = found["ap50_interval"]
    assert low < found["ap50"] < high
    assert ap.with_intervals(matched, groups, draws=200) == found
    assert ap.with_intervals(matched, ["one"] * len(seen), draws=10)["ap_interval"] is None
    wide = ap.with_intervals(matched, [i // 10 for i in range(30)], draws=200)["ap50_interval"]
    assert wide != [low, high]


def test_perfect_answers_are_worth_one_and_strange_classes_nothing():
    truth = Annotation.from_mask("a", rectangle(2, 2, 9, 9))
    right, other = Instance("a", truth.rle, 0.4), Instance("z", truth.rle, 0.9)
    seen = [Answered("p", (truth,), (right, other)), Answered("q", (), ())]
    assert ap.mean_precision(ap.match(seen, ("a",))) == pytest.approx({"ap": 1.0, "ap50": 1.0, "ap75": 1.0})
    assert ap.mean_precision(ap.match([Answered("q", (), (right,))], ("a",)))["ap"] is None
    nothing = ap.mean_precision(ap.match([Answered("p", (truth,), ())], ("a",)))
    assert nothing == {"ap": 0.0, "ap50": 0.0, "ap75": 0.0}
    with pytest.raises(InputError, match="needs an image"):
        ap.match([], ("a",))


def test_nothing_is_printed(capsys):
    ap.match(images(), CLASSES)
    assert capsys.readouterr().out == ""
