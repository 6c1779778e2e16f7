"""The wrapped bases against the vendors' forward, gradients, parameter counts and Meta's files."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch
from transformers import SamConfig, SamModel

from samtailor.bases import Base, load_base
from samtailor.bases.sam import Sam
from samtailor.errors import BaseUnavailableError, InputError
from samtailor.structures import Prompts, Tokens
from tiny import SAM, standard_normal_fourier, wake


def random_images(base, count: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, base.size, base.size, generator=torch.Generator().manual_seed(seed))


def points(shape: tuple[int, ...], seed: int = 1) -> torch.Tensor:
    return 63 * torch.rand(*shape, 2, generator=torch.Generator().manual_seed(seed))


def boxes(count: int, prompts: int) -> torch.Tensor:
    corner = points((count, prompts)) / 2
    return torch.cat([corner, corner + 20], -1)


FRAME = (64, 64)
KINDS = {
    "click": Prompts(FRAME, points=points((2, 1, 1)), labels=torch.ones(2, 1, 1).long()),
    "several clicks, several prompts": Prompts(
        FRAME, points=points((2, 3, 2)), labels=torch.tensor([[1, 0], [1, 1], [0, -10]]).expand(2, -1, -1)
    ),
    "box": Prompts(FRAME, boxes=boxes(2, 1)),
    "boxes": Prompts(FRAME, boxes=boxes(2, 3)),
    "box and click": Prompts(FRAME, points=points((2, 2, 1)), labels=torch.ones(2, 2, 1).long(), boxes=boxes(2, 2)),
    "click and mask": Prompts(
        FRAME,
        points=points((2, 1, 1)),
        labels=torch.ones(2, 1, 1).long(),
        masks=torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(2)),
    ),
}


def kind_for(base, name: str) -> Prompts:
    """Mask prompts are four times the grid; SAM 2's tiny grid is half of SAM's."""
    prompts = KINDS[name]
    if prompts.masks is None:
        return prompts
    side = 4 * base.grid
    return Prompts(FRAME, prompts.points, prompts.labels, prompts.boxes, prompts.masks[..., :side, :side])


@pytest.mark.parametrize("name", KINDS)
def test_parity_with_the_vendors_forward(tiny_base, name):
    images, prompts = random_images(tiny_base), kind_for(tiny_base, name)
    with torch.no_grad():
        got = tiny_base.decode(tiny_base.encode_image(images), tiny_base.encode_prompts(prompts))
        wanted = tiny_base.model(
            pixel_values=images,
            input_points=prompts.points,
            input_labels=prompts.labels,
            input_boxes=prompts.boxes,
            input_masks=prompts.masks,
            multimask_output=True,
        )
    assert got.candidates == (1, 2, 3)
    assert wanted.pred_masks.std() > 0.1  # otherwise a tolerance of 1e-5 would be meaningless
    torch.testing.assert_close(got.candidate_logits(), wanted.pred_masks, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(got.candidate_iou(), wanted.iou_scores, atol=1e-5, rtol=1e-5)


def test_token_0_is_the_vendors_single_mask(tiny_sam):
    images, prompts = random_images(tiny_sam), KINDS["click"]
    with torch.no_grad():
        got = tiny_sam.decode(tiny_sam.encode_image(images), tiny_sam.encode_prompts(prompts))
        wanted = tiny_sam.model(
            images, input_points=prompts.points, input_labels=prompts.labels, multimask_output=False
        )
    torch.testing.assert_close(got.logits[:, :, :1], wanted.pred_masks, atol=1e-5, rtol=1e-5)


def test_mask_prompt_alone(tiny_base):
    prompts = Prompts(FRAME, masks=torch.randn(1, 1, 4 * tiny_base.grid, 4 * tiny_base.grid))
    with torch.no_grad():
        features = tiny_base.encode_image(random_images(tiny_base, 1))
        output = tiny_base.decode(features, tiny_base.encode_prompts(prompts))
    assert output.logits.shape == (1, 1, 4, tiny_base.low_res, tiny_base.low_res)


def test_the_vendors_models_fulfil_the_base_protocol(tiny_base):
    assert isinstance(tiny_base, Base)
    features = tiny_base.encode_image(random_images(tiny_base))
    tokens = tiny_base.encode_prompts(KINDS["boxes"])
    output = tiny_base.decode(features, tokens)
    side, low = tiny_base.grid, tiny_base.low_res
    assert features.main.shape == (2, tiny_base.dim, side, side)
    assert tiny_base.positions().shape == (1, tiny_base.dim, side, side)
    assert output.keys.shape == (2, 3, tiny_base.dim, side, side)
    assert output.upscaled.shape[-2:] == (low, low)
    torch.testing.assert_close(output.hyper @ output.upscaled.flatten(3), output.logits.flatten(3))
    for pattern in tiny_base.sites.values():
        assert any(re.fullmatch(pattern, name) for name, _ in tiny_base.model.named_modules()), pattern


def test_keys_are_the_transformers_image_keys(tiny_base):
    """In raster order of the grid, for the right prompt."""
    inputs = []
    hook = tiny_base.model.mask_decoder.upscale_conv1.register_forward_hook(lambda m, i, o: inputs.append(i[0]))
    with torch.no_grad():
        features = tiny_base.encode_image(random_images(tiny_base))
        output = tiny_base.decode(features, tiny_base.encode_prompts(KINDS["boxes"]))
    hook.remove()
    torch.testing.assert_close(output.keys.flatten(0, 1), inputs[0])


@pytest.mark.parametrize("name", ["boxes", "box", "several clicks, several prompts"])
def test_a_batch_of_images_equals_single_images(tiny_base, name):
    """Meta's decoder repeats images by prompts and makes B times B of a batch with boxes."""
    prompts = KINDS[name]
    with torch.no_grad():
        features = tiny_base.encode_image(random_images(tiny_base))
        together = tiny_base.decode(features, tiny_base.encode_prompts(prompts))
        for b in range(2):
            given = (None if v is None else v[b : b + 1] for v in (prompts.points, prompts.labels, prompts.boxes))
            alone = tiny_base.decode(features[b : b + 1], tiny_base.encode_prompts(Prompts(FRAME, *given)))
            torch.testing.assert_close(alone.logits[0], together.logits[b], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(alone.keys[0], together.keys[b], atol=1e-5, rtol=1e-4)


def test_tokens_of_a_click_and_a_box(tiny_sam):
    assert tiny_sam.encode_prompts(KINDS["click"]).sparse.shape == (2, 1, 2, 32)
    assert tiny_sam.encode_prompts(KINDS["box"]).sparse.shape == (2, 1, 2, 32)


# -- frozen, with gradients


def test_everything_is_frozen_the_fourier_matrix_too(tiny_base):
    everything = tiny_base.model.state_dict(keep_vars=True)  # the matrix is a Parameter of Sam, a buffer of Sam2
    assert not any(tensor.requires_grad for tensor in everything.values())
    assert any("positional_embedding" in name for name in everything)


def test_gradients_flow_through_features_and_tokens(tiny_base):
    features = tiny_base.encode_image(random_images(tiny_base))
    tokens = tiny_base.encode_prompts(KINDS["click"])
    sparse = tokens.sparse.detach().requires_grad_()
    output = tiny_base.decode(features, Tokens(sparse, tokens.dense))
    for part in (output.logits, output.iou, output.keys):
        (gradient,) = torch.autograd.grad(part.square().sum(), sparse, retain_graph=True)
        assert gradient.abs().sum() > 0


def test_wrong_frames_are_refused(tiny_base):
    with pytest.raises(InputError, match="model frame"):
        tiny_base.encode_prompts(Prompts((48, 80), points=points((1, 1, 1)), labels=torch.ones(1, 1, 1).long()))
    with pytest.raises(InputError, match="shape \\(B, 3, 64, 64\\)"):
        tiny_base.encode_image(torch.zeros(1, 3, 32, 32))


def test_the_fingerprint_depends_on_the_weights():
    torch.manual_seed(3)
    model = SamModel(SamConfig(**SAM))
    first, same = Sam(model, "a").fingerprint, Sam(model, "b").fingerprint
    with torch.no_grad():
        model.mask_decoder.iou_token.weight[0, 0] += 1e-3
    assert first == same != Sam(model, "a").fingerprint


# -- the sizes of Kim et al. Table 4


@pytest.fixture(scope="module")
def counts() -> dict[str, dict[str, int]]:
    huge = {
        "hidden_size": 1280,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "global_attn_indexes": [7, 15, 23, 31],
    }
    sizes = {}
    for name, vision in {"b": {}, "h": huge | {"mlp_dim": 5120}}.items():
        with torch.device("meta"):
            model = SamModel(SamConfig(vision_config=vision))
        parts = {"encoder": model.vision_encoder, "prompt": model.prompt_encoder, "decoder": model.mask_decoder}
        sizes[name] = {part: sum(p.numel() for p in module.parameters()) for part, module in parts.items()}
    return sizes


def test_parameters_of_sam(counts):
    fourier = 2 * 128  # a Parameter in transformers, a buffer in Meta's code and in the paper's count
    assert counts["h"] == {"encoder": 637_026_048, "prompt": 6_220 + fourier, "decoder": 4_058_340}
    assert counts["b"] == {"encoder": 89_670_912, "prompt": 6_220 + fourier, "decoder": 4_058_340}
    assert sum(counts["h"].values()) - fourier == 641_090_608


# -- loading

META = {  # written by hand, transformers' name to Meta's; independent of the table under test
    "vision_encoder.patch_embed.projection": "image_encoder.patch_embed.proj",
    "vision_encoder.layers": "image_encoder.blocks",
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
    "vision_encoder.neck.conv1": "image_encoder.neck.0",
    "vision_encoder.neck.norm1": "image_encoder.neck.1",
    "vision_encoder.neck.conv2": "image_encoder.neck.2",
    "vision_encoder.neck.norm2": "image_encoder.neck.3",
    "vision_encoder": "image_encoder",
    "prompt_encoder.point_embed": "prompt_encoder.point_embeddings",
    "mask_embed.conv1": "mask_downscaling.0",
    "mask_embed.norm1": "mask_downscaling.1",
    "mask_embed.conv2": "mask_downscaling.3",
    "mask_embed.norm2": "mask_downscaling.4",
    "mask_embed.conv3": "mask_downscaling.6",
    "layer_norm3": "norm3",
    "layer_norm4": "norm4",
    "layer_norm_final_attn": "norm_final_attn",
    "upscale_conv1": "output_upscaling.0",
    "upscale_layer_norm": "output_upscaling.1",
    "upscale_conv2": "output_upscaling.3",
    ".layers.0.weight": ".layers.1.weight",
    ".layers.0.bias": ".layers.1.bias",
    "proj_in": "layers.0",
    "proj_out": "layers.2",
}


def meta_layout(model: SamModel) -> dict[str, torch.Tensor]:
    state = {}
    for name, tensor in model.state_dict().items():
        if "positional_embedding" in name:
            state["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"] = tensor.clone()
            continue
        for ours, theirs in META.items():
            name = name.replace(ours, theirs)
        state[name] = tensor.clone()
    return state


@pytest.fixture
def meta_model() -> SamModel:
    torch.manual_seed(7)
    heads = {"num_attention_heads": 8}  # cannot be derived from the tensors; always 8 in Meta's code
    model = SamModel(SamConfig(**SAM | {"mask_decoder_config": SAM["mask_decoder_config"] | heads})).eval()
    wake(model)
    with torch.no_grad():
        for parameter in model.parameters():  # norms and biases of one shape must differ
            parameter.add_(0.05 * torch.randn_like(parameter))
    standard_normal_fourier(model)
    return model


def test_metas_names_are_metas(meta_model):
    keys = meta_layout(meta_model).keys()
    known = (  # as in segment-anything's checkpoints
        "image_encoder.pos_embed",
        "image_encoder.blocks.1.attn.rel_pos_h",
        "image_encoder.blocks.0.mlp.lin1.weight",
        "image_encoder.neck.3.bias",
        "prompt_encoder.point_embeddings.3.weight",
        "prompt_encoder.not_a_point_embed.weight",
        "prompt_encoder.mask_downscaling.6.weight",
        "mask_decoder.transformer.layers.1.norm4.weight",
        "mask_decoder.transformer.layers.0.mlp.lin2.bias",
        "mask_decoder.transformer.norm_final_attn.bias",
        "mask_decoder.output_upscaling.1.weight",
        "mask_decoder.output_hypernetworks_mlps.3.layers.2.weight",
        "mask_decoder.iou_prediction_head.layers.1.bias",
    )
    assert not [name for name in known if name not in keys]


def test_metas_checkpoint_is_the_same_function(tmp_path, meta_model):
    path = tmp_path / "sam_vit_t_01ec64.pth"
    torch.save(meta_layout(meta_model), path)
    base, direct = load_base(path), Sam(meta_model, "direct")
    assert base.name == "sam_vit_t_01ec64"
    assert base.fingerprint == direct.fingerprint
    with torch.no_grad():
        for prompts in KINDS.values():
            got, wanted = (
                b.decode(b.encode_image(random_images(b)), b.encode_prompts(prompts)) for b in (base, direct)
            )
            torch.testing.assert_close(got.logits, wanted.logits, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(got.iou, wanted.iou, atol=1e-5, rtol=1e-5)


class Payload:
    def __reduce__(self):
        return print, ("this must never run",)


def test_checkpoint_with_code_is_not_run(tmp_path, capsys):
    torch.save({"model": Payload()}, tmp_path / "evil.pth")
    with pytest.raises(BaseUnavailableError, match="never runs pickled code"):
        load_base(tmp_path / "evil.pth")
    assert "never run" not in capsys.readouterr().out


def test_damaged_checkpoints_are_refused(tmp_path, meta_model):
    state = meta_layout(meta_model)
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="not a SAM 1 checkpoint"):
        load_base(tmp_path / "other.pth")
    del state["mask_decoder.iou_token.weight"]
    torch.save(state, tmp_path / "missing.pth")
    with pytest.raises(InputError, match="iou_token"):
        load_base(tmp_path / "missing.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "missing.pth").read_bytes()[:500])
    with pytest.raises(BaseUnavailableError, match="damaged"):
        load_base(tmp_path / "cut.pth")
    with pytest.raises(BaseUnavailableError, match="No checkpoint"):
        load_base(tmp_path / "absent.pth")


@pytest.mark.parametrize("family", ["sam", "sam2"])
def test_saved_folder_is_the_same_function(tmp_path, family, request):
    base = request.getfixturevalue(f"tiny_{family}")
    base.model.save_pretrained(tmp_path)
    loaded = load_base(tmp_path)
    assert loaded.fingerprint == base.fingerprint
    assert type(loaded) is type(base)


def test_an_unreachable_hub_is_reported(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BaseUnavailableError, match="bundled base 'lite', which needs none"):
        load_base("no-such-user/sam-that-is-not-cached")


@pytest.mark.parametrize("source", ["./not/here", "sam", "folder-that-is-not"])
def test_unknown_bases_are_refused(source):
    with pytest.raises((BaseUnavailableError, InputError), match="hub id"):
        load_base(source)


def test_folder_without_weights_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "sam"}')
    with pytest.raises(BaseUnavailableError, match="could not be loaded"):
        load_base(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="of type 'bert'"):
        load_base(tmp_path)


@pytest.mark.parametrize("name", ["nowhere/", "/nowhere", "a/b/c", "no where/at all"])
def test_names_that_cannot_be_models_are_refused_without_the_hub(name):
    with pytest.raises(BaseUnavailableError, match="No base model at"):
        load_base(name)


def test_weights_that_do_not_fit_are_refused_in_one_message(base_folder, tmp_path, capfd):
    folder = tmp_path / "base"
    shutil.copytree(base_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    for section, name, value in (("vision_config", "image_size", 128), ("mask_decoder_config", "num_hidden_layers", 3)):
        changed = {**config, section: {**config[section], name: value}}
        (folder / "config.json").write_text(json.dumps(changed))
        with pytest.raises(InputError, match="do not fit its configuration"):
            load_base(folder)
    assert capfd.readouterr().err == ""
