"""The training of the bundled base: network, views, prompts, losses, corrective clicks, cache and checkpoints."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from transformers import Sam2Model

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import train_bundled_base as training
from bundled_base import blobs, cache, checkpoint, compose, corrections, drawings, losses, network, portraits, prompting
from bundled_base.decoder import Decode, Neck
from bundled_base.evaluation import Item, measure
from bundled_base.feeding import CachedBatches, maps
from bundled_base.images import Labelled, view
from bundled_base.optimizers import Optimizers

SIDE = 64


@pytest.fixture(scope="module")
def model():
    return network.build(0, size=SIDE).eval()


def labelled(side: int = SIDE) -> Labelled:
    """Object 1 with part 1, in which part 2 is nested; object 2 without parts; object 3 is too small."""
    objects, parts = np.zeros((side, side), np.uint16), np.zeros((side, side), np.uint16)
    objects[8:40, 4:30], objects[20:60, 36:60], objects[2, 2] = 1, 2, 3
    parts[10:34, 6:26], parts[14:24, 8:18] = 1, 2
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Labelled(image, objects, parts, {1: 1, 2: 1}, nested={2: 1})


def test_the_cheaper_forward_passes_equal_transformers(model):
    pixels, points = torch.randn(2, 3, SIDE, SIDE), torch.rand(2, 3, 2, 2) * SIDE
    labels = torch.tensor([[[1, 0]] * 3] * 2)
    with torch.no_grad():
        found = list(model.get_image_features(pixels, return_dict=True).fpn_hidden_states)
        found[-1] = found[-1] + model.no_memory_embedding
        expected = [x.permute(1, 2, 0).unflatten(2, (SIDE >> k, -1)) for k, x in zip((2, 3, 4), found, strict=True)]
        trunk = model.vision_encoder.backbone.trunk(pixels)
        levels = Neck(model)([x.permute(0, 2, 3, 1) for x in trunk])
        for ours, theirs in zip(levels, expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
        logits, iou, presence = Decode(model)(levels, points, labels)
        sparse, dense = model.prompt_encoder(points, labels, None, None)
        masks, scores, _, score = model.mask_decoder(
            image_embeddings=levels[2],
            image_positional_embeddings=model.get_image_wide_positional_embeddings().expand(2, -1, -1, -1),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
            high_resolution_features=list(levels[:2]),
        )
    torch.testing.assert_close(logits[:, :, 1:], masks, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(iou[:, :, 1:], scores, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(presence[..., None], score, atol=1e-5, rtol=1e-4)


def test_a_saved_model_loads_again_by_transformers(model, tmp_path):
    model.save_pretrained(tmp_path)
    back = Sam2Model.from_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["vision_config"]["backbone_config"]["model_type"] == (
        "samtailor_efficientnet_lite"
    )
    for name, value in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], value), name


def test_folding_the_batch_norm_keeps_the_function():
    conv, norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, eps=1e-3).eval()
    for value in (norm.weight, norm.bias, norm.running_mean):
        nn.init.uniform_(value, 0.5, 2)
    folded = nn.Conv2d(3, 4, 3)
    state = {f"c.{k}": v for k, v in conv.state_dict().items()} | {f"n.{k}": v for k, v in norm.state_dict().items()}
    with torch.no_grad():
        network._fold(folded, state, "c", "n")
        x = torch.randn(1, 3, 8, 8)
        torch.testing.assert_close(folded(x), norm(conv(x)), atol=1e-5, rtol=1e-4)


def test_same_padding_is_that_of_tensorflow():
    from samtailor.bases._efficientnet import SameConv

    conv = SameConv(1, 1, 3, 2)
    nn.init.ones_(conv.weight)
    nn.init.zeros_(conv.bias)
    x = torch.zeros(1, 1, 6, 6)
    x[..., 0, 0] = 1
    assert conv(x).flatten().tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0]  # no padding before, one pixel after


def test_a_view_keeps_ids_apart_and_at_half_the_side():
    for seed in range(20):
        seen = view(np.random.default_rng(seed), labelled(), 96)
        assert seen.image.shape == (96, 96, 3)
        assert seen.objects.shape == seen.parts.shape == (48, 48)
        assert seen.objects.dtype == seen.parts.dtype == np.uint8
        assert set(np.unique(seen.parts)) - {0} == set(seen.owner)
        for part, owner in seen.owner.items():
            assert set(np.unique(seen.objects[seen.parts == part])) == {owner}


def test_a_click_learns_the_masks_around_it_from_small_to_large():
    levels = prompting.Levels(labelled())
    inner, outer, whole = levels.of_part[2], levels.of_part[1], levels.of_object[1]
    assert levels.at(10, 16, inner) == (inner, outer, whole)
    assert levels.at(22, 30, outer) == (outer, whole, whole)
    assert levels.mask(outer).sum() == 24 * 20  # with what is nested in it
    assert 3 not in levels.of_object


def test_prompts_lie_on_their_masks_and_absent_ones_on_nothing():
    source = labelled(128)
    for seed in range(10):
        seen = prompting.prompts(np.random.default_rng(seed), source, 4, 2, "box")
        for p, (x, y) in enumerate(seen["clicks"][:, 0]):
            wanted = seen["masks"][seen["targets"][p, 0]]
            inside = source.objects[int(y) // 2, int(x) // 2] > 0
            assert inside == bool(seen["present"][p])
            if seen["present"][p]:
                assert wanted[int(y) // 4, int(x) // 4] > 0
        assert seen["points"].shape == (2, 2, 2)
        assert seen["labels"].tolist() == [[2, 3]] * 2


@pytest.mark.parametrize("early", [1.0, 0.4, 0.0])
def test_the_mask_loss_has_the_gradient_of_its_value(early):
    logits = torch.randn(2, 5, 7, dtype=torch.double, requires_grad=True)
    target = torch.rand(2, 5, 7, dtype=torch.double)
    assert torch.autograd.gradcheck(lambda x: losses.MaskLoss.apply(x, target, early), (logits,))


def test_absent_prompts_train_the_object_score_alone():
    logits, scores, presence = (torch.zeros(s, requires_grad=True) for s in ((1, 2, 4, 8, 8), (1, 2, 4), (1, 2)))
    batch = {
        "masks": torch.full((1, 1, 8, 8), 255, dtype=torch.uint8),
        "bands": torch.zeros(1, 1, 8, 8, dtype=torch.uint8),
        "targets": torch.zeros(1, 2, 4, dtype=torch.long),
        "present": torch.tensor([[1.0, 0.0]]),
    }
    sum(losses.prompt_losses(logits, scores, presence, batch, 0.0).values()).backward()
    assert logits.grad[0, 0].abs().sum() > 0
    assert logits.grad[0, 1].abs().sum() == 0
    assert presence.grad[0, 0] < 0 < presence.grad[0, 1]


def test_a_corrective_click_lies_in_the_error_and_is_labelled_by_the_truth():
    before, wanted = torch.full((1, 2, 16, 16), -5.0), torch.zeros(1, 2, 16, 16)
    wanted[0, 0, 4:10, 4:10] = 1  # missed: a positive click
    before[0, 1, 2:6, 8:14] = 5.0  # too much: a negative click
    points, labels = corrections.correct(before, wanted, 64)
    x, y = ((points[0, :, 0] + 0.5) / 4).floor().long().T
    assert wanted[0, 0, y[0], x[0]] == 1
    assert before[0, 1, y[1], x[1]] > 0
    assert labels.flatten().tolist() == [1, 0]


def test_regions_of_a_drawing_are_nested_by_containment():
    face, eye, hat = (np.zeros((40, 40), np.uint8) for _ in range(3))
    face[10:38, 5:35], eye[20:26, 12:18], hat[2:12, 8:30] = 255, 255, 255
    top, parents = drawings.regions([face, eye, hat], least=10)
    assert parents.tolist() == [0, 0, 1, 0]
    assert top[22, 14] == 2
    assert top[30, 30] == 1
    assert top[11, 10] == 3


def test_pasting_gives_every_cut_out_its_own_ids():
    item = compose.cut_out(labelled(), 1)
    onto = Labelled(np.zeros((96, 96, 3), np.uint8), np.zeros((96, 96), np.uint16), np.zeros((96, 96), np.uint16))
    pasted = compose.paste(np.random.default_rng(1), onto, [item, item])
    assert set(np.unique(pasted.objects)) <= {0, 1, 2}
    for part in np.unique(pasted.parts[pasted.parts > 0]):
        assert set(np.unique(pasted.objects[pasted.parts == part])) == {pasted.owner[int(part)]}
    assert pasted.nested == {2: 1, 4: 3}


@pytest.fixture
def features(model, tmp_path):
    """A cache folder with one shard of four views."""

    def stream():
        rng = np.random.default_rng(0)
        while True:
            yield rng, labelled(96)

    arrays, metas = cache.make(model.vision_encoder.backbone.trunk, stream(), 4, SIDE, batch=2)
    cache.write(tmp_path / "cache" / "0001-0000", arrays, metas)
    return tmp_path / "cache"


def test_cached_features_come_back_within_the_step_of_int8(model, features):
    shard = cache.Shard(features / "0001-0000")
    batch = {k: torch.from_numpy(np.array(v))[None] for k, v in shard.features(1).items()}
    for level, x in zip(cache.LEVELS, maps(batch), strict=True):
        assert x.shape[1] == SIDE // int(level[1:])
        assert x.abs().amax() > 0
    assert shard.labelled(1).owner.keys() == set(np.unique(shard.labelled(1).parts)) - {0}


def arguments(run: Path, features: Path, **others) -> Namespace:
    """The command line of a tiny run."""
    sys.argv = ["train", "--run", str(run), "--cache", str(features)]
    args = training.options()
    vars(args).update({"batch": 2, "clicks": 2, "others": 1, "warm_up": 1, "size": SIDE} | others)
    run.mkdir(exist_ok=True)
    return args


def test_a_run_goes_on_from_its_checkpoint_and_from_an_export(features, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [])
    args = arguments(tmp_path / "run", features, corrections=1.0)
    trainer = training.Trainer(args)
    batches = iter(CachedBatches(features, 2, 2, 1, 0))
    found = trainer.step(next(batches), 1e-3)
    assert {"mask", "iou", "presence", "dense", "corrected"} <= found.keys()
    assert all(np.isfinite(v) for v in found.values())
    checkpoint.save(args.run, trainer)
    again = training.Trainer(args)
    assert again.progress == trainer.progress
    assert again.progress["images"] == 2
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name
    checkpoint.export(args.run, tmp_path / "base.safetensors")
    checkpoint.export(args.run, tmp_path / "folder")
    started = training.Trainer(arguments(tmp_path / "other", features, start=tmp_path / "base.safetensors"))
    assert started.progress["step"] == 1
    name = "mask_decoder.iou_token.weight"
    for found in (started.model, Sam2Model.from_pretrained(tmp_path / "folder", dtype=torch.float32)):
        torch.testing.assert_close(found.state_dict()[name], trainer.average[name], atol=1e-3, rtol=1e-3)


def test_stage_one_leaves_the_trunk_alone(model):
    trunk = model.vision_encoder.backbone.trunk
    optimizers = Optimizers([model], trunk)
    ours = {id(p) for p in optimizers.parameters}
    assert not any(id(p) in ours for p in trunk.parameters())
    assert any(id(p) in ours for p in model.vision_encoder.backbone.fusion.parameters())
    model.requires_grad_(True)


def test_figures_count_every_mask_and_corrections_use_the_mask_before(model):
    item = Item(
        np.zeros((network.SIZE, network.SIZE, 3), np.uint8), np.stack([labelled().objects == i for i in (1, 2)])
    )
    levels = (torch.zeros(1, 20, 16, 16), torch.zeros(1, 40, 8, 8), torch.zeros(1, 160, 4, 4))
    seen = []

    def decode(levels, points, labels, before=None):
        seen.append((points.shape[2], before is not None))
        logits = torch.full((1, 2, 4, 16, 16), -1.0)
        logits[:, :, 2] = 1.0
        iou = torch.tensor([0.0, 0.1, 0.9, 0.2]).expand(1, 2, 4)
        return logits, iou, torch.zeros(1, 2)

    figures = measure([item], lambda _: levels, decode)
    assert (
        figures["center_oracle"]
        == figures["center_default"]
        == pytest.approx(np.mean([(labelled().objects == i).mean() for i in (1, 2)]), abs=1e-3)
    )
    assert seen[-2:] == [(2, True), (3, True)]


def test_the_learning_rate_warms_up_and_finishes():
    args = SimpleNamespace(lr=1.0, warm_up=10, finish=True)
    assert training.rate(args, 0, 0.0) == pytest.approx(0.1)
    assert training.rate(args, 100, 0.25) == pytest.approx(0.75)
    assert training.rate(args, 100, 1.0) == 0


def test_held_out_images_are_none_of_the_training_images(tmp_path):
    from bundled_base import sources

    for name, kept in (("nuclei", 4), ("granular", 2)):
        folder = tmp_path / name
        (folder / "images").mkdir(parents=True)
        for number in range(20):
            (folder / "images" / f"{number:02d}.jpg").touch()
        training_images, held_out = sources.training_images(folder), sources.held_out_images(folder)
        assert len(held_out) == kept
        assert set(training_images).isdisjoint(held_out)
        assert len(training_images) + kept == 20


def test_fresh_views_make_batches_with_images(tmp_path, monkeypatch):
    from bundled_base import feeding

    class Scenes:
        def __init__(self, *folders):
            pass

        def stream(self, seed):
            rng = np.random.default_rng(seed)
            while True:
                yield rng, labelled(96)

    monkeypatch.setattr(feeding, "Sources", Scenes)
    batch = next(iter(feeding.LiveBatches((tmp_path,) * 3, SIDE, 2, 3, 1, seed=0)))
    assert batch["image"].shape == (2, 3, SIDE, SIDE)
    assert batch["targets"].shape == (2, 4, 4)
    args = arguments(tmp_path / "run", tmp_path, trunk_rate=0.1, dense=0.0)
    trainer = training.Trainer(args)
    before = trainer.trunk.stem.weight.clone()
    trainer.step(batch, 1e-3)
    assert not torch.equal(before, trainer.trunk.stem.weight)


def test_blobs_differ_from_their_ground_inside_only():
    ground = np.full((blobs.SIDE, blobs.SIDE, 3), 200, np.uint8)
    differences = []
    for seed in range(6):
        drawn = blobs.blobs(np.random.default_rng(seed), ground)
        assert drawn.complete
        assert drawn.image.dtype == np.uint8
        assert drawn.objects.any()
        gray = np.abs(drawn.image.astype(float).mean(2) - np.median(drawn.image[drawn.objects == 0]))
        differences.append(gray[drawn.objects > 0].mean() - gray[drawn.objects == 0].mean())
    assert np.median(differences) > 5


def test_a_portrait_has_the_parts_of_a_face_within_the_skin():
    drawn = portraits.portrait(np.random.default_rng(2), np.full((portraits.SIDE, portraits.SIDE, 3), 90, np.uint8))
    inside = [part for part, around in drawn.nested.items() if around == portraits.SKIN]
    assert len(inside) == len(portraits.INSIDE)
    skin = np.isin(drawn.parts, [portraits.SKIN, *inside])
    for part in inside:
        ys, xs = np.nonzero(drawn.parts == part)
        assert len(ys)
        assert skin[ys.min() : ys.max(), xs.min() : xs.max()].mean() > 0.8
    assert set(np.unique(drawn.objects)) == {0, 1}
    assert np.array_equal(drawn.objects > 0, drawn.parts > 0)


def test_a_box_on_nothing_holds_no_object():
    nothing = np.ones((96, 96), bool)
    nothing[40:, 40:] = False
    boxes = [prompting.empty_box(np.random.default_rng(seed), nothing) for seed in range(20)]
    placed = [box for box in boxes if box is not None]
    assert placed
    for (left, top), (right, bottom) in placed:
        assert nothing[int(top) : int(bottom) + 1, int(left) : int(right) + 1].all()
    assert prompting.empty_box(np.random.default_rng(0), np.zeros((96, 96), bool)) is None
