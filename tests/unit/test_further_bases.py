"""SAM-HQ, EdgeTAM, the tracker of SAM 3, MedSAM and SlimSAM: parity with transformers, and the way of a user."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from samtailor import artefact
from samtailor.bases import Base, load_base
from samtailor.bases.decoder import PromptDecoder
from samtailor.bases.encoder import fast_encoder
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.transform import Frame, coverage
from samtailor.errors import BaseUnavailableError, InputError
from samtailor.evaluation.masks import evaluate_many
from samtailor.export.onnx import export
from samtailor.fitting import fit
from samtailor.labelling.api import label
from samtailor.predict.prompt import ObjectPrompt
from samtailor.structures import Prompts
from samtailor.train.config import load
from tiny import EDGETAM, SLIMSAM, random_model

FRAME = (64, 64)
EXPORTED = ("edgetam", "sam3_tracker")


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def prompts(kind: str) -> Prompts:
    generator = torch.Generator().manual_seed(1)
    points, labels = 63 * torch.rand(2, 3, 2, 2, generator=generator), torch.tensor([[1, 0], [1, 1], [1, -10]])
    corner = 30 * torch.rand(2, 3, 2, generator=generator)
    boxes = torch.cat([corner, corner + 20], -1)
    given = {"clicks": (points, labels.expand(2, -1, -1), None), "boxes": (None, None, boxes)}
    return Prompts(FRAME, *given[kind])


@pytest.mark.parametrize("kind", ["clicks", "boxes"])
def test_parity_with_transformers(tiny_further_base, kind, monkeypatch):
    base, given = tiny_further_base, prompts(kind)
    if base.model.config.model_type == "sam_hq":
        _as_transformers_upscales(base.model.mask_decoder.transformer, monkeypatch)
    with torch.no_grad():
        got = base.decode(base.encode_image(images()), base.encode_prompts(given))
        wanted = base.model(
            pixel_values=images(),
            input_points=given.points,
            input_labels=given.labels,
            input_boxes=given.boxes,
            multimask_output=True,
        )
    logits, iou = got.candidate_logits(), got.candidate_iou()
    if base.model.config.model_type == "sam_hq":  # transformers sorts SAM's masks, then adds the other one
        iou, order = iou.sort(dim=2, descending=True)
        logits = logits.gather(2, order[..., None, None].expand_as(logits))
    assert wanted.pred_masks.std() > 0.1
    torch.testing.assert_close(logits, wanted.pred_masks, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(iou, wanted.iou_scores, atol=1e-5, rtol=1e-5)


def _as_transformers_upscales(transformer, monkeypatch) -> None:
    """Let SAM-HQ's transformer return the keys that transformers' decoder upscales: its input, transposed."""
    whole = transformer.forward

    def forward(point_embeddings, image_embeddings, *args, **kwargs):
        queries, _ = whole(point_embeddings, image_embeddings, *args, **kwargs)
        return queries, image_embeddings.transpose(2, 3).flatten(2).mT[:, None]

    monkeypatch.setattr(transformer, "forward", forward)


def test_sam_hq_upscales_the_keys_that_leave_the_transformer(tiny_sam_hq):
    """Without the added token in the way: only the image keys of the last layer can change the upscaled map."""
    with torch.no_grad():
        output = tiny_sam_hq.decode(tiny_sam_hq.encode_image(images()), tiny_sam_hq.encode_prompts(prompts("clicks")))
        decoder = tiny_sam_hq.model.mask_decoder
        fine = decoder.upscale_layer_norm(decoder.upscale_conv1(output.keys.flatten(0, 1)))
        fine = decoder.activation(decoder.upscale_conv2(decoder.activation(fine)))
    torch.testing.assert_close(output.upscaled[:, :, :4].flatten(0, 1), fine)


def test_the_base_protocol(tiny_further_base):
    base = tiny_further_base
    assert isinstance(base, Base)
    with torch.no_grad():
        features = base.encode_image(images())
        output = base.decode(features, base.encode_prompts(prompts("boxes")))
    side = base.grid
    assert features.main.shape == (2, base.dim, side, side)
    assert {skip.shape[-1]: skip.shape[1] for skip in features.skips} == {
        side * scale: channels for scale, channels in zip((2, 4), base.skips, strict=True) if channels
    }
    assert output.keys.shape == (2, 3, base.dim, side, side)
    torch.testing.assert_close(output.hyper @ output.upscaled.flatten(3), output.logits.flatten(3))
    for pattern in base.sites.values():
        assert any(re.fullmatch(pattern, name) for name, _ in base.model.named_modules()), pattern
    assert not any(tensor.requires_grad for tensor in base.model.state_dict(keep_vars=True).values())


def test_faster_ways_give_the_same(tiny_further_base):
    base = tiny_further_base
    with torch.no_grad():
        plain = base.encode_image(images(1))
        cheaper = fast_encoder(base).encode_image(images(1))
        for one, other in zip((plain.main, *plain.skips), (cheaper.main, *cheaper.skips), strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
        tokens = base.encode_prompts(prompts("clicks")[[0]])
        expected, got = base.decode(plain, tokens), PromptDecoder(base)(plain, tokens)
    torch.testing.assert_close(got.output().logits, expected.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(got.output().upscaled, expected.upscaled, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(got.best_masks()[1], expected.best_masks()[1][0], atol=1e-4, rtol=1e-4)


def test_a_saved_folder_is_loaded_by_its_type(tiny_further_base, tmp_path):
    tiny_further_base.model.save_pretrained(tmp_path)
    loaded = load_base(tmp_path)
    assert type(loaded) is type(tiny_further_base)
    assert loaded.fingerprint == tiny_further_base.fingerprint


@pytest.mark.parametrize("family", ["sam_hq", *(pytest.param(n, marks=pytest.mark.slow) for n in EXPORTED)])
def test_fit_evaluate_label_and_export(family, tiny_samples, tmp_path, request):
    base, store = request.getfixturevalue(f"tiny_{family}"), EmbeddingCache(tmp_path / "cache")
    base.model.save_pretrained(tmp_path / "base")
    settings = {"method": "tailor", "out": str(tmp_path / "out"), "base": str(tmp_path / "base"), "steps": 2}
    settings |= {"batch_size": 2, "views": 1, "trackers": "none", "device": "cpu", "near_duplicates": False, "val": 2}
    settings |= {"classes": "disc"}
    given = {"options": {"members": 1}}
    result = fit(load(None, settings | given), samples=tiny_samples, base=load_base(tmp_path / "base"), store=store)
    adapter = artefact.load(result.folder, base)
    scores = evaluate_many(
        {"base": base, "adapter": adapter.segmenter}, tiny_samples[:2], classes=["disc"], store=store
    )
    assert 0 <= scores["adapter"].summary()["miou"] <= 1
    (tmp_path / "images").mkdir()
    Image.fromarray(tiny_samples[0].image).save(tmp_path / "images" / "a.png")
    labelled = label(tmp_path / "images", result.folder, tmp_path / "labels", verbose=False, device="cpu")
    assert labelled.images == 1
    if base.model.config.model_type == "sam_hq":
        with pytest.raises(InputError, match="'sam_hq' cannot be exported"):
            export(adapter.segmenter, tmp_path / "onnx")
        return
    report = export(adapter.segmenter, tmp_path / "onnx")
    assert report["family"] == "sam2"


def test_many_prompts_on_one_image(tiny_sam_hq, tiny_samples):
    from samtailor.predict.batched import BatchedDecoder, prompt_batches
    from samtailor.predict.predictor import Predictor

    predictor = Predictor(tiny_sam_hq)
    predictor.set_image(tiny_samples[0].image)
    clicks = [ObjectPrompt(clicks=((x, 20.0, 1),)) for x in (10.0, 40.0, 60.0)]
    (many,) = BatchedDecoder(tiny_sam_hq, {}).predict(predictor, prompt_batches(None, clicks))
    for row, click in enumerate(clicks):
        (one,) = BatchedDecoder(tiny_sam_hq, {}).predict(predictor, prompt_batches(None, [click]))
        torch.testing.assert_close(many.logits[row], one.logits[0], atol=1e-4, rtol=1e-4)


def test_edgetam_without_timm_says_what_to_install(tmp_path, monkeypatch):
    random_model("EdgeTam", EDGETAM, 0).save_pretrained(tmp_path)
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace('"tiny_pyramid"', '"timm_wrapper"'))
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(BaseUnavailableError, match="pip install timm"):
        load_base(tmp_path)


def test_a_slimsam_has_the_sizes_that_pruning_leaves(tmp_path):
    """A SamModel of another width: the base `sam` reads its configuration as it is."""
    model = random_model("Sam", SLIMSAM, 8)
    model.save_pretrained(tmp_path)
    base = load_base(tmp_path)
    assert base.model.vision_encoder.layers[0].mlp.lin1.out_features == 54
    with torch.no_grad():
        got = base.decode(base.encode_image(images()), base.encode_prompts(prompts("clicks")))
        given = prompts("clicks")
        wanted = model(images(), input_points=given.points, input_labels=given.labels, multimask_output=True)
    torch.testing.assert_close(got.candidate_logits(), wanted.pred_masks, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "hub"), [("medsam", "wanglab/medsam-vit-base"), ("slimsam", "Zigeng/SlimSAM-uniform-50")]
)
def test_names_of_published_checkpoints(monkeypatch, name, hub):
    asked = []

    def pretrained(model_class, source, **options):
        asked.append(source)
        return random_model("Sam", SLIMSAM, 8)

    monkeypatch.setattr("samtailor.bases._vendor.load_pretrained", pretrained)
    monkeypatch.setattr("samtailor.bases._preprocessing._from_hub", lambda source, name: None)
    base = load_base(name)
    assert base.name == name
    assert asked[0].startswith(hub)


def test_targets_where_a_cell_has_three_and_a_half_pixels():
    """SAM 3: 1008 px and 288 cells."""
    mask = np.zeros((14, 14), bool)
    mask[:7, :4] = True
    wanted = torch.tensor([[1.0, 1 / 7, 0, 0], [1.0, 1 / 7, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    torch.testing.assert_close(coverage(mask, 4), wanted)
    frame = Frame(100, 200, size=14, squash=False, low_res=4)
    assert frame.inner == (7, 14)
    assert frame.valid().tolist() == [[True] * 4] * 2 + [[False] * 4] * 2
