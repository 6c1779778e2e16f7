"""Views: deterministic, masks transformed exactly, sides exchanged."""

from __future__ import annotations

import numpy as np
import pytest

from samtailor.data.augment import UNTOUCHED, Augment, View, flip_pairs, view
from samtailor.errors import InputError
from samtailor.structures import Annotation, Sample

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def painted(seed: int, labels: tuple[str, ...] = ("left_eye", "right_eye", "nose")) -> Sample:
    """Each object has its own gray value, so that masks of a view can be derived from its pixels."""
    rng = np.random.default_rng(seed)
    image = np.zeros((60, 90, 3), np.uint8)
    masks = []
    for i, _ in enumerate(labels):
        left, top = int(rng.integers(0, 70)), int(rng.integers(20 * i, 20 * i + 8))
        mask = np.zeros((60, 90), bool)
        mask[top : top + int(rng.integers(4, 12)), left : left + int(rng.integers(4, 20))] = True
        image[mask] = 50 * (i + 1)
        masks.append(Annotation.from_mask(labels[i], mask))
    return Sample(f"face{seed}", lambda: image, lambda: masks, group="anna")


@pytest.mark.parametrize("seed", range(6))
def test_masks_follow_the_pixels(seed):
    sample, family = painted(seed), Augment(views=5, color=0)
    for index in range(5):
        transformed = family.draw(sample, index).sample(sample)
        assert len(transformed.annotations) == 3
        for i, annotation in enumerate(transformed.annotations):
            np.testing.assert_array_equal(annotation.mask, transformed.image[..., 0] == 50 * (i + 1))


def test_view_0_is_the_untransformed_image(tiny_samples):
    assert view(tiny_samples[0], 0, seed=3) is tiny_samples[0]
    assert UNTOUCHED.image(tiny_samples[0].image) is tiny_samples[0].image


def test_a_view_depends_on_id_index_and_seed_alone():
    keys = {
        (id_, index, seed): Augment(views=4, seed=seed).draw(painted(id_), index).key
        for id_ in (0, 1)
        for index in (1, 2, 3)
        for seed in (0, 1)
    }
    assert len(set(keys.values())) == len(keys)
    assert Augment(views=9, seed=1).draw(painted(1), 3).key == keys[1, 3, 1]
    one, two = view(painted(0), 2, 7), view(painted(0), 2, 7)
    np.testing.assert_array_equal(one.image, two.image)


def test_flips_exchange_sides_only_for_flip_pairs():
    sample = painted(0)
    flipped = [
        v
        for i in range(1, 12)
        if (v := Augment(views=12, flip_pairs=(("left_eye", "right_eye"),)).draw(sample, i)).flip
    ]
    assert 2 <= len(flipped) <= 10
    labels = [a.label for a in flipped[0].sample(sample).annotations]
    assert labels == ["right_eye", "left_eye", "nose"]
    assert [a.label for a in View(flip=True).sample(sample).annotations] == ["left_eye", "right_eye", "nose"]
    assert not any(Augment(views=12, flip=False).draw(sample, i).flip for i in range(12))


@pytest.mark.parametrize("seed", range(8))
def test_a_crop_keeps_an_object_of_every_class(seed):
    sample = painted(seed)
    for index in range(1, 6):
        transformed = Augment(views=6, crop=0.5).draw(sample, index).sample(sample)
        for before, after in zip(sample.annotations, transformed.annotations, strict=True):
            assert after.area >= 0.4 * before.area


def test_a_crop_may_exclude_one_of_several_objects():
    masks = [Annotation.from_mask("cell", np.eye(40, dtype=bool)[i : i + 1].repeat(40, 0)) for i in range(40)]
    sample = Sample("cells", lambda: np.zeros((40, 40, 3), np.uint8), lambda: masks)
    transformed = Augment(views=2, crop=0.5).draw(sample, 1).sample(sample)
    assert 20 <= len(transformed.of(None)) < 40


def test_settings_at_zero_change_nothing():
    sample = painted(2)
    assert Augment(views=3, crop=1, color=0, flip=False).draw(sample, 2).untouched
    colored = Augment(views=2, crop=1, flip=False).draw(sample, 1)
    assert not colored.untouched
    assert colored.size(60, 90) == (60, 90)
    assert colored.image(sample.image).dtype == np.uint8
    assert (colored.image(sample.image) != sample.image).any()
    assert view(sample, 1).id == sample.id
    assert view(sample, 1).group == "anna"


def test_size_is_the_size_of_the_view():
    v = View(crop=(0.1234, 0.2, 0.8, 0.777))
    assert (
        v.image(np.zeros((61, 93, 3), np.uint8)).shape[:2] == v.size(61, 93) == v.mask(np.zeros((61, 93), bool)).shape
    )
    tiny = View(crop=(0.5, 0.5, 0.51, 0.51))
    assert tiny.size(3, 3) == (1, 1) or min(tiny.size(3, 3)) >= 1


@pytest.mark.parametrize(
    ("labels", "pairs"),
    [
        (["nose", "hair"], ()),
        (["l_eye", "r_eye", "nose"], (("l_eye", "r_eye"),)),
        (["left hand", "right hand", "l_ear", "r_ear"], (("l_ear", "r_ear"), ("left hand", "right hand"))),
        (["l_eye", "nose"], None),
        (["plate", "bell"], ()),
        (["u_lip", "l_lip"], None),
    ],
)
def test_flip_pairs_of_label_names(labels, pairs):
    """l_lip of CelebAMask-HQ is the lower lip: without a counterpart there is no flip."""
    assert flip_pairs(labels) == pairs


@pytest.mark.parametrize("wrong", [{"views": 0}, {"crop": 0.0}, {"crop": 1.5}, {"color": 1.0}])
def test_invalid_settings_are_refused(wrong):
    with pytest.raises(InputError):
        Augment(**wrong)


def test_an_unknown_view_is_refused():
    with pytest.raises(InputError, match="from 0 to 1"):
        Augment(views=2).draw(painted(0), 2)


@pytest.mark.parametrize("flip", [False, True])
def test_prompts_follow_the_view_as_masks_do(flip):
    import torch

    from samtailor.structures import Prompts

    mask = np.zeros((50, 90), bool)
    mask[12:31, 30:62] = True
    view = View((0.2, 0.1, 0.6, 0.9), flip)
    box = torch.tensor([[[30.0, 12.0, 62.0, 31.0], [20.0, 6.0, 30.0, 9.0]]])
    points = torch.tensor([[[[31.0, 13.0], [80.0, 40.0]], [[20.0, 7.0], [25.0, 8.0]]]])
    labels = torch.tensor([[[1, 1], [1, 0]]])
    transformed = view.prompts(Prompts((50, 90), points, labels, box))
    assert transformed.frame == view.size(50, 90)
    assert transformed.boxes[0, 0].tolist() == list(
        view.annotation(Annotation.from_mask("a", mask)).box
    )  # cut at the crop
    assert transformed.labels.tolist() == [[[1, -10], [1, 0]]]  # the point beyond the crop is ignored
    place = np.zeros((50, 90), bool)
    place[13, 31] = True
    ((row, column),) = np.argwhere(view.mask(place))
    assert transformed.points[0, 0, 0].tolist() == [column, row]
    lost = Prompts((50, 90), boxes=torch.tensor([[[70.0, 0.0, 90.0, 50.0]]]))
    assert view.prompts(lost) is None
    one = Prompts((50, 90), torch.tensor([[[[80.0, 40.0]]]]), torch.tensor([[[1]]]))
    assert view.prompts(one) is None
    assert View().prompts(one) is one
