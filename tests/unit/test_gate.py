"""The gate: who answers clicks and boxes, and whether a new adapter replaces the present one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from samtailor.errors import InputError
from samtailor.fitting.gate import Decision, Gate, Judged, against_present, compared, decide, standard_error
from samtailor.fitting.gate_words import sentences

IMAGES = tuple(f"image{i}" for i in range(8))
BASE = (0.8, 0.7, 0.9, 0.6, 0.8, 0.7, 0.9, 0.6)


def judged(new, base=BASE, images=IMAGES, **options):
    return Judged(
        "click", images[: len(new)], images[: len(new)], tuple(new), base and tuple(base[: len(new)]), **options
    )


def shifted(by, spread=0.0):
    return [score + by + spread * (-1) ** i for i, score in enumerate(BASE)]


@pytest.mark.parametrize(
    ("by", "spread", "answers"),
    [(0.05, 0.01, "adapter"), (0.0, 0.0, "base"), (-0.05, 0.01, "base"), (0.01, 0.1, "base"), (0.05, 0.1, "adapter")],
)
def test_the_adapter_answers_if_it_is_better_by_more_than_the_standard_error(by, spread, answers):
    decision = decide(judged(shifted(by, spread)))
    assert decision.answers == answers
    assert (decision.objects, decision.images, decision.groups) == (8, 8, 8)
    assert decision.over_base.mean == pytest.approx(by)
    assert decision.over_base.interval[0] <= by + 1e-9
    assert by - 1e-9 <= decision.over_base.interval[1]


@pytest.mark.parametrize("unjudged", ["base", "adapter"])
def test_too_few_objects_or_one_group_decide_nothing(unjudged):
    assert decide(judged(shifted(0.2)[:4]), unjudged=unjudged).answers == unjudged
    assert decide(Judged("box", (), (), (), ()), unjudged=unjudged).answers == unjudged
    one_group = Judged("click", IMAGES, ("a",) * 8, tuple(shifted(0.2)), BASE)
    assert decide(one_group, unjudged=unjudged).answers == unjudged
    (few,) = sentences(Gate((decide(judged(shifted(0.2)[:4]), unjudged=unjudged),)), {})
    assert "too few objects to say" in few
    assert "n = 4" in few
    assert "%" not in few


def test_masks_of_one_group_are_one_piece_of_evidence():
    change = np.array([0.1] * 6 + [-0.1, -0.1])
    apart, together = (standard_error(change, groups) for groups in (list("abcdefgh"), list("aaaaaabc")))
    assert apart == pytest.approx(change.std(ddof=1) / 8**0.5)
    assert together > apart


def test_without_an_answer_of_the_base_the_adapter_answers():
    assert decide(judged(shifted(0.1), base=None)).answers == "adapter"


def test_a_worse_adapter_does_not_replace_the_present_one():
    new = decide(judged(shifted(0.05)))
    worse = against_present(new, shifted(-0.1, 0.01), BASE, IMAGES)
    equal = against_present(new, BASE, BASE, IMAGES)
    assert compared([worse], images=9, images_of_present=5).replaces is False
    assert compared([equal], images=5, images_of_present=5).replaces is True
    assert compared([equal, worse], images=9, images_of_present=5).replaces is False
    assert compared([new], images=9, images_of_present=None).replaces is None


def test_with_too_few_objects_the_adapter_of_more_images_is_used():
    few = against_present(decide(judged(shifted(0.05))), [0.1, 0.1], [0.9, 0.9], ["a", "b"])
    assert compared([few], images=9, images_of_present=5).replaces is True
    assert compared([few], images=5, images_of_present=5).replaces is False
    assert "too few" in compared([few], images=5, images_of_present=5).reason


def test_scores_of_different_objects_are_refused():
    with pytest.raises(InputError, match="same objects"):
        Judged("click", IMAGES, IMAGES, BASE, BASE[:3])
    with pytest.raises(InputError, match="whistle"):
        Judged("whistle", IMAGES, IMAGES, BASE)


def test_a_gate_survives_json():
    decision = against_present(decide(judged(shifted(0.05, 0.01))), BASE, shifted(0.02), IMAGES)
    gate = compared([decision, Decision("box", 0, 0, 0, "base")], images=3, images_of_present=2)
    assert Gate.from_json(json.loads(json.dumps(gate.to_json()))) == gate
    assert gate.base_prompts == ("box",)


def test_sentences_have_scores_counts_and_intervals():
    worse = against_present(decide(judged(shifted(-0.05, 0.01))), BASE, shifted(0.1), IMAGES)
    click, strength, present, outcome = sentences(
        compared([worse], images=8, images_of_present=8), {"box": 0.5, "click": 0.0}
    )
    assert click.startswith("Clicks: mIoU 70.0 with the adapter, 75.0 with the base model (8 validation images with 8 ")
    assert "difference -5.0, 95 % interval" in click
    assert click.endswith("The base model answers them.")
    assert strength.startswith("Adapter strength for boxes: 0.5")
    assert "n = 8" in present
    assert "-10.0" in present
    assert outcome == "The new adapter does not replace the present one: it is worse for clicks."
