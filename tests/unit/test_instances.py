"""Automatic mode: batches equal single prompts, tiles cover the image and give each object once, figures are right."""

from __future__ import annotations

import numpy as np
import pytest

from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.augment import View
from samtailor.data.tile_views import OVERLAP, fitting, views
from samtailor.errors import InputError
from samtailor.evaluation import instances as ev
from samtailor.evaluation.counting import count_figures, count_text, counts_by_image
from samtailor.masks.average_precision import ImageResult, Instance, match
from samtailor.masks.nms import mask_nms
from samtailor.predict.instances import InstanceMask, predict_instances, predict_prompts
from samtailor.predict.predictor import Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.predict.source import AdapterSource
from samtailor.report.panels import instance_sheet, ranked
from samtailor.report.tables import instance_cells, instance_note
from samtailor.structures import Annotation, Sample
from tiny import disc_sample


def test_batches_equal_single_prompts(tiny_base):
    predictor = Predictor(tiny_base)
    predictor.set_sample(disc_sample(0))
    prompts = [ObjectPrompt(clicks=((10 + 3 * i, 20, 1),)) for i in range(3)]
    prompts += [ObjectPrompt(box=(5, 5, 30 + i, 40)) for i in range(2)]
    prompts += [ObjectPrompt(clicks=((40, 9, 1), (3, 3, 0)))]
    for prompt, mask, iou in predict_prompts(predictor, prompts, None):
        points, labels = [c[:2] for c in prompt.clicks] or None, [c[2] for c in prompt.clicks] or None
        masks, scores, _ = predictor.predict(points, labels, prompt.box)
        assert iou == pytest.approx(float(scores.max()), abs=1e-5)
        assert (mask != masks[scores.argmax()]).mean() < 0.01


@pytest.mark.parametrize("tiles", [2, 3])
def test_tiles_cover_the_image_and_contain_every_object_up_to_the_overlap(tiles):
    whole, *parts = views(tiles)
    assert whole.untouched
    assert len(parts) == tiles**2
    height, width = 97, 131
    side = 1 / (tiles - (tiles - 1) * OVERLAP)
    reach = int(OVERLAP * side * width) - 1
    edges = [part.edges(height, width) for part in parts]
    for x in range(width - reach):
        assert any(left <= x and x + reach <= right for _, _, left, right in edges)
    covered = np.zeros((height, width), bool)
    for top, bottom, left, right in edges:
        covered[top:bottom, left:right] = True
    assert covered.all()
    assert [view.untouched for view in views(1)] == [True]
    with pytest.raises(InputError, match="tiles per side"):
        views(0)


class FilledBoxes:
    """In place of a predictor: the mask of a box prompt is the box, with a predicted IoU of 1."""

    def __init__(self, monkeypatch) -> None:
        self.view = View()
        monkeypatch.setattr("samtailor.predict.instances._set_view", self._set_view)
        monkeypatch.setattr("samtailor.predict.instances.predict_prompts", self._predict)

    def _set_view(self, predictor, image, view, store, adapter):
        self.view = view
        return view.sample(image)

    def _predict(self, predictor, prompts, adapter, **_):
        for prompt in prompts:
            mask = np.zeros(self.size, bool)
            x0, y0, x1, y1 = (int(v) for v in prompt.box)
            mask[y0:y1, x0:x1] = True
            yield prompt, mask, 1.0

    def propose(self, predictor, sample):
        self.size = sample.size
        return [ObjectPrompt(box=one.box, label=one.label, score=0.5) for one in sample.of(None)]


def test_each_object_is_predicted_once_whether_tiles_cut_it_or_not(monkeypatch):
    boxes = [(2, 2, 10, 9), (52, 30, 70, 44), (44, 40, 57, 50), (90, 60, 119, 79), (10, 45, 110, 56)]
    annotations = []
    for x0, y0, x1, y1 in boxes:
        mask = np.zeros((80, 120), bool)
        mask[y0:y1, x0:x1] = True
        annotations.append(Annotation.from_mask("a", mask))
    sample = Sample("s", lambda: np.zeros((80, 120, 3), np.uint8), lambda: annotations)
    boxes_filled = FilledBoxes(monkeypatch)
    for tiles in (1, 2, 3):
        source = AdapterSource(None, boxes_filled.propose, tiles=tiles)
        instances = predict_instances(None, sample, source)
        assert sorted(one.box for one in instances) == sorted(boxes)
        assert all(one.prompt.box == one.box for one in instances)  # converted from the tile to the image


def instance(mask: np.ndarray, score: float, label: str = "a") -> InstanceMask:
    return InstanceMask(
        ObjectPrompt(box=(0, 0, 1, 1), label=label, score=score), Annotation.from_mask("", mask).rle, 0.8
    )


def test_the_prediction_with_the_highest_rank_stays():
    big, part, empty, other = (np.zeros((30, 30), bool) for _ in range(4))
    big[2:20, 2:20], part[4:9, 4:9], other[22:28, 22:28] = True, True, True
    instances = [instance(part, 0.6), instance(big, 0.9), instance(big, 0.5), instance(empty, 1.0)]
    kept = mask_nms([*instances, instance(other, 0.2)], rank=lambda one: one.rank)
    assert [one.score for one in kept] == [0.9, 0.2]
    assert len(mask_nms([instance(big, 0.9), instance(big, 0.5, "b")], rank=lambda one: one.rank)) == 2
    assert instance(big, 0.5).rank == pytest.approx(0.4)


def test_precision_counts_accepted_and_ap_counts_all_predictions():
    one, stray = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    one[2:9, 2:9], stray[12:15, 12:15] = True, True
    truth, other = Annotation.from_mask("a", one), Annotation.from_mask("a", stray)
    images = (
        ImageResult("p", (truth,), (Instance("a", truth.rle, 0.9, True), Instance("a", other.rle, 0.8, True)), "p"),
        ImageResult("q", (truth,), (Instance("a", truth.rle, 0.3, False),), "q"),
        ImageResult("r", (), (Instance("a", other.rle, 0.1, False),), "r"),
        ImageResult("s", (), (Instance("a", other.rle, 0.5, True),), "s"),
    )
    evaluation = ev.InstanceEvaluation(images, ("a", "b"))
    figures = evaluation.summary(draws=50)
    assert (figures["precision"], figures["recall"]) == (pytest.approx(1 / 3), 0.5)
    assert figures["false_positive_rate"] == 0.5
    assert (figures["objects"], figures["found"], figures["images"], figures["empty_images"]) == (2, 3, 4, 2)
    # ranked: right, wrong, wrong, right, wrong; precision 1 up to recall 0.5, 2/4 after
    assert figures["ap50"] == pytest.approx((51 + 50 * 0.5) / 101)
    assert figures["ap50_interval"][0] < figures["ap50"]
    assert (figures["count_error"], figures["count_bias"]) == (0.75, 0.25)  # +1, -1, 0 and +1 objects
    assert (figures["found_per_image"], figures["objects_per_image"]) == (0.75, 0.5)
    assert figures["count_error_interval"][0] < 0.75 < figures["count_error_interval"][1]
    assert evaluation.count_figures()["count_bias"] == figures["classes"]["a"]["count_bias"] == 0.25
    assert figures["classes"]["b"]["ap"] is None
    assert figures["classes"]["b"]["false_positive_rate"] == 0
    assert [name for name, *_ in ranked(evaluation, 5)] == ["1 of 2", "2 of 2"]
    head, rows = instance_cells({"it": figures})
    assert len(head) == len(rows[0])
    assert rows[0][-1] == "2 / 3 / 4 / 2"
    assert "without the limit" not in instance_note({"it": figures})
    samples = [Sample(p.id, lambda: np.zeros((20, 20, 3), np.uint8), lambda: ()) for p in images]
    assert len(instance_sheet(evaluation, samples)["cases"]) == 2


def test_counts_of_a_class_too_many_and_one_too_few_do_not_cancel():
    counts = np.array([[[3, 1], [0, 2]], [[1, 1], [1, 1]]])  # found and true: +2 and -2, then both right
    figures = count_figures(counts, ["p", "p"])
    assert (figures["count_error"], figures["count_bias"], figures["count_error_interval"]) == (2, 0, None)
    assert count_text(figures) == "2.0, bias +0.0"
    assert count_text(count_figures(counts[:0], [])) == "-"


def test_predictions_on_a_crowd_are_not_counted():
    mask = np.zeros((20, 20), bool)
    mask[2:9, 2:9] = True
    crowd, one = Annotation.from_mask("a", mask, crowd=True), Annotation.from_mask("a", mask[:, ::-1])
    found = (Instance("a", crowd.rle, 0.9), Instance("a", one.rle, 0.8))
    images = (ImageResult("p", (crowd, one), found), ImageResult("q", (one,), ()))
    matched = match(images, ["a"])
    assert counts_by_image(2, matched, ["a"]).tolist() == [[[1, 1]], [[0, 1]]]


def test_a_data_set_is_evaluated(tiny_sam, tmp_path):
    samples = [disc_sample(0), disc_sample(1)]
    predictor = Predictor(tiny_sam)

    def propose(predictor, sample):
        return [ObjectPrompt(box=one.box, label=one.label, score=0.5) for one in sample.of(None)]

    sources = {"it": AdapterSource(None, propose, threshold=lambda label: 0.6 if label == "disc" else 0.1)}
    store = EmbeddingCache(tmp_path)
    done = []
    (got,) = ev.evaluate_instances(
        predictor, sources, samples, ["disc"], store=store, progress=lambda *at: done.append(at)
    ).values()
    assert done == [(1, 2), (2, 2)]
    assert [len(p.truths) for p in got.images] == [1, 1]
    assert not any(one.accepted or one.label != "disc" for p in got.images for one in p.predictions)
    with pytest.raises(InputError, match="no object to find"):
        ev.evaluate_instances(predictor, sources, samples, ["nothing"])


def test_tiles_are_chosen_by_the_size_of_the_objects():
    def square(side: int) -> Sample:
        mask = np.zeros((100, 200), bool)
        mask[:side, : 2 * side] = True
        return Sample("s", lambda: None, lambda: [Annotation.from_mask("a", mask)])

    for side, wanted in ((12, 1), (7, 2), (3, 3), (1, 3)):  # of 64 cells: 7.7, 4.5 (7.6 in two tiles), 1.9, 0.6
        assert fitting([square(side)], ["a"], 64) == wanted
    assert fitting([square(2)], ["b"], 64) == 1


def test_learned_boxes_are_used_in_two_sizes(tiny_sam):
    from samtailor.predict.auto import by_proposals
    from samtailor.proposals import Proposed

    class Learned:
        give = "boxes"
        companions = ()

        def propose(self, features, frame, *, threshold):
            boxes, points = np.array([[10.0, 20, 30, 40], [0, 0, 20, 47]]), np.array([[20.0, 30], [9, 20]])
            return Proposed(boxes, points, np.array([0.9, 0.5]), ("a", "b"))

    predictor = Predictor(tiny_sam)
    predictor.set_sample(disc_sample(0))
    prompts = by_proposals(Learned())(predictor, None)
    assert [ask.box for ask in prompts] == [(10, 20, 30, 40), (5, 15, 35, 45), (0, 0, 20, 47), (0, 0, 25, 48)]
    assert [(ask.label, ask.score) for ask in prompts] == [("a", 0.9), ("a", 0.9), ("b", 0.5), ("b", 0.5)]
    assert len(by_proposals(Learned(), prompt_type="points")(predictor, None)) == 2
