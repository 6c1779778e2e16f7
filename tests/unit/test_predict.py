"""Predictor: SAM's own answers with the adapters off, one encoder pass, refusals in words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from samtailor.bases import load_on
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.transform import Frame
from samtailor.errors import DataError, InputError
from samtailor.predict.inputs import as_image
from samtailor.predict.predictor import Predictor
from samtailor.registry import find
from samtailor.structures import Prompts


def segmenter(base, method="plm", **options):
    return find("methods", method).build(base, **options)[0]


def moved(base):
    """A PLM that does change the answer."""
    torch.manual_seed(3)
    return segmenter(base, "plm", head="paper_plain")


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8)


def test_with_the_adapter_off_the_base_answers_bit_for_bit(tiny_base, image):
    frame = Frame.of(tiny_base, 48, 80)
    with torch.no_grad():
        features = tiny_base.encode_image(frame.image(image, tiny_base)[None])
        points, labels = torch.tensor([[[[30.0, 20.0]]]]), torch.ones(1, 1, 1, dtype=torch.int64)
        prompts = frame.prompts(Prompts((48, 80), points, labels))
        alone = tiny_base.decode(features, tiny_base.encode_prompts(prompts))
    predictor = Predictor(tiny_base, {"a": moved(tiny_base), "f": segmenter(tiny_base, "sam-f")})
    predictor.set_image(image)
    adapted = predictor.predict([[30, 20]], [1], adapter="a")
    masks, scores, low = predictor.predict([[30, 20]], [1])
    assert torch.equal(torch.from_numpy(low), alone.logits[0, 0, 1:4])
    assert torch.equal(torch.from_numpy(scores), alone.iou[0, 0, 1:4])
    assert np.array_equal(masks, (frame.logits(alone.logits[0, :, 1:4])[0] > 0).numpy())
    assert not np.array_equal(adapted[2], low)
    predictor.remove_adapter("a")
    assert np.array_equal(predictor.predict([[30, 20]], [1])[2], low)


def test_one_encoder_pass_for_any_number_of_adapters(tiny_sam, image, monkeypatch):
    calls = []
    encode = tiny_sam.encode_image
    monkeypatch.setattr(tiny_sam, "encode_image", lambda images: calls.append(1) or encode(images))
    predictor = Predictor(tiny_sam, {name: moved(tiny_sam) for name in "abc"})
    predictor.set_image(image)
    for name in (None, "a", "b", "c"):
        predictor.predict(box=[5, 5, 30, 40], adapter=name)
        predictor.predict([[30, 20], [3, 4]], [1, 0], adapter=name)
    assert len(calls) == 1


def test_shapes_and_types(tiny_base, image):
    predictor = Predictor(tiny_base, {"plm": segmenter(tiny_base), "f": segmenter(tiny_base, "sam-f")})
    predictor.set_image(image)
    masks, scores, low = predictor.predict([[30, 20]], [1])
    assert masks.shape == (3, 48, 80)
    assert masks.dtype == bool
    assert scores.shape == (3,)
    assert low.shape == (3, tiny_base.low_res, tiny_base.low_res)
    logits, _, _ = predictor.predict([[30, 20]], [1], return_logits=True)
    assert logits.dtype == np.float32
    assert np.array_equal(logits > 0, masks)
    assert predictor.predict([[30, 20]], [1], multimask_output=False)[0].shape == (1, 48, 80)
    assert predictor.predict([[30, 20]], [1], adapter="f")[0].shape == (1, 48, 80)  # SAM-F has one mask
    again, _, _ = predictor.predict([[30, 20]], [1], mask_input=low[scores.argmax()][None])
    assert not np.array_equal(again, masks)


def test_one_mask_is_the_single_mask_token_of_the_base_and_the_best_of_an_adapter(tiny_sam, image):
    predictor = Predictor(tiny_sam, {"plm": moved(tiny_sam)})
    predictor.set_image(image)
    single = predictor.predict([[30, 20]], [1], multimask_output=False)[2]
    assert not any(np.array_equal(single[0], low) for low in predictor.predict([[30, 20]], [1])[2])
    _, scores, low = predictor.predict([[30, 20]], [1], adapter="plm")
    _, score, one = predictor.predict([[30, 20]], [1], adapter="plm", multimask_output=False)
    assert np.array_equal(one[0], low[scores.argmax()])
    assert score[0] == scores.max()


def test_a_fresh_plm_starts_exactly_at_the_base(tiny_base, image):
    predictor = Predictor(tiny_base, {"plm": segmenter(tiny_base)})
    predictor.set_image(image)
    assert np.array_equal(predictor.predict([[9, 9]])[2], predictor.predict([[9, 9]], adapter="plm")[2])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "none was given"),
        ({"point_coords": [[80, 10]]}, "outside the image of 80x48"),
        ({"point_coords": [[-1, 10]]}, "outside"),
        ({"point_coords": [[10, 48]]}, "outside"),
        ({"point_coords": [10, 20]}, r"shape \(K, 2\)"),
        ({"point_coords": [[1, 2, 3]]}, r"shape \(K, 2\)"),
        ({"point_coords": np.zeros((0, 2))}, r"shape \(K, 2\)"),
        ({"point_coords": [["a", "b"]]}, "must be numbers"),
        ({"point_coords": [[1, 2], [3]]}, "must be numbers"),
        ({"point_coords": [[np.nan, 2]]}, "finite"),
        ({"point_coords": [[1, 2]], "point_labels": [1, 1]}, "1 numbers"),
        ({"point_coords": [[1, 2]], "point_labels": [2]}, "1 for the object"),
        ({"point_labels": [1]}, "without point_coords"),
        ({"box": [1, 2, 3]}, "four numbers"),
        ({"box": [10, 10, 5, 20]}, "x0 < x1"),
        ({"box": [10, 10, 90, 20]}, "inside the image"),
        ({"mask_input": np.zeros((1, 7, 7))}, r"shape \(1, 32, 32\)"),
        ({"point_coords": [[1, 2]], "adapter": "nose"}, "No adapter is called 'nose'. Loaded: plm"),
    ],
)
def test_wrong_prompts_are_refused_in_words(tiny_sam, image, arguments, told):
    predictor = Predictor(tiny_sam, {"plm": segmenter(tiny_sam)})
    predictor.set_image(image)
    with pytest.raises(InputError, match=told):
        predictor.predict(**arguments)


def test_no_image_is_told(tiny_sam):
    predictor = Predictor(tiny_sam)
    with pytest.raises(InputError, match="set_image"):
        predictor.predict([[1, 1]])


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.zeros((4, 4), np.uint8), "uint8 RGB"),
        (np.zeros((4, 4, 4), np.uint8), "uint8 RGB"),
        (np.zeros((4, 4, 3), np.float32), "multiply by 255"),
        (np.zeros((3, 4, 4), np.uint8), "transpose"),
        (np.zeros((0, 4, 3), np.uint8), "uint8 RGB"),
        ([[1, 2]], "got list"),
    ],
)
def test_wrong_arrays_are_refused_in_words(array, told):
    with pytest.raises(InputError, match=told):
        as_image(array)


def test_files_and_pillow_images_of_any_mode(tmp_path):
    grey = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8))
    clear = Image.new("RGBA", (8, 6), (200, 0, 0, 0))
    for name, image in (("grey", grey), ("clear", clear)):
        image.save(tmp_path / f"{name}.png")
        assert np.array_equal(as_image(tmp_path / f"{name}.png"), as_image(image))
    assert np.array_equal(as_image(grey)[..., 2], np.asarray(grey))
    assert (as_image(clear) == 255).all()  # transparency is laid over white
    turned = Image.fromarray(np.zeros((6, 8, 3), np.uint8))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert as_image(tmp_path / "turned.jpg").shape == (8, 6, 3)
    with Image.open(tmp_path / "turned.jpg") as opened:
        assert as_image(opened).shape == (8, 6, 3)
    with pytest.raises(DataError, match=r"no file .*missing\.png"):
        as_image(tmp_path / "missing.png")


def test_a_store_saves_the_encoder_pass(tiny_sam, image, tmp_path, monkeypatch):
    plain = Predictor(tiny_sam)
    plain.set_image(image)
    stored = Predictor(tiny_sam, store=EmbeddingCache(tmp_path))
    stored.set_image(image)
    assert np.allclose(stored.predict([[9, 9]])[2], plain.predict([[9, 9]])[2], atol=0.05)
    monkeypatch.setattr(tiny_sam, "encode_image", None)
    stored.set_image(image)


def test_adapters_share_the_base_object(tiny_sam, tiny_sam2):
    with pytest.raises(InputError, match="another base object"):
        Predictor(tiny_sam, {"plm": segmenter(tiny_sam2)})
    predictor = Predictor(tiny_sam, {"plm": segmenter(tiny_sam)})
    with pytest.raises(InputError, match="already"):
        predictor.add_adapter("plm", segmenter(tiny_sam))
    with pytest.raises(InputError, match="No adapter"):
        predictor.remove_adapter("nose")
    assert predictor.adapters == ("plm",)


def test_from_pretrained_loads_base_and_adapters(tiny_sam_model, tmp_path, image):
    from samtailor import artefact

    tiny_sam_model.save_pretrained(tmp_path / "base")
    base = load_on(tmp_path / "base", "cpu")
    fitted = moved(base)
    artefact.save(tmp_path / "a", fitted, artefact.describe(fitted, method="plm", options={"head": "paper_plain"}))
    loaded = Predictor.from_pretrained(tmp_path / "base", {"a": tmp_path / "a"}, device="cpu")
    built = Predictor(base, {"a": fitted})
    for predictor in (loaded, built):
        predictor.set_image(image)
    assert np.array_equal(loaded.predict([[9, 9]], adapter="a")[2], built.predict([[9, 9]], adapter="a")[2])
    with pytest.raises(InputError, match="cannot be used"):
        load_on(tmp_path / "base", "quantum")
