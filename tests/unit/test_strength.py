"""Strength of an adapter by the type of the prompt: with 0 the answer is that of the base model, bit for bit."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from samtailor import artefact
from samtailor.errors import InputError
from samtailor.predict.batched import BatchedDecoder, PromptBatch
from samtailor.predict.predictor import BASE, Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.registry import find
from samtailor.structures import InferenceSpec
from saved import save

CLICK = {"point_coords": [[30, 24]]}
BOX = {"box": [10, 10, 60, 40]}


def moved(base, method, **options):
    """An adapter that changes the answers of its base."""
    torch.manual_seed(3)
    segmenter = find("methods", method).build(base, **options)[0]
    with torch.no_grad():
        for parameter in segmenter.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return segmenter.eval()


def with_strength(segmenter, **strength):
    segmenter.inference = replace(segmenter.inference, strength=strength)
    return segmenter


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (48, 80, 3), np.uint8)


@pytest.mark.parametrize(
    ("method", "options"), [("plm", {}), ("tailor", {"width": 16, "members": 2}), ("sam-f", {}), ("med-sa", {})]
)
def test_with_strength_0_a_prompt_gets_the_answer_of_the_base_bit_for_bit(tiny_base, image, method, options):
    segmenter = moved(tiny_base, method, **options)
    predictor = Predictor(tiny_base, {"it": segmenter})
    predictor.set_image(image)
    of_base = {name: predictor.predict(**given, adapter=BASE) for name, given in (("click", CLICK), ("box", BOX))}
    full = predictor.predict(**BOX, adapter="it")
    assert not np.array_equal(full[2], of_base["box"][2])
    with_strength(segmenter, click=0.0)
    click, box = predictor.predict(**CLICK, adapter="it"), predictor.predict(**BOX, adapter="it")
    assert all(np.array_equal(got, wanted) for got, wanted in zip(click, of_base["click"], strict=True))
    assert all(np.array_equal(got, wanted) for got, wanted in zip(box, full, strict=True))
    with_strength(segmenter, box=0.0)
    box = predictor.predict(**BOX, adapter="it")
    assert all(np.array_equal(got, wanted) for got, wanted in zip(box, of_base["box"], strict=True))


def test_between_0_and_1_an_answer_is_interpolated(tiny_base, image):
    segmenter = moved(tiny_base, "tailor", width=16, members=2)
    predictor = Predictor(tiny_base, {"it": segmenter})
    predictor.set_image(image)
    logits = {}
    for strength in (0.0, 0.001, 0.999, 1.0):
        with_strength(segmenter, click=strength)
        logits[strength] = predictor.predict(**CLICK, adapter="it", return_logits=True)[0]
    near, far = (np.abs(logits[a] - logits[b]).max() for a, b in ((0.001, 0.0), (0.001, 1.0)))
    assert 0 < near < far / 20
    assert np.abs(logits[0.999] - logits[1.0]).max() < far / 20
    with pytest.raises(InputError, match="interpolated"):
        Predictor(tiny_base, {"it": with_strength(moved(tiny_base, "sam-f"), click=0.5)})._segmenters["it"].prompted(
            predictor.features, predictor.frame.prompts(ObjectPrompt(((3, 3, 1),)).prompts((48, 80)))
        )


def test_many_prompts_at_once_get_the_same_answers(tiny_base, image):
    segmenter = with_strength(moved(tiny_base, "tailor", width=16, members=2), click=0.0, box=0.5)
    predictor = Predictor(tiny_base, {"it": segmenter})
    predictor.set_image(image)
    click, box = ObjectPrompt(((30, 24, 1),)), ObjectPrompt(box=(10, 10, 60, 40))
    batches = [PromptBatch("it", (click, click)), PromptBatch("it", (box,)), PromptBatch(None, (click,))]
    best = BatchedDecoder(tiny_base, {"it": segmenter}).predict(predictor, batches)
    torch.testing.assert_close(best[0].logits[0], best[2].logits[0], atol=1e-4, rtol=1e-4)
    for batch, got in zip(batches, best, strict=True):
        wanted = predictor.decode(batch.stacked(predictor), batch.adapter or BASE).best_masks()[1][0]
        torch.testing.assert_close(got.logits, wanted, atol=1e-3, rtol=1e-3)


def test_strengths_are_saved_and_checked(tiny_sam2, tmp_path):
    segmenter = with_strength(moved(tiny_sam2, "plm"), click=0.0)
    artefact.save(tmp_path, segmenter, artefact.describe(segmenter, method="plm", options={}))
    assert artefact.load(tmp_path, tiny_sam2).segmenter.inference.base_prompts == ("click",)
    assert ("a click", "answered by the base model") in artefact.summary_rows(artefact.read_meta(tmp_path))
    for wrong in ({"click": 2.0}, {"circle": 1.0}):
        with pytest.raises(InputError, match="strength"):
            InferenceSpec(strength=wrong)


def test_the_service_answers_by_the_base_where_the_adapter_has_its_own_encoder(tiny_sam, tmp_path, image):
    from samtailor.serve.engine import Engine

    folder = save(tmp_path / "own", tiny_sam, "med-sa")
    loaded = artefact.load(folder, tiny_sam)
    loaded.segmenter.inference = replace(loaded.segmenter.inference, strength={"click": 0.0})
    artefact.save(folder, loaded.segmenter, artefact.describe(loaded.segmenter, method="med-sa", options={}))
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    engine = Engine(tiny_sam)
    engine.adapters.add("own", folder)
    prompts = [ObjectPrompt(box=(10, 10, 60, 40)), ObjectPrompt(((30, 24, 1),))]
    try:
        _, got = asyncio.run(engine.segment(stream.getvalue(), prompts, "own"))
        _, of_base = asyncio.run(engine.segment(stream.getvalue(), prompts))
    finally:
        engine.close()
    assert [one.prompt for one in got] == [0, 1]
    assert np.array_equal(got[1].shape, of_base[1].shape)
    assert got[1].iou == of_base[1].iou
    assert got[0].iou != of_base[0].iou


@pytest.mark.parametrize(
    ("method", "strength"),
    [("plm", {"click": 0.0}), ("tailor", {"click": 0.0, "box": 0.5}), ("plm", {"click": 0.0, "box": 0.0})],
)
def test_the_exported_decoder_uses_the_base_for_the_same_prompts(tiny_sam2, tmp_path, method, strength):
    pytest.importorskip("onnxruntime")
    from samtailor.export.onnx import export

    options = {"width": 16, "members": 2} if method == "tailor" else {}
    segmenter = with_strength(moved(tiny_sam2, method, **options), **strength)
    report = export(segmenter, tmp_path / "out")  # compares with torch for clicks and boxes
    assert report["base_model_answers"] == [name for name in ("click", "box") if strength.get(name) == 0]


def test_an_own_encoder_and_answers_of_the_base_cannot_be_exported_together(tiny_sam, tmp_path):
    pytest.importorskip("onnxruntime")
    from samtailor.export.onnx import export

    with pytest.raises(InputError, match="click"):
        export(with_strength(moved(tiny_sam, "med-sa"), click=0.0), tmp_path / "out")
    assert not (tmp_path / "out").exists()
