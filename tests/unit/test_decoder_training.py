"""The training decoder gives the vendor's outputs and gradients, and falls back to the reference where it must."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from torch.nn.attention import SDPBackend, sdpa_kernel

from batches import batch_of
from samtailor.adapters import plm
from samtailor.bases.decoder import training
from samtailor.registry import find
from samtailor.structures import Features, Prompts, Tokens
from samtailor.train.denormals import flushed
from tiny import disc_sample

METHODS = ("plm", "plm-pmm", "tailor", "blo-sam", "am-sam")


@pytest.fixture
def exact(tiny_base):
    """A base in double precision, so that only the mathematics can differ, and with biases (0 in transformers)."""
    model = deepcopy(tiny_base.model).double()
    torch.manual_seed(2)
    with torch.no_grad():
        for name, value in model.mask_decoder.named_parameters():
            if name.endswith("bias"):
                value.normal_(std=0.3)
    return type(tiny_base)(model, "exact")


def prompted_batch(base, prompt, count):
    """A batch; "none" is the empty prompt."""
    batch = batch_of(base, [disc_sample(i) for i in range(count)], prompt="mask-box" if prompt == "none" else prompt)
    empty = Prompts((base.size, base.size), count=(count, 1))
    return replace(batch, prompts=empty) if prompt == "none" else batch


def made(base, method):
    """An adapter whose every part changes the output."""
    segmenter = find("methods", method).build(base)[0].eval()
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in segmenter.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return segmenter


def close(one, other):
    return torch.allclose(one, other, rtol=1e-9, atol=1e-9 * float(other.detach().abs().max()) + 1e-15)


def decoded(segmenter, batch, fast):
    """Output, and the gradients of all trained parameters and of the embedding."""
    features = Features(*_leaves(batch.features.to(torch.double)))
    output = segmenter.decode(features, batch.prompts, fast=fast)
    weights = torch.Generator().manual_seed(0)
    values = (output.logits, output.iou, output.keys, output.upscaled)
    loss = sum((value * torch.randn(value.shape, generator=weights, dtype=torch.double)).mean() for value in values)
    named = dict(segmenter.named_parameters()) | {"main": features.main}
    named |= {f"skip{i}": skip for i, skip in enumerate(features.skips)}
    wanted = {name: value for name, value in named.items() if value.requires_grad}
    gradients = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
    return output, {name: value for name, value in zip(wanted, gradients, strict=True) if value is not None}


def _leaves(features):
    main = features.main.clone().requires_grad_()
    return main, tuple(skip.clone().requires_grad_() for skip in features.skips)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("prompt", ["mask-center", "mask-box", "none"])
@pytest.mark.parametrize("count", [1, 3])
def test_outputs_and_gradients_are_the_vendors(tiny_base, exact, method, prompt, count, monkeypatch):
    if (method, prompt) == ("tailor", "none"):
        pytest.skip("predicted by the map, without the decoder")
    segmenter = made(exact, method).double()
    batch = prompted_batch(tiny_base, prompt, count)
    calls = []
    decode = training.decode
    monkeypatch.setattr(training, "decode", lambda *given: calls.append(1) or decode(*given))
    got, gradients = decoded(segmenter, batch, fast=True)
    assert calls == [1]
    want, wanted = decoded(segmenter, batch, fast=False)
    assert calls == [1]
    for name in ("logits", "iou", "keys", "upscaled", "hyper"):
        ours, reference = getattr(got, name), getattr(want, name)
        assert ours.shape == reference.shape
        assert close(ours, reference), name
    assert got.candidates == want.candidates
    assert gradients.keys() == wanted.keys()
    assert all(float(value.abs().max()) > 1e-7 for name, value in wanted.items() if name in ("main", "skip0"))
    for name, value in wanted.items():
        assert close(gradients[name], value), name


def test_an_image_is_decoded_alike_alone_and_in_a_batch(tiny_base):
    segmenter = made(tiny_base, "am-sam")
    batch = batch_of(tiny_base, [disc_sample(i) for i in range(3)], prompt="mask-box")
    together = segmenter(batch, fast=True).logits
    for row in range(3):
        prompts = replace(batch.prompts, boxes=batch.prompts.boxes[row : row + 1])
        alone = segmenter.decode(batch.features[row : row + 1], prompts, fast=True).logits
        assert torch.allclose(together[row], alone[0], atol=1e-5 * float(alone.detach().abs().max()))


def test_the_argument_chooses_the_way_not_the_gradients(tiny_base, monkeypatch):
    calls = []
    decode = training.decode
    monkeypatch.setattr(training, "decode", lambda *given: calls.append(1) or decode(*given))
    features = batch_of(tiny_base, [disc_sample(0)]).features
    tokens = tiny_base.encode_prompts(batch_of(tiny_base, [disc_sample(0)]).prompts)
    reference = tiny_base.decode(features, tokens).logits
    with torch.no_grad():
        assert torch.equal(tiny_base.decode(features, tokens).logits, reference)
        assert calls == []
        fast = tiny_base.decode(features, tokens, fast=True).logits
    assert calls == [1]
    assert torch.equal(tiny_base.decode(features, tokens, fast=True).logits, fast)


def test_a_training_step_uses_the_fast_way(tiny_base, monkeypatch):
    calls = []
    decode, attention = training.decode, plm.cross_attention
    monkeypatch.setattr(training, "decode", lambda *given: calls.append("decoder") or decode(*given))
    monkeypatch.setattr(plm, "cross_attention", lambda *given: calls.append("plm") or attention(*given))
    segmenter, step = find("methods", "plm").build(tiny_base)
    optimizers = {name: torch.optim.AdamW(group) for name, group in segmenter.groups.items()}
    step(segmenter, optimizers, Accelerator(cpu=True))(batch_of(tiny_base, [disc_sample(0)]), None)
    assert calls == ["plm", "decoder"]


def test_the_reference_decodes_what_the_fast_way_does_not_support(tiny_base, monkeypatch):
    """Several prompts per image, half precision, exchanged parts, trained biases of keys."""
    monkeypatch.setattr(training, "decode", None)  # a call fails
    features = Features(*_leaves(batch_of(tiny_base, [disc_sample(0)]).features))
    frame = (tiny_base.size, tiny_base.size)
    points = torch.tensor([[[[20.0, 30.0]], [[40.0, 10.0]]]])
    labels = torch.ones(1, 2, 1, dtype=torch.int64)
    two, one = Prompts(frame, points, labels), Prompts(frame, points[:, :1], labels[:, :1])
    assert tiny_base.decode(features, tiny_base.encode_prompts(two), fast=True).logits.requires_grad
    with torch.autocast("cpu", torch.bfloat16):
        tiny_base.decode(features, tiny_base.encode_prompts(one), fast=True)
    name = "mask_decoder.transformer.layers.0.cross_attn_image_to_token.k_proj"
    strange = torch.nn.Sequential(tiny_base.model.get_submodule(name))
    odd = tiny_base.with_modules({name: strange})
    assert odd.decode(features, odd.encode_prompts(one), fast=True).logits.requires_grad
    wide = torch.nn.ConvTranspose2d(32, 8, 3, stride=2, padding=1, output_padding=1)
    assert not training.is_standard(tiny_base.with_modules({"mask_decoder.upscale_conv1": wide}).model.mask_decoder)
    samed = made(tiny_base, "samed")  # trains its biases of keys
    assert samed.model.decode(features, samed.model.encode_prompts(one), fast=True).logits.requires_grad
    assert training.is_standard(tiny_base.model.mask_decoder)


def test_the_gradient_can_be_differentiated_once_more(tiny_base, exact):
    batch = batch_of(tiny_base, [disc_sample(0)])
    tokens = tiny_base.encode_prompts(batch.prompts)
    sparse = tokens.sparse.double().requires_grad_()
    features = Features(batch.features.main.double(), tuple(skip.double() for skip in batch.features.skips))

    def gradient(sparse):
        with sdpa_kernel(SDPBackend.MATH):  # the fast kernel of self-attention has no second derivative
            output = training.decode(
                exact.model.mask_decoder, features, Tokens(sparse, tokens.dense.double()), exact.positions()
            )
            return torch.autograd.grad(output.logits.sigmoid().mean(), sparse, create_graph=True)[0]

    # H d by the graph, and by finite differences of the gradient along d
    direction = torch.randn(sparse.shape, dtype=torch.double, generator=torch.Generator().manual_seed(1))
    got = torch.autograd.grad((gradient(sparse) * direction).sum(), sparse)[0]
    step = 1e-5 * direction
    want = (gradient(sparse + step) - gradient(sparse - step)) / 2e-5
    want = want.detach()
    assert float(want.abs().max()) > 0
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5 * float(want.abs().max()))


# -- positions


def test_positions_are_cached_until_the_matrix_changes(tiny_base):
    matrix = tiny_base.model.shared_image_embedding.positional_embedding
    with torch.inference_mode():
        first = tiny_base.positions()
    assert not first.is_inference()
    assert not first.requires_grad
    assert tiny_base.positions() is first
    assert torch.equal(first, tiny_base.model.get_image_wide_positional_embeddings())
    with torch.no_grad():
        matrix.mul_(2.0)
        changed = tiny_base.positions()
        assert torch.equal(changed, tiny_base.model.get_image_wide_positional_embeddings())
        matrix.div_(2.0)
    assert not torch.equal(changed, first)
    assert torch.equal(tiny_base.positions(), first)


# -- denormals


@pytest.mark.parametrize("before", [False, True])
def test_denormals_are_flushed_only_inside_the_context(before):
    tiny = torch.full((3,), 1e-38)
    if not torch.set_flush_denormal(before):
        pytest.skip("this processor cannot flush denormal numbers")
    try:
        with flushed():
            assert (tiny * 0.01 == 0).all()
        assert bool((tiny * 0.01 == 0).all()) == before
        with pytest.raises(KeyError), flushed():
            raise KeyError
        assert bool((tiny * 0.01 == 0).all()) == before
    finally:
        torch.set_flush_denormal(False)
