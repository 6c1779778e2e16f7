"""AM-SAM: the calibration against its literal tensors, the control experiment, the readings, the loss."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from torch.nn import functional as F

from batches import batch_of
from samtailor.adapters.calibration import KINDS, Calibration, scale
from samtailor.adapters.learnt_prompt import DensePrompt, FadingPrompt, SparseOffset, SparsePrompt, box_as_mask
from samtailor.errors import InputError
from samtailor.registry import find
from samtailor.structures import Batch, Features, Output, Prompts, Tokens
from samtailor.train.losses import measured_iou, region_loss


def make_output(b: int = 4, n: int = 2, c: int = 32) -> Output:
    generator = torch.Generator().manual_seed(b)
    upscaled = torch.randn(b, 1, c, 8, 8, generator=generator, dtype=torch.double)
    hyper = torch.randn(b, 1, n, c, generator=generator, dtype=torch.double)
    logits = (hyper @ upscaled.flatten(3)).reshape(b, 1, n, 8, 8)
    return Output(logits, torch.rand(b, 1, n), keys=upscaled, upscaled=upscaled, hyper=hyper)


def literal(output: Output, alpha: float) -> torch.Tensor:
    """Eqs. 9 to 12 with all their tensors: R of b c rows."""
    u, h = output.upscaled[:, 0], output.hyper[:, 0]
    rows = torch.cat([u[:, i : i + 1] * h[:, :, i, None, None] for i in range(u.shape[1])], 0)
    assert rows.shape[0] == u.shape[0] * u.shape[1]
    return (alpha * output.logits[:, 0] + (1 - alpha) * rows.mean(0, keepdim=True))[:, None]


@pytest.mark.parametrize("b", [1, 4])
@pytest.mark.parametrize("alpha", [0.7, 0.0, 1.0])
def test_paper_batch_is_the_literal_equations(b, alpha):
    output = make_output(b)
    got = Calibration("paper_batch", alpha=alpha)(output).logits
    torch.testing.assert_close(got, literal(output, alpha), atol=1e-12, rtol=1e-12)


def test_calibration_of_one_image_is_a_temperature_and_several_images_leak():
    assert scale(0.7, 32) == pytest.approx(0.709375, abs=1e-15)
    one, four = make_output(1), make_output(4)
    same, batched = Calibration("per_sample"), Calibration("paper_batch")
    torch.testing.assert_close(same(one).logits, batched(one).logits)
    torch.testing.assert_close(same(one).logits, 0.709375 * one.logits)
    alone = torch.cat([batched(Output(four.logits[i : i + 1], four.iou, four.keys, four.upscaled, four.hyper)).logits
                       for i in range(4)])  # fmt: skip
    assert not torch.allclose(batched(four).logits, alone)
    torch.testing.assert_close(same(four).logits, alone)


def test_channel_weights_start_as_per_sample_and_nonlinear_as_none():
    output = make_output(3)
    weights = Calibration("channel_weights").double()
    torch.testing.assert_close(weights(output).logits, Calibration("per_sample")(output).logits)
    nonlinear = Calibration("nonlinear").double()
    assert sum(p.numel() for p in nonlinear.parameters()) == 353
    assert torch.equal(nonlinear(output).logits, output.logits)
    torch.nn.init.normal_(nonlinear.mix.weight)
    whole = nonlinear(output).logits
    assert not torch.allclose(whole, output.logits)
    one = Output(output.logits[:1], output.iou[:1], output.keys, output.upscaled[:1], output.hyper[:1])
    torch.testing.assert_close(nonlinear(one).logits[0], whole[0], msg="no image leaks into another")
    assert Calibration("none")(output) is output


@pytest.mark.parametrize("kind", ["per_sample", "channel_weights"])
def test_hyper_is_scaled_with_the_logits(kind):
    got = Calibration(kind, alpha=0.3).double()(make_output(2))
    torch.testing.assert_close(got.hyper @ got.upscaled.flatten(3), got.logits.flatten(3))


def test_invalid_calibrations_are_refused(tiny_sam):
    assert set(KINDS) == {"per_sample", "paper_batch", "channel_weights", "nonlinear", "none"}
    with pytest.raises(InputError, match="alpha"):
        Calibration(alpha=1.2)
    with pytest.raises(InputError, match="calibration must be one of"):
        find("methods", "am-sam").build(tiny_sam, calibration="per-batch")


def trained(base, name: str, batches: list[Batch], **options) -> tuple[dict[str, torch.Tensor], list[dict]]:
    torch.manual_seed(0)
    segmenter, step = find("methods", name).build(base, **options)
    moving = {group: torch.optim.AdamW(ps, lr=5e-3) for group, ps in segmenter.groups.items()}
    step = step(segmenter.train(), moving, Accelerator(cpu=True))
    figures = [step(batches[i % 2], batches[2 + i % 2]) for i in range(4)]
    return segmenter.learned(), figures


def test_per_sample_calibration_trains_like_scaled_logits(tiny_sam, tiny_samples):
    """BLO-SAM with a constant on its logits IS the per-image calibration, bit for bit, over training."""
    batches = [batch_of(tiny_sam, tiny_samples[i : i + 1], prompt="mask-box") for i in range(4)]
    factor = scale(0.7, tiny_sam.dim // 8)
    control, control_figures = trained(tiny_sam, "blo-sam", batches, logit_scale=factor)
    found, figures = trained(tiny_sam, "am-sam", batches, calibration="per_sample")
    assert figures == control_figures
    assert control.keys() == found.keys()
    assert all(torch.equal(control[name], found[name]) for name in found)
    plain, _ = trained(tiny_sam, "blo-sam", batches)
    assert not all(torch.equal(control[name], plain[name]) for name in plain)


def test_paper_batch_depends_on_the_batch(tiny_sam, tiny_samples):
    segmenter = find("methods", "am-sam").build(tiny_sam, calibration="paper_batch")[0].eval()
    with torch.no_grad():
        together = segmenter(batch_of(tiny_sam, tiny_samples[:3], prompt="mask-box")).logits
        alone = segmenter(batch_of(tiny_sam, tiny_samples[:1], prompt="mask-box")).logits
    assert not torch.allclose(together[:1], alone, atol=1e-4)


# -- readings


def test_upper_levels(tiny_sam):
    want = {
        "R1": {"dense"},
        "R2": {"dense", "sparse"},
        "R3": {"dense", "sparse"},
        "R4": {"dense"},
        "R5": {"dense"},
    }
    for reading, names in want.items():
        segmenter, _ = find("methods", "am-sam").build(tiny_sam, reading=reading)
        members = {id(p) for name in names for p in segmenter.adapter(name).parameters()}
        assert {id(p) for p in segmenter.groups["upper"]} == members
    segmenter, _ = find("methods", "am-sam").build(tiny_sam)
    assert sum(p.numel() for p in segmenter.groups["upper"]) == tiny_sam.dim
    frozen, _ = find("methods", "am-sam").build(tiny_sam, reading="R3", upper="dense")
    assert "tokens.sparse.weight" in frozen.learned()
    assert len(frozen.groups["upper"]) == 1


def test_the_dense_prompt_replaces_sams(tiny_base):
    prompt = DensePrompt(tiny_base)
    tokens = tiny_base.encode_prompts(Prompts((64, 64), count=(2, 1)))
    assert torch.equal(prompt(tokens, None, None).dense, tokens.dense)
    with torch.no_grad():
        prompt.weight.copy_(torch.arange(tiny_base.dim))
    dense = prompt(tokens, None, None).dense
    assert torch.equal(dense[:, :, 0, 1], torch.arange(tiny_base.dim).expand(len(dense), -1).float())


def test_sparse_prompts(tiny_base, tiny_samples):
    batches = [batch_of(tiny_base, tiny_samples[i : i + 2], prompt="mask-box") for i in (0, 2)]
    prompt = SparsePrompt(tiny_base)
    boxes = torch.cat([tiny_base.encode_prompts(b.prompts).sparse[:, 0] for b in batches])
    prompt.begin(batches)
    torch.testing.assert_close(prompt.weight.data, boxes.mean(0))
    empty = Tokens(torch.zeros(3, 2, 0, tiny_base.dim), torch.zeros(1))
    assert torch.equal(prompt(empty, None, None).sparse[2, 1], prompt.weight)
    before = prompt.weight.detach().clone()
    prompt.begin([replace(batches[0], prompts=Prompts((64, 64), count=(2, 1)))])
    assert torch.equal(prompt.weight, before)
    offset = SparseOffset(tiny_base.dim)
    tokens = tiny_base.encode_prompts(batches[0].prompts)
    assert torch.equal(offset(tokens, None, None).sparse, tokens.sparse)
    with torch.no_grad():
        offset.weight.fill_(1.0)
    change = offset(tokens, None, None).sparse - tokens.sparse
    assert (change[:, :, :2].detach() - 1).abs().max() < 1e-5
    assert change[:, :, 2:].abs().sum() == 0
    assert offset(empty, None, None) is empty


def test_a_fading_prompt_ends_half_way_and_is_not_used_at_test():
    fading, tokens = FadingPrompt(), Tokens(torch.zeros(1, 1, 2, 4), torch.zeros(1))
    torch.manual_seed(0)

    def kept(done: float) -> float:
        counts = []
        for _ in range(200):
            fading.at(done)
            counts.append(fading(tokens, None, None).sparse.shape[2] > 0)
        return sum(counts) / len(counts)

    assert kept(0.0) == 1
    assert kept(0.25) == pytest.approx(0.5, abs=0.12)
    assert kept(0.5) == 0
    fading.at(0.0)
    fading.eval()
    assert fading(tokens, None, None).sparse.shape[2] == 0


def test_a_box_as_mask_covers_its_pixels():
    prompts = Prompts((64, 64), boxes=torch.tensor([[[8.0, 16.0, 31.0, 47.0]]]))
    drawn = box_as_mask(prompts, 32)
    assert drawn.masks.shape == (1, 1, 32, 32)
    inside = drawn.masks[0, 0] > 0
    assert inside.sum() == 12 * 16
    assert inside[8:24, 4:16].all()
    with pytest.raises(InputError, match="one box"):
        box_as_mask(Prompts((64, 64), boxes=torch.zeros(1, 2, 4)), 32)


def test_no_box_at_test_in_readings_3_and_5(tiny_sam, tiny_samples):
    one, other = (batch_of(tiny_sam, tiny_samples[:1], prompt=name) for name in ("mask-box", "mask-center"))
    for reading in ("R1", "R3", "R5"):
        segmenter = find("methods", "am-sam").build(tiny_sam, reading=reading)[0].eval()
        assert segmenter.inference.prompt == (None if reading == "R1" else "none")
        with torch.no_grad():
            assert torch.equal(segmenter(one).logits, segmenter(other).logits) == (reading != "R1")


# -- the loss


def lossy(b: int = 3) -> tuple[Output, Batch]:
    generator = torch.Generator().manual_seed(7)
    z = 3 * torch.randn(b, 1, 1, 8, 8, generator=generator)
    output = Output(z, torch.rand(b, 1, 1, generator=generator), z, z, z, candidates=(0,))
    targets = (torch.rand(b, 1, 8, 8, generator=generator) > 0.5).float()
    valid = torch.ones(b, 1, 8, 8, dtype=torch.bool)
    valid[..., 6:] = False
    features = Features(torch.zeros(b, 1, 1, 1))
    return output, Batch(features, Prompts((64, 64), count=(b, 1)), targets, valid)


def test_region_loss_equals_the_papers_over_two_channels():
    output, batch = lossy()
    z, g, valid = output.logits[:, 0, 0], batch.targets[:, 0], batch.valid[:, 0]
    pair = torch.stack([torch.zeros_like(z), z], 1)
    ce = F.cross_entropy(pair, g.long(), reduction="none")[valid].mean()
    p = pair.softmax(1)
    dice = 0
    for channel, truth in ((p[:, 0], 1 - g), (p[:, 1], g)):
        a, t = channel[valid], truth[valid]
        dice += (1 - (2 * (a * t).sum() + 1e-5) / (a.square().sum() + t.square().sum() + 1e-5)) / 2
    found = region_loss(output, batch, iou_weight=0.0)
    torch.testing.assert_close(found["ce"], ce)
    torch.testing.assert_close(found["dice"], dice)
    torch.testing.assert_close(found["loss"], 0.2 * ce + 0.8 * dice)
    assert "iou" not in found


def test_region_loss_ignores_the_padding():
    output, batch = lossy()
    other = output.logits.clone()
    other[..., 6:] = 1e30
    one, two = (region_loss(replace(output, logits=z), batch)["loss"] for z in (output.logits, other))
    assert torch.equal(one, two)


def test_dice_of_each_mask_or_of_the_batch():
    output, batch = lossy()
    whole, each = (region_loss(output, batch, per_mask=flag, dice_weight=1.0, iou_weight=0)["loss"] for flag in (0, 1))
    alone = []
    for i in range(3):
        row = slice(i, i + 1)
        part = Batch(Features(torch.zeros(1, 1, 1, 1)), Prompts((64, 64)), batch.targets[row], batch.valid[row])
        one = replace(output, logits=output.logits[row], iou=output.iou[row])
        alone.append(region_loss(one, part, dice_weight=1.0, iou_weight=0)["loss"])
    torch.testing.assert_close(each, torch.stack(alone).mean())
    assert not torch.allclose(whole, each)


def test_predicted_iou_learns_the_measured_one():
    output, batch = lossy()
    found = region_loss(output, batch)
    true = measured_iou(output.logits, batch.targets.unsqueeze(2), batch.valid.unsqueeze(2))
    torch.testing.assert_close(found["iou"], (output.iou - true).square().mean())
    torch.testing.assert_close(found["loss"], region_loss(output, batch, iou_weight=0)["loss"] + found["iou"])
