"""The region map and the method around it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from batches import batch_of
from samtailor import artefact
from samtailor.adapters.decoder_tail import expected_iou
from samtailor.adapters.region_map import RegionMap
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.regions import foreground
from samtailor.errors import InputError
from samtailor.evaluation.masks import evaluate_many
from samtailor.fitting import fit
from samtailor.predict.auto import by_map, promptless
from samtailor.predict.instances import predict_instances
from samtailor.predict.predictor import Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.predict.source import AdapterSource
from samtailor.registry import find
from samtailor.structures import Annotation, Prompts
from samtailor.train.config import FitConfig
from samtailor.train.losses import region_loss
from samtailor.train.multitask import map_loss


@pytest.fixture
def built(tiny_base):
    torch.manual_seed(0)
    segmenter, step = find("methods", "tailor").build(tiny_base, width=32)
    return segmenter, step


def empty(base, batch):
    return replace(batch, prompts=Prompts((base.size, base.size), count=batch.prompts.shape))


def test_without_a_prompt_the_output_is_the_mean_of_the_members(built, tiny_base, tiny_samples):
    segmenter, _ = built
    batch = batch_of(tiny_base, tiny_samples[:2])
    segmenter.eval()
    with torch.no_grad():
        output = segmenter.decode(batch.features, Prompts((64, 64), count=(2, 3)))
        each = segmenter.adapter("map").each(batch.features)
    assert each.shape == (4, 2, 1, tiny_base.low_res, tiny_base.low_res)
    assert not torch.equal(each[0], each[1])
    torch.testing.assert_close(output.candidate_logits(), each.mean(0)[:, None].expand(-1, 3, -1, -1, -1))
    torch.testing.assert_close(output.candidate_iou(), expected_iou(output.candidate_logits()))
    torch.testing.assert_close(torch.einsum("bpmc,bpchw->bpmhw", output.hyper, output.upscaled), output.logits)


def test_high_resolution_features_are_used(tiny_sam2, tiny_samples):
    found = RegionMap(tiny_sam2, width=32).eval()
    features = batch_of(tiny_sam2, tiny_samples[:1]).features
    for index in range(len(features.skips)):
        skips = [skip + (i == index) for i, skip in enumerate(features.skips)]
        changed = replace(features, skips=tuple(skips))
        assert not torch.allclose(found.each(features), found.each(changed))


def test_a_prompt_uses_the_map_without_training_it(built, tiny_base, tiny_samples):
    segmenter, _ = built
    batch, found = batch_of(tiny_base, tiny_samples[:2]), segmenter.adapter("map")
    with torch.no_grad():
        plain = segmenter.eval()(batch).logits
        found.map_gain[2] = 0.1
        map_gain = segmenter(batch).logits
        each = found.each(batch.features).mean(0).clamp(-8, 8)
    torch.testing.assert_close(map_gain[:, 0, 2], plain[:, 0, 2] + each[:, 0])
    assert torch.equal(map_gain[:, :, [0, 1, 3]], plain[:, :, [0, 1, 3]])
    segmenter(batch).logits.square().mean().backward()
    assert found.map_gain.grad.abs().min() > 0
    assert all(p.grad is None for p in found.members.parameters())


def test_every_member_learns_the_regions_separately(built, tiny_base, tiny_samples):
    segmenter, _ = built
    batch, found = empty(tiny_base, batch_of(tiny_base, tiny_samples[:3])), segmenter.eval().adapter("map")
    whole = map_loss(segmenter, batch)
    alone = [
        region_loss(found.as_output(logits, batch.features), batch, per_mask=True, iou_weight=0)["loss"]
        for logits in found.each(batch.features)
    ]
    torch.testing.assert_close(whole, sum(alone) / 4)
    whole.backward()
    assert found.map_gain.grad is None
    assert all(p.grad.abs().sum() > 0 for p in found.members.parameters())


def test_a_step_trains_both_tasks(built, tiny_base, tiny_samples):
    segmenter, step = built
    batch = batch_of(tiny_base, tiny_samples[:3])
    optimizers = {name: torch.optim.AdamW(group, lr=3e-3) for name, group in segmenter.groups.items()}
    taken = step(segmenter.eval(), optimizers, Accelerator(cpu=True))
    first = float(taken.losses(batch)["loss"].detach())
    figures = [taken(batch, empty(tiny_base, batch)) for _ in range(25)]
    assert figures[0]["loss"] == pytest.approx(first + figures[0]["region"], rel=1e-5)
    assert figures[-1]["region"] < 0.8 * figures[0]["region"]
    assert figures[-1]["dice"] < figures[0]["dice"]
    assert "region" not in taken(batch)


def test_foreground_joins_all_objects_of_the_classes(tiny_samples):
    whole = tiny_samples[0]
    labels = {one.label for one in whole.annotations}
    (joined,) = foreground([whole])
    (only,) = joined.annotations
    assert np.array_equal(only.mask, np.logical_or.reduce([a.mask for a in whole.annotations]))
    assert only.label == " or ".join(sorted(labels))
    one = sorted(labels)[0]
    (part,) = foreground([whole], [one])[0].annotations
    assert part.label == one
    assert part.area < only.area
    assert foreground([whole], ["nothing"])[0].annotations == ()


@pytest.mark.parametrize("wrong", [{"members": 0}, {"width": 20}, {"width": 8}, {"dropout": 1.0}])
def test_a_map_that_makes_no_sense_is_refused(tiny_base, wrong):
    with pytest.raises(InputError, match="members >= 1"):
        RegionMap(tiny_base, **wrong)


def test_fit_save_load_and_predict_with_and_without_a_prompt(tiny_base, tiny_samples, tmp_path):
    one = [replace(s, read_annotations=lambda s=s: s.annotations[:1]) for s in tiny_samples]
    names = sorted({s.annotations[0].label for s in one})[:1]
    config = FitConfig(
        method="tailor", options={"width": 32}, out=tmp_path / "a", steps=2, views=2, classes=tuple(names), val=2,
        trackers=(),
    )  # fmt: skip
    store = EmbeddingCache(tmp_path / "cache")
    result = fit(config, samples=one, base=tiny_base, store=store)
    assert 0 <= result.figures["held_out_region_miou"] <= 1
    assert all(e["reached"] == (e["miou"] + e["region_miou"]) / 2 for e in result.history["held_out"])
    assert any("region" in entry for entry in result.history["train"])
    loaded = artefact.load(tmp_path / "a", tiny_base)
    assert loaded.meta.inference.single_class
    seen = [a.area / (s.size[0] * s.size[1]) for s in one for a in s.of(names)]
    assert loaded.segmenter.inference.smallest_object == loaded.meta.inference.smallest_object
    assert loaded.meta.inference.smallest_object in seen
    assert "| without a prompt | the object |" in (tmp_path / "a" / "README.md").read_text()
    asked = {"classes": names, "store": store}
    clicks = evaluate_many({"it": loaded.segmenter}, one, **asked)["it"]
    regions = evaluate_many({"it": loaded.segmenter}, one, regions=True, **asked)["it"]
    assert (clicks.prompt, regions.prompt) == ("mask-center", "none")
    predictor = Predictor(tiny_base, {"it": loaded.segmenter})
    predictor.set_image(one[0].image)
    masks, scores, _ = predictor.predict(adapter="it")
    assert masks.shape == (1, *one[0].image.shape[:2])
    assert predictor.predict([[5, 5]], adapter="it")[0].shape[0] == 3
    assert scores.shape == (1,)


def test_a_map_of_several_classes_does_not_predict_without_a_prompt(tiny_base, tiny_samples, tmp_path):
    names = sorted({a.label for s in tiny_samples for a in s.annotations})
    assert len(names) > 1
    config = FitConfig(method="tailor", options={"width": 32}, out=tmp_path / "a", steps=1, val=0, trackers=())
    fit(config, samples=tiny_samples, base=tiny_base, store=EmbeddingCache(tmp_path / "cache"))
    assert artefact.read_meta(tmp_path / "a").options == find("methods", "tailor").DEFAULTS["options"] | {"width": 32}
    predictor = Predictor(tiny_base, {"it": tmp_path / "a"})
    predictor.set_image(tiny_samples[0].image)
    assert not predictor.segmenter("it").promptless
    with pytest.raises(InputError, match="none was given"):
        predictor.predict(adapter="it")


def test_annotations_of_other_classes_stay_out_of_the_region(tiny_samples):
    masks = [Annotation.from_mask("b", np.eye(8, dtype=bool)), Annotation.from_mask("a", ~np.eye(8, dtype=bool))]
    sample = replace(tiny_samples[0], read_annotations=lambda: masks)
    assert foreground([sample], ["b"])[0].annotations[0].area == 8


@pytest.mark.parametrize("objects", [1, 2])
def test_no_prompt_is_needed_where_images_have_one_object(tiny_base, tiny_samples, tmp_path, objects):
    def several(sample):
        first = sample.annotations[0]
        return (first,) + (replace(sample.annotations[1], label=first.label),) * (objects - 1)

    samples = [replace(s, read_annotations=lambda s=s: several(s)) for s in tiny_samples]
    names = [samples[0].annotations[0].label]
    config = FitConfig(
        method="tailor", options={"width": 32}, out=tmp_path / "a", steps=1, classes=names, val=0, trackers=()
    )
    fit(config, samples=samples, base=tiny_base, store=EmbeddingCache(tmp_path / "cache"))
    predictor = Predictor(tiny_base, {"it": tmp_path / "a"})
    assert predictor.segmenter("it").promptless
    if objects == 1:
        (ask,) = AdapterSource.of(predictor, "it", tmp_path / "a").propose(predictor, samples[0].image)
        assert ask.promptless
        assert ask.label == names[0]
    else:
        predictor.set_image(samples[0].image)
        asks = AdapterSource.of(predictor, "it", tmp_path / "a", threshold=0.0).propose(predictor, samples[0].image)
        assert all(len(ask.clicks) == 1 and ask.label == names[0] and 0 <= ask.score <= 1 for ask in asks)


def test_each_part_of_a_map_is_prompted_once(tiny_base, tiny_samples):
    torch.manual_seed(0)
    segmenter, _ = find("methods", "tailor").build(tiny_base, width=32)
    predictor = Predictor(tiny_base, {"it": segmenter})
    predictor.set_image(np.zeros((64, 64, 3), np.uint8))
    logits = torch.full((1, 1, tiny_base.low_res, tiny_base.low_res), -6.0)
    side = tiny_base.low_res
    logits[..., : side // 4, : side // 4] = 6.0  # the better one
    logits[..., -side // 2 :, -side // 2 :] = 2.0
    segmenter.adapter("map").each = lambda features: logits[None]
    first, second = by_map("it", "a")(predictor, np.zeros((64, 64, 3), np.uint8))
    assert first.score > second.score > 0.5
    assert all(v < 16 for v in first.clicks[0][:2])
    assert all(v > 32 for v in second.clicks[0][:2])
    assert [ask.label for ask in by_map("it", "a", threshold=0.9)(predictor, None)] == ["a"]
    low = by_map("it", "a", threshold=0.02)(predictor, None)
    # a lower threshold does not swell the parts
    assert [ask.mask_rle for ask in low] == [first.mask_rle, second.mask_rle]
    drawn = predictor.frame.logits(logits)[0, 0].numpy() > 0
    assert np.array_equal(first.mask | second.mask, drawn)  # the parts are the objects
    assert not (first.mask & second.mask).any()
    found = predict_instances(predictor, np.zeros((64, 64, 3), np.uint8), AdapterSource("it", by_map("it", "a")))
    assert [one.prompt.score for one in found] == [first.score, second.score]
    assert np.array_equal(found[0].mask, first.mask)
    segmenter.inference = replace(
        segmenter.inference, smallest_object=4 * second.mask.sum() / 64**2
    )  # a quarter of it is just the larger part
    assert [ask.mask_rle for ask in by_map("it", "a")(predictor, None)] == [second.mask_rle]
    segmenter.inference = replace(segmenter.inference, smallest_object=0.0, part_threshold=0.9)
    assert [ask.mask_rle for ask in by_map("it", "a")(predictor, None)] == [first.mask_rle]
    low = by_map("it", "a", threshold=0.02)(predictor, None)  # a user's threshold takes its place
    assert [ask.mask_rle for ask in low] == [first.mask_rle, second.mask_rle]
    segmenter.inference = replace(segmenter.inference, part_threshold=0.6)
    (one,) = promptless("it", "a")(predictor, None)  # the whole map as one object
    assert np.array_equal(one.mask, drawn)
    assert second.score < one.score < first.score
    assert promptless("it", "a", threshold=0.99)(predictor, None) == []
    segmenter.inference = replace(segmenter.inference, part_threshold=0.99)
    assert promptless("it", "a")(predictor, None) == []
    segmenter.inference = replace(segmenter.inference, part_threshold=0.0)
    assert promptless("it", "a")(predictor, None) == [ObjectPrompt(promptless=True, label="a")]
    logits[:] = -6.0
    predictor.set_image(np.zeros((64, 64, 3), np.uint8))  # the map of an image is kept with it
    assert by_map("it", "a")(predictor, None) == []


def test_the_map_learns_the_same_in_channels_last_memory(tiny_base, tiny_samples):
    torch.manual_seed(0)
    found = RegionMap(tiny_base, dropout=0.0).double()
    features = batch_of(tiny_base, tiny_samples[:2]).features.to(torch.double)
    answers, slopes = [], []
    for training in (True, False):
        logits = found.train(training).each(features)
        parameters = list(found.members.parameters())
        answers.append(logits)
        slopes.append(torch.autograd.grad((logits * torch.arange(logits.shape[-1])).mean(), parameters))
    torch.testing.assert_close(answers[0], answers[1], rtol=1e-9, atol=1e-12)
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_clicks_learn_with_gradients_as_short_as_those_of_plm(tiny_sam):
    """Without it a batch of a crowded image pushes every click to an empty mask (docs/research/tailor.md)."""
    defaults = find("methods", "tailor").DEFAULTS
    assert defaults["max_grad_norm"]["prompt"] == find("methods", "plm").DEFAULTS["max_grad_norm"] > 0
    segmenter, _ = find("methods", "tailor").build(tiny_sam)
    assert set(defaults["max_grad_norm"]) == set(segmenter.groups)
