"""The methods' names, options and defaults."""

from __future__ import annotations

import pytest
import torch

from batches import batch_of
from samtailor.errors import InputError
from samtailor.registry import find, names, options


def test_names():
    assert {"sam", "sam-f", "plm", "plm-pmm"} <= set(names("methods"))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("sam", []), ("sam-f", ["scale"]), ("plm", ["plm"]), ("plm-pmm", ["plm", "pmm"])],
)
def test_trained_adapters_of_each_method(tiny_sam, name, wanted):
    segmenter, _ = find("methods", name).build(tiny_sam)
    assert sorted({key.split(".")[1] for key in segmenter.learned()}) == wanted
    assert segmenter.encoder_frozen


def test_the_pmm_is_not_used_at_test(tiny_sam, tiny_samples):
    segmenter, _ = find("methods", "plm-pmm").build(tiny_sam)
    torch.nn.init.normal_(segmenter.adapter("pmm").decoder[-1].weight)
    batch = batch_of(tiny_sam, tiny_samples[:2])
    with torch.no_grad():
        plain = tiny_sam.decode(batch.features, tiny_sam.encode_prompts(batch.prompts))
        assert torch.equal(segmenter(batch).logits, plain.logits)


def test_sound_readings_are_the_defaults(tiny_sam):
    defaults = options(find("methods", "plm-pmm").build)
    wanted = {
        "head": "zero_linear",
        "form": "sound",
        "points": 64,
        "matching": "index",
        "supervise": "all",
        "multimask_dice_weight": 0.5,
    }
    assert {name: defaults[name] for name in wanted} == wanted


def test_options_of_the_paper(tiny_sam):
    segmenter, step = find("methods", "plm-pmm").build(
        tiny_sam,
        head="paper_plain",
        form="reference",
        matching="paper",
        supervise="best",
        multimask_dice_weight=0,
        points=20,
    )
    assert isinstance(segmenter.adapter("plm").head, torch.nn.Identity)
    assert segmenter.adapter("pmm").reference
    assert segmenter.adapter("pmm").points == 20
    assert step.keywords["supervise"] == "best"
    assert step.keywords["multimask_dice_weight"] == 0
    assert step.keywords["terms"]["matching"][1].keywords["kind"] == "paper"


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("sam", {"head": "zero_linear"}, "'sam' has no option 'head'. Known: none"),
        ("plm", {"haed": "paper_plain"}, "Did you mean 'head'"),
        ("plm-pmm", {"point": 3}, "Did you mean 'points'"),
        ("plm-pmm", {"matching": "chamfer"}, "index, cyclic, symmetric, paper"),
        ("sam-f", {"alhpa": 1}, "Did you mean 'alpha'"),
    ],
)
def test_wrong_options_are_refused(tiny_sam, name, values, message):
    with pytest.raises(InputError, match=message.replace("(", "\\(")):
        find("methods", name).build(tiny_sam, **values)


def test_options_are_the_keyword_only_arguments():
    assert options(find("methods", "plm").build)["head"] == "zero_linear"
    assert "base" not in options(find("methods", "plm").build)


@pytest.mark.parametrize("name", ["sam", "sam-f", "plm", "plm-pmm"])
def test_defaults_are_settings_of_a_fit(name):
    from samtailor.train.config import FitConfig

    assert set(find("methods", name).DEFAULTS) <= set(FitConfig.model_fields)
