"""Adapters inside the base: twins, LoRA (against peft), the trained ends of the decoder, empty prompts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from transformers import SamConfig, SamModel

from batches import batch_of
from samtailor.adapters.decoder_tail import DecoderTail, Region, expected_iou
from samtailor.adapters.lora import LoRA, LoRALinear, LoRAQueryValue
from samtailor.bases.sam import Sam
from samtailor.errors import InputError
from samtailor.predict.predictor import Predictor
from samtailor.registry import find
from samtailor.segmenter import Segmenter
from samtailor.structures import Output, Prompts
from samtailor.train.losses import measured_iou, region_loss

FRAME = (64, 64)


@pytest.fixture
def batch(tiny_base, tiny_samples):
    return batch_of(tiny_base, tiny_samples[:2], prompt="mask-box")


@pytest.fixture
def meta_sam(monkeypatch):
    """SAM ViT-B without its weights."""
    from samtailor.bases import _vendor

    monkeypatch.setattr(_vendor, "fingerprint", lambda model, **options: "none")
    with torch.device("meta"):
        return Sam(SamModel(SamConfig()), "meta-b")


def size(module) -> int:
    return sum(p.numel() for p in module.parameters())


def perturb(module: torch.nn.Module) -> None:
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


# -- empty prompts


def test_the_empty_prompt_is_the_vendors_decoder_without_tokens(tiny_base):
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = tiny_base.encode_image(images)
        tokens = tiny_base.encode_prompts(Prompts(FRAME, count=(2, 1)))
        got = tiny_base.decode(features, tokens)
        extra = {"high_resolution_features": list(features.skips)} if features.skips else {}
        wanted = tiny_base.model.mask_decoder(
            image_embeddings=features.main,
            image_positional_embeddings=tiny_base.positions().expand(2, -1, -1, -1),
            sparse_prompt_embeddings=torch.zeros(2, 1, 0, tiny_base.dim),
            dense_prompt_embeddings=tiny_base.model.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(
                2, -1, tiny_base.grid, tiny_base.grid
            ),
            multimask_output=True,
            **extra,
        )
    assert tokens.sparse.shape == (2, 1, 0, tiny_base.dim)
    torch.testing.assert_close(got.candidate_logits(), wanted[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(got.candidate_iou(), wanted[1], atol=1e-5, rtol=1e-5)


def test_the_empty_prompt_of_sam_equals_the_whole_models(tiny_sam):
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        got = tiny_sam.decode(tiny_sam.encode_image(images), tiny_sam.encode_prompts(Prompts(FRAME, count=(2, 1))))
        wanted = tiny_sam.model(pixel_values=images, multimask_output=True).pred_masks
    torch.testing.assert_close(got.candidate_logits(), wanted, atol=1e-5, rtol=1e-5)


def test_none_is_a_prompt_source(tiny_samples):
    masks = [a.mask for a in tiny_samples[0].annotations]
    prompts = find("prompts", "none").build()(tiny_samples[0], masks)
    assert prompts.empty
    assert prompts.shape == (1, 2)
    assert prompts.frame == masks[0].shape


# -- twins


def test_a_twin_shares_every_tensor_and_does_not_change_the_base(tiny_base, batch):
    with torch.no_grad():
        tokens = tiny_base.encode_prompts(batch.prompts)
        before = tiny_base.decode(batch.features, tokens).logits
        lora = LoRA(tiny_base)
        twin = tiny_base.with_modules(lora.modules_of(tiny_base))
        assert torch.equal(twin.decode(batch.features, tokens).logits, before), "B = 0"
        perturb(lora)
        changed = twin.decode(batch.features, tokens).logits
        assert not torch.allclose(changed, before)
        assert torch.equal(tiny_base.decode(batch.features, tokens).logits, before)
    mine, shared = dict(twin.model.named_parameters()), dict(tiny_base.model.named_parameters())
    adapted = tuple(lora.modules_of(tiny_base))
    assert all(shared[name] is p for name, p in mine.items() if not name.startswith(adapted))
    assert twin.fingerprint == tiny_base.fingerprint
    assert isinstance(twin, type(tiny_base))


def test_an_unknown_module_is_refused(tiny_base):
    with pytest.raises(InputError, match=r"no module 'mask_decoder\.nose'"):
        tiny_base.with_modules({"mask_decoder.nose": torch.nn.Identity()})
    with pytest.raises(InputError, match=r"no site 'decoder\.nose'"):
        LoRA(tiny_base, "decoder.nose")
    one, two = LoRA(tiny_base), LoRA(tiny_base)
    with pytest.raises(InputError, match="both exchange"):
        Segmenter(tiny_base, inside={"one": one, "two": two})


def test_adapters_and_base_can_be_used_from_several_threads(tiny_base, batch):
    segmenters = []
    for seed in range(3):
        torch.manual_seed(seed)
        segmenter = find("methods", "blo-sam").build(tiny_base)[0].eval()
        perturb(segmenter)
        segmenter.adapter("lora").requires_grad_(False)
        segmenters.append(segmenter)
    with torch.no_grad():
        tokens = tiny_base.encode_prompts(batch.prompts)

    def decode(number: int) -> torch.Tensor:
        with torch.no_grad():
            if number % 4 == 3:
                return tiny_base.decode(batch.features, tokens).logits
            return segmenters[number % 4](batch).logits

    alone = [decode(number) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(decode, range(40)))
    assert all(torch.equal(logits, alone[number % 4]) for number, logits in enumerate(results))


# -- LoRA


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_lora_equals_pefts(tiny_sam, tiny_samples):
    from copy import deepcopy

    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    lora = LoRA(tiny_sam)
    perturb(lora)
    config = LoraConfig(r=4, lora_alpha=4, lora_dropout=0.0, target_modules=tiny_sam.sites["decoder.qv"])
    theirs = get_peft_model(deepcopy(tiny_sam.model), config)
    state = get_peft_model_state_dict(theirs)
    ours = lora.to_peft()
    assert {name: t.shape for name, t in ours.items()} == {name: t.shape for name, t in state.items()}
    set_peft_model_state_dict(theirs, ours)
    twin, other = tiny_sam.with_modules(lora.modules_of(tiny_sam)), Sam(theirs.base_model.model, "peft")
    batch = batch_of(tiny_sam, tiny_samples[:2], prompt="mask-box")
    with torch.no_grad():
        tokens = tiny_sam.encode_prompts(batch.prompts)
        mine, want = (b.decode(batch.features, tokens).logits for b in (twin, other))
        plain = tiny_sam.decode(batch.features, tokens).logits
    torch.testing.assert_close(mine, want, atol=1e-5, rtol=1e-5)
    assert (mine - plain).abs().max() > 0.1
    again = LoRA(tiny_sam)
    again.from_peft(ours)
    assert all(torch.equal(t, again.to_peft()[name]) for name, t in ours.items())


def test_counts_of_the_papers(meta_sam):
    lora = LoRA(meta_sam)
    assert size(lora) == 23_552
    assert size(lora) + size(DecoderTail(meta_sam)) == 509_986
    assert size(lora) + size(DecoderTail(meta_sam, iou="idle")) == 377_888
    assert size(LoRA(meta_sam, "encoder.qkv")) == 147_456


def test_counts_of_the_baselines(meta_sam):
    idle_prompts = 6_220 - 256  # points, boxes and masks of the prompt encoder
    assert size(find("methods", "samed").build(meta_sam)[0]) == 3_931_374 - idle_prompts
    med_sa = find("methods", "med-sa").build(meta_sam)[0]
    assert size(med_sa.adapter("adapters")) == 7_100_928
    assert size(med_sa.adapter("decoder")) == 4_058_340 - 3 * 139_808
    blo_sam = find("methods", "blo-sam").build(meta_sam)[0]
    assert {name: sum(p.numel() for p in ps) for name, ps in blo_sam.groups.items()} == {"lower": 509_986, "upper": 256}


def test_trained_encoders_start_as_the_base_and_need_images(tiny_base, tiny_samples):
    batch = batch_of(tiny_base, tiny_samples[:2])
    for name in ("samed", "med-sa"):
        torch.manual_seed(0)
        segmenter = find("methods", name).build(tiny_base)[0].eval()
        assert not segmenter.encoder_frozen
        with torch.no_grad():
            want = tiny_base.encode_image(batch.images).main
            assert torch.equal(segmenter.model.encode_image(batch.images).main, want)
            perturb(segmenter)
            assert not torch.allclose(segmenter.model.encode_image(batch.images).main, want)
            assert torch.equal(tiny_base.encode_image(batch.images).main, want)
        with pytest.raises(InputError, match="need `images`"):
            segmenter(replace(batch, images=None))


def test_a_predictor_encodes_for_the_adapter(tiny_base, tiny_samples):
    segmenter = find("methods", "med-sa").build(tiny_base)[0].eval()
    perturb(segmenter)
    predictor = Predictor(tiny_base, {"it": segmenter})
    sample = tiny_samples[0]
    prompts = find("prompts", "mask-center").build()(sample, [sample.annotations[0].mask])
    predictor.set_image(sample.image)
    got = predictor.decode(prompts, "it")
    with torch.no_grad():
        want = segmenter(batch_of(tiny_base, [sample], prompt="mask-center"))
    # (the click of batch_of is taken in the model frame, so that masks are near, not equal)
    features = segmenter.model.encode_image(batch_of(tiny_base, [sample]).images)
    torch.testing.assert_close(predictor.features_of("it").main, features.main)
    assert got.logits.shape == want.logits.shape
    predictor.set_sample(tiny_samples[1])
    assert not torch.allclose(predictor.features_of("it").main, features.main)
    predictor.set_features(predictor.features, 48, 80)
    with pytest.raises(InputError, match="set the image"):
        predictor.decode(prompts, "it")


def test_fused_layers_change_in_q_and_v_only():
    linear = torch.nn.Linear(6, 12)
    adapted = LoRAQueryValue(linear, 2)
    x = torch.randn(3, 6)
    assert torch.equal(adapted(x), linear(x))
    perturb(adapted)
    change = adapted(x) - linear(x)
    want = adapted.q_lora_B.weight @ adapted.q_lora_A.weight
    torch.testing.assert_close(change[:, :4], x @ want.T, atol=1e-5, rtol=1e-4)
    assert change[:, 4:8].abs().max() < 1e-6
    assert change[:, 8:].abs().min() > 0
    assert not any(p is linear.weight for p in adapted.parameters())


def test_alpha_scales(tiny_sam):
    lora = LoRA(tiny_sam, rank=2, alpha=8)
    layer = next(m for m in lora.modules() if isinstance(m, LoRALinear))
    perturb(layer)
    x = torch.randn(1, layer.lora_A.in_features)
    torch.testing.assert_close(layer(x) - layer._linear[0](x), 4 * layer.lora_B(layer.lora_A(x)), atol=1e-5, rtol=1e-4)


# -- the ends of the decoder


def test_region_starts_at_sams_single_mask(tiny_base, batch):
    segmenter = Segmenter(tiny_base, inside={"tail": DecoderTail(tiny_base)}, outputs={"region": Region()})
    with torch.no_grad():
        got = segmenter(batch)
        base = tiny_base.decode(batch.features, tiny_base.encode_prompts(batch.prompts))
        # mask tokens attend to each other: with two instead of four the mask is close, not equal
    assert got.candidates == (0,)
    assert got.logits.shape[2] == got.iou.shape[2] == 1
    pair = torch.stack([got.logits.flatten(), base.logits[:, :, :1].flatten()])
    assert torch.corrcoef(pair)[0, 1] > 0.9
    torch.testing.assert_close(got.hyper @ got.upscaled.flatten(3), got.logits.flatten(3), atol=1e-5, rtol=1e-4)


def test_the_difference_of_the_channels_is_their_softmax():
    logits = torch.randn(1, 2, 2, 3, 3)
    output = Output(logits, torch.rand(1, 2, 2), logits, logits, torch.randn(1, 2, 2, 4))
    region = Region()(output)
    torch.testing.assert_close(region.logits[:, :, 0].sigmoid(), logits.softmax(2)[:, :, 1])
    assert torch.equal(region.iou[:, :, 0], output.iou[:, :, 1])
    idle = Region("idle")(output)
    assert torch.equal(idle.iou, expected_iou(idle.logits))
    assert not torch.equal(idle.iou, region.iou)


def test_expected_iou_of_confident_and_uncertain_masks():
    assert expected_iou(torch.tensor([[20.0, -20.0]])) == pytest.approx(1)
    p = torch.tensor([[0.8, 0.2]]).logit()
    assert expected_iou(p) == pytest.approx(0.8 / 1.2)


def test_the_iou_head_learns_without_touching_the_masks(tiny_base, batch):
    """Its input is detached: the gradient of everything else is the same with and without it."""

    gradients = []
    for iou in ("trained", "idle"):
        torch.manual_seed(0)
        tail = DecoderTail(tiny_base, iou=iou)
        segmenter = Segmenter(tiny_base, inside={"tail": tail}, outputs={"region": Region(iou)})
        region_loss(segmenter(batch), batch, iou_weight=float(iou == "trained"))["loss"].backward()
        gradients.append({name: p.grad for name, p in tail.named_parameters() if "iou_prediction" not in name})
        if iou == "trained":
            assert all(p.grad.abs().sum() > 0 for p in tail.iou_prediction_head.parameters() if p.ndim == 1)
    assert all(torch.equal(gradients[0][name], gradients[1][name]) for name in gradients[1])


def test_random_start_differs_from_sam(tiny_base):
    torch.manual_seed(0)
    one, sam = DecoderTail(tiny_base, start="random"), DecoderTail(tiny_base)
    assert not torch.equal(one.mask_tokens.weight, sam.mask_tokens.weight)
    assert torch.equal(one.iou_token.weight, sam.iou_token.weight)
    assert torch.equal(one.upscale_conv1.weight, sam.upscale_conv1.weight)
    with pytest.raises(InputError, match="start must be one of"):
        DecoderTail(tiny_base, start="zero")


def test_a_target_cell_counts_from_half_coverage():
    """Cells of coverage 0.5 to 1 are of the object; of an object too small for that, its most covered cells."""
    targets = torch.zeros(1, 1, 1, 4, 4)
    targets[..., 0, :] = torch.tensor([1.0, 0.7, 0.5, 0.4])
    logits, valid = torch.full((1, 1, 1, 4, 4), -1.0), torch.ones(1, 1, 1, 4, 4, dtype=torch.bool)
    logits[..., 0, :3] = 1.0
    assert measured_iou(logits, targets, valid) == 1.0
    logits[..., 0, 1:3] = -1.0
    assert measured_iou(logits, targets, valid) == pytest.approx(1 / 3)
    assert measured_iou(logits, 0.3 * targets, valid) == 1.0
