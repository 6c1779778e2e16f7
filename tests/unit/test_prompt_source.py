"""The prompt source of an adapter in automatic mode: what it is, its prompt type, tiles and thresholds."""

from __future__ import annotations

import inspect
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from samtailor import artefact
from samtailor.errors import InputError
from samtailor.predict import auto
from samtailor.predict.predictor import Predictor
from samtailor.predict.source import AdapterSource, adapter_proposer
from samtailor.proposals import disk
from samtailor.registry import find
from samtailor.segmenter import Segmenter
from samtailor.serve.adapters import LoadedAdapter
from samtailor.serve.refusals import Refused
from samtailor.structures import InferenceSpec, TilingPlan
from saved import save
from tiny import disc_sample


@pytest.fixture
def image():
    return disc_sample(0).image


@pytest.fixture
def folder(tiny_sam, tmp_path):
    """An adapter with proposals, which find something everywhere."""
    return save(tmp_path / "adapter", tiny_sam, proposals=True, head="paper_plain")


def load(folder, base):
    return Predictor(base, {"it": folder})


def proposed(source, predictor, image):
    predictor.set_image(image)
    return source.propose(predictor, image)


def with_meta(folder, base, **changes):
    """Change the metadata of saved proposals."""
    proposals = disk.load(folder, base)
    for name, value in changes.items():
        setattr(proposals, name, value)
    disk.save(folder, proposals)


def test_learned_proposals_come_before_the_source_of_the_fit(tiny_sam, folder, image):
    with_meta(folder, tiny_sam, tiles=2, thresholds={"disc": 0.125})
    source = AdapterSource.of(load(folder, tiny_sam), "it", folder)
    prompts = proposed(source, load(folder, tiny_sam), image)
    assert prompts
    assert {prompt.label for prompt in prompts} == {"disc"}
    assert (source.adapter, source.tiles, source.threshold("disc")) == ("it", 2, 0.125)


@pytest.mark.parametrize("trained_for", ["points", "boxes"])
def test_the_prompt_type_is_the_one_that_the_proposals_were_trained_for(tiny_sam, folder, image, trained_for):
    with_meta(folder, tiny_sam, give=trained_for)
    predictor = load(folder, tiny_sam)
    kinds = {
        (adapter, given): {
            "points" if prompt.clicks else "boxes"
            for prompt in proposed(AdapterSource.of(predictor, adapter, folder, prompt_type=given), predictor, image)
        }
        for adapter, given in (("it", None), ("it", "points"), ("it", "boxes"), (None, None))
    }
    assert kinds[("it", None)] == {trained_for}
    assert kinds[("it", "points")] == {"points"}
    assert kinds[("it", "boxes")] == kinds[(None, None)] == {"boxes"}
    with pytest.raises(InputError, match="prompt_type must be one of points, boxes"):
        AdapterSource.of(predictor, "it", folder, prompt_type="lines")


def test_lowest_adds_proposals_below_the_threshold(tiny_sam, folder, image):
    predictor = load(folder, tiny_sam)
    strict = AdapterSource.of(predictor, "it", folder, threshold=1.0)
    ranked = AdapterSource.of(predictor, "it", folder, threshold=1.0, lowest=0.0)
    assert proposed(strict, predictor, image) == []
    assert proposed(ranked, predictor, image)
    assert strict.threshold("disc") == ranked.threshold("disc") == 1.0


def test_without_a_prompt_source_it_raises(tiny_sam, tmp_path):
    folder = save(tmp_path / "plain", tiny_sam, head="paper_plain")
    for adapter in ("it", None):
        with pytest.raises(InputError, match="no prompt source for automatic mode"):
            AdapterSource.of(load(folder, tiny_sam), adapter, folder)


def test_the_service_never_opens_the_detector_of_an_adapter(tiny_sam, tmp_path, monkeypatch):
    segmenter = find("methods", "am-sam").build(tiny_sam)[0]
    options = {"detector": "onnx", "weights": "elsewhere.onnx"}
    segmenter.inference = replace(segmenter.inference, prompt="detector", prompt_options=options)
    meta = artefact.describe(segmenter, method="am-sam", options={}, classes=["disc"])
    artefact.save(tmp_path / "a", segmenter, meta)
    opened = []
    monkeypatch.setattr(auto, "by_fitted_detector", lambda *arguments: opened.append(arguments))
    AdapterSource.of(load(tmp_path / "a", tiny_sam), "it", tmp_path / "a")
    assert opened == [(options, None)], "predict, evaluate and label use the detector"
    loaded = LoadedAdapter("it", "", tiny_sam, meta, tmp_path / "a", promptless=segmenter.promptless)
    with pytest.raises(Refused, match="no prompt source"):
        loaded.source(None)
    assert len(opened) == 1


def test_an_adapter_without_proposals_or_map_has_no_proposer():
    nothing = {"proposals": None, "promptless": False, "by_itself": False, "classes": ("a",)}
    assert adapter_proposer("it", **nothing) is None
    assert adapter_proposer(None, **nothing | {"promptless": True}) is None
    predictor = SimpleNamespace(segmenter=lambda name: SimpleNamespace(inference=InferenceSpec()))
    alone = adapter_proposer("it", **nothing | {"promptless": True, "by_itself": True})
    (prompt,) = alone(predictor, np.zeros((2, 2, 3)))
    assert (prompt.promptless, prompt.label) == (True, "a")
    several = nothing | {"promptless": True, "by_itself": True, "classes": ("a", "b")}
    assert adapter_proposer("it", **several)(predictor, np.zeros((2, 2, 3)))[0].label is None


class Shift(nn.Module):
    """Adds a learned number to whatever it adapts."""

    def __init__(self) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.zeros(1))

    def __call__(self, adapted, *context):
        return adapted


def test_on_adapted_base_keeps_every_setting(tiny_sam):
    inside = find("methods", "samed").build(tiny_sam)[0].inside
    names = list(inside)
    settings = {
        "tokens": {"t": Shift()},
        "outputs": {"o": Shift()},
        "maps": {"m": Shift()},
        "training_only": {"pmm": Shift()},
        "groups": {"lower": [*names, "t"], "upper": ["o", "pmm"], "inner": names},
        "contour_points": 7,
        "companion": None,
        "tunes_inference": True,
        "inference": InferenceSpec(prompt="none", regions=True, smallest_object=0.25, tiling=TilingPlan((1, 2), 2.0)),
        "transform_prompts": lambda prompts: prompts,
        "on_start": lambda batches: None,
        "on_step": lambda share: None,
    }
    parameters = set(inspect.signature(Segmenter).parameters)
    assert parameters == {*settings, "base", "inside", "encoder_frozen"}, "a new setting must be kept too"
    segmenter = Segmenter(tiny_sam, inside=dict(inside.items()), encoder_frozen=False, **settings).eval()
    moved = segmenter.on_adapted_base()
    assert moved.base is segmenter.model
    assert moved.encoder_frozen  # the embedding of its base is the one to decode
    assert not moved.training
    for home in ("tokens", "outputs", "maps", "training_only"):
        assert dict(getattr(moved, home).items()) == settings[home]
    for setting in ("contour_points", "tunes_inference", "inference", "transform_prompts", "on_start", "on_step"):
        assert getattr(moved, setting) == settings[setting]
    assert set(moved.groups) == {"lower", "upper"}
    assert moved.adapter("pmm") is segmenter.adapter("pmm")
