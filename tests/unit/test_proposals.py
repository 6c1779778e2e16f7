"""Trained proposals: targets, loss and calibration against references; training; rejection; disk."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.transform import Frame
from samtailor.errors import ArtefactError, DataError, InputError
from samtailor.fitting.proposals import assign_folds, evaluate_proposals, fit_proposals
from samtailor.masks import interior
from samtailor.masks.nms import box_nms
from samtailor.prompts.proposals import build
from samtailor.proposals import Proposals, Proposed, disk, platt
from samtailor.proposals.calibration import Scene, calibrate, fit_platt, matched, measure
from samtailor.proposals.head import CONTAINMENT, OVERLAP, Head, Heads, decode
from samtailor.proposals.targets import loss, place, target
from samtailor.structures import Annotation, Features, Sample
from tiny import disc_sample

FRAME = Frame(height=48, width=80, size=64, squash=False, low_res=16)


def blank(index: int) -> Sample:
    """A similar image without disc and square."""
    pixels = np.random.default_rng(index).integers(90, 140, (48, 80, 3), dtype=np.uint8)
    return Sample(f"n{index:03d}", lambda: pixels, lambda: ())


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> EmbeddingCache:
    return EmbeddingCache(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return [*(disc_sample(i) for i in range(12)), *(blank(i) for i in range(100, 106))]


@pytest.fixture(scope="module")
def learnt(tiny_sam, samples, store) -> Proposals:
    return fit_proposals(
        tiny_sam, samples, ("disc", "square"), store, steps=60, batch_size=4, width=32, lr=5e-3, folds=2
    )


# -- learning


def test_objects_are_detected_in_new_images_and_blank_images_are_rejected(learnt, tiny_sam, store):
    new = [*(disc_sample(i) for i in range(50, 58)), *(blank(i) for i in range(150, 156))]
    figures = evaluate_proposals(learnt, tiny_sam, new, store)
    for label in ("disc", "square"):
        assert figures[label]["objects"] == 8
        assert figures[label]["negatives"] == 6
        assert figures[label]["recall_points"] >= 0.75
        assert figures[label]["precision_points"] >= 0.75
        assert figures[label]["false_positive_rate"] <= 0.2
    assert figures["disc"]["recall_boxes"] >= 0.5
    cross = learnt.figures["cross_fitted"]["disc"]
    assert (cross["images"], cross["objects"], cross["negatives"]) == (18, 12, 6)


def test_scores_are_calibrated(learnt):
    assert all(slope > 0 for slope, _ in learnt.calibration.values())
    assert platt(0.5, 2.0, 0.0) == 0.5
    assert platt(0.9, 1.0, 0.0) == pytest.approx(0.9)


def test_the_same_seed_gives_the_same_head_whatever_was_drawn_before(tiny_sam, samples, store):
    one, other = (
        (torch.manual_seed(seed), fit_proposals(tiny_sam, samples[:4], ["disc"], store, steps=2, folds=0))[1]
        for seed in (1, 2)
    )
    for name, value in one.head.state_dict().items():
        assert torch.equal(value, other.head.state_dict()[name]), name
    another = fit_proposals(tiny_sam, samples[:4], ["disc"], store, steps=2, folds=0, seed=5)
    assert any(not torch.equal(v, another.head.state_dict()[k]) for k, v in one.head.state_dict().items())


@pytest.mark.parametrize("steps", [1, 2, 10, 11])
def test_every_number_of_steps_has_a_learning_rate(tiny_sam, samples, store, steps):
    learnt = fit_proposals(tiny_sam, samples[:4], ["disc"], store, steps=steps, batch_size=1, width=16, folds=0)
    assert all(value.isfinite().all() for value in learnt.head.state_dict().values())


def test_data_that_cannot_be_learnt_is_refused(tiny_sam, samples, store):
    with pytest.raises(DataError, match="object of the class 'banner'"):
        fit_proposals(tiny_sam, samples, ["banner"], store)
    with pytest.raises(InputError, match="folds"):
        fit_proposals(tiny_sam, samples, ["disc"], store, folds=1)


# -- targets and loss


def test_the_point_of_a_mask_is_deep_inside_and_in_the_middle_of_a_bar():
    bar = np.zeros((20, 60), bool)
    bar[8:13, 5:56] = True
    assert place(bar) == (30, 10)
    y, x = np.mgrid[:40, :60]
    crescent = ((y - 20) ** 2 + (x - 25) ** 2 < 340) & ~((y - 20) ** 2 + (x - 32) ** 2 < 200)
    column, row = (int(v) for v in place(crescent))
    depth, (x0, y0) = interior.distance(crescent)
    assert crescent[row, column]
    assert depth[row - y0, column - x0] >= 0.7 * depth.max()


def test_a_target_decodes_to_its_own_box_and_point():
    mask = np.zeros((48, 80), bool)
    mask[10:30, 20:60] = True
    crowd = np.zeros((48, 80), bool)
    crowd[40:, :10] = True
    marked = [Annotation.from_mask("a", mask), Annotation.from_mask("a", crowd, crowd=True)]
    made = target(marked, ("b", "a"), FRAME, 16)
    assert (made.heat == 1).nonzero().tolist() == [[1, 3, 7]]  # pixel (39, 19), its middle times 0.8, in cells of 4 px
    assert made.near[1].sum() == 9
    assert not made.near[0].any()
    assert made.ignored[1, 8:10, :2].all()
    assert made.ignored.sum() == made.ignored[1, 8:10, :2].sum()
    heat = torch.where(made.heat == 1, 5.0, -9.0)
    boxes, points, scores, index = decode(heat, made.sides, FRAME)
    assert index == [1]
    assert boxes[0] == pytest.approx([20, 10, 60, 30], abs=0.01)
    assert points[0] == pytest.approx([(7.5 * 4) / 0.8 - 0.5, (3.5 * 4) / FRAME.scale[1] - 0.5], abs=1e-4)
    assert scores[0] == pytest.approx(torch.tensor(5.0).sigmoid().item())


@pytest.mark.parametrize("upright", [False, True])
def test_the_gaussian_of_a_target_is_as_elongated_as_the_object(upright):
    """Sigma is an eighth of each side of the box, at least 0.6 cells."""
    side = 160
    mask = np.zeros((side, side), bool)
    mask[64:96, 16:144] = True  # 128 by 32 px; in a frame of 64 px with 16 cells 51.2 by 12.8 px, 12.8 by 3.2 cells
    mask = mask.T if upright else mask
    frame = Frame(side, side, 64, True, 32)
    heat = target([Annotation.from_mask("a", mask)], ("a",), frame, 16).heat[0]
    row, column = (int(v) for v in (heat == 1).nonzero()[0])
    along, across = heat[row, column - 3 : column + 4], heat[row - 3 : row + 4, column]
    along, across = (across, along) if upright else (along, across)
    steps = torch.arange(-3.0, 4.0)
    torch.testing.assert_close(along, torch.exp(-(steps**2) / (2 * 1.6**2)))
    torch.testing.assert_close(across, torch.exp(-(steps**2) / (2 * 0.6**2)))


def test_a_box_matches_from_an_iou_of_one_half():
    mask = np.zeros((40, 40), bool)
    mask[10:20, 10:20] = True
    truth = [Annotation.from_mask("a", mask)]
    for height, iou in ((10, 1.0), (15, 2 / 3), (19, 10 / 19), (21, 10 / 21)):
        box = np.array([[10, 10, 20, 10 + height]], np.float32)
        proposed = Proposed(box, np.array([[0, 0]], np.float32), np.ones(1, np.float32), ("a",))
        assert matched(proposed, truth, "boxes").tolist() == [0 if iou >= 0.5 else -1]
        assert matched(proposed, truth, "points").tolist() == [-1]


def test_a_small_object_in_front_keeps_its_cells():
    large, small = np.zeros((48, 80), bool), np.zeros((48, 80), bool)
    large[4:44, 20:60], small[22:26, 38:42] = True, True
    made = target([Annotation.from_mask("a", small), Annotation.from_mask("a", large)], ("a",), FRAME, 16)
    row, column = (made.heat[0] == 1).nonzero()[0].tolist()
    # a frame of 64 px, 0.8 px per image pixel: no side of the small one is longer than 4 cells
    assert (made.sides[0, :, row, column] * 64).max() < 8


def test_the_loss_by_hand():
    """CenterNet's Eq. 1 and generalized IoU, element by element."""
    mask = np.zeros((48, 80), bool)
    mask[10:30, 20:60] = True
    made = target([Annotation.from_mask("a", mask)], ("a",), FRAME, 16)
    made.ignored[0, 0, 0] = True
    batch = type(made)(*(getattr(made, n)[None] for n in ("heat", "sides", "near", "ignored")))
    torch.manual_seed(0)
    logits, sides = torch.randn(1, 1, 16, 16), torch.rand(1, 1, 4, 16, 16) + 0.05
    total, boxes, logs = 0.0, [], []
    for r in range(16):
        for c in range(16):
            p, y = torch.sigmoid(logits[0, 0, r, c]).item(), made.heat[0, r, c].item()
            if y == 1:
                total -= (1 - p) ** 2 * np.log(p)
            elif not made.ignored[0, r, c]:
                total -= (1 - y) ** 4 * p**2 * np.log(1 - p)
            if made.near[0, r, c]:
                (l1, t1, r1, b1), (l2, t2, r2, b2) = sides[0, 0, :, r, c].tolist(), made.sides[0, :, r, c].tolist()
                common = (min(l1, l2) + min(r1, r2)) * (min(t1, t2) + min(b1, b2))
                union = (l1 + r1) * (t1 + b1) + (l2 + r2) * (t2 + b2) - common
                hull = (max(l1, l2) + max(r1, r2)) * (max(t1, t2) + max(b1, b2))
                boxes.append(1 - (common / union - (hull - union) / hull))
                logs += [abs(np.log(a / b)) for a, b in ((l1, l2), (t1, t2), (r1, r2), (b1, b2))]
    assert loss(logits, sides, batch).item() == pytest.approx(total + np.mean(boxes) + 0.5 * np.mean(logs), rel=1e-4)


def test_nms_drops_a_duplicate_box_and_a_box_inside_another():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [2, 2, 5, 5], [8, 0, 18, 10]], np.float32)
    assert box_nms(boxes, iou=OVERLAP, containment=CONTAINMENT) == [0, 3]


@pytest.mark.parametrize("skips", [(), (8, 0)])
def test_heads_use_the_high_resolution_features_of_the_base(skips):
    head = Head(32, skips, classes=3, width=32)
    features = Features(torch.randn(2, 32, 8, 8), (torch.randn(2, 8, 16, 16),) if skips else ())
    heat, sides = head.eval()(features)
    side = 8 * 2 ** len(skips)
    assert heat.shape == (2, 3, side, side)
    assert sides.shape == (2, 3, 4, side, side)
    assert (sides > 0).all()
    assert heat.sigmoid().mean().item() == pytest.approx(0.01, abs=0.02)


# -- calibration


def scene(name: str, heats: list[float], hits: list[bool], empty: bool = False) -> Scene:
    """A candidate every 10 px along a line; `hits` tells which of them have an object."""
    masks = []
    for i, hit in enumerate(hits):
        if hit:
            mask = np.zeros((10, 80), bool)
            mask[2:8, 10 * i + 2 : 10 * i + 8] = True
            masks.append(Annotation.from_mask("a", mask))
    n = len(heats)
    x = np.arange(n) * 10.0
    boxes = np.stack([x + 2, np.full(n, 2.0), x + 8, np.full(n, 8.0)], 1)
    points = np.stack([x + 5, np.full(n, 5.0)], 1)
    raw = Proposed(boxes, points, np.array(heats), ("a",) * n)
    return Scene(name, raw, () if empty else tuple(masks))


def test_platt_scaling_recovers_the_slope_of_the_labels():
    rng = np.random.default_rng(0)
    heat = rng.uniform(0.01, 0.99, 4000)
    right = rng.random(4000) < [platt(h, 2.0, -1.0) for h in heat]
    slope, offset = fit_platt(heat, right)
    assert slope == pytest.approx(2.0, abs=0.2)
    assert offset == pytest.approx(-1.0, abs=0.15)
    assert fit_platt(np.zeros(0), np.zeros(0, bool)) == (1.0, 0.0)
    assert fit_platt(heat, ~(heat > 0.5))[0] > 0  # a higher heat never means less


def test_the_threshold_keeps_the_best_f1_and_rejects_images_without_the_object():
    scenes = [
        scene("p", [0.9, 0.8, 0.3], [True, True, False]),
        scene("q", [0.7, 0.2], [True, False]),
        scene("n", [0.4, 0.35], [False, False]),
    ]
    slopes, thresholds = calibrate(scenes, ["a"], "points")
    low, high = (platt(h, *slopes["a"]) for h in (0.4, 0.7))
    assert low < thresholds["a"] < high
    head = Head(8, (), 1, 32)
    proposals = Proposals(head, ["a"], "f", calibration=slopes, thresholds=thresholds)
    figures = measure(scenes, proposals)["a"]
    assert figures["recall_points"] == figures["precision_points"] == figures["recall_boxes"] == 1
    assert (figures["negatives"], figures["false_positive_rate"]) == (1, 0)
    proposals.thresholds["a"] = 0.0
    figures = measure(scenes, proposals)["a"]
    assert figures["false_positive_rate"] == 1
    assert figures["precision_points"] == pytest.approx(3 / 7)
    assert figures["false_positives_per_image"] == pytest.approx(4 / 3)


def test_empty_images_are_rejected_even_where_f1_is_higher_without():
    full = [scene(f"p{i}", [0.9, 0.5], [True, True]) for i in range(10)]
    empty = [scene(f"n{i}", [0.6], [False]) for i in range(5)]
    _, with_empty = calibrate([*full, *empty], ["a"], "points")
    slopes, without = calibrate(full, ["a"], "points")
    assert without["a"] < platt(0.5, *slopes["a"])
    slopes, _ = calibrate([*full, *empty], ["a"], "points")
    assert platt(0.6, *slopes["a"]) < with_empty["a"] < platt(0.9, *slopes["a"])
    one_of_five = [*empty[1:], scene("n", [0.95], [False])]  # a fifth may pass
    slopes, thresholds = calibrate([*full, *one_of_five], ["a"], "points")
    assert platt(0.6, *slopes["a"]) < thresholds["a"] < platt(0.9, *slopes["a"])


def test_two_unlabeled_images_do_not_suppress_a_class():
    full = [scene(f"p{i}", [0.9, 0.5], [True, True]) for i in range(10)]
    unmarked = [scene(f"n{i}", [0.95], [False]) for i in range(2)]
    slopes, thresholds = calibrate([*full, *unmarked], ["a"], "points")
    assert thresholds["a"] <= platt(0.9, *slopes["a"])
    hopeless = [scene(f"p{i}", [0.9, 0.5], [False, i == 0]) for i in range(10)]  # nothing to lose: the limit stands
    slopes, thresholds = calibrate([*hopeless, *unmarked], ["a"], "points")
    assert thresholds["a"] > platt(0.95, *slopes["a"])


def test_a_threshold_is_the_lowest_of_those_near_the_best():
    scenes = [scene(f"p{i}", [0.9 - 0.001 * i], [True]) for i in range(30)] + [scene("q", [0.8, 0.3], [True, False])]
    slopes, thresholds = calibrate(scenes, ["a"], "points")
    assert thresholds["a"] < platt(0.3, *slopes["a"])  # one more wrong one costs 2 % of F1


def test_each_object_is_matched_once():
    one = scene("p", [0.9], [True])
    twice = Proposed(one.raw.boxes[[0, 0]], one.raw.points[[0, 0]], np.array([0.9, 0.8]), ("a", "a"))
    assert matched(twice, one.truths, "points").tolist() == [0, -1]
    assert matched(twice, one.truths, "boxes").tolist() == [0, -1]
    beside = replace(twice, points=twice.points + 20)
    assert matched(beside, one.truths, "points").tolist() == [-1, -1]
    assert matched(beside, one.truths, "boxes").tolist() == [0, -1]


def test_folds_keep_groups_together_and_hold_out_every_image_once(samples):
    grouped = [replace(s, group=f"g{i // 3}") for i, s in enumerate(samples)]
    parts = assign_folds(grouped, 3, seed=1)
    assert sorted(i for part in parts for i in part) == list(range(len(samples)))
    homes = [{grouped[i].group for i in part} for part in parts]
    assert sum(map(len, homes)) == len(set.union(*homes))
    assert assign_folds(grouped[:3], 3, seed=1) == []


# -- disk and prompt source


def test_loaded_proposals_equal_the_saved_ones(learnt, tiny_sam, store, tmp_path):
    learnt.save(tmp_path)
    again = Proposals.load(tmp_path, tiny_sam)
    features = store.features(tiny_sam, disc_sample(60))
    one, other = (p.propose(features, Frame.of(tiny_sam, 48, 80), threshold=0.0) for p in (learnt, again))
    assert len(one)
    assert (one.boxes == other.boxes).all()
    assert (one.scores == other.scores).all()
    assert (np.diff(one.scores) <= 0).all()
    assert again.figures == learnt.figures
    assert again.thresholds == learnt.thresholds
    only = again.propose(features, Frame.of(tiny_sam, 48, 80), threshold=0.0, classes=["square"])
    assert set(only.labels) == {"square"}
    with pytest.raises(InputError, match="no class 'banner'"):
        again.propose(features, Frame.of(tiny_sam, 48, 80), classes=["banner"])


def test_other_bases_and_damage_are_refused(learnt, tiny_sam, tiny_sam2, tmp_path):
    with pytest.raises(ArtefactError, match="propose-fit"):
        Proposals.load(tmp_path, tiny_sam)
    learnt.save(tmp_path)
    with pytest.raises(ArtefactError, match="another base"):
        Proposals.load(tmp_path, tiny_sam2)
    values = json.loads((tmp_path / disk.METADATA).read_text())
    del values["crc32"]
    for change, message in (
        ({"schema_version": 9}, "Upgrade"),
        ({"width": 64}, "does not fit"),
        ({"sha256": ""}, "digest"),
    ):
        (tmp_path / disk.METADATA).write_text(json.dumps(values | change))
        with pytest.raises(ArtefactError, match=message):
            Proposals.load(tmp_path, tiny_sam)
    (tmp_path / disk.METADATA).write_text(json.dumps(values))
    (tmp_path / disk.TENSORS).write_bytes((tmp_path / disk.TENSORS).read_bytes()[:-40])
    with pytest.raises(ArtefactError, match="damaged"):
        Proposals.load(tmp_path, tiny_sam)


def test_the_prompt_source_points_at_the_masks(learnt, tiny_sam, store):
    sample = disc_sample(51)
    source = build(proposals=learnt, base=tiny_sam, store=store)
    masks = [a.mask for a in sample.annotations]
    proposed, _ = source.proposed(sample)
    clicks = source(sample, masks)
    assert clicks.frame == (48, 80)
    assert clicks.points.shape == (1, 2, 1, 2)
    boxes = build(proposals=learnt, base=tiny_sam, store=store, give="boxes", pick="best")(sample, masks)
    assert boxes.boxes[0].tolist() == proposed.boxes[[0, 0]].tolist()
    nothing = build(proposals=learnt, base=tiny_sam, store=store, threshold=1.0)
    assert nothing(sample, masks).points[0, :, 0].tolist() == [[39.5, 23.5]] * 2
    assert nothing.fallbacks == 1
    with pytest.raises(InputError, match="either adapter"):
        build()


def test_several_heads_are_averaged_and_loaded_from_disk(learnt, tiny_sam, samples, store, tmp_path):
    assert len(learnt.head.members) == 3  # two folds and all images
    features = store.features(tiny_sam, samples[0])
    with torch.no_grad():
        heat, sides = learnt.head(features)
        apart = [member(features) for member in learnt.head.members]
    assert torch.allclose(heat, sum(h for h, _ in apart) / 3, atol=1e-5)
    assert torch.allclose(sides.log(), sum(s.log() for _, s in apart) / 3, atol=1e-4)
    learnt.save(tmp_path)
    again = Proposals.load(tmp_path, tiny_sam)
    assert isinstance(again.head, Heads)
    with torch.no_grad():
        assert torch.equal(again.head(features)[0], heat)
