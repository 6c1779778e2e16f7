"""Sentences about the outcome of a fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from samtailor.fitting import FitResult
from samtailor.fitting.verdict import verdict
from samtailor.structures import InferenceSpec, TilingPlan
from samtailor.train.config import FitConfig

IMPROVED = {
    "held_out_miou": 0.44,
    "held_out_oracle_miou": 0.5,
    "best_step": 30,
    "start_miou": 0.401,
    "start_oracle_miou": 0.45,
    "held_out_images": 12,
    "held_out_masks": 30,
    "held_out_interval": [0.38, 0.5],
    "held_out_gain_interval": [0.012, 0.065],
}
EQUAL = IMPROVED | {"held_out_miou": 0.44, "start_miou": 0.44, "best_step": 0}
REGIONS = {
    "region_dice": 0.43,
    "region_dice_untiled": 0.373,
    "region_images": 3,
    "region_objects": 7,
    "region_interval": [0.2, 0.61],
}


def sentences(figures, tiling=None, **options):
    inference = InferenceSpec(tiling=tiling or TilingPlan())
    return verdict(FitResult(Path("out"), FitConfig(), figures, inference=inference, **options))


def test_a_gain_is_reported_with_its_interval_and_counts():
    assert sentences(IMPROVED) == [
        "mIoU rose from 40.1 to 44.0 on 12 validation images with 30 objects (gain 3.9, 95 % interval 1.2 to 6.5)."
    ]
    unsure = sentences(IMPROVED | {"held_out_gain_interval": [-0.02, 0.1]})
    assert unsure[1] == "The interval includes 0: hold out more images to confirm the gain."


def test_no_gain_over_the_base_leaves_clicks_unchanged():
    assert sentences(EQUAL | {"alpha": 1.0}) == [
        "Training did not improve on the base model (mIoU 44.0, 95 % interval 38.0 to 50.0 on 12 validation images "
        "with 30 objects); the adapter leaves clicks unchanged."
    ]
    assert sentences(EQUAL) == [
        "Training did not improve on the adapter before training (mIoU 44.0, 95 % interval 38.0 to 50.0 on 12 "
        "validation images with 30 objects)."
    ]


def test_a_better_choice_among_equal_candidates_is_named():
    (_, sentence) = sentences(IMPROVED | {"held_out_oracle_miou": 0.45, "alpha": 1.0})
    assert (
        sentence == "The adapter picks the right mask more often; it does not draw better outlines than the base model."
    )


def test_the_strength_of_a_click_adapter_is_reported_below_1():
    figures = {"alpha": 0.25, "alpha_miou": 0.451, "base_miou": 0.43, "alpha_images": 2, "alpha_masks": 9}
    strength, measured = sentences(IMPROVED | figures)[1:]
    assert strength == "Click adapter strength: 0.25 (0 = base model, 1 = full adapter)."
    assert measured == "At this strength mIoU is 45.1 on 2 validation images with 9 objects, 43.0 with the base model."
    assert sentences(figures)[2].startswith("At this strength mIoU is 45.1 on 2 left-out training images")
    assert len(sentences(IMPROVED | figures | {"alpha": 1.0})) == 1


def test_automatic_mode_is_reported_with_its_tiling():
    (sentence,) = sentences(IMPROVED | REGIONS, TilingPlan((1, 2), 2.0))[1:]
    assert sentence == (
        "Automatic mode: Dice 43.0 (3 validation images, 95 % interval 20.0 to 61.0), with 2x2 tiling and box prompts; "
        "37.3 without."
    )
    assert sentences(IMPROVED | REGIONS)[1:] == [
        "Automatic mode: Dice 43.0 (3 validation images, 95 % interval 20.0 to 61.0)."
    ]


def test_fewer_than_five_objects_give_no_percentage():
    few = IMPROVED | REGIONS | {"held_out_masks": 4, "held_out_images": 2, "region_objects": 3}
    assert sentences(few) == [
        "Too few objects to judge the prompted masks (n = 4).",
        "Automatic mode: too few objects to judge (n = 3).",
    ]
    enough = few | {"held_out_masks": 5, "region_objects": 5}
    assert all("Too few" not in sentence and "too few" not in sentence for sentence in sentences(enough))


def test_nothing_held_out_and_selection_on_training_images():
    assert sentences({}) == [
        "No image was held out, so the last state was kept. Run `samtailor evaluate` to measure it."
    ]
    paper = sentences(IMPROVED | {"selection": "paper", "held_out_images": 4, "held_out_masks": 6})
    assert "on 4 training images with 6 objects that select the best state; no image was held out" in paper[0]


def test_figures_of_version_0_1_have_no_counts():
    old = {name: IMPROVED[name] for name in ("held_out_miou", "held_out_oracle_miou", "best_step")}
    (sentence,) = sentences(old | {"start_miou": 0.401, "start_oracle_miou": 0.45})
    assert sentence == "mIoU rose from 40.1 to 44.0 on validation images (gain 3.9)."


@pytest.mark.parametrize("figures", [IMPROVED, {}])
def test_each_class_has_its_own_sentences(figures):
    part = FitResult(Path("out/disc"), FitConfig(), figures)
    assert sentences({}, parts={"disc": part}) == [f"disc: {sentence}" for sentence in verdict(part)]


def test_with_a_comparison_the_sentences_say_who_answers():
    from samtailor.fitting.gate import Gate, Judged, decide

    images = tuple("abcdef")
    decision = decide(Judged("click", images, images, (0.5,) * 6, (0.7,) * 6))
    figures = IMPROVED | {"alpha": 0.0, "comparison": Gate((decision,)).to_json()}
    state, clicks = sentences(figures)[:2]
    assert state == "The state after 30 steps is the best on the validation images."
    assert clicks.startswith("Clicks: mIoU 50.0 with the adapter, 70.0 with the base model")
