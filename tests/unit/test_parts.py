"""Which images an evaluation uses: test images where there are any, and validation images are called so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from samtailor.data.split import Split
from samtailor.errors import InputError
from samtailor.evaluation.parts import choose_part
from samtailor.evaluation.scores import Evaluation, reported
from samtailor.structures import Score

IDS = [f"p{i:03d}" for i in range(8)]


@pytest.fixture
def fitted(tmp_path):
    """Write the split of a fit to a folder."""

    def write(**parts):
        Split(**{name: tuple(ids) for name, ids in parts.items()}).write(tmp_path / "split.json")
        return tmp_path

    return write


def ids(part):
    return [sample.id for sample in part.samples]


def test_the_test_part_of_the_fit_is_used(tiny_samples, fitted, tmp_path):
    folder = fitted(train=IDS[:4], val=IDS[4:6], test=IDS[6:])
    part = choose_part(tiny_samples, [folder], tmp_path, ["disc"])
    assert (part.name, ids(part), list(part.left_out)) == ("test", IDS[6:], IDS[:4])
    assert part.about.startswith("2 test images")
    val = choose_part(tiny_samples, [folder], tmp_path, ["disc"], split="val")
    assert (val.name, ids(val)) == ("validation", IDS[4:6])
    everything = choose_part(tiny_samples, [folder], tmp_path, ["disc"], split="all")
    assert (everything.name, ids(everything)) == ("validation", IDS[4:])


def test_images_without_an_object_belong_to_the_test_part(tiny_samples, fitted, tmp_path):
    folder = fitted(train=IDS[:4], val=IDS[4:5], test=IDS[6:])
    samples = [replace(s, read_annotations=list) if s.id == IDS[5] else s for s in tiny_samples]
    assert ids(choose_part(samples, [folder], tmp_path, ["disc"])) == [*IDS[6:], IDS[5]]


def test_images_that_chose_the_state_are_never_called_test_images(tiny_samples, fitted, tmp_path):
    folder = fitted(train=IDS[:5], val=IDS[5:])
    for split in (None, "val", "all"):
        part = choose_part(tiny_samples, [folder], tmp_path, ["disc"], split=split)
        assert (part.name, ids(part)) == ("validation", IDS[5:])
        assert "3 validation images" in part.about
        assert "optimistic" in part.about
    other = fitted(train=IDS[:1], val=IDS[1:3])  # five other images have enough objects
    part = choose_part(tiny_samples, [other], tmp_path, ["disc"])
    assert (part.name, ids(part)) == ("unseen", IDS[3:])
    assert "2 validation images left out" in part.about


def test_the_test_part_of_the_data_set_is_used(tiny_samples, tmp_path):
    samples = [replace(s, part="train" if i < 6 else "test") for i, s in enumerate(tiny_samples)]
    part = choose_part(samples, [], tmp_path, None)
    assert (part.name, ids(part)) == ("test", IDS[6:])
    assert ids(choose_part(samples, [], tmp_path, None, split="all")) == IDS
    no_train = [replace(s, part="test") for s in tiny_samples]
    assert choose_part(no_train, [], tmp_path, None).name == "all"


def test_training_images_are_named(tiny_samples, fitted, tmp_path):
    folder = fitted(train=IDS[:5], val=IDS[5:])
    part = choose_part(tiny_samples, [folder], tmp_path, ["disc"], include_train=True)
    assert (part.name, ids(part), part.left_out) == ("training", IDS, ())
    assert "8 images, of which the adapter was fitted on 5" in part.about


def test_another_data_set_is_new_to_the_adapter(tiny_samples, fitted, tmp_path):
    folder = fitted(train=["a", "b"], val=["c"], test=["d"])
    part = choose_part(tiny_samples, [folder], tmp_path / "other", ["disc"])
    assert (part.name, ids(part)) == ("unseen", IDS)
    with pytest.raises(InputError, match="val or test"):
        choose_part(tiny_samples, [folder], tmp_path, ["disc"], split="training")
    with pytest.raises(InputError, match="no image"):
        choose_part(tiny_samples, [folder], tmp_path, ["disc"], split="test")


def rows(number, empty=0):
    scores = dict.fromkeys(("iou", "oracle_iou", "dice", "oracle_dice", "boundary_iou", "predicted_iou"), 0.5)
    return tuple(
        Score(f"p{i}", "disc", 0, **scores, area=9, paper_dice=0.5, predicted_area=0 if i < empty else 9)
        for i in range(number)
    )


def test_figures_of_fewer_than_five_masks_are_not_reported():
    few, enough = (reported(Evaluation(rows(n), "mask-center", 0).summary()) for n in (4, 5))
    assert (few["too_few"], few["masks"], few["miou"], few["dice_interval"]) == (True, 4, None, None)
    assert few["classes"]["disc"]["miou"] is None
    assert (enough["too_few"], enough["miou"]) == (False, 0.5)
    assert "too few to say" in repr(Evaluation(rows(4), "mask-center", 0))
    assert "50.0 [50.0, 50.0]" in repr(Evaluation(rows(5), "mask-center", 0))


def test_empty_masks_are_counted():
    assert Evaluation(rows(6, empty=2), "mask-center", 0).summary()["empty"] == 2
