"""Companions: what is loaded and refused, their maps, the cache, and adapters and proposals that read them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from batches import batch_of
from samtailor import artefact
from samtailor.adapters.pyramid import CompanionMaps
from samtailor.adapters.region_map import RegionMap
from samtailor.bases import load_base
from samtailor.bases.companions import companion_maps, load_companion, resized
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.augment import UNTOUCHED
from samtailor.data.tile_views import views
from samtailor.errors import ArtefactError, BaseUnavailableError, InputError
from samtailor.fitting import fit
from samtailor.fitting.proposals import fit_proposals
from samtailor.predict.auto import by_proposals
from samtailor.predict.predictor import Predictor
from samtailor.prompts.proposals import build as proposal_source
from samtailor.proposals import Proposals, disk
from samtailor.registry import PLUGINS, find
from samtailor.segmenter import Segmenter
from samtailor.structures import Features, InferenceSpec, Prompts, TilingPlan
from samtailor.train.config import FitConfig
from saved import save
from tiny import save_dinov2


@pytest.fixture
def companion(tiny_companion):
    return load_companion(tiny_companion)


@pytest.fixture
def counted(companion, monkeypatch):
    """Number of images that the companion has encoded, in a list."""
    calls, maps = [], type(companion).maps

    def counting(self, images):
        calls.extend([1] * len(images))
        return maps(self, images)

    monkeypatch.setattr(type(companion), "maps", counting)
    return calls


# -- loading


def test_the_bundled_companion_is_the_backbone_of_the_bundled_base():
    from samtailor.bases import load_base
    from samtailor.registry import BUNDLED_BASE

    bundled = load_companion("bundled")
    trunk = load_base(BUNDLED_BASE).model.vision_encoder.backbone.trunk
    assert all(torch.equal(a, b) for a, b in zip(trunk.parameters(), bundled.model.parameters(), strict=True))
    assert not any(parameter.requires_grad for parameter in bundled.model.parameters())
    assert load_companion("bundled") is bundled  # adapters share the weights
    with torch.no_grad():
        maps = bundled.maps(torch.randn(1, 3, bundled.size, bundled.size))
    assert [tuple(one.shape) for one in maps] == [
        (1, channels, side, side) for channels, side in zip(bundled.channels, bundled.sides, strict=True)
    ]
    for one in maps:
        torch.testing.assert_close(one.mean(dim=1), torch.zeros(1, *one.shape[2:]), atol=1e-4, rtol=0)
        torch.testing.assert_close(one.var(dim=1, unbiased=False), torch.ones(1, *one.shape[2:]), atol=1e-2, rtol=0)


def test_the_map_of_a_dinov2_is_its_patch_tokens(companion):
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        (got,) = companion.maps(images)
        tokens = companion.model(images).last_hidden_state
    assert companion.channels == (16,)
    assert companion.sides == (4,)
    assert torch.equal(got[1, :, 2, 3], tokens[1, 1 + 2 * 4 + 3])


def test_registers_are_not_patches(tmp_path):
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    config = DINOv3ViTConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, patch_size=4,
        num_register_tokens=3, image_size=32,
    )  # fmt: skip
    DINOv3ViTModel(config).save_pretrained(tmp_path / "dinov3")
    companion = load_companion(tmp_path / "dinov3")
    with torch.no_grad():
        images = torch.randn(1, 3, companion.size, companion.size)
        (got,) = companion.maps(images)
        tokens = companion.model(images).last_hidden_state
    assert got.shape == (1, 16, *companion.sides * 2)
    assert torch.equal(got[0, :, 0, 0], tokens[0, 4])


def test_none_is_no_companion():
    assert load_companion("none") is None


@pytest.mark.parametrize("source", ["nothing", "./nowhere", "a/b/c"])
def test_an_unknown_source_is_refused_with_what_there_is(source):
    with pytest.raises(BaseUnavailableError, match="'bundled'"):
        load_companion(source)


def test_a_family_is_not_a_model():
    with pytest.raises(InputError, match="family"):
        load_companion("dinov2")


def test_a_hub_that_is_out_of_reach_is_named(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BaseUnavailableError, match=r"someone/dinov9.*hub id.*needs no network"):
        load_companion("someone/dinov9")


def test_a_model_of_another_type_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}), encoding="utf-8")
    with pytest.raises(InputError, match=r"'bert'.*no companion loads"):
        load_companion(tmp_path)


def test_pickled_weights_are_never_read(tmp_path):
    folder = save_dinov2(tmp_path / "pickled", seed=0)
    weights = folder / "model.safetensors"
    torch.save({"anything": torch.zeros(1)}, folder / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(BaseUnavailableError, match="companion"):
        load_companion(folder)


def test_a_companion_of_a_plug_in_folder(tmp_path, monkeypatch, tiny_sam):
    code = """
import torch
class Gray:
    name, size, mean, std, channels, sides, fingerprint = "gray", 8, (0.0,) * 3, (255.0,) * 3, (3,), (8,), "gray"
    model = torch.nn.Linear(1, 1)
    def maps(self, images):
        return (images,)
def matches(source, model_type):
    return source == "gray"
def build(source):
    return Gray()
"""
    (tmp_path / "companions").mkdir()
    (tmp_path / "companions" / "gray.py").write_text(code, encoding="utf-8")
    monkeypatch.setenv(PLUGINS, str(tmp_path))
    segmenter, _ = find("methods", "tailor").build(tiny_sam, members=1, width=16, companion="gray")
    assert segmenter.companion.name == "gray"


# -- maps


def test_a_companion_sees_the_colors_and_the_area_of_the_frame(tiny_sam):
    class Identity:
        name, size, mean, std, channels, sides, fingerprint = (
            "i",
            32,
            (10.0, 20.0, 30.0),
            (2.0, 4.0, 8.0),
            (3,),
            (32,),
            "i",
        )
        model = torch.nn.Linear(1, 1)

        def maps(self, images):
            return (images,)

    rgb = torch.zeros(1, 3, 64, 64)
    rgb[:, :, :32, 32:] = torch.tensor([200.0, 100.0, 50.0])[:, None, None]
    mean, std = (torch.tensor(values)[:, None, None] for values in (tiny_sam.mean, tiny_sam.std))
    (got,) = companion_maps(Identity(), tiny_sam, (rgb - mean) / std)
    want = torch.tensor([190 / 2, 80 / 4, 20 / 8])
    torch.testing.assert_close(got[0, :, 3, 28], want, atol=1e-3, rtol=1e-4)  # top right
    torch.testing.assert_close(got[0, :, 28, 28], torch.tensor([-5.0, -5.0, -3.75]), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(("side", "target"), [(64, 32), (64, 24), (12, 24), (24, 24), (48, 32)])
def test_resizing_keeps_constants_and_slopes(side, target):
    ramp = ((torch.arange(side) + 0.5) / side).expand(1, 1, side, side)
    got = resized(ramp, target)
    inner = slice(2, target - 2)
    want = ((torch.arange(target) + 0.5) / target).expand(1, 1, target, target)
    torch.testing.assert_close(got[..., inner], want[..., inner], atol=1e-5, rtol=0)


def test_a_map_is_read_at_the_finest_level_that_is_not_finer():
    maps = CompanionMaps("f", (1, 1, 1, 1), (96, 48, 24, 12), grid=24)
    assert maps.levels(2) == [2, 1, 0, 0]
    assert maps.levels(0) == [0, 0, 0, 0]


# -- cache


def test_an_image_is_encoded_once_and_its_embedding_is_shared(tiny_base, companion, counted, tiny_samples, tmp_path):
    store = EmbeddingCache(tmp_path)
    plain = store.features(tiny_base, tiny_samples[:2])
    files = {file for file in tmp_path.rglob("*.safetensors")}
    both = store.features(tiny_base, tiny_samples[:2], companions=[companion])
    assert len(counted) == 2
    assert files < {file for file in tmp_path.rglob("*.safetensors")}
    assert torch.equal(plain.main, both.main)
    again = EmbeddingCache(tmp_path).features(tiny_base, tiny_samples[1::-1], companions=[companion])
    assert len(counted) == 2  # read from disk
    (maps,), (read,) = both.companions[companion.fingerprint], again.companions[companion.fingerprint]
    assert torch.equal(maps.flip(0), read)


def test_another_companion_has_its_own_entry(tiny_sam, companion, tiny_samples, tmp_path):
    other = load_companion(save_dinov2(tmp_path / "other", seed=6))
    store = EmbeddingCache(tmp_path / "cache")
    (mine,) = store.maps(companion, tiny_sam, tiny_samples[0])
    (theirs,) = store.maps(other, tiny_sam, tiny_samples[0])
    assert not torch.equal(mine, theirs)
    assert torch.equal(mine, store.maps(companion, tiny_sam, tiny_samples[0])[0])


def test_a_companion_on_another_frame_has_its_own_entry(tiny_sam, tiny_sam2, companion, tiny_samples, tmp_path):
    store = EmbeddingCache(tmp_path)  # SAM pads, SAM 2 squashes
    padded, squashed = (store.maps(companion, base, tiny_samples[0])[0] for base in (tiny_sam, tiny_sam2))
    assert not torch.allclose(padded, squashed)


def test_prepare_computes_what_is_missing(tiny_sam, companion, counted, tiny_samples, tmp_path):
    store = EmbeddingCache(tmp_path)
    assert store.prepare(tiny_sam, tiny_samples[:2]) == 2
    assert store.prepare(tiny_sam, tiny_samples[:3], companions=[companion]) == 3
    assert store.prepare(tiny_sam, tiny_samples[:3], companions=[companion]) == 0
    before = len(counted)
    store.features(tiny_sam, tiny_samples[:3], companions=[companion])
    assert len(counted) == before == 3


def test_features_keep_their_companions_and_join_only_with_equals():
    one = Features(torch.zeros(2, 1, 4, 4), (), {"c": (torch.arange(2.0)[:, None, None, None],)})
    assert Features.cat([one, one[1:]]).companions["c"][0].flatten().tolist() == [0, 1, 1]
    assert one.to(torch.float64).companions["c"][0].dtype == torch.float64
    assert sum(1 for _ in one.tensors()) == 2
    with pytest.raises(InputError, match="same companions"):
        Features.cat([one, Features(torch.zeros(1, 1, 4, 4))])


# -- the region map


def test_every_map_of_the_companion_changes_the_region_map(tiny_base, companion, tiny_samples):
    region_map = RegionMap(tiny_base, width=16, members=1, companion=companion).eval()
    features = batch_of(tiny_base, tiny_samples[:1], companions=[companion]).features
    (maps,) = features.companions[companion.fingerprint]
    changed = replace(features, companions={companion.fingerprint: (maps + 1,)})
    assert not torch.allclose(region_map.logits(features), region_map.logits(changed))
    without = replace(features, companions={})
    with pytest.raises(InputError, match=f"{companion.fingerprint}.*none"):
        region_map.logits(without)


def test_without_a_companion_the_tensors_are_those_of_earlier_versions(tiny_base, companion):
    plain, beside = (RegionMap(tiny_base, width=16, companion=one).state_dict().keys() for one in (None, companion))
    assert not any("beside" in name for name in plain)
    assert {name for name in beside if "beside" not in name} == plain


def test_a_companion_needs_a_map_and_an_encoder_that_stays(tiny_base, companion):
    with pytest.raises(InputError, match="region map"):
        Segmenter(tiny_base, companion=companion)


# -- adapters


def tailor(base, folder, companion: str, **options):
    return save(folder, base, "tailor", companion=companion, members=1, width=16, **options)


def test_an_adapter_is_saved_with_its_companion_and_loads_with_it(tiny_base, tiny_companion, tiny_samples, tmp_path):
    tailor(tiny_base, tmp_path / "a", tiny_companion)
    loaded = artefact.load(tmp_path / "a", tiny_base)
    companion = loaded.segmenter.companion
    assert loaded.meta.companion.fingerprint == companion.fingerprint
    assert companion.fingerprint in (tmp_path / "a" / artefact.CARD).read_text(encoding="utf-8")
    assert not any("patch" in name or "encoder" in name for name in loaded.segmenter.learned())  # not its weights


def test_an_adapter_without_a_companion_says_so(tiny_base, tmp_path):
    save(tmp_path / "a", tiny_base, "tailor", members=1, width=16)
    assert artefact.read_meta(tmp_path / "a").companion is None


def test_other_weights_of_the_companion_are_refused(tiny_sam, tmp_path):
    folder = save_dinov2(tmp_path / "dino", seed=1)
    tailor(tiny_sam, tmp_path / "a", str(folder))
    save_dinov2(folder, seed=2)
    with pytest.raises(ArtefactError, match=r"fitted with the companion.*fingerprint"):
        artefact.load(tmp_path / "a", tiny_sam)


def test_a_companion_that_is_gone_is_named(tiny_sam, tmp_path):
    folder = save_dinov2(tmp_path / "dino", seed=1)
    tailor(tiny_sam, tmp_path / "a", str(folder))
    folder.rename(tmp_path / "moved")
    with pytest.raises(BaseUnavailableError, match="no companion"):
        artefact.load(tmp_path / "a", tiny_sam)


@pytest.fixture
def two(tiny_base, tiny_companion, tmp_path):
    """Names of adapters with and without a companion, and their folders."""
    tailor(tiny_base, tmp_path / "with", tiny_companion)
    save(tmp_path / "without", tiny_base, "tailor", members=1, width=16)
    return {name: tmp_path / name for name in ("with", "without")}


def test_a_predictor_computes_the_maps_when_they_are_needed(two, tiny_base, counted, tiny_samples, tmp_path):
    predictor = Predictor(tiny_base, two)
    sample = tiny_samples[0]
    predictor.set_image(sample.image)
    predictor.predict([[30, 20]], [1], adapter="without")
    predictor.predict([[30, 20]], [1], adapter="base")
    assert counted == []
    click, region = (predictor.predict(*given, adapter="with", return_logits=True) for given in ([[[30, 20]], [1]], []))
    assert len(counted) == 1
    predictor.set_image(sample.image)
    direct = predictor.decode(Prompts((48, 80)), "with").logits
    cached = Predictor(tiny_base, two, store=EmbeddingCache(tmp_path / "cache"))
    cached.set_sample(sample)
    torch.testing.assert_close(cached.decode(Prompts((48, 80)), "with").logits, direct, atol=2e-2, rtol=2e-2)
    assert click[0].shape[1:] == region[0].shape[1:] == (48, 80)


def test_an_embedding_alone_is_not_enough(two, tiny_base, tiny_samples):
    features = batch_of(tiny_base, tiny_samples[:1]).features
    predictor = Predictor(tiny_base, two)
    predictor.set_features(features, 48, 80)
    predictor.decode(Prompts((48, 80)), "without")
    with pytest.raises(InputError, match="needs the image itself"):
        predictor.decode(Prompts((48, 80)), "with")


def test_tiles_have_their_own_maps(two, tiny_base, counted, tiny_samples):
    predictor = Predictor(tiny_base, {"a": two["with"]})
    segmenter = predictor.segmenter("a")
    segmenter.inference = InferenceSpec(tiling=TilingPlan((1, 2)))
    predictor.set_image(tiny_samples[0].image)
    predictor.decode(Prompts((48, 80)), "a")
    assert len(counted) == 5
    fingerprint = segmenter.companion.fingerprint
    whole, tile = (predictor.view_features(view, "a").companions[fingerprint][0] for view in (UNTOUCHED, views(2)[1]))
    assert not torch.allclose(whole, tile)
    assert predictor.view_features(views(2)[1]).companions == {}


def test_fit_and_predict_read_the_companion(tiny_sam2, tiny_companion, counted, tiny_samples, tmp_path):
    one = [replace(s, read_annotations=lambda s=s: s.annotations[:1]) for s in tiny_samples]
    config = FitConfig(
        method="tailor", options={"width": 16, "members": 2, "companion": tiny_companion}, out=tmp_path / "a", steps=2,
        views=2, val=0, classes=("disc",), trackers=(),
    )  # fmt: skip
    store = EmbeddingCache(tmp_path / "cache")
    result = fit(config, samples=one, base=tiny_sam2, store=store)
    assert "region_dice" in result.figures  # tiles were compared on images that a member left out
    encoded = len(counted)
    predictor = Predictor(tiny_sam2, {"a": tmp_path / "a"}, store=store)
    predictor.set_sample(one[0])
    predictor.decode(Prompts((48, 80)), "a")
    assert len(counted) == encoded > 0


# -- the service


def test_the_service_encodes_an_image_once_for_base_and_companion(two, tiny_base, counted, tiny_samples, monkeypatch):
    import asyncio
    import io

    from PIL import Image

    from samtailor.predict.prompt import ObjectPrompt
    from samtailor.serve.engine import Engine

    stream = io.BytesIO()
    Image.fromarray(tiny_samples[0].image).save(stream, "PNG")
    calls, encode = [], tiny_base.encode_image
    monkeypatch.setattr(tiny_base, "encode_image", lambda images: calls.append(1) or encode(images), raising=False)
    engine = Engine(tiny_base)
    try:
        for name, folder in two.items():
            engine.adapters.add(name, folder)
        prompt = ObjectPrompt(clicks=((30.0, 20.0, 1),))
        rows = {
            name: asyncio.run(engine.segment(stream.getvalue(), [prompt], name))[1]
            for name in ("without", "with", None, "with")
        }
        assert (len(calls), len(counted)) == (1, 1)
    finally:
        engine.close()
    predictor = Predictor(tiny_base, two)
    predictor.set_image(tiny_samples[0].image)
    for name, (row,) in rows.items():
        masks, scores, _ = predictor.predict([[30, 20]], [1], multimask_output=True, adapter=name or "base")
        assert np.array_equal(row.shape, masks[scores.argmax()])


def test_labeling_reads_the_companion(two, tiny_base, counted, tiny_samples):
    from samtailor.labelling._predict import MultiAdapterPredictor
    from samtailor.predict.instances import predict_instances
    from samtailor.predict.source import AdapterSource

    predictor, image = Predictor(tiny_base, two), tiny_samples[0].image
    sources = [AdapterSource.of(predictor, name, folder) for name, folder in two.items()]
    pieces, _ = MultiAdapterPredictor(predictor, sources).predict(image)
    assert len(counted) == 1
    for source, objects in zip(sources, pieces, strict=True):
        assert len(objects) == len(predict_instances(predictor, image, source))


def test_a_labeling_job_of_the_workbench_uses_the_cache(two, tiny_base, counted, tiny_samples, tmp_path):
    from samtailor.serve.adapters import Adapters
    from samtailor.workbench.work.label import _objects

    loaded, store = Adapters(tiny_base, 1).add("a", two["with"]), EmbeddingCache(tmp_path / "cache")
    with loaded.predictor() as predictor:
        first, again = (_objects(tiny_samples[0].image, loaded, predictor, store, None) for _ in range(2))
    assert len(counted) == 1
    assert [one.model_dump() for one in first] == [one.model_dump() for one in again]


def test_the_encoding_time_of_a_comparison_includes_the_companion(tiny_sam, companion, counted, tiny_samples):
    from samtailor.compare import entries, entry_fit

    assert entry_fit._seconds_per_image(tiny_sam, tiny_samples[0], companion) > 0
    assert len(counted) == 2  # a first pass for the set-up, and the one that counts
    for name, wanted in ((companion.name, companion), ("none", None)):
        row = entries.make_entry(FitConfig(method="tailor", options={"companion": name}), tiny_sam, ("disc",))
        assert entry_fit._companion(row, tiny_sam) is wanted


# -- proposals


def test_proposals_read_a_companion(tiny_sam2, companion, tiny_samples, tmp_path):
    store = EmbeddingCache(tmp_path / "cache")
    given = {"steps": 3, "width": 16, "folds": 2, "batch_size": 2}
    proposals = fit_proposals(tiny_sam2, tiny_samples, ("disc",), store, companion=companion, **given)
    proposals.save(tmp_path)
    loaded = disk.load(tmp_path, tiny_sam2)
    assert loaded.companion is companion
    for member in loaded.head.members:
        torch.nn.init.constant_(member.heat.bias, 2.0)  # after three steps nothing is above the lowest heat yet
    predictor = Predictor(tiny_sam2)
    predictor.set_image(tiny_samples[0].image)
    got = by_proposals(loaded, threshold=0.0)(predictor, tiny_samples[0])
    assert len(got) > 0
    with pytest.raises(InputError, match="companion"):
        loaded.propose(predictor.features, predictor.frame)
    source = proposal_source(proposals=loaded, base=tiny_sam2, store=store, threshold=0.0)
    assert source(tiny_samples[0]).shape[1] > 0


def test_proposals_of_other_weights_are_refused(tiny_sam, tiny_samples, tmp_path):
    folder = save_dinov2(tmp_path / "dino", seed=1)
    companion = load_companion(folder)
    given = {"steps": 1, "width": 16, "folds": 0}
    store = EmbeddingCache(tmp_path / "cache")
    made: Proposals = fit_proposals(tiny_sam, tiny_samples, ("disc",), store, companion=companion, **given)
    made.save(tmp_path)
    del companion, made
    save_dinov2(folder, seed=2)
    with pytest.raises(ArtefactError, match="other weights"):
        disk.load(tmp_path, tiny_sam)


# -- export


@pytest.mark.parametrize("source", ["tiny", pytest.param("bundled", marks=pytest.mark.slow)])
def test_the_exported_encoder_holds_companion_and_map(tiny_base, tiny_companion, source, tiny_samples, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    from samtailor.export.onnx import export

    folder = tailor(tiny_base, tmp_path / "a", tiny_companion if source == "tiny" else source)
    segmenter = artefact.load(folder, tiny_base).segmenter
    report = export(segmenter, tmp_path / "out", images=tiny_samples[:1])  # compares the masks with those of torch
    assert report["companion"]["fingerprint"] == segmenter.companion.fingerprint
    assert report["map_channels"] == 16
    save(tmp_path / "plain", tiny_base, "tailor", members=1, width=16)
    plain = artefact.load(tmp_path / "plain", tiny_base).segmenter
    reference = export(plain, tmp_path / "reference", images=tiny_samples[:1])
    assert (reference["companion"], reference["map_channels"]) == (None, 0)
    for part in ("encoder", "decoder"):
        assert report[part] == reference[part]
    shapes = {
        one.name: one.shape for one in onnxruntime.InferenceSession(str(tmp_path / "out" / "decoder.onnx")).get_inputs()
    }
    embedding = next(shape for name, shape in shapes.items() if name.startswith("image_embed"))
    assert embedding == [1, tiny_base.dim + 16, tiny_base.grid, tiny_base.grid]


# -- the backbone of the bundled base


@pytest.fixture(scope="module")
def lite():
    return load_base("lite")


def test_the_bundled_base_computes_the_backbone_once(lite, tiny_samples, tmp_path, monkeypatch):
    companion = load_companion("auto", base=lite)
    assert companion.name == "bundled"
    alone = EmbeddingCache(tmp_path / "alone").maps(companion, lite, tiny_samples[:2])
    monkeypatch.setattr(companion.model, "forward", lambda images: pytest.fail("the backbone runs twice"))
    store = EmbeddingCache(tmp_path / "both")
    store.prepare(lite, tiny_samples[:2], companions=[companion])
    beside = store.features(lite, tiny_samples[:2], companions=[companion]).of_companion(companion.fingerprint)
    for one, other in zip(alone, beside, strict=True):
        torch.testing.assert_close(one, other, atol=0.02, rtol=0.01)  # half precision, and sums in another order


def test_the_exported_encoder_runs_the_backbone_once(lite):
    from samtailor.export._encoder_graphs import encoded

    segmenter, _ = find("methods", "tailor").build(lite, members=1, width=16, companion="bundled")
    segmenter.eval()
    trunk, calls = lite.model.vision_encoder.backbone.trunk, []
    hooks = [one.register_forward_hook(lambda *_: calls.append(1)) for one in (trunk, segmenter.companion.model)]
    image = torch.randn(1, 3, lite.size, lite.size)
    with torch.no_grad():
        maps = companion_maps(segmenter.companion, lite, image)
        calls.clear()
        once = encoded(segmenter, image)
        assert calls == [1]
        features = replace(lite.encode_image(image), companions={segmenter.companion.fingerprint: maps})
        region_map = next(iter(segmenter.maps.values())).logits(features)
    for hook in hooks:
        hook.remove()
    logits = torch.nn.functional.pixel_shuffle(once.main[:, lite.dim :], lite.low_res // lite.grid)
    torch.testing.assert_close(logits, region_map, atol=1e-4, rtol=1e-4)


def test_the_bundled_companion_is_read_once(lite, monkeypatch):
    from samtailor.bases.companions import bundled

    first = load_companion("bundled")
    monkeypatch.setattr(bundled, "build", lambda source: pytest.fail("the weights are read again"))
    assert load_companion("auto", base=lite) is first


def test_maps_are_recalled_for_the_same_images_and_weights_only():
    from samtailor.bases import _trunk_memo

    images, maps = torch.rand(1, 3, 4, 4), (torch.rand(1, 2, 2, 2),)

    class Encoder:
        weights_key = "weights"

    encoder = Encoder()
    _trunk_memo.keep(encoder, images, maps)
    assert _trunk_memo.recall("weights", images.clone()) is not None
    assert _trunk_memo.recall("others", images) is None
    assert _trunk_memo.recall("weights", images + 1e-6) is None
    assert _trunk_memo.recall("weights", images[:, :, :2]) is None
    del encoder
    assert _trunk_memo.recall("weights", images) is None


def test_auto_is_no_companion_beside_other_encoders(tiny_sam, tiny_sam2, lite):
    assert load_companion("auto", base=tiny_sam) is None
    assert load_companion("auto", base=tiny_sam2) is None
    assert load_companion("auto") is None
    twin = lite.with_modules({})
    assert load_companion("auto", base=twin) is not None


def test_loading_weights_does_not_change_what_is_drawn_afterwards(base_folder, tmp_path):
    """Otherwise the weights of a fit would depend on whether its companion had been loaded before."""
    folder = save_dinov2(tmp_path / "dino", seed=1)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load_base(base_folder)
    load_companion(folder)
    find("companions", "bundled")._identity.cache_clear()
    load_companion("auto", base=load_base("lite"))
    assert torch.equal(torch.rand(3), expected)
