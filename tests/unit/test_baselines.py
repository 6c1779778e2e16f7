"""Baselines: exact sizes, and that each of them learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from samtailor.compare.baselines import evaluate_baseline, load, save
from samtailor.compare.baselines._feed import Feed, InputFormat
from samtailor.data.regions import regions
from samtailor.errors import ArtefactError, BaseUnavailableError, DataError, InputError
from samtailor.registry import find, names
from samtailor.structures import Annotation, Sample
from small_baselines import RESNET, STEPS, TINY, big_disc, tiny
from tiny import disc_sample


@pytest.fixture(scope="module")
def discs():
    return [big_disc(i) for i in range(4)]


def test_the_names():
    assert names("baselines") == ["deeplabv3", "hsnet", "ssp", "swin-unet"]


@pytest.mark.parametrize(
    ("name", "options", "part", "count"),
    [
        ("deeplabv3", {"backbone": "resnet50"}, "trained", 39_633_986),
        ("deeplabv3", {"backbone": "resnet101"}, "trained", 58_626_114),
        ("swin-unet", {}, "trained", 27_168_228),
        ("ssp", {"backbone": "resnet50"}, "all", 8_543_296),
        ("ssp", {"backbone": "resnet50"}, "trained", 8_290_304),
        ("hsnet", {"backbone": "resnet50"}, "trained", 2_573_794),
        ("hsnet", {"backbone": "resnet101"}, "trained", 2_587_394),
    ],
)
def test_sizes_match_the_references(name, options, part, count):
    with torch.device("meta"):
        baseline = find("baselines", name).build(1, weights="scratch", **options)
    assert baseline.parameters_by_use()[part] == count


# learning


@pytest.fixture(scope="module", params=list(TINY))
def fitted(request, discs):
    """Each network fitted to four images, without augmentation."""
    baseline = tiny(request.param, augment=False)
    return baseline, baseline.fit(discs, [], ["disc"], steps=STEPS[request.param])


def test_every_network_learns_four_images(fitted, discs):
    baseline, done = fitted
    losses = [entry["loss"] for entry in done.history[1:]]
    assert losses[-1] < 0.7 * losses[0]
    assert evaluate_baseline(baseline, discs).figures(draws=2)["dice"] > 0.85


def test_a_loaded_baseline_predicts_the_same(fitted, discs, tmp_path):
    baseline, _ = fitted
    save(tmp_path, baseline, {"dice": 0.5})
    again = load(tmp_path)
    assert torch.equal(again.segment(discs[0].image), baseline.segment(discs[0].image))
    assert (again.classes, again.weights, again.options) == (("disc",), "scratch", baseline.options)


def test_only_trained_parameters_change(discs):
    for name in ("ssp", "hsnet"):
        baseline = tiny(name)
        before = {n: v.clone() for n, v in baseline.state_dict().items()}
        baseline.fit(discs, [], ["disc"], steps=2)
        free = {n for n, p in baseline.named_parameters() if p.requires_grad}
        moved = {n for n, v in baseline.state_dict().items() if not torch.equal(v, before[n])}
        assert moved <= free, name
        assert len(moved) > 0.8 * len(free), "all but what a random backbone gives no cosine above 0"


def test_the_seed_decides(discs):
    def run(seed):
        baseline = tiny("swin-unet", drop_path=0.3)
        baseline.fit(discs, [], ["disc"], seed=seed, steps=3)
        return baseline.segment(discs[0].image)

    state = torch.get_rng_state()
    first, again, other = run(0), run(0), run(1)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state), "the caller's generator is left alone"


def test_the_best_state_on_held_out_images_is_kept(discs):
    baseline = tiny("ssp", lr=1e3)  # every update ruins it
    start = {n: v.clone() for n, v in baseline.state_dict().items()}
    try:
        done = baseline.fit(discs[:2], discs[2:], ["disc"], steps=2)
    except InputError as error:
        pytest.fail(f"two updates should stay finite: {error}")
    best = max(entry["miou"] for entry in done.history)
    assert done.best_miou == best
    assert done.best_step == next(entry["step"] for entry in done.history if entry["miou"] == best)
    if done.best_step == 0:
        assert all(torch.equal(v, start[n]) for n, v in baseline.state_dict().items())


def test_several_classes_at_the_size_of_the_image():
    samples = [disc_sample(i) for i in range(2)]
    for name in ("swin-unet", "hsnet"):
        baseline = tiny(name, classes=2)
        baseline.fit(samples, [], ["disc", "square"], steps=1)
        values = baseline.segment(samples[0].image)
        assert values.shape == (2, 48, 80)
        assert values.dtype == torch.float32
    values = tiny("swin-unet", classes=2).segment(samples[0].image)
    assert not (values > 0).all(0).any(), "one class a pixel"


def test_one_shot_and_steps_by_epochs(discs):
    baseline = tiny("hsnet", batch=2)
    assert baseline.fit(discs[:1], [], ["disc"], steps=1).steps == 1
    assert tiny("deeplabv3", batch=3).fit(discs, [], ["disc"], epochs=1).steps == 2
    assert tiny("ssp").fit(discs, [], ["disc"], steps=0).steps == 0
    with pytest.raises(InputError, match="not both"):
        baseline.fit(discs, [], ["disc"], steps=1, epochs=1)


# what goes in


def test_labels_put_small_regions_on_top_and_views_follow_the_seed():
    y, x = np.mgrid[:32, :32]
    skin, nose = (y > 4) & (x > 4), (y > 10) & (y < 16) & (x > 10) & (x < 16)
    image = np.zeros((32, 32, 3), np.uint8)
    notes = [Annotation.from_mask("nose", nose), Annotation.from_mask("skin", skin)]
    sample = Sample("a", lambda: image, lambda: notes)
    entry = InputFormat(32, (0.0,) * 3, (1.0,) * 3)
    _, labels = Feed([sample], ["nose", "skin"], entry, augment=False, seed=0).batch(0, 8)
    assert labels.shape == (2, 32, 32), "two views even of one image"
    np.testing.assert_array_equal(labels[0].numpy(), np.where(nose, 1, np.where(skin, 2, 0)))
    views = [Feed([disc_sample(0)], ["disc"], entry, augment=True, seed=s).batch(3, 4)[0] for s in (0, 0, 1)]
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])


def test_sides_swap_when_flipped_even_if_one_is_fitted():
    image = np.zeros((32, 32, 3), np.uint8)
    left, right = np.zeros((2, 32, 32), bool)
    left[8:16, 2:10], right[20:28, 20:30] = True, True
    notes = [Annotation.from_mask("l_eye", left), Annotation.from_mask("r_eye", right)]
    sample, entry = Sample("a", lambda: image, lambda: notes), InputFormat(32, (0.0,) * 3, (1.0,) * 3)
    feed = Feed([sample], ["l_eye"], entry, augment=True, seed=0)
    mirrored = [n for n in range(20) if feed._augment.draw(feed.samples[0], 1 + n).flip]
    assert mirrored
    assert all("l_eye" in feed.view(0, n)[1] for n in mirrored)
    rows = torch.nonzero(feed.view(0, mirrored[0])[1]["l_eye"])[:, 0].float().mean() / 32
    assert float(rows) > 0.5, "what was the right eye, lower in the image, is the left one now"


# evaluation and refusals


def test_rows_are_those_of_sam_methods_on_regions(fitted, discs, tiny_sam):
    from samtailor.evaluation.masks import evaluate
    from samtailor.evaluation.scores import difference

    baseline, _ = fitted
    rows = evaluate_baseline(baseline, discs, ["disc"])
    sam = evaluate(tiny_sam, regions(discs, ["disc"]), classes=["disc"])
    keys = [[(r.id, r.label, r.index, r.area, r.group) for r in e.rows] for e in (rows, sam)]
    assert keys[0] == keys[1]
    assert all(r.iou == r.oracle_iou and r.dice == r.oracle_dice for r in rows.rows)
    assert 0 <= min(r.predicted_iou for r in rows.rows) <= max(r.predicted_iou for r in rows.rows) <= 1
    assert "miou" in difference(rows, sam, draws=2)


def test_refusals(discs, tmp_path):
    with pytest.raises(InputError, match="no option 'sise'"):
        tiny("ssp", sise=3)
    with pytest.raises(InputError, match="backbone must be one of"):
        tiny("ssp", backbone="resnet5")
    with pytest.raises(InputError, match="multiple of 32 x window"):
        tiny("swin-unet", size=100)
    with pytest.raises(InputError, match="at least 1"):
        tiny("ssp", classes=0)
    with pytest.raises(InputError, match="weights"):
        find("baselines", "ssp").build(1, backbone=RESNET)
    with pytest.raises(BaseUnavailableError, match="scratch"):
        find("baselines", "ssp").build(1, weights=str(tmp_path / "nothing"), backbone=RESNET)
    baseline = tiny("ssp")
    with pytest.raises(InputError, match="support set"):
        baseline.segment(discs[0].image)
    with pytest.raises(InputError, match="built for 1 class,"):
        baseline.fit(discs, [], ["disc", "square"])
    with pytest.raises(DataError, match="square"):
        baseline.fit(discs, [], ["square"])
    with pytest.raises(InputError, match="not fitted"):
        save(tmp_path, baseline)
    baseline.fit(discs, [], ["disc"], steps=0)
    with pytest.raises(InputError, match="not 'square'"):
        evaluate_baseline(baseline, discs, ["square"])


def test_backbone_weights_of_a_folder_and_of_another_size(tmp_path):
    from transformers import ResNetConfig, ResNetModel

    given = ResNetModel(ResNetConfig(**RESNET))
    given.save_pretrained(tmp_path)
    baseline = find("baselines", "deeplabv3").build(1, weights=str(tmp_path), **TINY["deeplabv3"])
    assert baseline.weights == str(tmp_path)
    own = baseline.network.backbone.stages[2].layers[0].layer[0].convolution.weight
    assert torch.equal(own, given.encoder.stages[2].layers[0].layer[0].convolution.weight)
    with pytest.raises(InputError, match="blocks"):
        find("baselines", "ssp").build(1, weights=str(tmp_path), backbone="resnet50")


def test_damaged_files_are_refused(discs, tmp_path):
    from safetensors.torch import load_file, save_file

    baseline = tiny("ssp")
    baseline.fit(discs[:1], [], ["disc"], steps=0)
    save(tmp_path, baseline)
    file = tmp_path / "baseline.safetensors"
    whole, tensors = file.read_bytes(), load_file(file)
    save_file({n: v for n, v in tensors.items() if n != "support.0.masks"}, file)
    with pytest.raises(ArtefactError, match="support set"):
        load(tmp_path)
    save_file(tensors | {"more": torch.zeros(1)}, file)
    with pytest.raises(ArtefactError, match="1 unexpected"):
        load(tmp_path)
    save_file({n: v + 1 if v.is_floating_point() else v for n, v in tensors.items()}, file)
    with pytest.raises(ArtefactError, match="digest"):
        load(tmp_path)
    file.write_bytes(whole[:100])
    with pytest.raises(ArtefactError, match="truncated"):
        load(tmp_path)
    with pytest.raises(ArtefactError, match="no baseline"):
        load(tmp_path / "elsewhere")
