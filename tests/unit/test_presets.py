"""Presets hold the settings of the papers, and say why each default differs."""

from __future__ import annotations

import pytest

from samtailor.errors import InputError
from samtailor.registry import find, names
from samtailor.train.config import FitConfig, load, resolve, with_preset
from samtailor.train.departures import departures, flat

ALL = [(name, method) for name in names("presets") for method in find("presets", name).METHODS]


@pytest.mark.parametrize(("name", "method"), ALL)
def test_every_setting_that_differs_has_a_reason(name, method):
    assert [one.setting for one in departures(name, method) if not one.why] == []


@pytest.mark.parametrize("name", names("presets"))
def test_no_reason_is_left_over(name):
    preset = find("presets", name)
    used = {key for m in preset.METHODS for d in departures(name, m) for key in (d.setting, f"{m}.{d.setting}")}
    assert set(preset.WHY) - used == set()
    assert set(preset.NOT_STATED) - used == set()
    assert preset.METHOD in preset.METHODS


@pytest.mark.parametrize(("name", "method"), ALL)
def test_every_setting_of_a_preset_arrives(name, method):
    """The table of differences is complete only if no value of the preset is lost on the way."""
    preset, values = find("presets", name), flat(FitConfig(preset=name, method=method))
    wanted = {**preset.SHARED, **preset.METHODS[method]}
    for owner in ("options", "prompt_options"):
        wanted |= {f"{owner}.{key}": value for key, value in wanted.pop(owner, {}).items()}
    plain = FitConfig(**{key: value for key, value in wanted.items() if "." not in key}).to_dict()
    for key, value in wanted.items():
        assert values[key] == plain.get(key, value), key


def test_kim_as_printed():
    config = resolve(load(None, {"preset": "kim-2024"}))
    assert (config.method, config.base, config.per_class) == ("plm-pmm", "facebook/sam-vit-huge", True)
    assert (config.steps, config.batch_size, config.lr, config.weight_decay) == (20000, 10, 1e-5, 0.01)
    assert (config.warmup, config.milestones, config.gamma) == (250, (0.66667, 0.86666), 0.1)
    assert (config.val, config.selection, config.views) == (0, "last", 1)
    assert config.options["head"] == "paper_plain"
    assert (config.options["form"], config.options["matching"]) == ("reference", "paper")
    assert (config.options["multimask_dice_weight"], config.options["matching_weight"]) == (0, 1)


def test_am_sam_as_printed():
    config = resolve(load(None, {"preset": "am-sam-2024", "shots": 4}))
    assert (config.method, config.base) == ("am-sam", "facebook/sam-vit-base@256")
    assert (config.lr, config.weight_decay, config.decay_all) == ({"lower": 5e-3, "upper": 1e-3}, 0.1, True)
    assert (config.epochs, config.eval_epochs, config.selection, config.selection_score) == (100, 1, "paper", "dice")
    assert (config.schedule, config.power, config.batch_size) == ("poly", 0.9, 1)
    assert (config.prompt, config.prompt_options["pick"]) == ("detector", "best")
    assert (config.options["calibration"], config.options["alpha"]) == ("paper_batch", 0.7)
    assert config.options["dice_weight"] == 0.8


def test_given_settings_win_over_a_preset():
    config = resolve(load(None, {"preset": "kim-2024", "method": "plm", "lr": 1e-3, "options": {"heads": 4}}))
    assert (config.lr, config.options["heads"], config.options["head"]) == (1e-3, 4, "paper_plain")
    epochs = resolve(load(None, {"preset": "kim-2024", "epochs": 2}))
    assert epochs.epochs == 2
    steps = resolve(load(None, {"preset": "am-sam-2024", "steps": 3}))
    assert (steps.steps, steps.epochs) == (3, None)
    none = resolve(load(None, {"preset": "am-sam-2024", "prompt": "none"}))
    assert none.prompt_options == {}
    assert resolve(resolve(config)) == resolve(config)
    assert with_preset(FitConfig(lr=1.0)) == FitConfig(lr=1.0)


def test_unknown_presets_and_methods():
    with pytest.raises(InputError, match="Did you mean 'kim-2024'"):
        resolve(load(None, {"preset": "kim-2023"}))
    with pytest.raises(InputError, match=r"no settings for the method 'tailor'.*plm-pmm"):
        resolve(load(None, {"preset": "kim-2024", "method": "tailor"}))
