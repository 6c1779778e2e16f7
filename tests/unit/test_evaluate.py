"""Evaluation: single-click protocol, paired differences, intervals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from samtailor.errors import InputError
from samtailor.evaluation import masks as module
from samtailor.evaluation.masks import REFINED, evaluate, evaluate_many, without_training_images
from samtailor.evaluation.protocol import prompts_for
from samtailor.evaluation.scores import Evaluation, difference
from samtailor.masks import metrics
from samtailor.predict.predictor import Predictor
from samtailor.registry import find
from samtailor.structures import Annotation, Sample, Score


def segmenter(base, method="plm", **options):
    torch.manual_seed(5)
    return find("methods", method).build(base, **options)[0]


def row(id, label, iou, group="", index=0):
    return Score(id, label, index, iou, iou + 0.1, iou, iou, iou, 0.5, 100, group)


def test_default_is_the_highest_predicted_iou_and_oracle_the_best_of_the_same_three(tiny_base, tiny_samples):
    evaluation = evaluate(tiny_base, tiny_samples[:3], classes=["disc"])
    predictor = Predictor(tiny_base)
    for score, sample in zip(evaluation.rows, tiny_samples, strict=False):
        (target,) = sample.of(["disc"])
        x, y = find("prompts", "mask-center").center(target.mask)
        predictor.set_image(sample.image)
        masks, scores, _ = predictor.predict([[x, y]], [1])
        ious = [metrics.iou(mask, target.mask) for mask in masks]
        assert len(ious) == 3
        assert score.iou == ious[scores.argmax()]
        assert score.oracle_iou == max(ious)
        assert score.predicted_iou == pytest.approx(scores.max(), abs=1e-5)
        assert (score.id, score.label, score.index, score.area) == (sample.id, "disc", 0, target.area)


def test_several_segmenters_get_the_same_prompts_as_single_ones(tiny_sam, tiny_samples, tmp_path):
    many = {"base": tiny_sam, "plm": segmenter(tiny_sam, head="paper_plain"), "f": segmenter(tiny_sam, "sam-f")}
    together = evaluate_many(many, tiny_samples[:3], prompt="sampled-click", seed=4)
    for name, one in many.items():
        assert evaluate(one, tiny_samples[:3], prompt="sampled-click", seed=4).rows == together[name].rows
    assert together["base"].rows != together["plm"].rows
    other = evaluate(tiny_sam, tiny_samples[:3], prompt="sampled-click", seed=5)
    assert other.rows != together["base"].rows


def test_chunks_do_not_change_the_scores(tiny_sam, monkeypatch):
    rng = np.random.default_rng(0)
    masks = np.zeros((40, 48, 80), bool)
    for mask in masks:
        x, y = rng.integers(2, 70), rng.integers(2, 40)
        mask[y : y + 6, x : x + 8] = True
    targets = tuple(Annotation.from_mask("cell", mask) for mask in masks)
    image = rng.integers(0, 255, (48, 80, 3), dtype=np.uint8)
    sample = Sample("many", lambda: image, lambda: targets)
    sizes = []
    decode = Predictor.decode
    monkeypatch.setattr(
        Predictor,
        "decode",
        lambda self, prompts, adapter=None: sizes.append(prompts.shape[1]) or decode(self, prompts, adapter),
    )
    whole = evaluate(tiny_sam, [sample])
    assert len(whole.rows) == 40
    assert max(sizes) == module.PROMPTS_AT_ONCE
    monkeypatch.setattr(module, "PROMPTS_AT_ONCE", 7)
    parts = evaluate(tiny_sam, [sample])
    assert [r.iou for r in parts.rows] == pytest.approx([r.iou for r in whole.rows], abs=0.02)
    assert [r.index for r in parts.rows] == list(range(40))
    monkeypatch.setattr(module, "_MAX_LOGITS", 3 * 2 * 64 * 64)
    sizes.clear()
    evaluate(tiny_sam, [sample])
    assert max(sizes) == 2  # large images: fewer prompts at once


def test_a_click_does_not_depend_on_the_other_images(tiny_samples):
    sample = tiny_samples[2]
    clicks = {prompts_for(sample, sample.of(None), 1, "sampled-click", 0).points.tolist().__repr__() for _ in range(3)}
    assert len(clicks) == 1
    assert repr(prompts_for(sample, sample.of(None), 1, "sampled-click", 1).points.tolist()) not in clicks


def test_each_mask_of_an_image_has_its_own_click(tiny_samples):
    target = tiny_samples[0].annotations[0]
    targets = (target,) * 6
    clicks = {repr(prompts_for(tiny_samples[0], targets, i, "sampled-click", 0).points.tolist()) for i in range(6)}
    assert len(clicks) > 3


def test_box_prompts_and_refinement(tiny_sam, tiny_samples):
    evaluations = evaluate_many(
        {"base": tiny_sam, "pmm": segmenter(tiny_sam, "plm-pmm")}, tiny_samples[:2], prompt="mask-box", refine=True
    )
    assert set(evaluations) == {"base", "pmm", "pmm" + REFINED}
    assert {len(e.rows) for e in evaluations.values()} == {4}


def test_summary_macro_and_intervals():
    rows = [row(f"p{i}", "a", 0.2 + 0.05 * (i % 3), f"g{i // 2}") for i in range(8)]
    rows += [row("p0", "b", 0.9, "g0", 1), row("p1", "b", 0.7, "g0", 1)]
    summary = Evaluation(tuple(rows), "mask-center", 0).summary()
    ious = [r.iou for r in rows]
    assert summary["miou"] == pytest.approx(np.mean(ious))
    assert summary["macro_miou"] == pytest.approx((np.mean(ious[:8]) + 0.8) / 2)
    assert summary["classes"]["b"]["miou"] == pytest.approx(0.8)
    assert summary["classes"]["b"]["miou_interval"] is None  # one group: nothing can be said
    assert summary["masks"], summary["groups"] == (10, 4)
    low, high = summary["miou_interval"]
    assert low < summary["miou"] < high
    json.dumps(summary, allow_nan=False)


def test_intervals_are_95_percent_ranges_over_as_many_groups_as_there_are():
    rng = np.random.default_rng(0)
    rows = tuple(row(f"p{i}", "a", float(rng.random()), f"g{i // 3}") for i in range(24))
    summary = Evaluation(rows, "mask-center", 3).summary(draws=500)
    by_group = np.array([r.iou for r in rows]).reshape(8, 3)
    occurrences = np.random.default_rng(3).multinomial(8, [1 / 8] * 8, size=500)
    means = [np.repeat(by_group, counts, axis=0).mean() for counts in occurrences]
    assert summary["miou_interval"] == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=1e-12)
    after = Evaluation(tuple(replace(r, iou=r.iou**2) for r in rows), "mask-center", 3)
    changes = [np.repeat(by_group**2 - by_group, counts, axis=0).mean() for counts in occurrences]
    change = difference(after, Evaluation(rows, "mask-center", 3), draws=500)
    assert change["miou_interval"] == pytest.approx(np.percentile(changes, [2.5, 97.5]), abs=1e-12)


def test_paired_difference_is_tighter_and_refuses_other_masks():
    rng = np.random.default_rng(0)
    before = tuple(row(f"p{i}", "a", float(v)) for i, v in enumerate(rng.uniform(0.1, 0.7, 40)))
    after = tuple(replace(r, iou=r.iou + 0.1) for r in before)
    one, two = Evaluation(before, "x", 0), Evaluation(after, "x", 0)
    change = difference(two, one)
    assert change["miou"] == pytest.approx(0.1)
    assert change["miou_interval"] == pytest.approx([0.1, 0.1])
    assert change["better"] == 1.0
    with pytest.raises(InputError, match="same masks"):
        difference(Evaluation(after[1:], "x", 0), one)


def test_invalid_evaluations_raise(tiny_sam, tiny_sam2, tiny_samples):
    with pytest.raises(InputError, match=r"no mask to evaluate.*nose"):
        evaluate(tiny_sam, tiny_samples[:1], classes=["nose"])
    with pytest.raises(InputError, match="another base object"):
        evaluate_many({"a": tiny_sam, "b": tiny_sam2}, tiny_samples[:1])
    with pytest.raises(InputError, match="at least one"):
        evaluate_many({}, tiny_samples[:1])
    with pytest.raises(InputError, match="needs path"):
        evaluate(tiny_sam, tiny_samples[:1], prompt="file")
    with pytest.raises(InputError, match="Did you mean"):
        evaluate(tiny_sam, tiny_samples[:1], prompt="mask-centre")
    with pytest.raises(InputError, match="No metric"):
        Evaluation((), "x", 0).values("accuracy")


def test_training_images_are_left_out_of_the_same_data_set(tiny_samples, tmp_path):
    from samtailor.data.split import Split
    from samtailor.train.config import FitConfig

    ids = [sample.id for sample in tiny_samples]
    adapter, data = tmp_path / "adapter", tmp_path / "data"
    adapter.mkdir()
    Split(train=tuple(ids[:3]), val=tuple(ids[3:5])).write(adapter / "split.json")
    (adapter / "config.yaml").write_text(FitConfig(data=data).to_yaml())
    left, out = without_training_images(tiny_samples, adapter, data)
    assert out == ids[:3]
    assert [sample.id for sample in left] == ids[3:]
    assert (
        without_training_images(tiny_samples[1:], adapter, tmp_path / "other")[1] == []
    )  # one of its images is missing
    assert without_training_images(tiny_samples, tmp_path, data)[1] == []


def test_training_images_are_left_out_of_a_moved_copy(tiny_samples, tmp_path):
    """Also for the fits of a comparison, which name no data set: the ids of the images decide."""
    from samtailor.data.split import Split
    from samtailor.train.config import FitConfig

    ids = [sample.id for sample in tiny_samples]
    Split(train=tuple(ids[:3]), val=tuple(ids[3:5])).write(tmp_path / "split.json")
    assert without_training_images(tiny_samples, tmp_path, tmp_path / "data")[1] == ids[:3]
    for fitted_on in (tmp_path / "moved", None):
        (tmp_path / "config.yaml").write_text(FitConfig(data=fitted_on).to_yaml())
        assert without_training_images(tiny_samples, tmp_path, tmp_path / "data")[1] == ids[:3]
    Split(train=(), val=()).write(tmp_path / "split.json")
    assert without_training_images(tiny_samples, tmp_path, tmp_path / "data")[1] == []


def test_the_dice_of_the_papers_needs_a_value_in_every_row(tiny_sam):
    from tiny import disc_sample

    evaluation = evaluate(tiny_sam, [disc_sample(0), disc_sample(1)])
    summary = evaluation.summary(draws=10)
    assert summary["paper"] == pytest.approx(np.mean([row.paper_dice for row in evaluation.rows]))
    old = Evaluation((*evaluation.rows[:-1], replace(evaluation.rows[-1], paper_dice=None)), evaluation.prompt, 0)
    assert old.summary(draws=10)["paper"] is None
    assert difference(evaluation, old, draws=10)["paper"] is None
    assert difference(evaluation, evaluation, draws=10)["paper"] == 0
