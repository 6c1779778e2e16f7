"""The training of the bundled base: network, prompts, losses, what is left out of them, the learning rate."""

from __future__ import annotations

import copy
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

TOOLS = str(Path(__file__).parents[2] / "tools")
sys.path.insert(0, TOOLS)

import train_nano  # noqa: E402
from nano import checkpoint, losses, network, prompting  # noqa: E402
from nano.feeding import Batches  # noqa: E402
from nano.images import Image, hung, painted, stream, vary  # noqa: E402

SIDE = 64


@pytest.fixture(scope="module")
def model():
    return network.build(0).eval()


def image() -> Image:
    """Object 1 with parts 1 and 2, object 2 without, a speck that is too small."""
    objects, parts = np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    objects[8:40, 4:30], objects[20:60, 36:60], objects[2, 2] = 1, 2, 3
    parts[10:24, 6:20], parts[26:38, 8:28] = 1, 2
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    return Image(image, objects, parts, np.array([0, 1, 1], np.uint8))


def random_logits(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def random_masks(*shape: int) -> torch.Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(1)) > 0.6).float()


# ------------------------------------------------------------------------------------------------------- network


def test_the_network_is_sam2_of_the_size_the_model_card_states(model):
    counts = {
        "whole": sum(p.numel() for p in model.parameters()),
        "encoder": sum(p.numel() for p in model.vision_encoder.parameters()),
        "decoder": sum(p.numel() for p in model.mask_decoder.parameters()),
    }
    assert type(model).__name__ == "Sam2Model"
    assert {name: round(count / 1e6, 2) for name, count in counts.items()} == {
        "whole": 5.69,
        "encoder": 2.52,
        "decoder": 3.16,
    }


def test_its_weights_load_into_the_bundled_base_s_class(model, tmp_path):
    from transformers import Sam2Model

    model.save_pretrained(tmp_path)
    back = Sam2Model.from_pretrained(tmp_path).state_dict()
    assert set(back) == set(model.state_dict())
    assert all(torch.equal(value, back[name]) for name, value in model.state_dict().items())


def test_the_cheaper_forward_passes_are_the_vendor_s(model):
    from transformers import Sam2Model

    plain = Sam2Model(network.configuration()).eval()
    plain.load_state_dict(model.state_dict())
    pixels, points = random_logits(1, 3, 256, 256), torch.tensor([[[[60.0, 90.0]], [[200.0, 31.0]]]])
    labels = torch.ones(1, 2, 1, dtype=torch.long)
    with torch.no_grad():
        masks, scores = network.Decode(model)(*network.Features(model)(pixels), points, labels)
        theirs = plain(pixel_values=pixels, input_points=points, input_labels=labels)
    assert torch.allclose(masks[:, :, 1:], theirs.pred_masks, atol=1e-3)
    assert torch.allclose(scores[:, :, 1:], theirs.iou_scores, atol=1e-3)
    assert masks.std() > 0.01


def test_the_same_seed_starts_alike_with_one_fourier_matrix(model):
    again, first = network.build(0).state_dict(), model.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    one, other = (value for name, value in first.items() if name.endswith("positional_embedding"))
    assert torch.equal(one, other)
    assert one.std() == pytest.approx(1, abs=0.2)


# ------------------------------------------------------------------------------------------------------- prompts


@pytest.mark.parametrize("seed", range(5))
def test_clicks_lie_in_the_mask_they_ask_for_and_in_all_that_hold_it(seed):
    asked = image()
    row = prompting.prompts(np.random.default_rng(seed), asked, clicks=6, others=2, job="box")
    masks, ids = row["masks"] > 0, asked.objects.astype(int) * 256 + asked.parts
    for (point,), (source, small, middle, large) in zip(row["clicks"], row["targets"], strict=False):
        x, y = (int(v) for v in point)
        assert masks[[source, small, large], y // 4, x // 4].all()
        assert middle == large  # no more than two levels here
        assert masks[small].sum() <= masks[source].sum() <= masks[large].sum()
        assert ids[y, x] > 0


@pytest.mark.parametrize("seed", range(5))
def test_boxes_lie_around_their_mask(seed):
    asked = image()
    row = prompting.prompts(np.random.default_rng(seed), asked, clicks=2, others=6, job="box")
    assert row["labels"].tolist() == [[2, 3]] * 6
    for ((x0, y0), (x1, y1)), targets in zip(row["points"], row["targets"][2:], strict=True):
        assert len(set(targets)) == 1
        source = targets[0]
        rows, columns = np.nonzero(row["masks"][source] > 0)
        sides = np.array([columns.min() * 4, rows.min() * 4, columns.max() * 4 + 3, rows.max() * 4 + 3])
        slack = 0.15 * max(sides[2] - sides[0], sides[3] - sides[1]) + 4  # a tenth or so, and the grid of the masks
        assert np.abs(np.array([x0, y0, x1, y1]) - sides).max() <= slack


def test_masks_learn_what_holds_a_click_from_small_to_large():
    asked = image()
    asked.objects[4:64, 0:34][asked.objects[4:64, 0:34] == 0] = 4  # the first object hangs on this one
    asked.groups[1] = 4
    levels = prompting.Levels(asked)
    kinds = [kind for kind, _ in levels.ids]
    assert kinds == [0, 0, 0, 1, 1, 2]
    group = levels.mask(5)
    assert np.array_equal(group, np.isin(asked.objects, (1, 4)))
    object_, other, carrier = (levels.of_object[i] for i in (1, 2, 4))
    assert levels.at(8, 12, object_) == (levels.of_part[1], object_, 5)
    assert levels.at(26, 12, object_) == (object_, 5, 5)  # no part there
    assert levels.at(2, 60, carrier) == (carrier, 5, 5)
    assert levels.at(40, 30, other) == (other,) * 3


def test_a_word_is_a_part_of_its_line_and_the_three_smallest_masks_are_learnt():
    asked = image()
    asked.parts[10:24, 6:12], asked.owner, asked.nested = 3, np.array([0, 1, 1, 1], np.uint8), {3: 1}
    asked.objects[4:64, 0:34][asked.objects[4:64, 0:34] == 0] = 4
    asked.groups[1] = 4
    levels = prompting.Levels(asked)
    line, word, object_ = levels.of_part[1], levels.of_part[3], levels.of_object[1]
    assert np.array_equal(levels.mask(line), np.isin(asked.parts, (1, 3)))
    assert levels.mask(word).sum() == 14 * 6
    assert levels.at(8, 12, word) == (word, line, object_)  # the group is a fourth
    assert levels.at(15, 12, line) == (line, object_, levels.of_group[1])


def test_a_part_that_is_nearly_all_of_its_own_whole_is_no_level():
    asked = image()
    asked.parts[10:24, 6:20] = 3
    asked.parts[10:24, 6], asked.owner, asked.nested = 1, np.array([0, 1, 1, 1], np.uint8), {3: 1}
    levels = prompting.Levels(asked)
    assert 3 not in levels.of_part
    assert levels.at(15, 12, 0)[0] == levels.of_part[1]


def test_a_group_that_is_hardly_more_than_one_of_its_objects_is_none():
    asked = image()
    asked.objects[8:10, 4:30], asked.groups[1] = 4, 4
    assert all(kind < 2 for kind, _ in prompting.Levels(asked).ids)
    asked.groups[1] = 3  # a speck
    assert all(kind < 2 for kind, _ in prompting.Levels(asked).ids)


def test_several_points_are_labelled_by_where_they_lie():
    asked = image()
    for seed in range(10):
        row = prompting.prompts(np.random.default_rng(seed), asked, clicks=1, others=3, job="three points")
        for points, labels, (source, *_) in zip(row["points"], row["labels"], row["targets"][1:], strict=True):
            assert labels[0] == 1
            x, y = points.astype(int).T
            whole = np.kron(row["masks"][source], np.ones((4, 4)))
            assert (whole[y, x][labels == 1] > 0).all()
            assert (whole[y, x][labels == 0] < 255).all()


def test_every_target_is_one_of_the_masks_and_every_mask_is_asked_for_first():
    row = prompting.prompts(np.random.default_rng(0), image(), clicks=3, others=1, job="box")
    used = row["targets"].max() + 1
    assert used == 4  # two objects and two parts; the speck is too small
    assert sorted(row["targets"][:, 0].tolist()) == [0, 1, 2, 3]
    assert row["masks"][:used].any((1, 2)).all()
    assert not row["masks"][used:].any()


def test_an_image_without_anything_large_enough_gives_nothing():
    empty = image()
    empty.objects[:], empty.parts[:] = 0, 0
    empty.objects[3, 3] = 1
    assert prompting.prompts(np.random.default_rng(0), empty, 1, 1, "box") is None


# ------------------------------------------------------------------------------------------------------- losses


def test_balanced_is_the_mean_of_the_means_inside_and_outside():
    logits, target = random_logits(3, 8, 8), random_masks(3, 8, 8)
    p = logits.sigmoid()
    wanted = [0.5 * (-p[i][target[i] == 1].log().mean() - (1 - p[i][target[i] == 0]).log().mean()) for i in range(3)]
    assert torch.allclose(losses.balanced(logits, target), torch.stack(wanted), atol=1e-5)


def test_dice_and_focal_are_the_formulas():
    logits, target = random_logits(2, 8, 8), random_masks(2, 8, 8)
    p = logits.sigmoid()
    for i in range(2):
        soft = 1 - (2 * (p[i] * target[i]).sum() + 1) / (p[i].sum() + target[i].sum() + 1)
        of_truth = torch.where(target[i] == 1, p[i], 1 - p[i])
        weight = torch.where(target[i] == 1, 0.25, 0.75)
        sharp = (-weight * (1 - of_truth) ** 2 * of_truth.log()).mean()
        assert torch.allclose(losses.dice(logits, target)[i], soft, atol=1e-6)
        assert torch.allclose(losses.focal(logits, target)[i], sharp, atol=1e-6)


@pytest.mark.parametrize("early", [1.0, 0.3, 0.0])
def test_the_mask_loss_goes_over_from_balanced_to_focal(early):
    logits, target = random_logits(2, 8, 8), random_masks(2, 8, 8)
    wanted = losses.dice(logits, target) + early * losses.balanced(logits, target)
    wanted = wanted + (1 - early) * 20 * losses.focal(logits, target)
    assert torch.allclose(losses.mask_loss(logits, target, early), wanted, atol=1e-6)


def test_the_slots_learn_what_each_is_told_and_the_score_the_iou_with_the_source():
    masks = random_masks(1, 4, 8, 8)
    logits, scores = random_logits(1, 1, 4, 8, 8), torch.full((1, 1, 4), 0.25)
    found = losses.prompt_losses(logits, scores, masks, torch.tensor([[[2, 0, 3, 1]]]), 0.5)
    one = [losses.mask_loss(logits[0, 0, k], masks[0, m], 0.5) for k, m in enumerate((2, 0, 3, 1))]
    assert torch.allclose(found["mask"], (0.5 * one[0] + one[1] + one[2] + one[3]) / 3.5, atol=1e-6)
    cut, true = logits[0, 0] > 0, masks[0, 2] > 0.5
    ious = torch.stack([(cut[k] & true).sum() / (cut[k] | true).sum() for k in range(4)])
    assert torch.allclose(found["iou"], (0.25 - ious).square().mean(), atol=1e-6)


# ----------------------------------------------------------------------------------- images that are incomplete


def test_banners_on_carriers_are_groups_in_every_view():
    found = [street for street in map(hung, range(12)) if street.groups]
    assert len(found) > 3
    for street in found:
        assert vary(np.random.default_rng(0), street, SIDE).groups == street.groups
        held = street.objects[np.isin(street.objects, [*street.groups, *street.groups.values()])]
        assert set(street.groups).isdisjoint(street.groups.values())
        assert held.size


def test_streets_are_incomplete_and_scenes_complete():
    street, scene = hung(0), painted(0)
    assert (street.complete, scene.complete) == (False, True)
    assert vary(np.random.default_rng(0), street, SIDE).complete is False
    row = prompting.prompts(np.random.default_rng(0), vary(np.random.default_rng(0), street, 128), 1, 1, "box")
    assert row["complete"] == 0


def test_the_share_of_streets_is_the_one_asked_for(monkeypatch):
    kinds = {"hung": [], "painted": []}
    for name, found in kinds.items():
        monkeypatch.setattr(f"nano.images.{name}", lambda seed, found=found: found.append(seed) or image())
    draws = stream(0, None, share=0.0, streets=0.3, reuse=1)
    for _ in range(400):
        next(draws)
    assert len(kinds["hung"]) + len(kinds["painted"]) == 400
    assert len(kinds["hung"]) == pytest.approx(0.3 * 400, abs=30)


def dense_inputs(complete: list[float]) -> tuple[torch.Tensor, ...]:
    count = len(complete)
    levels = [random_logits(count, c, s, s) for c, s in ((32, 16), (64, 8), (256, 4))]
    ids = torch.arange(count * 256).reshape(count, 16, 16) // 50 % 5
    return *levels, ids, ids // 2, torch.tensor(complete)


@pytest.fixture
def heads(monkeypatch):
    """The dense heads, with the same anchors in every image: drawn ones would differ with the batch."""
    monkeypatch.setattr(losses, "_anchors", lambda ids, count: torch.arange(count).expand(len(ids), -1))
    torch.manual_seed(0)
    return losses.Dense()


def test_an_incomplete_image_is_left_out_of_the_dense_losses(heads):
    both, alone = dense_inputs([1.0, 0.0]), dense_inputs([1.0, 1.0])
    found = heads(*both)
    wanted = heads(*(value[:1] for value in alone))
    for name in ("affinity", "border"):
        assert torch.allclose(found[name], wanted[name], atol=1e-6)
        assert found[name] > 0
        assert not torch.allclose(heads(*alone)[name], wanted[name], atol=1e-6)


def test_a_batch_of_nothing_but_streets_has_no_dense_loss(heads):
    found = heads(*dense_inputs([0.0, 0.0]))
    assert {name: value.item() for name, value in found.items()} == {"affinity": 0.0, "border": 0.0}


def test_borders_are_where_ids_change():
    ids = torch.zeros(1, 6, 6, dtype=torch.long)
    ids[0, :, 3:], ids[0, 4:] = 1, 2
    edge = torch.zeros(1, 6, 6)
    edge[0, :4, 3], edge[0, 4] = 1, 1
    logits = random_logits(1, 6, 6)
    assert torch.allclose(losses.Dense._border(logits, ids), losses.balanced(logits, edge))


# ------------------------------------------------------------------------------------------------- batches, rate


def test_a_batch_is_what_the_losses_take(monkeypatch):
    for name in ("hung", "painted"):
        monkeypatch.setattr(f"nano.images.{name}", lambda seed: image())
    options = {"size": SIDE, "batch": 3, "clicks": 4, "others": 2, "photographs": None, "share": 0.0}
    one, again = (next(iter(Batches(seed=5, streets=0.5, reuse=2, **options))) for _ in range(2))
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert one["image"].shape == (3, 3, SIDE, SIDE)
    assert one["masks"].shape == (3, 18, SIDE // 4, SIDE // 4)
    logits = random_logits(3, 6, 4, SIDE // 4, SIDE // 4)
    found = losses.prompt_losses(logits, logits.mean((3, 4)), one["masks"].float() / 255, one["targets"], 0.5)
    assert all(torch.isfinite(value) for value in found.values())


def test_a_run_begins_with_an_exported_base_and_goes_on_with_its_own(model, tmp_path):
    copy.deepcopy(model).half().save_pretrained(tmp_path / "base")
    options = {"run": tmp_path, "start": tmp_path / "base", "seed": 5, "processes": 1, "device": "cpu"}
    args = Namespace(**options, optimiser="adamw", size=SIDE)
    first = train_nano.Trainer(args)
    for now in (first.model.state_dict(), first.average):
        assert all(torch.equal(now[k], v.half().to(v.dtype)) for k, v in model.state_dict().items())
    with torch.no_grad():
        first.model.mask_decoder.iou_token.weight.add_(1)
    first.progress["step"] = 3
    checkpoint.save(tmp_path, first)
    again = train_nano.Trainer(args)
    assert again.progress["step"] == 3
    assert torch.equal(again.model.mask_decoder.iou_token.weight, first.model.mask_decoder.iou_token.weight)


@pytest.mark.parametrize(
    ("step", "share", "finish", "factor"),
    [
        (0, 0.0, False, 1 / 200),
        (99, 0.9, False, 0.5),
        (199, 0.0, False, 1.0),
        (10**6, 0.99, False, 1.0),
        (10**6, 0.0, True, 1.0),
        (10**6, 0.75, True, 0.25),
        (99, 0.5, True, 0.25),
        (10**6, 1.2, True, 0.0),
    ],
)
def test_the_rate_rises_stays_and_with_finish_falls_to_nothing(step, share, finish, factor):
    args = Namespace(lr=2e-3, warm_up=200, finish=finish)
    assert train_nano.rate(args, step, share) == pytest.approx(2e-3 * factor)


def test_focal_is_torch_s_cross_entropy_at_no_exponent():
    logits, target = random_logits(1, 8, 8), random_masks(1, 8, 8)
    plain = F.binary_cross_entropy_with_logits(logits, target)
    assert losses.focal(logits, target, alpha=0.5, gamma=0.0) == pytest.approx(float(plain) / 2)
