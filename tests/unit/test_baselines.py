"""Baselines: exact sizes, their mathematics against plain references, and that each of them learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from samtailor.baselines import evaluate_baseline, load, save
from samtailor.baselines._feed import Entry, Feed
from samtailor.baselines._resnet import ResNet
from samtailor.baselines._resnet import load as load_resnet
from samtailor.baselines.deeplabv3 import Pyramid
from samtailor.baselines.hsnet import CenterPivotConv4d, Learner, agreed, hypercorrelation
from samtailor.baselines.ssp import prototypes, self_support, similarity
from samtailor.baselines.swin_unet import Expand
from samtailor.data.regions import regions
from samtailor.errors import ArtefactError, BaseUnavailableError, DataError, InputError
from samtailor.registry import find, names
from samtailor.types import Annotation, Sample
from tiny import disc_sample

RESNET = {"embedding_size": 16, "hidden_sizes": [16, 32, 64, 128], "depths": [1, 1, 2, 1]}
TINY = {
    "deeplabv3": {"backbone": RESNET, "size": 64, "output_stride": 8, "width": 32, "lr": 0.05},
    "swin-unet": {"size": 64, "window": 2, "embed_dim": 16, "heads": [1, 2, 4, 8], "drop_path": 0.0},
    "ssp": {"backbone": RESNET, "size": 64, "lr": 0.05, "batch": 2},
    "hsnet": {"backbone": RESNET, "size": 64, "widths": [4, 8, 16], "lr": 0.01, "batch": 4},
}
STEPS = {"deeplabv3": 80, "swin-unet": 30, "ssp": 40, "hsnet": 80}


def tiny(name, classes=1, **options):
    return find("baselines", name).build(classes, weights="scratch", **(TINY[name] | options))


def big_disc(index):
    """A picture with one large bright disc, for networks that see a coarse grid."""
    rng = np.random.default_rng(index)
    image = rng.integers(60, 110, (64, 64, 3), dtype=np.uint8)
    y, x = np.mgrid[:64, :64]
    centre = rng.uniform(22, 42, 2)
    disc = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= 18**2
    image[disc] = (230, 200, 60)
    return Sample(f"d{index}", lambda: image, lambda: (Annotation.from_mask("disc", disc),))


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
def test_sizes_are_the_references(name, options, part, count):
    with torch.device("meta"):
        baseline = find("baselines", name).build(1, weights="scratch", **options)
    assert baseline.parameters_by_use()[part] == count


# mathematics


def test_dilation_is_the_strided_network_on_every_offset():
    """A stage whose stride became dilation gives, at every second place, what the strided stage gives there."""
    strided, dilated = (ResNet(load_resnet(RESNET, "scratch", 0)[0], output_stride=s).eval() for s in (32, 16))
    dilated.load_state_dict(strided.state_dict())
    images = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        coarse, fine = strided(images), dilated(images)
    assert fine.shape[-1] == 2 * coarse.shape[-1]
    torch.testing.assert_close(fine[..., ::2, ::2], coarse, atol=1e-5, rtol=1e-4)


def test_first_block_of_a_dilated_stage_keeps_the_dilation_before_it():
    net = ResNet(load_resnet({**RESNET, "depths": [1, 2, 2, 2]}, "scratch", 0)[0], output_stride=8)
    rates = [[block.layer[1].convolution.dilation[0] for block in stage.layers] for stage in net.stages]
    assert rates == [[1], [1, 1], [1, 2], [2, 4]]
    strides = [[block.layer[1].convolution.stride[0] for block in stage.layers] for stage in net.stages]
    assert strides == [[1], [2, 1], [1, 1], [1, 1]]


def test_pyramid_branches_see_exactly_their_rate():
    pyramid = Pyramid(4, 4, (2, 5)).eval()
    x = torch.zeros(1, 4, 17, 17, requires_grad=True)
    for rate, branch in zip((2, 5), pyramid.branches[1:], strict=True):
        (seen,) = torch.autograd.grad(branch[0](x)[0, :, 8, 8].sum(), x)
        places = torch.nonzero(seen[0].abs().sum(0)).tolist()
        assert places == [[8 + a * rate, 8 + b * rate] for a in (-1, 0, 1) for b in (-1, 0, 1)]


def test_sums_are_the_blocks_before_their_relu():
    net = ResNet(load_resnet(RESNET, "scratch", 0)[0]).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        sums, last = net.sums(images), net(images)
    assert [len(stage) for stage in sums] == [1, 1, 2, 1]
    assert min(float(total.min()) for stage in sums for total in stage) < 0
    torch.testing.assert_close(F.relu(sums[-1][-1]), last)


def test_decoder_blocks_of_swin_are_windows_of_their_own(discs):
    """Attention of a block against a literal loop over its windows."""
    blocks = tiny("swin-unet").network.blocks[-1]
    x = torch.randn(1, 16 * 16, 16)
    with torch.no_grad():
        answer = blocks[0](x, (16, 16))
        whole = (answer[0] if isinstance(answer, tuple) else answer).view(16, 16, 16)
        for row, column in ((0, 0), (6, 10), (14, 14)):
            window = x.view(1, 16, 16, 16)[:, row : row + 2, column : column + 2].reshape(1, 4, 16)
            alone = blocks[0](window, (2, 2))
            alone = (alone[0] if isinstance(alone, tuple) else alone).view(2, 2, 16)
            torch.testing.assert_close(whole[row : row + 2, column : column + 2], alone, atol=1e-5, rtol=1e-4)


def test_swin_encoder_is_transformers_own():
    network = tiny("swin-unet").network.eval()
    images = torch.randn(2, 3, 64, 64)
    seen = []
    network.encoder.layernorm.register_forward_hook(lambda module, given, answer: seen.append(answer))
    with torch.no_grad():
        network(images)
        own = network.encoder(images).last_hidden_state
    torch.testing.assert_close(seen[0], own)


def test_expanding_puts_channels_where_the_literal_loop_does():
    expand = Expand(8)
    x = torch.randn(1, 2 * 3, 8)
    with torch.no_grad():
        got = expand(x, (2, 3)).view(4, 6, 4)
        flat = expand.linear(x).view(2, 3, 16)
        for row in range(4):
            for column in range(6):
                first = 4 * (2 * (row % 2) + column % 2)
                wanted = expand.norm(flat[row // 2, column // 2, first : first + 4])
                torch.testing.assert_close(got[row, column], wanted)


def test_swin_weights_go_into_encoder_and_decoder(tmp_path):
    from transformers import SwinConfig, SwinModel

    shape = {"embed_dim": 16, "num_heads": [1, 2, 4, 8], "image_size": 64}
    given = SwinModel(SwinConfig(window_size=2, depths=[2, 2, 3, 2], **shape))
    given.save_pretrained(tmp_path / "swin")
    baseline = find("baselines", "swin-unet").build(1, weights=str(tmp_path / "swin"), **TINY["swin-unet"])
    assert baseline.weights == str(tmp_path / "swin")
    for stage in range(3):
        wanted = given.encoder.layers[stage].blocks[1].mlp.fc1.weight
        for blocks in (baseline.network.encoder.encoder.layers[stage].blocks, baseline.network.blocks[2 - stage]):
            assert torch.equal(blocks[1].mlp.fc1.weight, wanted)
    SwinModel(SwinConfig(window_size=4, depths=[2, 2, 2, 2], **shape)).save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match="window"):
        find("baselines", "swin-unet").build(1, weights=str(tmp_path / "other"), **TINY["swin-unet"])


def test_prototypes_are_the_literal_mean_under_the_mask():
    features, masks = torch.randn(2, 5, 4, 4), torch.rand(2, 4, 4) > 0.5
    for inside, pooled in zip((True, False), prototypes(features, masks), strict=True):
        for b in range(2):
            total, count = torch.zeros(5), 0
            for y in range(4):
                for x in range(4):
                    if bool(masks[b, y, x]) == inside:
                        total, count = total + features[b, :, y, x], count + 1
            torch.testing.assert_close(pooled[b], total / (count + 1e-5))


def test_self_support_against_a_literal_loop():
    torch.manual_seed(0)
    features = torch.randn(1, 6, 5, 5)
    logits = 0.1 * similarity(features, torch.randn(1, 6), torch.randn(1, 6))  # probabilities on both sides of both
    front, back, local = self_support(features, logits)
    odds = logits.softmax(1)[0]
    places = [(y, x) for y in range(5) for x in range(5)]
    sure = {0: [p for p in places if odds[0][p] > 0.6], 1: [p for p in places if odds[1][p] > 0.7]}
    between = [p for p in places if 0.6 < odds[0][p] < 0.7]
    assert min(len(sure[0]), len(sure[1]), len(between)) > 1, "or the loop below tests nothing"
    at = {p: features[0, :, p[0], p[1]] for p in places}
    torch.testing.assert_close(front[0, :, 0, 0], torch.stack([at[p] for p in sure[1]]).mean(0))
    torch.testing.assert_close(back[0, :, 0, 0], torch.stack([at[p] for p in sure[0]]).mean(0))
    for p in places:
        weights = torch.stack([2 * F.cosine_similarity(at[p], at[s], dim=0) for s in sure[0]]).softmax(0)
        wanted = sum(w * at[s] for w, s in zip(weights, sure[0], strict=True))
        torch.testing.assert_close(local[0, :, p[0], p[1]], wanted)


def test_nobody_sure_takes_the_twelve_likeliest():
    features = torch.randn(1, 3, 4, 4)
    logits = torch.zeros(1, 2, 4, 4)
    logits[0, 1, 0] = -0.1  # four places less likely object than the others, none above the threshold
    front, _, _ = self_support(features, logits)
    torch.testing.assert_close(front[0, :, 0, 0], features[0, :, 1:].flatten(1).mean(1))


def test_k_shot_prototypes_are_the_mean_over_shots():
    network = tiny("ssp").network.eval()
    images, masks = torch.randn(3, 3, 64, 64), torch.rand(3, 64, 64) > 0.5
    with torch.no_grad():
        together = network.remember(images, masks)
        alone = [network.remember(images[k : k + 1], masks[k : k + 1]) for k in range(3)]
    torch.testing.assert_close(together[0], torch.stack([front for front, _ in alone]).mean(0))


@pytest.mark.parametrize("stride", [1, 2])
def test_center_pivot_is_the_4d_convolution_with_a_kernel_on_the_pivots(stride):
    torch.manual_seed(0)
    conv = CenterPivotConv4d(2, 3, 3, stride).double()
    x = torch.randn(1, 2, 4, 4, 4, 5, dtype=torch.float64)
    kernel = torch.zeros(3, 2, 3, 3, 3, 3, dtype=torch.float64)
    kernel[:, :, :, :, 1, 1] += conv.query.weight.detach()
    kernel[:, :, 1, 1, :, :] += conv.support.weight.detach()
    padded = F.pad(x, (1, 1, 1, 1, 1, 1, 1, 1))[0]
    with torch.no_grad():
        got = conv(x)[0]
    for y1, x1, y2, x2 in np.ndindex(*got.shape[1:]):
        a, b = y2 * stride, x2 * stride
        patch = padded[:, y1 : y1 + 3, x1 : x1 + 3, a : a + 3, b : b + 3]
        wanted = (kernel * patch).sum((1, 2, 3, 4, 5)) + conv.query.bias + conv.support.bias
        torch.testing.assert_close(got[:, y1, x1, y2, x2], wanted)


def test_hypercorrelations_are_cosines_without_negative_ones():
    query, support = torch.randn(1, 4, 2, 3), torch.randn(1, 4, 3, 2)
    (found,) = hypercorrelation([[query]], [[support]])
    wanted = F.cosine_similarity(query[0, :, 1, 2], support[0, :, 2, 0], dim=0).clamp(min=0)
    torch.testing.assert_close(found[0, 0, 1, 2, 2, 0], wanted, atol=1e-4, rtol=1e-4)
    assert float(found.min()) == 0


@pytest.mark.parametrize("side", [64, 100, 400])
def test_learner_takes_any_size(side):
    """The three stages have the same support grid after their strides, whatever the input."""
    grids = [-(-side // s) for s in (8, 16, 32)]
    learner = Learner((1, 1, 1), (4, 4, 8))
    with torch.no_grad():
        logits = learner([torch.rand(1, 1, 2, 2, g, g) for g in grids])
    assert logits.shape == (1, 2, 4, 4)


def test_shots_vote_and_half_of_the_most_votes_is_enough():
    assert (agreed(torch.tensor([4, 3, 2, 1, 0])) > 0).tolist() == [True, True, True, False, False]
    assert (agreed(torch.tensor([3, 2, 1, 0])) > 0).tolist() == [True, True, False, False]
    assert not (agreed(torch.zeros(4, dtype=torch.int32)) > 0).any(), "no vote, no object"


def test_every_shot_votes(discs):
    baseline = tiny("hsnet")
    baseline.fit(discs[:3], [], ["disc"], steps=0)
    votes = []
    for shot in range(3):
        alone = tiny("hsnet")
        alone.fit(discs[shot : shot + 1], [], ["disc"], steps=0)
        votes.append(alone.segment(discs[3].image)[0] > 0)
    assert torch.equal(baseline.segment(discs[3].image)[0], agreed(sum(v.int() for v in votes)).float())


# learning


@pytest.fixture(scope="module", params=list(TINY))
def fitted(request, discs):
    """Each network fitted to four pictures, without augmentation."""
    baseline = tiny(request.param, augment=False)
    return baseline, baseline.fit(discs, [], ["disc"], steps=STEPS[request.param])


def test_every_network_learns_four_pictures(fitted, discs):
    baseline, done = fitted
    losses = [look["loss"] for look in done.history[1:]]
    assert losses[-1] < 0.7 * losses[0]
    assert evaluate_baseline(baseline, discs).figures(draws=2)["dice"] > 0.85


def test_saved_and_loaded_it_answers_the_same(fitted, discs, tmp_path):
    baseline, _ = fitted
    save(tmp_path, baseline, {"dice": 0.5})
    again = load(tmp_path)
    assert torch.equal(again.segment(discs[0].image), baseline.segment(discs[0].image))
    assert (again.classes, again.weights, again.options) == (("disc",), "scratch", baseline.options)


def test_what_is_frozen_stays_and_the_rest_moves(discs):
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


def test_the_best_state_on_held_out_pictures_is_kept(discs):
    baseline = tiny("ssp", lr=1e3)  # every update ruins it
    start = {n: v.clone() for n, v in baseline.state_dict().items()}
    try:
        done = baseline.fit(discs[:2], discs[2:], ["disc"], steps=2)
    except InputError as error:
        pytest.fail(f"two updates should stay finite: {error}")
    best = max(look["miou"] for look in done.history)
    assert done.best_miou == best
    assert done.best_step == next(look["step"] for look in done.history if look["miou"] == best)
    if done.best_step == 0:
        assert all(torch.equal(v, start[n]) for n, v in baseline.state_dict().items())


def test_several_classes_at_the_pictures_size():
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
    entry = Entry(32, (0.0,) * 3, (1.0,) * 3)
    _, labels = Feed([sample], ["nose", "skin"], entry, augment=False, seed=0).batch(0, 8)
    assert labels.shape == (2, 32, 32), "two views even of one picture"
    np.testing.assert_array_equal(labels[0].numpy(), np.where(nose, 1, np.where(skin, 2, 0)))
    views = [Feed([disc_sample(0)], ["disc"], entry, augment=True, seed=s).batch(3, 4)[0] for s in (0, 0, 1)]
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])


def test_mirrored_sides_swap_even_where_one_is_fitted():
    image = np.zeros((32, 32, 3), np.uint8)
    left, right = np.zeros((2, 32, 32), bool)
    left[8:16, 2:10], right[20:28, 20:30] = True, True
    notes = [Annotation.from_mask("l_eye", left), Annotation.from_mask("r_eye", right)]
    sample, entry = Sample("a", lambda: image, lambda: notes), Entry(32, (0.0,) * 3, (1.0,) * 3)
    feed = Feed([sample], ["l_eye"], entry, augment=True, seed=0)
    mirrored = [n for n in range(20) if feed._augment.draw(feed.samples[0], 1 + n).flip]
    assert mirrored
    assert all("l_eye" in feed.view(0, n)[1] for n in mirrored)
    rows = torch.nonzero(feed.view(0, mirrored[0])[1]["l_eye"])[:, 0].float().mean() / 32
    assert float(rows) > 0.5, "what was the right eye, lower in the picture, is the left one now"


# evaluation and refusals


def test_rows_are_those_of_sam_methods_on_regions(fitted, discs, tiny_sam):
    from samtailor.evaluate import evaluate
    from samtailor.evaluation import difference

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
    with pytest.raises(InputError, match="from 1"):
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


def test_damaged_files_are_told(discs, tmp_path):
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
    with pytest.raises(ArtefactError, match="left over"):
        load(tmp_path)
    save_file({n: v + 1 if v.is_floating_point() else v for n, v in tensors.items()}, file)
    with pytest.raises(ArtefactError, match="digest"):
        load(tmp_path)
    file.write_bytes(whole[:100])
    with pytest.raises(ArtefactError, match="cut off"):
        load(tmp_path)
    with pytest.raises(ArtefactError, match="no baseline"):
        load(tmp_path / "elsewhere")
