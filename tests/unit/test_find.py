"""Matchers and `Predictor.find`: references, calibration, refusal, PerSAM."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from samtailor import matchers
from samtailor.bases import load_base
from samtailor.data.augment import UNTOUCHED
from samtailor.errors import DataError, InputError
from samtailor.masks.postprocess import postprocessed
from samtailor.matchers import MarkedImage, _guided, _prior, persam_f
from samtailor.matchers._calibration import HIGHEST, LOWEST, Likeness, score_threshold
from samtailor.matchers._proposals import Sizes, parts, peaks, soft_iou
from samtailor.matchers._scorer import Scorer, Sums, cell_weights
from samtailor.predict.find import CLEAN
from samtailor.predict.predictor import Predictor
from samtailor.predict.references import Reference
from samtailor.registry import names


def photo(seed: int, discs: int = 1, *, squares: int = 1, side: int = 192) -> tuple[np.ndarray, np.ndarray]:
    """An image with orange discs and blue squares on noise, and the instance map of the discs."""
    rng = np.random.default_rng(seed)
    image = rng.integers(90, 130, (side, side, 3), dtype=np.uint8)
    y, x = np.mgrid[:side, :side]
    places = [(row * side // 3 + 32, column * side // 3 + 32) for row in range(3) for column in range(3)]
    places = [places[i] for i in rng.permutation(9)]
    index = np.zeros((side, side), np.uint8)
    for number, (row, column) in enumerate(places[: discs + squares], 1):
        if number <= discs:
            disc = (y - row) ** 2 + (x - column) ** 2 <= 24**2
            image[disc], index[disc] = (240, 150, 40), number
        else:
            image[(abs(y - row) <= 20) & (abs(x - column) <= 20)] = (40, 70, 220)
    return image, index


@pytest.fixture(scope="module")
def predictor():
    """The bundled base, encoding small images."""
    return Predictor(load_base())


@pytest.fixture(scope="module")
def finder(predictor):
    image, index = photo(0)
    return predictor.finder(Reference(image, mask=index))


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def test_one_reference_finds_every_such_object_and_nothing_else(predictor, finder):
    image, index = photo(5, 3, squares=2)
    predictor.set_image(image)
    found = predictor.find(finder)
    assert len(found) == 3
    matched = [max(range(1, 4), key=lambda number: iou(one.mask, index == number)) for one in found]
    assert sorted(matched) == [1, 2, 3]
    assert all(iou(one.mask, index == number) > 0.8 for one, number in zip(found, matched, strict=True))
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)
    assert all(finder.threshold <= score <= 1 for score in scores)


def test_nothing_is_found_where_nothing_is_alike(predictor, finder):
    predictor.set_image(photo(6, 0, squares=3)[0])
    assert predictor.find(finder) == []


def test_a_negative_reference_leaves_out_what_it_marks(predictor):
    image, index = photo(1, 2)
    other, _ = photo(2, 0, squares=3)
    squares = (other[..., 2] > 200).astype(np.uint8)
    predictor.set_image(photo(7, 2, squares=3)[0])
    everything = Reference(image, mask=np.where(image[..., 2] > 200, 1, index > 0).astype(np.uint8))
    both = predictor.find(everything)
    without = predictor.find(everything, Reference(other, mask=squares))
    assert len(both) > len(without)


def test_boxes_and_clicks_are_references_too(predictor):
    image, index = photo(3)
    rows, columns = np.nonzero(index)
    box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    click = columns.mean(), rows.mean()
    shown, truth = photo(8, 2)
    for one in (Reference(image, box=box), Reference(image, clicks=[click])):
        predictor.set_image(shown)
        found = predictor.find(one)
        assert found
        assert iou(np.logical_or.reduce([f.mask for f in found]), truth > 0) > 0.7


def test_rectangles_are_answered_with_rectangles(predictor):
    image, _ = photo(0)
    squares = (image[..., 2] > 200).astype(np.uint8)
    predictor.set_image(photo(9, 1, squares=2)[0])
    found = predictor.find(Reference(image, mask=squares))
    assert found
    for one in found:
        x0, y0, x1, y1 = (int(v) for v in one.box)
        assert one.area == (x1 - x0) * (y1 - y0)


def test_references_of_one_image_are_one_marked_image(predictor):
    from samtailor.predict.references import marked_images

    image, index = photo(4, 2)
    pair = [Reference(image, mask=(index == number).astype(np.uint8)) for number in (1, 2)]
    (marked,) = marked_images(lambda: Predictor(predictor.base), pair, alike=True)
    assert len(marked.masks) == 2
    assert marked.complete


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (lambda image, index: Reference(image), "exactly one of them"),
        (lambda image, index: Reference(image, mask=index, box=(0, 0, 9, 9)), "exactly one of them"),
        (lambda image, index: Reference(image, mask=index * 0), "the mask is empty"),
        (lambda image, index: Reference(image, mask=index[..., None]), "shape"),
        (lambda image, index: Reference(image, clicks=[(1, 2, 1, 5)]), "a click must be"),
        (lambda image, index: Reference(image, clicks=[(500, 2)]), "outside the image"),
    ],
)
def test_a_wrong_reference_is_an_error(predictor, reference, message):
    with pytest.raises(InputError, match=message):
        predictor.finder(reference(*photo(0)))


def test_a_mask_of_another_shape_is_an_error(predictor):
    image, index = photo(0)
    with pytest.raises(DataError, match="another aspect ratio"):
        predictor.finder(Reference(image, mask=index[:90]))


def test_wrong_arguments_are_errors(predictor, finder):
    image, index = photo(0)
    with pytest.raises(InputError, match="at least one"):
        predictor.finder([], Reference(image, mask=index))
    with pytest.raises(InputError, match="Did you mean"):
        predictor.finder(Reference(image, mask=index), companions="none")
    with pytest.raises(InputError, match="threshold"):
        predictor.finder(Reference(image, mask=index), threshold=2)
    with pytest.raises(InputError, match="No image is set"):
        Predictor(predictor.base).find(finder)
    predictor.set_image(image)
    with pytest.raises(InputError, match="has read its references"):
        predictor.find(finder, threshold=0.5)


@pytest.mark.parametrize("matcher", ["multiscale", "persam", "persam-f"])
def test_every_matcher_works_on_every_base(tiny_base, matcher):
    predictor = Predictor(tiny_base)
    image, index = photo(0, side=192)
    settings = {"steps": 3} if matcher == "persam-f" else {}
    finder = predictor.finder(Reference(image, mask=index), matcher=matcher, threshold=0.0, **settings)
    predictor.set_image(photo(1)[0][:, :120])
    for one in predictor.find(finder):
        assert one.mask.shape == (192, 120)
        assert 0 <= one.score <= 1


def test_the_matchers_are_in_the_registry():
    assert names("matchers") == ["multiscale", "persam", "persam-f"]


# -- parts of multiscale


def test_the_scorer_is_a_weighted_ridge_regression():
    rng = torch.Generator().manual_seed(0)
    cells = torch.randn(200, 5, generator=rng) + torch.tensor([0.0, 1.0, 0.0, 2.0, 0.0])
    coverage = (cells[:, 1] > 1.2).float()
    weights = cell_weights(coverage, torch.ones(200, dtype=torch.bool))
    half = [Sums.of(cells[part], weights[:, part]) for part in (slice(0, 80), slice(80, 200))]
    scorer = Scorer.fit(Sums.total(half), 1)
    assert torch.allclose(half[0].balanced().number, half[0].number.sqrt())
    share = torch.where(coverage > 0.5, 0.5 / weights[0].sum(), 0.5 / weights[1].sum())
    label = torch.where(coverage > 0.5, 1.0, -1.0)
    centered = cells - share @ cells
    scatter = (centered * share[:, None]).T @ centered
    expected = torch.linalg.solve(
        scatter + 10 * scatter.diagonal().mean() * torch.eye(5), (centered * (share * label)[:, None]).sum(0)
    )
    torch.testing.assert_close(scorer.weight, expected, rtol=1e-3, atol=1e-4)
    assert scorer(cells)[coverage > 0.5].mean() > scorer(cells)[coverage < 0.5].mean()


def test_small_objects_have_cells_and_tiles_without_objects_have_none():
    valid = torch.ones(4, dtype=torch.bool)
    assert cell_weights(torch.tensor([0.0, 0.3, 0.1, 0.0]), valid)[0].tolist() == [0, 1, 0, 0]
    assert cell_weights(torch.zeros(4), valid)[0].sum() == 0


def test_the_cut_is_0_for_one_reference_and_moves_with_more():
    scores, cover = torch.tensor([0.9, 0.8, 0.5, 0.45, -0.5]), torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0])
    assert Likeness.fit([scores], [cover]).cut == 0
    many = Likeness.fit([scores] * 9, [cover] * 9)
    assert 0.3 < many.cut < 0.8
    assert many(torch.tensor(many.cut)) == pytest.approx(0)


def test_the_threshold_lies_between_right_and_wrong():
    assert score_threshold([0.8, 0.7], [0.3, 0.2], 4) == pytest.approx(0.4)
    assert score_threshold([0.8, 0.7], [0.3, 0.2], 1) == pytest.approx(0.25)
    assert score_threshold([0.8], [], 1) == pytest.approx(0.2)
    assert score_threshold([], [0.9], 5) == HIGHEST
    assert score_threshold([], [], 1) == LOWEST


def test_parts_and_peaks():
    map_ = np.zeros((40, 40))
    map_[4:10, 5:15], map_[20:35, 20:30] = 0.9, 0.8
    boxes, points = parts(map_)
    assert boxes.tolist() == [[20, 20, 30, 35], [5, 4, 15, 10]]
    assert all(map_[int(y), int(x)] > 0.5 for x, y in points)
    y, x = np.mgrid[:40, :40]
    two = np.maximum(np.exp(-((x - 12) ** 2 + (y - 20) ** 2) / 60), np.exp(-((x - 26) ** 2 + (y - 20) ** 2) / 60))
    found = peaks(two, Sizes(0.3, 0.3, 0.05, 0.1))
    assert sorted(round(float(column)) for column, _ in found) == pytest.approx([12, 26], abs=1)
    assert parts(map_ * 0)[0].shape == (0, 4)


def test_soft_iou_is_1_for_the_map_itself():
    mask = torch.zeros(2, 8, 8, dtype=torch.bool)
    mask[0, 2:5, 2:6] = True
    mask[1, 2:5, 2:5] = True  # a part of the object
    agreement = soft_iou(mask, mask[0].float())
    assert agreement[0] == 1
    assert agreement[1] == pytest.approx(9 / 12)


def test_crumbs_are_dropped_and_small_holes_filled():
    mask = np.zeros((60, 60), bool)
    mask[5:45, 5:45], mask[10:13, 10:13] = True, False
    mask[20:40, 20:40] = False  # a hole of the object
    mask[50:53, 50:53] = True
    clean = postprocessed(mask, CLEAN)
    assert clean[11, 11]
    assert not clean[51, 51]
    assert not clean[30, 30]
    assert not clean[0].any()


# -- PerSAM


def marked(predictor, seed: int = 0) -> MarkedImage:
    image, index = photo(seed)
    own = Predictor(predictor.base)
    own.set_image(image)
    return MarkedImage(own.with_companions, own.frame, (index > 0,))


def test_the_similarity_is_the_mean_cosine(predictor):
    one = marked(predictor)
    cells = _prior.target_cells([one], "persam")
    features = one.see((), UNTOUCHED)
    similar = _prior.similarity(features, one.frame, cells)
    assert similar.shape == (192, 192)
    unit = torch.nn.functional.normalize(features.main[0].flatten(1), dim=0)
    expected = (torch.nn.functional.normalize(cells, dim=1) @ unit).mean(dim=0)
    assert similar.max() <= expected.max() + 1e-5
    x, y = _prior.place(similar)
    assert one.union[int(y), int(x)]


def test_guidance_changes_the_decoder_and_leaves_the_base_alone(tiny_base):
    features = tiny_base.encode_image(torch.randn(1, 3, tiny_base.size, tiny_base.size, generator=torch.manual_seed(0)))
    prompts = _prior.click_prompts(
        matchers.Frame(64, 64, tiny_base.size, tiny_base.squash, tiny_base.low_res), [(20.0, 30.0, 1)]
    )
    cells = tiny_base.grid**2
    plain = _prior.decode(tiny_base, features, prompts).logits
    guide = torch.zeros(cells)
    guide[0] = 5.0
    twin = _guided.guided(tiny_base, guide, torch.zeros(tiny_base.dim))
    assert not torch.allclose(_prior.decode(twin, features, prompts).logits, plain)
    prompted = _guided.guided(tiny_base, torch.zeros(cells), torch.ones(tiny_base.dim))
    unprompted = _guided.guided(tiny_base, torch.zeros(cells), torch.zeros(tiny_base.dim))
    first, second = (_prior.decode(one, features, prompts).logits for one in (prompted, unprompted))
    assert not torch.allclose(first, second)
    assert torch.equal(_prior.decode(tiny_base, features, prompts).logits, plain)


def test_the_guided_attention_is_two_softmaxes():
    class Plain(torch.nn.Module):
        num_attention_heads = 2

        def __init__(self) -> None:
            super().__init__()
            self.q_proj = self.k_proj = self.v_proj = self.o_proj = torch.nn.Identity()

    query, cells = torch.randn(1, 1, 3, 8), torch.randn(1, 1, 5, 8)
    guide = torch.linspace(0, 1, 5)
    out, _ = _guided._GuidedAttention(Plain(), guide)(query, cells, cells)
    for head in (slice(0, 4), slice(4, 8)):
        weights = (query[0, 0, :, head] @ cells[0, 0, :, head].T / 2).softmax(1)
        torch.testing.assert_close(out[0, 0, :, head], (weights + guide).softmax(1) @ cells[0, 0, :, head])


def test_the_weights_go_to_the_mask_that_fits():
    targets = torch.zeros(1, 8, 8)
    targets[:, 2:6, 2:6] = 1
    right = targets * 8 - 4
    masks = torch.stack([-right, right, -right], dim=1)
    start = persam_f.fit_weights(masks, targets, 1)
    weights = persam_f.fit_weights(masks, targets, 600)
    assert weights.sum() == pytest.approx(1)
    assert weights[1] > start[1] > 0.33


def test_persam_takes_no_negative_references(predictor):
    image, index = photo(0)
    with pytest.raises(InputError, match="no negative references"):
        predictor.finder(Reference(image, mask=index), Reference(image), matcher="persam")
