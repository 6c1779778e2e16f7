"""The mathematics of the baselines against plain references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from samtailor.compare.baselines._resnet import ResNet
from samtailor.compare.baselines._resnet import load as load_resnet
from samtailor.compare.baselines.deeplabv3 import Pyramid
from samtailor.compare.baselines.hsnet import CenterPivotConv4d, Learner, agreed, hypercorrelation
from samtailor.compare.baselines.ssp import prototypes, self_support, similarity
from samtailor.compare.baselines.swin_unet import Expand
from samtailor.errors import InputError
from samtailor.registry import find
from small_baselines import RESNET, TINY, big_disc, tiny


@pytest.fixture(scope="module")
def discs():
    return [big_disc(i) for i in range(4)]


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


def test_pyramid_branches_have_exactly_their_rate():
    pyramid = Pyramid(4, 4, (2, 5)).eval()
    x = torch.zeros(1, 4, 17, 17, requires_grad=True)
    for rate, branch in zip((2, 5), pyramid.branches[1:], strict=True):
        (gradient,) = torch.autograd.grad(branch[0](x)[0, :, 8, 8].sum(), x)
        places = torch.nonzero(gradient[0].abs().sum(0)).tolist()
        assert places == [[8 + a * rate, 8 + b * rate] for a in (-1, 0, 1) for b in (-1, 0, 1)]


def test_sums_are_the_blocks_before_their_relu():
    net = ResNet(load_resnet(RESNET, "scratch", 0)[0]).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        sums, last = net.sums(images), net(images)
    assert [len(stage) for stage in sums] == [1, 1, 2, 1]
    assert min(float(total.min()) for stage in sums for total in stage) < 0
    torch.testing.assert_close(F.relu(sums[-1][-1]), last)


def test_decoder_blocks_of_swin_use_windows(discs):
    """Attention of a block against a literal loop over its windows."""
    blocks = tiny("swin-unet").network.blocks[-1]
    x = torch.randn(1, 16 * 16, 16)
    with torch.no_grad():
        output = blocks[0](x, (16, 16))
        whole = (output[0] if isinstance(output, tuple) else output).view(16, 16, 16)
        for row, column in ((0, 0), (6, 10), (14, 14)):
            window = x.view(1, 16, 16, 16)[:, row : row + 2, column : column + 2].reshape(1, 4, 16)
            alone = blocks[0](window, (2, 2))
            alone = (alone[0] if isinstance(alone, tuple) else alone).view(2, 2, 16)
            torch.testing.assert_close(whole[row : row + 2, column : column + 2], alone, atol=1e-5, rtol=1e-4)


def test_the_swin_encoder_is_that_of_transformers():
    network = tiny("swin-unet").network.eval()
    images = torch.randn(2, 3, 64, 64)
    outputs = []
    network.encoder.layernorm.register_forward_hook(lambda module, given, output: outputs.append(output))
    with torch.no_grad():
        network(images)
        own = network.encoder(images).last_hidden_state
    torch.testing.assert_close(outputs[0], own)


def test_expanding_matches_a_literal_loop():
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


def test_without_confident_positions_the_twelve_most_probable_are_used():
    features = torch.randn(1, 3, 4, 4)
    logits = torch.zeros(1, 2, 4, 4)
    logits[0, 1, 0] = -0.1  # four places less likely object than the others, none above the threshold
    front, _, _ = self_support(features, logits)
    torch.testing.assert_close(front[0, :, 0, 0], features[0, :, 1:].flatten(1).mean(1))


def test_k_shot_prototypes_are_the_mean_over_shots():
    network = tiny("ssp").network.eval()
    images, masks = torch.randn(3, 3, 64, 64), torch.rand(3, 64, 64) > 0.5
    with torch.no_grad():
        together = network.encode_support(images, masks)
        alone = [network.encode_support(images[k : k + 1], masks[k : k + 1]) for k in range(3)]
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
    (correlations,) = hypercorrelation([[query]], [[support]])
    wanted = F.cosine_similarity(query[0, :, 1, 2], support[0, :, 2, 0], dim=0).clamp(min=0)
    torch.testing.assert_close(correlations[0, 0, 1, 2, 2, 0], wanted, atol=1e-4, rtol=1e-4)
    assert float(correlations.min()) == 0


@pytest.mark.parametrize("side", [64, 100, 400])
def test_the_learner_accepts_any_size(side):
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
