"""Adapters saved by version 0.1 answer as they did then, and settings with their old names still work."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from samtailor import artefact
from samtailor.bases import load_base
from samtailor.fitting import fit
from samtailor.predict import Predictor
from samtailor.proposals import disk
from samtailor.structures import TilingPlan
from samtailor.train.config import FitConfig, load
from tiny import disc_sample

SAVED = Path(__file__).parents[1] / "fixtures" / "v0_1"
NAMES = sorted(folder.name for folder in SAVED.iterdir() if (folder / "adapter.json").is_file())


@pytest.fixture(scope="module")
def base():
    return load_base(SAVED / "base")


@pytest.fixture(scope="module")
def answers():
    return load_file(SAVED / "answers.safetensors")


def test_every_method_was_saved():
    methods = {json.loads((SAVED / name / "adapter.json").read_text("utf-8"))["method"] for name in NAMES}
    assert methods == {"am-sam", "blo-sam", "med-sa", "plm", "plm-pmm", "sam", "sam-f", "samed", "tailor"}


@pytest.mark.parametrize("name", NAMES)
def test_an_adapter_answers_as_it_did(base, answers, name):
    predictor = Predictor(base)
    predictor.add_adapter("it", SAVED / name)
    prompts = {
        "click": {"point_coords": [[30.0, 22.0], [60.5, 20.25]], "point_labels": [1, 0]},
        "box": {"box": [10.0, 8.0, 50.0, 40.0]},
        "none": {},
    }
    compared = 0
    for index, image in enumerate(answers["images"].numpy()):
        predictor.set_image(image)
        for kind, prompt in prompts.items():
            key = f"{name}/{index}/{kind}"
            if f"{key}/low_res" not in answers:
                continue
            masks, scores, low_res = predictor.predict(**prompt, adapter="it")
            torch.testing.assert_close(torch.from_numpy(low_res), answers[f"{key}/low_res"], atol=1e-4, rtol=1e-5)
            torch.testing.assert_close(torch.from_numpy(scores), answers[f"{key}/score"], atol=1e-5, rtol=1e-5)
            if f"{key}/mask" in answers:
                assert np.array_equal(np.packbits(masks), answers[f"{key}/mask"].numpy())
            compared += 1
    assert compared >= 2


def test_how_an_adapter_is_used_is_kept():
    tailor = artefact.read_meta(SAVED / "tailor").inference
    assert (tailor.tiling, tailor.single_class, tailor.single_instance) == (TilingPlan((1, 2), 2.0), True, True)
    assert tailor.smallest_object == 0.01
    assert not artefact.read_meta(SAVED / "tailor-many").inference.single_instance
    boxed = artefact.read_meta(SAVED / "am-sam").inference
    assert boxed.prompt == "detector"
    assert boxed.prompt_options["detector"] == "full-frame"
    assert artefact.read_meta(SAVED / "blo-sam").inference.regions
    assert "multimask_dice_weight" in artefact.read_meta(SAVED / "plm").options


def test_learnt_proposals_find_the_same(base, answers):
    predictor = Predictor(base)
    predictor.set_image(answers["images"][0].numpy())
    found = disk.load(SAVED / "plm", base).propose(predictor.features, predictor.frame, threshold=-1.0)
    np.testing.assert_allclose(found.boxes, answers["plm/proposals/boxes"].numpy(), atol=1e-3)
    np.testing.assert_allclose(found.scores, answers["plm/proposals/scores"].numpy(), atol=1e-5)


def test_an_old_configuration_file_is_read_and_names_what_changed(caplog):
    with caplog.at_level(logging.WARNING, "samtailor"):
        config = load(SAVED / "config.yaml", {"data": "x", "out": "y"})
    assert (config.max_grad_norm, config.milestones, config.gamma) == (1.0, (0.66667, 0.86666), 0.1)
    assert (config.grad_accum_steps, config.color_jitter) == (1, 0.2)
    told = caplog.text
    for old, new in (("clip", "max_grad_norm"), ("decay_at", "milestones"), ("colour", "color_jitter")):
        assert f"{old!r} is now called {new!r}" in told


GOLDEN = {
    "plm": {"method": "plm", "steps": 20, "options": {"mlp_dim": 64, "heads": 4}, "views": 2},
    "plm-pmm": {"method": "plm-pmm", "steps": 12, "options": {"mlp_dim": 64, "heads": 4, "points": 16}, "views": 1},
    "tailor": {
        "method": "tailor",
        "steps": 20,
        "options": {
            **{"members": 2, "width": 16, "mlp_dim": 64, "heads": 4},
            **{"convolutions": "full", "member_batch": None},
        },
        "views": 2,
    },
    "blo-sam": {"method": "blo-sam", "steps": 10},
}


@pytest.mark.parametrize("name", GOLDEN)
def test_losses_of_a_fit_are_those_of_0_1(base, tmp_path, name):
    common = {"classes": ("disc",), "seed": 0, "val": 2, "trackers": (), "cache": tmp_path / "c", "eval_every": 5}
    config = FitConfig(out=tmp_path / "o", **common, **GOLDEN[name])
    fit(config, samples=[disc_sample(i) for i in range(8)], base=base)
    history = json.loads((tmp_path / "o" / "history.json").read_text("utf-8"))
    golden = json.loads((SAVED / "golden.json").read_text("utf-8"))[name]
    assert [entry["step"] for entry in history["train"]] == [entry["step"] for entry in golden["train"]]
    for ours, theirs in zip(history["train"], golden["train"], strict=True):
        assert ours == pytest.approx(theirs, rel=2e-3), ours["step"]  # sums differ in their order on other processors
    assert len(history["held_out"]) == len(golden["held_out"])
