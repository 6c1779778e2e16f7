"""The bundled base: its files, its encoder, its model card, and what becomes of adapters of the earlier one."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn
from torch.nn import functional as F

from samtailor import artefact
from samtailor.adapters.bottleneck import Bottlenecks
from samtailor.adapters.lora import LoRA, LoRAPointwise
from samtailor.bases import _efficientnet, _efficientnet_inference, _preprocessing, load_base
from samtailor.bases.encoder import fast_encoder
from samtailor.errors import ArtefactError, BaseUnavailableError, InputError
from samtailor.registry import BUNDLED_BASE, find, names
from saved import save
from tiny import disc_sample

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import measure_bundled_base as measuring  # noqa: E402
from bundled_base import card, checkpoint, evaluation, network  # noqa: E402
from figures import blocks  # noqa: E402

FOLDER = ROOT / "src" / "samtailor" / "bases" / BUNDLED_BASE
EARLIER = ROOT / "tests" / "fixtures" / "v0_2" / "base"
LARGEST = 20_000_000  # bytes


@pytest.fixture(scope="module")
def bundled():
    return load_base()


@pytest.fixture(scope="module")
def earlier():
    return load_base(EARLIER)


# -- files


def test_the_bundled_base_is_small_half_precision_on_disk_and_single_precision_in_memory(bundled):
    assert (bundled.name, bundled.squash) == (BUNDLED_BASE, True)
    file = FOLDER / "model.safetensors"
    assert file.stat().st_size <= LARGEST
    with safe_open(file, "pt") as tensors:
        assert {tensors.get_tensor(name).dtype for name in tensors.keys()} == {torch.float16}  # noqa: SIM118
    assert {p.dtype for p in bundled.model.parameters()} == {torch.float32}
    assert bundled.low_res == bundled.size // 4 >= 96


def test_clicks_and_grid_use_the_same_standard_normal_fourier_matrix(bundled):
    matrix = bundled.model.shared_image_embedding.positional_embedding
    assert torch.equal(matrix, bundled.model.prompt_encoder.shared_embedding.positional_embedding)
    assert 0.7 < float(matrix.std()) < 1.3
    assert not matrix.requires_grad


def test_its_normalization_is_that_of_its_folder(bundled):
    assert (bundled.mean, bundled.std) == (_efficientnet.MEAN, _efficientnet.STD)


# -- normalization of folders


def copied(base, folder: Path, name: str | None, content: object) -> Path:
    base.model.save_pretrained(folder)
    if name is not None:
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.mark.parametrize("family", ["sam", "sam2"])
def test_a_folder_states_its_normalization(family, request, tmp_path):
    base = request.getfixturevalue(f"tiny_{family}")
    given = {"image_mean": [0.5, 0.25, 0.2], "image_std": [0.5, 0.5, 0.4], "rescale_factor": 1 / 255}
    plain = load_base(copied(base, tmp_path / "plain", None, None))
    own = load_base(copied(base, tmp_path / "own", "preprocessor_config.json", given))
    newer = load_base(copied(base, tmp_path / "newer", "processor_config.json", {"image_processor": given}))
    assert (plain.mean, plain.std) == (base.mean, base.std)
    assert own.mean == newer.mean == (127.5, 63.75, 51.0)
    assert own.std == newer.std == (127.5, 127.5, 102.0)
    assert plain.fingerprint == base.fingerprint != own.fingerprint == newer.fingerprint


def test_images_that_are_only_scaled_or_not_even_that():
    scaled = _preprocessing._normalization({"do_normalize": False})
    assert scaled == ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
    bare = {"do_rescale": False, "image_mean": [100, 90, 80], "image_std": [10, 20, 30]}
    assert _preprocessing._normalization(bare) == ((100.0, 90.0, 80.0), (10.0, 20.0, 30.0))


@pytest.mark.parametrize(
    "content",
    [
        {"image_mean": [0.5, 0.5], "image_std": [0.5, 0.5, 0.5]},
        {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0]},
        {"image_mean": [0.5, 0.5, 0.5]},
        {"image_mean": "gray", "image_std": [1, 1, 1]},
        ["image_mean"],
    ],
)
def test_a_damaged_normalization_is_refused(content, tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match="does not state how images are normalized"):
        _preprocessing.read_normalization(str(tmp_path))


# -- encoder


def same_features(first, second) -> None:
    for one, other in zip((first.main, *first.skips), (second.main, *second.skips), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5 * float(other.abs().max()), rtol=0)


@pytest.mark.parametrize("count", [1, 3])
def test_the_cheaper_encoder_gives_the_same_features(tiny_lite, count):
    images = torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    cheaper = fast_encoder(tiny_lite)
    backbone = cheaper.model.vision_encoder.backbone
    assert isinstance(backbone, _efficientnet_inference._Backbone) == torch.backends.mkldnn.is_available()
    with torch.inference_mode():
        wanted = tiny_lite.encode_image(images)
        same_features(cheaper.encode_image(images[:1]), tiny_lite.encode_image(images[:1]))
        same_features(cheaper.encode_image(images), wanted)  # the layout of the weights was chosen for one image


def test_the_cheaper_encoder_of_the_bundled_base_gives_the_same_features(bundled):
    image = torch.randn(1, 3, bundled.size, bundled.size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        same_features(fast_encoder(bundled).encode_image(image), bundled.encode_image(image))


def test_a_backbone_in_half_precision_stays_as_it_is(tiny_lite_model):
    backbone = tiny_lite_model.vision_encoder.backbone
    half = _efficientnet.EfficientNetLiteModel(backbone.config).half()
    assert half.for_inference() is half


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_same_padding_equals_a_padded_image(kernel, stride):
    conv = _efficientnet.SameConv(4, 4, kernel, stride, groups=4)
    x = torch.randn(2, 4, 16, 16)
    before = (kernel - stride) // 2
    padded = F.pad(x, (before, kernel - stride - before) * 2)
    wanted = F.conv2d(padded, conv.weight, conv.bias, stride, groups=4)
    torch.testing.assert_close(conv(x), wanted, atol=1e-6, rtol=1e-5)


# -- adapters in a convolutional encoder


def test_lora_on_a_pointwise_convolution_adds_its_product():
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 5, 1)
    adapted, x = LoRAPointwise(conv, 2, scale=0.5), torch.randn(1, 6, 3, 3)
    assert torch.equal(adapted(x), conv(x))
    nn.init.normal_(adapted.lora_B.weight)
    change = 0.5 * adapted.lora_B.weight.flatten(1) @ adapted.lora_A.weight.flatten(1)
    wanted = F.conv2d(x, conv.weight + change[..., None, None], conv.bias)
    torch.testing.assert_close(adapted(x), wanted, atol=1e-6, rtol=1e-5)


def test_each_block_of_a_convolutional_encoder_is_adapted(tiny_lite):
    blocks_ = tiny_lite.model.vision_encoder.backbone.trunk.blocks
    pointwise = sum(1 + (block.expand is not None) for block in blocks_)
    assert len(LoRA(tiny_lite, "encoder.pointwise").modules_of(tiny_lite)) == pointwise
    assert len(Bottlenecks(tiny_lite).modules_of(tiny_lite)) == len(blocks_)
    assert "encoder.qkv" not in tiny_lite.sites


# -- the earlier bundled base


def test_the_earlier_base_is_refused_by_name_with_what_to_do():
    assert "nano" not in names("bases")
    with pytest.raises(BaseUnavailableError, match=r"'nano' was the bundled base.*now 'lite'.*Fit.*--base FOLDER"):
        load_base("nano")


def test_the_weights_of_the_earlier_base_load_as_a_folder_with_their_fingerprint(earlier):
    assert earlier.fingerprint == "b58ddbf980be3bad"
    assert earlier.size == 256


def test_an_adapter_of_the_earlier_base_loads_on_its_weights_only(earlier, bundled, tmp_path):
    folder = save(tmp_path / "adapter", earlier, "sam-f")
    meta = json.loads((folder / "adapter.json").read_text("utf-8"))
    meta["base"]["name"] = "nano"  # as version 0.2 wrote it
    meta.pop("crc32")
    (folder / "adapter.json").write_text(json.dumps(meta), encoding="utf-8")
    assert artefact.load(folder, earlier).meta.base.name == "nano"
    with pytest.raises(BaseUnavailableError, match="Fit the adapter again"):
        artefact.load(folder)
    with pytest.raises(ArtefactError, match=r"not on 'lite'.*Fit the adapter again.*--base FOLDER"):
        artefact.load(folder, bundled)


def test_a_plug_in_may_take_the_name_of_the_earlier_base(tmp_path, monkeypatch):
    (tmp_path / "bases").mkdir()
    text = "def matches(source, model_type):\n    return source == 'nano'\ndef build(source):\n    return 'mine'\n"
    (tmp_path / "bases" / "nano.py").write_text(text, encoding="utf-8")
    monkeypatch.setenv("SAMTAILOR_PLUGINS", str(tmp_path))
    assert load_base("nano") == "mine"


# -- model card and export


def emptied(text: str) -> str:
    """A page without the content of its blocks."""
    parts, place = [], 0
    for block in blocks.blocks(text):
        parts.append(text[place : block.start])
        place = block.end
    return "".join([*parts, "\n", text[place:]]).replace("\n\n<!-- /", "\n<!-- /")


def test_the_model_card_states_what_the_files_state():
    text = (FOLDER / "README.md").read_text("utf-8")
    assert emptied(text) == emptied(card.text(FOLDER)), "run python -m bundled_base.card and tools/make_figures.py"
    for line in card.sources(ROOT / "NOTICE"):
        assert line in text
    for word in ("Apache-2.0", "CC BY 4.0", "MIT", "BSD-3-Clause", "Limits", "Intended use", "384 x 384 px, squashed"):
        assert word in text


def test_a_card_follows_its_files(tmp_path):
    for name in ("config.json", "preprocessor_config.json", "training.json", "model.safetensors"):
        shutil.copy(FOLDER / name, tmp_path / name)
    frame = json.loads((tmp_path / "preprocessor_config.json").read_text("utf-8"))
    frame["image_mean"] = [0.4, 0.4, 0.4]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(frame), encoding="utf-8")
    assert "mean 102, 102, 102" in card.text(tmp_path)


def test_the_card_counts_the_parameters(bundled):
    fourier = bundled.model.shared_image_embedding.positional_embedding.numel()
    values = {name: tensor for name, tensor in bundled.model.state_dict().items() if "positional_embedding" not in name}
    assert card.parameters(FOLDER / "model.safetensors") == sum(v.numel() for v in values.values()) + fourier


def test_a_notice_without_sources_is_an_error(tmp_path):
    (tmp_path / "NOTICE").write_text("nothing\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no list of sources"):
        card.sources(tmp_path / "NOTICE")


def test_exported_weights_become_a_base_that_loads(tmp_path, capsys):
    from safetensors.torch import save_file

    weights = {k: v.half().contiguous().clone() for k, v in network.build(seed=3).state_dict().items()}
    save_file(weights, tmp_path / "other.safetensors")
    (tmp_path / "other.json").write_text(json.dumps({"progress": {"images": 8, "step": 1}, "trained_at_commit": ""}))
    checkpoint.pretrained(tmp_path / "other.safetensors", tmp_path / "folder")
    base = load_base(tmp_path / "folder")
    assert (base.mean, base.size) == (_efficientnet.MEAN, 384)
    for name, value in base.model.state_dict().items():
        assert torch.equal(value, weights[name].float()), name
    assert "make_figures" in capsys.readouterr().out
    assert "8 views in 1 steps" in (tmp_path / "folder" / "README.md").read_text("utf-8")
    assert find("bases", BUNDLED_BASE).NAME == BUNDLED_BASE


# -- quality, with a wide margin: a broken preprocessing or a wrong file gives masks at random


def test_a_click_and_a_box_find_a_plain_disc(bundled):
    from samtailor.predict import Predictor

    image = np.full((120, 160, 3), (90, 110, 90), np.uint8)
    y, x = np.mgrid[:120, :160]
    disc = (y - 60) ** 2 + (x - 80) ** 2 <= 30**2
    image[disc] = (220, 60, 40)
    predictor = Predictor(bundled)
    predictor.set_image(image)
    for prompt in ({"point_coords": [[80, 60]], "point_labels": [1]}, {"box": [50, 30, 110, 90]}):
        masks, _, _ = predictor.predict(**prompt)
        ious = (masks & disc).sum((1, 2)) / (masks | disc).sum((1, 2))
        assert ious.max() > 0.7


# -- measurement


def test_the_area_under_the_curve_counts_ties_half():
    assert measuring.area(np.array([1.0, 2.0]), np.array([0.0, 1.0])) == 0.875
    assert measuring.area(np.array([1.0]), np.array([])) is None


def test_a_correction_lies_in_the_larger_error_with_its_label():
    true, predicted = np.zeros((20, 30), bool), np.zeros((20, 30), bool)
    true[2:9, 2:9] = predicted[2:9, 6:9] = predicted[12:15, 20:24] = True
    (x, y), label = evaluation.correction(predicted, true)
    assert label == 1
    assert true[y, x]
    assert not predicted[y, x]
    predicted[10:20, 18:30] = True
    (x, y), label = evaluation.correction(predicted, true)
    assert label == 0
    assert predicted[y, x]
    assert not true[y, x]


def test_scores_that_rank_well_are_told_from_scores_that_do_not():
    found = measuring.Measured(present=[3.0, 2.0], absent=[-1.0])
    found.true = [np.array([0.9, 0.2, 0.4]), np.array([0.3, 0.8, 0.1])]
    found.predicted = list(found.true)
    good = measuring.reliability(found)
    assert (good["close"], good["auc"], good["correlation"], good["bias"], good["object-auc"]) == (100, 1, 1, 0, 1)
    found.predicted = [1 - values for values in found.true]
    bad = measuring.reliability(found)
    assert (bad["close"], bad["auc"], bad["correlation"]) == (0, 0, -1)


def test_every_mask_gets_every_prompt(tiny_lite):
    from samtailor.predict import Predictor

    sample = disc_sample(0)
    masks = np.stack([annotation.mask for annotation in sample.annotations])
    found = measuring.measure(Predictor(tiny_lite), [measuring.Case(sample.image, masks)])
    assert set(found.iou) == set(measuring.FIGURES)
    assert {len(values) for values in found.iou.values()} == {len(masks)}
    assert (found.images, len(found.present), len(found.absent)) == (1, 2, 1)
    assert all(0 <= value <= 1 for values in found.iou.values() for value in values)
    assert len({*found.present, *found.absent}) == 3  # the head of the object score was read, not a constant
