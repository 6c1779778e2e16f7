"""Settings of a fit: unknown keys, senseless values, where a default comes from."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from samtailor.errors import InputError
from samtailor.registry import find, names
from samtailor.train.config import FREE, FitConfig, changed, load, resolve


def test_file_and_overrides(tmp_path):
    file = tmp_path / "fit.yaml"
    file.write_text("steps: 50\nclasses: [plate, wheel]\nlr: 1.0e-4\nmethod: plm\n")
    config = load(file, {"steps": 70, "lr": None, "classes": "plate"})
    assert (config.steps, config.lr, config.classes, config.method) == (70, 1e-4, ("plate",), "plm")
    assert load().model_fields_set == set()


@pytest.mark.parametrize(
    ("key", "hint"),
    [("step", "Did you mean 'steps'"), ("batchsize", "Did you mean 'batch_size'"), ("qqq", "Settings:")],
)
def test_an_unknown_setting_is_an_error_with_the_closest_name(tmp_path, key, hint):
    (tmp_path / "fit.yaml").write_text(f"{key}: 1\n")
    with pytest.raises(InputError, match=hint) as error:
        load(tmp_path / "fit.yaml")
    assert "fit.yaml" in str(error.value)
    with pytest.raises(InputError, match=hint):
        load(None, {key: 1})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("steps", -1),
        ("steps", "many"),
        ("batch_size", 0),
        ("lr", 0),
        ("lr", {"lower": -1}),
        ("max_grad_norm", -0.5),
        ("max_grad_norm", {"lower": -1}),
        ("schedule", "polynomial"),
        ("milestones", [0.9, 0.5]),
        ("milestones", [1.5]),
        ("classes", []),
        ("classes", ["a", "a"]),
        ("precision", "fp8"),
        ("crop", 0),
        ("views", 0),
        ("seed", -1),
    ],
)
def test_values_out_of_range(key, value):
    with pytest.raises(InputError, match=key):
        load(None, {key: value})


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [1", "just text"])
def test_not_a_file_of_settings(tmp_path, text):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(InputError, match=r"YAML|fields"):
        load(tmp_path / "x.yaml")
    with pytest.raises(InputError, match="no configuration file"):
        load(tmp_path / "none.yaml")


def test_frozen():
    with pytest.raises(ValidationError):
        load().steps = 3


def test_given_settings_override_defaults_of_the_method():
    mine = find("methods", "plm").DEFAULTS
    assert mine["max_grad_norm"] != FitConfig().max_grad_norm, "the test needs a default that differs"
    assert resolve(load(None, {"method": "plm"})).max_grad_norm == mine["max_grad_norm"]
    assert (
        resolve(load(None, {"method": "plm", "max_grad_norm": FitConfig().max_grad_norm})).max_grad_norm
        == FitConfig().max_grad_norm
    )


def test_a_given_option_keeps_the_other_default_options_of_the_method():
    mine = find("methods", "tailor").DEFAULTS["options"]
    assert mine, "the test needs a method with default options"
    assert resolve(load(None, {"method": "tailor"})).options == mine
    name = next(iter(mine))
    given = {"width": 32, name: "of the user"}
    assert resolve(load(None, {"method": "tailor", "options": given})).options == mine | given


@pytest.mark.parametrize("method", names("methods"))
def test_every_methods_defaults_are_settings(method):
    resolved = resolve(load(None, {"method": method}))
    assert resolve(resolved) == resolved
    assert resolved.model_fields_set == set(FitConfig.model_fields)


def test_an_unknown_method():
    with pytest.raises(InputError, match="Did you mean 'plm-pmm'"):
        resolve(load(None, {"method": "plm-pm"}))


def test_written_and_read_again(tmp_path):
    config = resolve(load(None, {"data": "images/ä", "lr": {"lower": 1e-5}, "flip_pairs": [["l", "r"]], "val": 3}))
    (tmp_path / "c.yaml").write_text(config.to_yaml(), encoding="utf-8")
    assert load(tmp_path / "c.yaml") == config


def test_what_changed():
    config = resolve(load())
    assert changed(config, config) == []
    assert changed(config.model_copy(update={"device": "cuda", "out": "elsewhere"}), config) == []
    assert changed(config.model_copy(update={"steps": 7}), config) == [f"steps: {config.steps} became 7"]
    assert set(FitConfig.model_fields) >= FREE


def test_every_field_has_a_description():
    assert all(field.description for field in FitConfig.model_fields.values())


@pytest.mark.parametrize("module", ["samtailor.train.config", "samtailor.artefact", "samtailor.fitting"])
def test_settings_are_read_without_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_with_shots_nothing_is_held_out_unless_val_is_given():
    assert resolve(load(None, {"shots": 4})).val == 0
    assert resolve(load(None, {"shots": 4, "val": 0.3})).val == 0.3
    assert resolve(load(None, {"method": "tailor"})).val == 0.15
    resolved = resolve(load(None, {"shots": 4}))
    assert resolve(resolved) == resolved
