"""Postprocessing: each step, windows equal whole masks, one place for each way of use, nothing by default."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco

from samtailor import artefact, labelling
from samtailor.errors import ArtefactError, InputError
from samtailor.evaluation.masks import evaluate_many
from samtailor.masks.metrics import iou
from samtailor.masks.postprocess import postprocessed, postprocessed_window
from samtailor.methods.tailor import build
from samtailor.predict.instances import predict_instances, predict_prompts
from samtailor.predict.predictor import Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.predict.source import AdapterSource
from samtailor.serve.adapters import Adapters
from samtailor.serve.predictions import predict_automatically
from samtailor.structures import NOTHING, InferenceSpec, Postprocess
from samtailor.workbench import proposing
from saved import save
from tiny import disc_sample


def blocks() -> np.ndarray:
    """A square of 20 x 20 px with a hole of 6 x 6 and one of 1 px, a part of 5 x 5 px, and one pixel."""
    mask = np.zeros((60, 80), bool)
    mask[10:30, 10:30] = True
    mask[15:21, 15:21] = False
    mask[26, 26] = False
    mask[40:45, 50:55] = True
    mask[55, 5] = True
    return mask


def test_nothing_is_the_default_and_changes_no_pixel():
    mask = blocks()
    assert Postprocess() == NOTHING
    assert NOTHING.nothing
    assert str(NOTHING) == "nothing"
    assert postprocessed(mask, NOTHING) is mask
    assert InferenceSpec().postprocess == {}
    assert InferenceSpec().postprocess_of("region") is NOTHING


def test_holes_are_filled_up_to_a_share_of_the_area():
    mask = blocks()
    small, all_holes = (postprocessed(mask, Postprocess(fill_holes=share)) for share in (0.03, 1.0))
    assert small[26, 26]
    assert not small[17, 17]
    assert small.sum() == mask.sum() + 1
    assert all_holes[10:30, 10:30].all()
    assert all_holes.sum() == mask.sum() + 37


def test_small_parts_are_dropped_by_their_share_of_the_largest_part_or_of_the_image():
    mask = blocks()
    assert postprocessed(mask, Postprocess(crumbs=0.05)).sum() == mask.sum() - 1
    assert postprocessed(mask, Postprocess(crumbs=0.2)).sum() == mask.sum() - 26
    assert postprocessed(mask, Postprocess(min_area=5 / mask.size)).sum() == mask.sum() - 1
    assert postprocessed(mask, Postprocess(one_component=True)).sum() == mask.sum() - 26
    everything = Postprocess(min_area=0.5)
    assert not postprocessed(mask, everything).any()
    assert postprocessed(mask, everything, never_empty=True).sum() == mask.sum() - 26


def test_each_part_becomes_its_bounding_box_after_small_parts_are_dropped():
    mask = blocks()
    mask[30:34, 10] = True
    boxes = postprocessed(mask, Postprocess(crumbs=0.05, rectangles=True))
    expected = np.zeros_like(mask)
    expected[10:34, 10:30] = True
    expected[40:45, 50:55] = True
    np.testing.assert_array_equal(boxes, expected)


def test_smoothing_removes_a_spike_and_keeps_a_disc_and_the_border_of_the_image():
    rows, columns = np.mgrid[:60, :80]
    disc = (rows - 30) ** 2 + (columns - 40) ** 2 <= 15**2
    spiked = disc.copy()
    spiked[30, 55:70] = True
    smooth = postprocessed(spiked, Postprocess(smoothing=0.1))
    assert not smooth[30, 58:70].any()
    assert (smooth != disc).sum() < 0.02 * disc.sum()
    half = columns < 20
    np.testing.assert_array_equal(postprocessed(half, Postprocess(smoothing=0.1)), half)


STEPS = [
    Postprocess(smoothing=0.2),
    Postprocess(fill_holes=0.05),
    Postprocess(0.1, 1.0, 0.05, 0.001, one_component=True),
    Postprocess(0.1, 1.0, 0.05, 0.001, rectangles=True),
]


@pytest.mark.parametrize("how", STEPS)
def test_a_window_gives_the_same_mask_as_the_whole_image(how):
    rng = np.random.default_rng(0)
    for _ in range(20):
        y0, x0 = rng.integers(0, 25, 2)
        mask = np.zeros((40, 50), bool)
        mask[y0 : y0 + 14, x0 : x0 + 20] = rng.random((14, 20)) > 0.35
        whole = postprocessed(mask, how)
        window = (mask[y0 : y0 + 14, max(x0 - 1, 0) :], int(max(x0 - 1, 0)), int(y0))
        part, x, y = postprocessed_window(window, how, mask.shape)
        full = np.zeros_like(mask)
        full[y : y + part.shape[0], x : x + part.shape[1]] = part
        np.testing.assert_array_equal(full, whole)


@pytest.mark.parametrize("values", [{"crumbs": 1.5}, {"smoothing": -0.1}, {"min_area": float("nan")}])
def test_shares_outside_their_range_are_refused(values):
    with pytest.raises(InputError, match="share from 0 to 1"):
        Postprocess(**values)
    with pytest.raises(InputError, match="way of use"):
        InferenceSpec(postprocess={"clicks": NOTHING})


def test_an_adapter_keeps_its_postprocessing_and_old_adapters_have_none(tmp_path, tiny_lite):
    segmenter = build(tiny_lite)[0]
    segmenter.inference = replace(segmenter.inference, postprocess={"region": STEPS[2], "instances": STEPS[1]})
    meta = artefact.describe(segmenter, method="tailor", options={}, classes=("disc",))
    artefact.save(tmp_path, segmenter, meta)
    loaded = artefact.load(tmp_path, tiny_lite)
    assert dict(loaded.segmenter.inference.postprocess) == {"region": STEPS[2], "instances": STEPS[1]}
    assert "largest part kept" in (tmp_path / "README.md").read_text()
    values = {"method": "tailor", "base": meta.base.model_dump(), "inference": {"single_class": True}}
    assert artefact.AdapterMeta(**values).inference.postprocess == {}
    (tmp_path / "adapter.json").write_text(
        '{"schema_version": 2, "method": "sam", "inference": {"postprocess": {"x": {}}}}'
    )
    with pytest.raises(ArtefactError):
        artefact.read_meta(tmp_path)


def with_postprocess(folder, **ways: Postprocess):
    """Change what the adapter in a folder does to its masks."""
    inference = replace(artefact.read_meta(folder).inference, postprocess=ways)
    artefact.update(folder, inference=inference)
    return folder


ALL = Postprocess(smoothing=0.3, fill_holes=1.0, crumbs=0.1, one_component=True)


def adapter(folder, base):
    """A random adapter of the class disc whose map is above 0 in half of an image."""
    save(folder, base, "tailor", width=32)
    loaded, predictor = artefact.load(folder, base), Predictor(base)
    predictor.set_sample(disc_sample(0))
    region_map = loaded.segmenter.adapter("map")
    with torch.no_grad():
        middle = region_map.logits(predictor.features).median()
        for member in region_map.members:
            member.last.bias -= middle
    artefact.save(folder, loaded.segmenter, loaded.meta)
    return folder


@pytest.fixture
def pair(tiny_lite, tmp_path):
    """Folders of the same adapter without and with postprocessing."""
    plain, post = (adapter(tmp_path / name, tiny_lite) for name in ("plain", "post"))
    return plain, with_postprocess(post, click=ALL, region=ALL)


def test_clicks_are_postprocessed_only_where_that_was_chosen(tiny_lite, pair):
    predictor = Predictor(tiny_lite, {"plain": pair[0], "post": pair[1]})
    predictor.set_sample(disc_sample(0))
    prompts = {"click": {"point_coords": [[30, 20]]}, "box": {"box": [10, 8, 50, 40]}, "region": {}}
    changed = 0
    for way, prompt in prompts.items():
        plain, post = (predictor.predict(**prompt, adapter=name)[0] for name in ("plain", "post"))
        how = NOTHING if way == "box" else ALL
        expected = np.array([postprocessed(mask, how, never_empty=True) for mask in plain])
        np.testing.assert_array_equal(post, expected)
        changed += way != "box" and (post != plain).any()
        raw = [predictor.predict(**prompt, adapter=name, return_logits=True)[0] for name in ("plain", "post")]
        np.testing.assert_array_equal(*raw)
    assert changed == 2
    click = ObjectPrompt(((30, 20, 1),))
    ((_, mask, _),) = predict_prompts(predictor, [click], "post")
    ((_, raw, _),) = predict_prompts(predictor, [click], "post", postprocess=False)
    assert (mask != raw).any()
    np.testing.assert_array_equal(mask, postprocessed(raw, ALL, never_empty=True))


def test_where_the_base_model_answers_its_mask_is_unchanged(tiny_lite, pair):
    inference = replace(artefact.read_meta(pair[1]).inference, strength={"click": 0.0})
    artefact.update(pair[1], inference=inference)
    predictor = Predictor(tiny_lite, {"post": pair[1]})
    predictor.set_sample(disc_sample(0))
    answers = [predictor.predict([[30, 20]], adapter=name) for name in ("post", "base")]
    for one, other in zip(*answers, strict=True):
        np.testing.assert_array_equal(one, other)


def test_evaluation_uses_the_postprocessed_masks(tiny_lite, pair, tiny_samples):
    segmenters = {name: artefact.load(folder, tiny_lite).segmenter for name, folder in zip("ab", pair, strict=True)}
    predictor = Predictor(tiny_lite, segmenters)
    predictor.set_sample(tiny_samples[0])
    result = evaluate_many(segmenters, tiny_samples[:1], classes=["disc"], prompt="none")
    (truth,) = tiny_samples[0].of(["disc"])
    for name in "ab":
        masks, scores, _ = predictor.predict(adapter=name)
        assert result[name].rows[0].iou == pytest.approx(iou(masks[scores.argmax()], truth.mask))
    assert result["a"].rows[0].iou != result["b"].rows[0].iou


def test_every_part_finds_the_same_objects_of_automatic_mode(tiny_sam2, tmp_path):
    base, image = tiny_sam2, disc_sample(3).image
    pair = [save(tmp_path / name, base, proposals=True) for name in ("plain", "post")]
    with_postprocess(pair[1], click=Postprocess(one_component=True), instances=ALL)
    Image.fromarray(image).save(tmp_path / "image.png")
    plain, post = (_instances(base, folder, image) for folder in pair)
    expected = [mask for one in plain if (mask := postprocessed(one.mask, ALL)).any()]
    assert len(expected) == len(post)
    assert any((a.mask != b.mask).any() for a, b in zip(plain, post, strict=True))
    for mask, one in zip(expected, post, strict=True):
        np.testing.assert_array_equal(one.mask, mask)
    predictor = Predictor(base, {"it": pair[1]})
    source = AdapterSource.of(predictor, "it", pair[1])
    labeled = labelling.find_objects(predictor, [source], "image", tmp_path / "image.png").objects
    assert _areas(labeled) == _areas(post)
    adapters = Adapters(base, 1)
    loaded = adapters.add("it", pair[1])
    with loaded.predictor() as served:
        served.set_image(image)
        assert _areas(predict_automatically(loaded, served, None)) == _areas(post)
        served.set_image(image)
        page = proposing.objects(loaded, served)
    assert sorted(int(coco.area(one.rle.packed)) for one in page) == _areas(post)


def test_the_parts_of_a_map_are_those_of_the_postprocessed_region(tiny_lite, tmp_path):
    folder = adapter(tmp_path / "map", tiny_lite)
    many = replace(artefact.read_meta(folder).inference, single_instance=False)
    artefact.update(folder, inference=many)
    image = disc_sample(3).image
    before = _instances(tiny_lite, folder, image)
    assert len(before) > 1
    artefact.update(folder, inference=replace(many, postprocess={"region": Postprocess(one_component=True)}))
    (after,) = _instances(tiny_lite, folder, image)
    assert after.area == max(one.area for one in before)


def _instances(base, folder, image):
    predictor = Predictor(base, {"it": folder})
    return predict_instances(predictor, image, AdapterSource.of(predictor, "it", folder))


def _areas(objects) -> list[int]:
    return sorted(one.area for one in objects)
