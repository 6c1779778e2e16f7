"""The decoder for many prompts equals the vendor's, for every family, kind of prompt and adapter."""

from __future__ import annotations

import pytest
import torch

from samtailor.adapters.learnt_prompt import DensePrompt
from samtailor.bases.decoder import PromptDecoder, with_fast_attention
from samtailor.bases.encoder import fast_encoder
from samtailor.predict.batched import BatchedDecoder, prompt_batches
from samtailor.predict.predictor import Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.registry import find
from samtailor.segmenter import Segmenter
from samtailor.structures import Prompts, Tokens
from tiny import disc_sample

CLICKS = [ObjectPrompt(clicks=((float(x), float(y), 1),)) for x, y in ((30, 20), (60, 30), (12, 9), (70, 40))]
BOXES = [ObjectPrompt(box=(10.0, 5.0, 60.0, 40.0)), ObjectPrompt(box=(3.0, 4.0, 30.0, 41.0))]
PAIRS = [ObjectPrompt(clicks=((30.0, 20.0, 1), (5.0, 6.0, 0)))]


def made(base, method, **options):
    """An adapter whose every part changes the output."""
    segmenter = find("methods", method).build(base, **options)[0]
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in segmenter.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return segmenter


def segmenters(predictor):
    return {name: predictor.segmenter(name) for name in predictor.adapters}


def prompts(base, count, kind):
    rng = torch.Generator().manual_seed(count)
    places = torch.rand(1, count, 2, 2, generator=rng) * base.size / 2
    if kind == "boxes":
        return Prompts((base.size, base.size), boxes=torch.cat([places[:, :, 0], places[:, :, 1] + base.size / 2], -1))
    points = places[:, :, : 1 if kind == "click" else 2]
    return Prompts((base.size, base.size), points, torch.ones(points.shape[:3], dtype=torch.int64))


@pytest.mark.parametrize("kind", ["click", "clicks", "boxes"])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_outputs_are_the_vendors(tiny_base, count, kind):
    frame = disc_sample(count).image[:, : tiny_base.size]
    predictor = Predictor(tiny_base)
    predictor.set_image(frame)
    with torch.no_grad():
        tokens = tiny_base.encode_prompts(prompts(tiny_base, count, kind))
        tokens = Tokens(tokens.sparse, tokens.dense + torch.randn_like(tokens.dense[:1]))
        vendor = tiny_base.decode(predictor.features, tokens)
    decoded = PromptDecoder(tiny_base)(predictor.features, tokens)
    for name in ("logits", "iou", "keys", "upscaled", "hyper"):
        one, other = getattr(vendor, name), getattr(decoded.output(), name)
        assert one.shape == other.shape
        assert one.std() > 0.01  # something to compare
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4 * float(one.abs().max())), name
    assert decoded.output().candidates == vendor.candidates
    rows = decoded[count - 1 : count]
    assert torch.allclose(rows.logits(rows.hyper), vendor.logits[0, count - 1 :], rtol=1e-4, atol=1e-3)
    for ours, reference in zip(decoded.best_masks(), vendor.best_masks(), strict=True):
        assert torch.allclose(ours, reference[0], rtol=1e-4, atol=1e-3)


def test_biases_are_used(tiny_base):
    """transformers initializes biases as zero, which would hide an error."""
    decoder = tiny_base.model.mask_decoder
    biases = {name: value.clone() for name, value in decoder.named_parameters() if name.endswith("bias")}
    torch.manual_seed(2)
    try:
        with torch.no_grad():
            for name in biases:
                decoder.get_parameter(name).normal_(std=0.5)
            features = tiny_base.encode_image(torch.randn(1, 3, tiny_base.size, tiny_base.size))
            tokens = tiny_base.encode_prompts(prompts(tiny_base, 5, "click"))
            vendor, decoded = tiny_base.decode(features, tokens), PromptDecoder(tiny_base)(features, tokens).output()
    finally:
        with torch.no_grad():
            for name, value in biases.items():
                decoder.get_parameter(name).copy_(value)
    for name in ("logits", "iou", "keys", "upscaled"):
        one, other = getattr(vendor, name), getattr(decoded, name)
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4 * float(one.abs().max())), name


@pytest.fixture
def mixed(tiny_base):
    """Adapters of prompts, of outputs, of both, and inside the decoder."""
    adapters = {
        "plm": made(tiny_base, "plm"),
        "other": made(tiny_base, "plm", head="paper_plain"),
        "f": made(tiny_base, "sam-f"),
        "am": made(tiny_base, "am-sam"),
        "map": made(tiny_base, "tailor"),
        "own": made(tiny_base, "samed"),
        "dense": Segmenter(tiny_base, tokens={"dense": DensePrompt(tiny_base)}),
    }
    with torch.no_grad():
        adapters["dense"].adapter("dense").weight.add_(1.0)
    predictor = Predictor(tiny_base, adapters)
    predictor.set_image(disc_sample(3).image)
    return predictor


def test_prompts_decoded_together_equal_single_ones(mixed):
    whole = [ObjectPrompt(promptless=True)]
    prompts_by_adapter = {
        None: BOXES,
        "plm": CLICKS + BOXES + PAIRS,
        "other": CLICKS,
        "f": CLICKS + BOXES,
        "am": BOXES,
        "own": whole,
        "dense": CLICKS,
    }
    batches = [batch for name, own in prompts_by_adapter.items() for batch in prompt_batches(name, own)]
    predicted = BatchedDecoder(mixed.base, segmenters(mixed)).predict(mixed, batches)
    assert sum(len(batch.prompts) for batch in batches) == sum(map(len, prompts_by_adapter.values()))
    for batch, best in zip(batches, predicted, strict=True):
        for index, prompt in enumerate(batch.prompts):
            (alone_batch,) = prompt_batches(batch.adapter, [prompt])
            alone = mixed.decode(alone_batch.stacked(mixed), batch.adapter or "base")
            scores = alone.candidate_iou()[0, 0]
            low = alone.candidate_logits()[0, 0, scores.argmax()]
            close = {"rtol": 1e-3, "atol": 1e-3 * float(low.abs().max())}
            assert torch.allclose(best.scores[index], scores.max(), atol=1e-4)
            assert torch.allclose(best.logits[index], low, **close)
            assert torch.allclose(best.keys()[index], alone.keys[0, 0], rtol=1e-3, atol=1e-3)


def test_similar_prompts_share_a_pass(mixed, monkeypatch):
    counted, decoder = [], BatchedDecoder(mixed.base, segmenters(mixed))
    monkeypatch.setattr(mixed, "decode", None)
    whole = PromptDecoder.__call__
    monkeypatch.setattr(
        PromptDecoder, "__call__", lambda self, *a: counted.append(a[1].sparse.shape[1]) or whole(self, *a)
    )
    batches = [q for name in (None, "plm", "other", "f") for q in prompt_batches(name, CLICKS)]
    together = decoder.predict(mixed, batches)
    assert counted == [16]
    monkeypatch.setattr("samtailor.predict.batched.PROMPTS_PER_PASS", 9)
    parts = decoder.predict(mixed, batches)
    assert counted == [16, 8, 8]
    assert all(torch.allclose(a.logits, b.logits, atol=1e-3) for a, b in zip(together, parts, strict=True))


def test_a_batch_may_take_several_passes(mixed, monkeypatch):
    decoder = BatchedDecoder(mixed.base, segmenters(mixed))
    (batch,) = prompt_batches("f", CLICKS)
    (whole,) = decoder.predict(mixed, [batch])
    monkeypatch.setattr(PromptDecoder, "prompts_per_pass", lambda self, device: 3)
    (parts,) = decoder.predict(mixed, [batch])
    assert torch.allclose(whole.logits, parts.logits, atol=1e-3)
    assert torch.allclose(whole.scores, parts.scores, atol=1e-4)
    assert torch.allclose(whole.keys(), parts.keys(), atol=1e-3)


def test_a_pass_on_a_cpu_fits_its_cache(tiny_base, monkeypatch):
    decoder, cpu = PromptDecoder(tiny_base), torch.device("cpu")
    each = 4 * tiny_base.low_res**2 * tiny_base.model.mask_decoder.upscale_conv2.out_channels
    for size, count in ((each - 1, 1), (3 * each, 3), (1 << 40, 64)):
        monkeypatch.setattr("samtailor.bases.decoder.inference._UPSCALED_BYTES", size)
        assert decoder.prompts_per_pass(cpu) == count
    assert decoder.prompts_per_pass(torch.device("cuda")) == 64


@pytest.mark.parametrize("adding", [None, [2, 3], [0, 1, 2, 3], [1]])
def test_the_fast_encoder_gives_the_vendors_features(tiny_base, adding, monkeypatch):
    if any(tiny_base.skips):
        neck, decoder = tiny_base.model.vision_encoder.neck, tiny_base.model.mask_decoder
        monkeypatch.setattr(neck, "fpn_top_down_levels", adding or neck.fpn_top_down_levels)
        for conv in (*neck.convs, decoder.conv_s0, decoder.conv_s1):  # transformers initializes biases as zero
            monkeypatch.setattr(conv.bias, "data", torch.randn_like(conv.bias))
    images = torch.randn(2, 3, tiny_base.size, tiny_base.size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        one, other = tiny_base.encode_image(images), fast_encoder(tiny_base).encode_image(images)
    for whole, cheap in zip((one.main, *one.skips), (other.main, *other.skips), strict=True):
        assert whole.shape == cheap.shape
        assert torch.allclose(whole, cheap, rtol=1e-5, atol=1e-5 * float(whole.abs().max()))
    assert fast_encoder(tiny_base) is not tiny_base


def test_attention_in_parts_is_the_vendors(tiny_sam, monkeypatch):
    from samtailor.bases import _vit_attention

    images = torch.randn(2, 3, tiny_sam.size, tiny_sam.size, generator=torch.Generator().manual_seed(2))
    vendor = tiny_sam.model.vision_encoder.layers
    for layer in vendor:  # transformers initializes relative positions as zero
        for table in (layer.attn.rel_pos_h, layer.attn.rel_pos_w):
            monkeypatch.setattr(table, "data", torch.randn_like(table))
    with torch.no_grad():
        whole = tiny_sam.encode_image(images).main
        for logits in (1, 100, 1 << 19):  # one query at a time, a few, and everything at once
            monkeypatch.setattr(_vit_attention, "_LOGITS", logits)
            in_parts = fast_encoder(tiny_sam).encode_image(images).main
            torch.testing.assert_close(in_parts, whole, rtol=1e-5, atol=1e-5 * float(whole.abs().max()))
        with torch.autocast("cpu", torch.bfloat16):
            mixed = fast_encoder(tiny_sam).encode_image(images).main.float()
    assert 0 < float((mixed - whole).abs().mean() / whole.abs().mean()) < 0.05


def test_no_denormal_attention_weights_are_left(tiny_base, monkeypatch):
    """Denormal numbers make a product ten times as slow."""
    factors = []
    product = torch.baddbmm
    monkeypatch.setattr(torch, "baddbmm", lambda a, b, c: factors.append(b) or product(a, b, c))
    with torch.no_grad():
        features = tiny_base.encode_image(torch.randn(1, 3, tiny_base.size, tiny_base.size))
        tokens = tiny_base.encode_prompts(prompts(tiny_base, 3, "click"))
        PromptDecoder(tiny_base)(features, Tokens(900 * tokens.sparse, tokens.dense))
    weights = [factor for factor in factors if factor.min() == 0]
    assert weights  # the softmax of such tokens has zeros
    tiny = torch.finfo(torch.float32).tiny
    assert not any(((factor > 0) & (factor < tiny)).any() for factor in factors)


@pytest.mark.parametrize("count", [1, 3, 40])
def test_attention_to_the_image_equals_torchs(count):
    torch.manual_seed(count)
    whole = torch.nn.MultiheadAttention(64, 8, batch_first=True)
    torch.nn.init.normal_(whole.in_proj_bias)
    torch.nn.init.normal_(whole.out_proj.bias)
    query, key, value = torch.randn(2, count, 64), torch.randn(2, 99, 64), torch.randn(2, 99, 64)
    holder = torch.nn.ModuleDict({"it": whole})
    copy = with_fast_attention(holder)
    assert copy["it"] is not whole
    assert holder["it"] is whole
    one, other = whole(query, key, value, need_weights=False)[0], copy["it"](query, key, value, need_weights=False)[0]
    assert torch.allclose(one, other, atol=1e-5)
