"""Automatic instances: answered in passes as one by one, tiles cover and give each object once, figures as counted."""

from __future__ import annotations

import numpy as np
import pytest

from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.augment import View
from samtailor.data.tile_views import OVERLAP, fitting, views
from samtailor.errors import InputError
from samtailor.evaluation import instances as ev
from samtailor.masks.average_precision import ImageResult, Instance
from samtailor.predict.instances import InstanceMask, answer_asks, mask_nms, objects
from samtailor.predict.predictor import Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.report.instance_tables import cells, instance_sheet, note, ranked
from samtailor.structures import Annotation, Sample
from tiny import disc_sample


def test_prompts_answered_together_are_answered_as_one_by_one(tiny_base):
    predictor = Predictor(tiny_base)
    predictor.set_sample(disc_sample(0))
    asks = [ObjectPrompt(clicks=((10 + 3 * i, 20, 1),)) for i in range(3)]
    asks += [ObjectPrompt(box=(5, 5, 30 + i, 40)) for i in range(2)] + [ObjectPrompt(clicks=((40, 9, 1), (3, 3, 0)))]
    for ask, mask, iou in answer_asks(predictor, asks, None):
        points, labels = [c[:2] for c in ask.clicks] or None, [c[2] for c in ask.clicks] or None
        masks, scores, _ = predictor.predict(points, labels, ask.box)
        assert iou == pytest.approx(float(scores.max()), abs=1e-5)
        assert (mask != masks[scores.argmax()]).mean() < 0.01


@pytest.mark.parametrize("tiles", [2, 3])
def test_tiles_cover_the_image_and_hold_whole_whatever_is_no_longer_than_the_overlap(tiles):
    whole, *parts = views(tiles)
    assert whole.untouched
    assert len(parts) == tiles**2
    height, width = 97, 131
    side = 1 / (tiles - (tiles - 1) * OVERLAP)
    reach = int(OVERLAP * side * width) - 1
    edges = [part.edges(height, width) for part in parts]
    for x in range(width - reach):
        assert any(left <= x and x + reach <= right for _, _, left, right in edges)
    seen = np.zeros((height, width), bool)
    for top, bottom, left, right in edges:
        seen[top:bottom, left:right] = True
    assert seen.all()
    assert [view.untouched for view in views(1)] == [True]
    with pytest.raises(InputError, match="tiles per side"):
        views(0)


class Drawn:
    """Stands for a predictor: the answer to a box is that box, filled; predicted IoU 1."""

    def __init__(self, monkeypatch) -> None:
        self.view = View()
        monkeypatch.setattr("samtailor.predict.instances._set", self._set)
        monkeypatch.setattr("samtailor.predict.instances.answer_asks", self._answer)

    def _set(self, predictor, image, view, store):
        self.view = view
        return view.sample(image)

    def _answer(self, predictor, asks, adapter):
        for ask in asks:
            mask = np.zeros(self.size, bool)
            x0, y0, x1, y1 = (int(v) for v in ask.box)
            mask[y0:y1, x0:x1] = True
            yield ask, mask, 1.0

    def propose(self, predictor, seen):
        self.size = seen.size
        return [ObjectPrompt(box=one.box, label=one.label, score=0.5) for one in seen.of(None)]


def test_each_object_is_found_once_in_its_own_place_whether_tiles_cut_it_or_not(monkeypatch):
    boxes = [(2, 2, 10, 9), (52, 30, 70, 44), (44, 40, 57, 50), (90, 60, 119, 79), (10, 45, 110, 56)]
    annotations = []
    for x0, y0, x1, y1 in boxes:
        mask = np.zeros((80, 120), bool)
        mask[y0:y1, x0:x1] = True
        annotations.append(Annotation.from_mask("a", mask))
    sample = Sample("s", lambda: np.zeros((80, 120, 3), np.uint8), lambda: annotations)
    drawn = Drawn(monkeypatch)
    for tiles in (1, 2, 3):
        found = objects(None, sample, drawn.propose, None, tiles=tiles)
        assert sorted(one.box for one in found) == sorted(boxes)
        assert all(one.ask.box == one.box for one in found)  # asked in the tile, told in the image


def found(mask: np.ndarray, score: float, label: str = "a") -> InstanceMask:
    return InstanceMask(
        ObjectPrompt(box=(0, 0, 1, 1), label=label, score=score), Annotation.from_mask("", mask).rle, 0.8
    )


def test_of_one_object_the_likeliest_answer_stays():
    big, part, empty, other = (np.zeros((30, 30), bool) for _ in range(4))
    big[2:20, 2:20], part[4:9, 4:9], other[22:28, 22:28] = True, True, True
    answers = [found(part, 0.6), found(big, 0.9), found(big, 0.5), found(empty, 1.0), found(other, 0.2)]
    assert [one.score for one in mask_nms(answers)] == [0.9, 0.2]
    assert len(mask_nms([found(big, 0.9), found(big, 0.5, "b")])) == 2
    assert found(big, 0.5).rank == pytest.approx(0.4)


def test_figures_of_what_is_given_and_of_what_is_ranked():
    one, stray = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    one[2:9, 2:9], stray[12:15, 12:15] = True, True
    truth, other = Annotation.from_mask("a", one), Annotation.from_mask("a", stray)
    seen = (
        ImageResult("p", (truth,), (Instance("a", truth.rle, 0.9, True), Instance("a", other.rle, 0.8, True)), "p"),
        ImageResult("q", (truth,), (Instance("a", truth.rle, 0.3, False),), "q"),
        ImageResult("r", (), (Instance("a", other.rle, 0.1, False),), "r"),
        ImageResult("s", (), (Instance("a", other.rle, 0.5, True),), "s"),
    )
    evaluation = ev.InstanceEvaluation(seen, ("a", "b"))
    figures = evaluation.summary(draws=50)
    assert (figures["precision"], figures["recall"]) == (pytest.approx(1 / 3), 0.5)
    assert figures["false_positive_rate"] == 0.5
    assert (figures["objects"], figures["found"], figures["images"], figures["empty_images"]) == (2, 3, 4, 2)
    # ranked: right, wrong, wrong, right, wrong; precision 1 up to recall 0.5, 2/4 after
    assert figures["ap50"] == pytest.approx((51 + 50 * 0.5) / 101)
    assert figures["ap50_interval"][0] < figures["ap50"]
    assert figures["classes"]["b"]["ap"] is None
    assert figures["classes"]["b"]["false_positive_rate"] == 0
    assert [name for name, *_ in ranked(evaluation, 5)] == ["1 of 2", "2 of 2"]
    head, rows = cells({"it": figures})
    assert len(head) == len(rows[0])
    assert rows[0][-1] == "2 / 3 / 4 / 2"
    assert "without that limit" not in note({"it": figures})
    samples = [Sample(p.id, lambda: np.zeros((20, 20, 3), np.uint8), lambda: ()) for p in seen]
    assert len(instance_sheet(evaluation, samples)["cases"]) == 2


def test_a_data_set_is_looked_through(tiny_sam, tmp_path):
    samples = [disc_sample(0), disc_sample(1)]
    predictor = Predictor(tiny_sam)

    def propose(predictor, seen):
        return [ObjectPrompt(box=one.box, label=one.label, score=0.5) for one in seen.of(None)]

    asked = {"it": ev.Asked(None, propose, lambda label: 0.6 if label == "disc" else 0.1)}
    store = EmbeddingCache(tmp_path)
    done = []
    (got,) = ev.evaluate_instances(
        predictor, asked, samples, ["disc"], store=store, progress=lambda *at: done.append(at)
    ).values()
    assert done == [(1, 2), (2, 2)]
    assert [len(p.truths) for p in got.images] == [1, 1]
    assert not any(one.accepted or one.label != "disc" for p in got.images for one in p.predictions)
    with pytest.raises(InputError, match="no object to find"):
        ev.evaluate_instances(predictor, asked, samples, ["nothing"])


def test_tiles_are_chosen_by_the_size_of_the_objects():
    def square(side: int) -> Sample:
        mask = np.zeros((100, 200), bool)
        mask[:side, : 2 * side] = True
        return Sample("s", lambda: None, lambda: [Annotation.from_mask("a", mask)])

    for side, wanted in ((10, 1), (5, 2), (2, 3), (1, 3)):  # of 64 cells: 6.4, 3.2 (5.4 in two tiles), 1.3, 0.6
        assert fitting([square(side)], ["a"], 64) == wanted
    assert fitting([square(2)], ["b"], 64) == 1


def test_learnt_boxes_are_asked_for_in_two_sizes(tiny_sam):
    from samtailor.predict.auto import GROWN, by_proposals
    from samtailor.proposals import Proposed

    class Learnt:
        give = "boxes"

        def propose(self, features, frame, *, threshold):
            boxes, points = np.array([[10.0, 20, 30, 40], [0, 0, 20, 47]]), np.array([[20.0, 30], [9, 20]])
            return Proposed(boxes, points, np.array([0.9, 0.5]), ("a", "b"))

    predictor = Predictor(tiny_sam)
    predictor.set_sample(disc_sample(0))
    asks = by_proposals(Learnt(), sizes=GROWN)(predictor, None)
    assert [ask.box for ask in asks] == [(10, 20, 30, 40), (5, 15, 35, 45), (0, 0, 20, 47), (0, 0, 25, 48)]
    assert [(ask.label, ask.score) for ask in asks] == [("a", 0.9), ("a", 0.9), ("b", 0.5), ("b", 0.5)]
    assert len(by_proposals(Learnt(), give="points", sizes=GROWN)(predictor, None)) == 2
