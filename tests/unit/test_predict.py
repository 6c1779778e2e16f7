"""Predictor: the unchanged base, one encoder pass, the default adapter, devices, error messages."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image

from samtailor.bases import load_on
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.transform import Frame
from samtailor.errors import BaseUnavailableError, DataError, InputError
from samtailor.predict.inputs import as_image
from samtailor.predict.predictor import Predictor
from samtailor.registry import find
from samtailor.structures import Prompts


def segmenter(base, method="plm", **options):
    return find("methods", method).build(base, **options)[0]


def moved(base):
    """A PLM that changes the prediction."""
    torch.manual_seed(3)
    return segmenter(base, "plm", head="paper_plain")


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8)


def test_adapter_base_is_the_base_bit_for_bit(tiny_base, image):
    frame = Frame.of(tiny_base, 48, 80)
    with torch.no_grad():
        features = tiny_base.encode_image(frame.image(image, tiny_base)[None])
        points, labels = torch.tensor([[[[30.0, 20.0]]]]), torch.ones(1, 1, 1, dtype=torch.int64)
        prompts = frame.prompts(Prompts((48, 80), points, labels))
        alone = tiny_base.decode(features, tiny_base.encode_prompts(prompts))
    predictor = Predictor(tiny_base, {"a": moved(tiny_base), "f": segmenter(tiny_base, "sam-f")})
    predictor.set_image(image)
    adapted = predictor.predict([[30, 20]], [1], adapter="a")
    masks, scores, low = predictor.predict([[30, 20]], [1], adapter="base")
    assert torch.equal(torch.from_numpy(low), alone.logits[0, 0, 1:4])
    assert torch.equal(torch.from_numpy(scores), alone.iou[0, 0, 1:4])
    assert np.array_equal(masks, (frame.logits(alone.logits[0, :, 1:4])[0] > 0).numpy())
    assert not np.array_equal(adapted[2], low)
    predictor.remove_adapter("a")
    assert np.array_equal(predictor.predict([[30, 20]], [1], adapter="base")[2], low)


def test_one_encoder_pass_for_any_number_of_adapters(tiny_sam, image, monkeypatch):
    calls = []
    encode = tiny_sam.encode_image
    monkeypatch.setattr(tiny_sam, "encode_image", lambda images: calls.append(1) or encode(images))
    predictor = Predictor(tiny_sam, {name: moved(tiny_sam) for name in "abc"})
    predictor.set_image(image)
    for name in ("base", "a", "b", "c"):
        predictor.predict(box=[5, 5, 30, 40], adapter=name)
        predictor.predict([[30, 20], [3, 4]], [1, 0], adapter=name)
    assert len(calls) == 1


def test_shapes_and_types(tiny_base, image):
    predictor = Predictor(tiny_base, {"plm": segmenter(tiny_base), "f": segmenter(tiny_base, "sam-f")})
    predictor.set_image(image)
    masks, scores, low = predictor.predict([[30, 20]], [1], adapter="base")
    assert masks.shape == (3, 48, 80)
    assert masks.dtype == bool
    assert scores.shape == (3,)
    assert low.shape == (3, tiny_base.low_res, tiny_base.low_res)
    logits, _, _ = predictor.predict([[30, 20]], [1], adapter="base", return_logits=True)
    assert logits.dtype == np.float32
    assert np.array_equal(logits > 0, masks)
    assert predictor.predict([[30, 20]], [1], adapter="base", multimask_output=False)[0].shape == (1, 48, 80)
    assert predictor.predict([[30, 20]], [1], adapter="f")[0].shape == (1, 48, 80)  # SAM-F has one mask
    again, _, _ = predictor.predict([[30, 20]], [1], adapter="base", mask_input=low[scores.argmax()][None])
    assert not np.array_equal(again, masks)


def test_single_mask_is_the_bases_single_mask_token_and_the_adapters_best_candidate(tiny_sam, image):
    predictor = Predictor(tiny_sam, {"plm": moved(tiny_sam)})
    predictor.set_image(image)
    single = predictor.predict([[30, 20]], [1], adapter="base", multimask_output=False)[2]
    assert not any(np.array_equal(single[0], low) for low in predictor.predict([[30, 20]], [1], adapter="base")[2])
    _, scores, low = predictor.predict([[30, 20]], [1], adapter="plm")
    _, score, one = predictor.predict([[30, 20]], [1], adapter="plm", multimask_output=False)
    assert np.array_equal(one[0], low[scores.argmax()])
    assert score[0] == scores.max()


def test_an_untrained_plm_equals_the_base(tiny_base, image):
    predictor = Predictor(tiny_base, {"plm": segmenter(tiny_base)})
    predictor.set_image(image)
    assert np.array_equal(predictor.predict([[9, 9]], adapter="base")[2], predictor.predict([[9, 9]])[2])


@pytest.mark.parametrize(
    ("arguments", "message"),
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
def test_invalid_prompts_raise(tiny_sam, image, arguments, message):
    predictor = Predictor(tiny_sam, {"plm": segmenter(tiny_sam)})
    predictor.set_image(image)
    with pytest.raises(InputError, match=message):
        predictor.predict(**arguments)


def test_predict_without_an_image_raises(tiny_sam):
    predictor = Predictor(tiny_sam)
    with pytest.raises(InputError, match="set_image"):
        predictor.predict([[1, 1]])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4), np.uint8), "uint8 RGB"),
        (np.zeros((4, 4, 4), np.uint8), "uint8 RGB"),
        (np.zeros((4, 4, 3), np.float32), "multiply by 255"),
        (np.zeros((3, 4, 4), np.uint8), "transpose"),
        (np.zeros((0, 4, 3), np.uint8), "uint8 RGB"),
        ([[1, 2]], "got list"),
    ],
)
def test_invalid_arrays_raise(array, message):
    with pytest.raises(InputError, match=message):
        as_image(array)


def test_files_and_pillow_images_of_any_mode(tmp_path):
    gray = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8))
    clear = Image.new("RGBA", (8, 6), (200, 0, 0, 0))
    for name, image in (("gray", gray), ("clear", clear)):
        image.save(tmp_path / f"{name}.png")
        assert np.array_equal(as_image(tmp_path / f"{name}.png"), as_image(image))
    assert np.array_equal(as_image(gray)[..., 2], np.asarray(gray))
    assert (as_image(clear) == 255).all()  # transparent pixels become white
    turned = Image.fromarray(np.zeros((6, 8, 3), np.uint8))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert as_image(tmp_path / "turned.jpg").shape == (8, 6, 3)
    with Image.open(tmp_path / "turned.jpg") as opened:
        assert as_image(opened).shape == (8, 6, 3)
    with pytest.raises(DataError, match=r"no file .*missing\.png"):
        as_image(tmp_path / "missing.png")


def test_a_cached_embedding_is_not_computed_again(tiny_sam, image, tmp_path, monkeypatch):
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


def test_the_only_adapter_is_the_default(tiny_sam, image):
    predictor = Predictor(tiny_sam)
    predictor.set_image(image)
    base = predictor.predict([[9, 9]])[2]
    predictor.add_adapter("a", moved(tiny_sam))
    assert np.array_equal(predictor.predict([[9, 9]])[2], predictor.predict([[9, 9]], adapter="a")[2])
    assert np.array_equal(predictor.predict([[9, 9]], adapter="base")[2], base)
    assert not np.array_equal(predictor.predict([[9, 9]])[2], base)
    predictor.add_adapter("b", moved(tiny_sam))
    with pytest.raises(InputError, match=r"Several adapters are loaded: a, b\."):
        predictor.predict([[9, 9]])
    with pytest.raises(InputError, match="Several adapters"):
        predictor.decode(Prompts((48, 80), boxes=torch.tensor([[[1.0, 1, 9, 9]]])))
    assert np.array_equal(predictor.predict([[9, 9]], adapter="base")[2], base)


@pytest.mark.parametrize("name", ["base", ""])
def test_reserved_names_raise(tiny_sam, name):
    with pytest.raises(InputError, match="cannot be called"):
        Predictor(tiny_sam, {name: segmenter(tiny_sam)})


@pytest.fixture
def saved(tiny_sam_model, tmp_path):
    """Folder of an adapter, on a base in a folder of its own."""
    from samtailor import artefact

    tiny_sam_model.save_pretrained(tmp_path / "tiny")
    base = load_on(tmp_path / "tiny", "cpu")
    fitted = moved(base)
    meta = artefact.describe(fitted, method="plm", options={"head": "paper_plain"})
    meta = meta.model_copy(update={"base": meta.base.model_copy(update={"name": str(tmp_path / "tiny")})})
    artefact.save(tmp_path / "adapters" / "banner", fitted, meta)
    return tmp_path / "adapters" / "banner"


def test_from_pretrained_reads_the_base_from_the_adapter(saved, image, monkeypatch):
    loaded = Predictor.from_pretrained(saved, device="cpu")
    assert loaded.adapters == ("banner",)
    named = Predictor.from_pretrained(saved.parents[1] / "tiny", {"x": saved}, device="cpu")
    for predictor in (loaded, named):
        predictor.set_image(image)
    assert np.array_equal(loaded.predict([[9, 9]])[2], named.predict([[9, 9]], adapter="x")[2])
    more = Predictor.from_pretrained(saved, {"second": saved}, device="cpu")
    assert more.adapters == ("banner", "second")
    monkeypatch.chdir(saved)
    assert Predictor.from_pretrained(".", device="cpu").adapters == ("banner",)
    shutil.copytree(saved, saved.parent / "base")
    assert Predictor.from_pretrained(saved.parent / "base", device="cpu").adapters == ("adapter",)


def test_from_pretrained_takes_the_hub_id_of_an_adapter(saved, monkeypatch):
    repositories = {"anna/banner": saved}

    def download(name, filename=None, **_):
        if name not in repositories or not (filename is None or (repositories[name] / filename).is_file()):
            raise LocalEntryNotFoundError("not in the cache")
        return str(repositories[name] / (filename or ""))

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert Predictor.from_pretrained("anna/banner", device="cpu").adapters == ("banner",)
    with pytest.raises(BaseUnavailableError, match="anna/other"):
        Predictor.from_pretrained("anna/other", device="cpu")


def test_bgr_arrays_have_their_channels_swapped(tiny_sam, image):
    predictor = Predictor(tiny_sam)
    predictor.set_image(image)
    rgb = predictor.predict([[9, 9]])[2]
    predictor.set_image(image[..., ::-1], image_format="BGR")
    assert np.array_equal(predictor.predict([[9, 9]])[2], rgb)
    assert np.array_equal(predictor.image, image)
    predictor.set_image(image[..., ::-1])
    assert not np.array_equal(predictor.predict([[9, 9]])[2], rgb)
    with pytest.raises(InputError, match="image_format must be one of RGB, BGR, got 'HSV'"):
        predictor.set_image(image, image_format="HSV")
    assert np.array_equal(as_image(Image.fromarray(image), "BGR"), image)  # Pillow images have their own order


def test_to_moves_base_adapters_and_cached_features(tiny_sam2_model, image, tmp_path):
    tiny_sam2_model.save_pretrained(tmp_path)
    base = load_on(tmp_path, "cpu")
    predictor = Predictor(base, {"plm": moved(base), "samed": segmenter(base, "samed", rank=1)})
    predictor.set_image(image)
    predictor.features_of("samed")
    assert predictor.to("meta") is predictor
    tensors = [predictor.features.main, *predictor.features.skips, predictor.features_of("samed").main]
    for name in predictor.adapters:
        fitted = predictor.segmenter(name)
        tensors += [*fitted.parameters(), *fitted.buffers(), *fitted.model.parameters(), *fitted.model.buffers()]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    with pytest.raises(InputError, match="'quantum' cannot be used"):
        predictor.to("quantum")


def test_repr_names_base_adapters_device_and_image(tiny_sam, image):
    predictor = Predictor(tiny_sam, {"a<b>": segmenter(tiny_sam)})
    assert repr(predictor) == f"Predictor(base={tiny_sam.name}, adapters=[a<b>], device=cpu, image=none)"
    predictor.set_image(image)
    assert repr(predictor).endswith("image=80x48 px)")
    assert "<td>[a&lt;b&gt;]</td>" in predictor._repr_html_()
    assert "80x48 px" in predictor._repr_html_()
