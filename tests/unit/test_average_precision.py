"""Mask AP against pycocotools' own averaging; intervals against resampled data sets; crowds and limits."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from samtailor.errors import InputError
from samtailor.masks import average_precision as ap
from samtailor.masks.average_precision import ImageResult, Instance
from samtailor.structures import Annotation

CLASSES = ("a", "b", "c")


def rectangle(x: int, y: int, width: int, height: int) -> np.ndarray:
    mask = np.zeros((40, 60), bool)
    mask[y : y + height, x : x + width] = True
    return mask


def images(seed: int = 0, count: int = 12) -> list[ImageResult]:
    """Objects of two classes (none of c) with correct, wrong, duplicate and crowd predictions; some equal scores."""
    rng = np.random.default_rng(seed)
    results = []
    for i in range(count):
        truths, predictions = [], []
        for label in ("a", "b")[: 1 + i % 2]:
            for _ in range(rng.integers(0, 4)):
                x, y, w, h = (int(v) for v in (*rng.integers(0, 25, 2), *rng.integers(6, 15, 2)))
                truths.append(Annotation.from_mask(label, rectangle(x, y, w, h), crowd=bool(rng.random() < 0.2)))
                for _ in range(rng.integers(0, 3)):
                    dx, dy = (int(v) for v in rng.integers(0, 4, 2))
                    mask = Annotation.from_mask(label, rectangle(x + dx, y + dy, w, h))
                    predictions.append(Instance(label, mask.rle, round(float(rng.random()), 1)))
            stray = Annotation.from_mask(label, rectangle(*(int(v) for v in rng.integers(0, 30, 2)), 5, 5))
            predictions.append(Instance(label, stray.rle, round(float(rng.random()), 1)))
        results.append(ImageResult(f"p{i}", tuple(truths), tuple(predictions), f"g{i // 2}"))
    return results


def by_pycocotools(results: list[ImageResult], classes: tuple[str, ...], max_detections: int) -> COCOeval:
    """COCOeval from evaluate to accumulate, pycocotools' own code throughout."""
    with contextlib.redirect_stdout(io.StringIO()):
        sets = []
        for part in ("truths", "predictions"):
            one = COCO()
            rows = []
            for number, image in enumerate(results, 1):
                for item in getattr(image, part):
                    row = {"id": len(rows) + 1, "image_id": number, "category_id": CLASSES.index(item.label) + 1}
                    row |= {"segmentation": item.rle, "area": item.area, "iscrowd": int(getattr(item, "crowd", False))}
                    rows.append(row | {"score": getattr(item, "score", 1.0)})
            images = [{"id": number, "height": 40, "width": 60} for number in range(1, len(results) + 1)]
            kinds = [{"id": i, "name": n} for i, n in enumerate(CLASSES, 1) if n in classes]
            one.dataset = {"images": images, "annotations": rows, "categories": kinds}
            one.createIndex()
            sets.append(one)
        evaluator = COCOeval(*sets, "segm")
        evaluator.params.maxDets = [max_detections]
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator


@pytest.mark.parametrize("max_detections", [100, 2])
def test_metrics_equal_those_of_pycocotools(max_detections):
    results = images()
    metrics = ap.mean_precision(ap.match(results, CLASSES, max_detections))
    table = by_pycocotools(results, CLASSES, max_detections).eval["precision"][..., 0, -1]  # IoU, recall, class
    table = table[..., (table > -1).all(axis=(0, 1))]
    assert table.shape[-1] == 2  # c has no object and is left out
    wanted = {"ap": table.mean(), "ap50": table[0].mean(), "ap75": table[5].mean()}
    assert metrics == pytest.approx(wanted, abs=1e-12)
    assert 0.03 < metrics["ap"] < metrics["ap50"] < 0.95


def test_a_weight_of_two_equals_an_image_listed_twice():
    results = images()
    weights = np.array([2, 0, 1, 3, 1, 0, 1, 1, 2, 0, 1, 1])
    # distinct scores: copies of an image would break ties in another order
    results = [
        ImageResult(p.id, p.truths, tuple(Instance(f.label, f.rle, f.score + 1e-3 * i + 1e-4 * k) for k, f in
                 enumerate(p.predictions)))
        for i, p in enumerate(results)
    ]  # fmt: skip
    repeated = [p for p, count in zip(results, weights, strict=True) for _ in range(count)]
    weighted = ap.mean_precision(ap.match(results, CLASSES), weights.astype(float))
    assert weighted == pytest.approx(ap.mean_precision(ap.match(repeated, CLASSES)), abs=1e-12)
    assert weighted != pytest.approx(ap.mean_precision(ap.match(results, CLASSES)), abs=1e-3)


def test_intervals_resample_groups():
    results = images(count=30)
    matched = ap.match(results, CLASSES)
    groups = [p.group for p in results]
    metrics = ap.with_intervals(matched, groups, draws=200)
    low, high = metrics["ap50_interval"]
    assert low < metrics["ap50"] < high
    assert ap.with_intervals(matched, groups, draws=200) == metrics
    assert ap.with_intervals(matched, ["one"] * len(results), draws=10)["ap_interval"] is None
    occurrences = np.random.default_rng(0).multinomial(15, [1 / 15] * 15, size=200)
    by_hand = [ap.mean_precision(matched, np.repeat(counts, 2).astype(float))["ap50"] for counts in occurrences]
    assert (low, high) == pytest.approx(np.percentile(by_hand, [2.5, 97.5]), abs=1e-12)
    wide = ap.with_intervals(matched, [i // 10 for i in range(30)], draws=200)["ap50_interval"]
    assert wide != [low, high]


def test_perfect_predictions_score_one_and_other_classes_are_ignored():
    truth = Annotation.from_mask("a", rectangle(2, 2, 9, 9))
    right, other = Instance("a", truth.rle, 0.4), Instance("z", truth.rle, 0.9)
    results = [ImageResult("p", (truth,), (right, other)), ImageResult("q", (), ())]
    assert ap.mean_precision(ap.match(results, ("a",))) == pytest.approx({"ap": 1.0, "ap50": 1.0, "ap75": 1.0})
    assert ap.mean_precision(ap.match([ImageResult("q", (), (right,))], ("a",)))["ap"] is None
    nothing = ap.mean_precision(ap.match([ImageResult("p", (truth,), ())], ("a",)))
    assert nothing == {"ap": 0.0, "ap50": 0.0, "ap75": 0.0}
    with pytest.raises(InputError, match="at least one image"):
        ap.match([], ("a",))


def test_nothing_is_printed(capsys):
    ap.match(images(), CLASSES)
    assert capsys.readouterr().out == ""
