"""Names by file: built-in modules, plug-in folders, entry points, and plug-ins in use."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from samtailor import registry
from samtailor.bases import load_base
from samtailor.cache.detections import DetectionCache
from samtailor.cli import app
from samtailor.errors import InputError
from samtailor.predict.auto import open_detector, prompt_type_of
from samtailor.prompts import prompt_type
from samtailor.prompts.detector import DetectorSource
from samtailor.registry import KINDS, PLUGINS, find, names, number
from tiny import disc_sample


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder of plug-ins that is in use."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    monkeypatch.setenv(PLUGINS, str(plugins))
    yield plugins
    for name in [name for name in sys.modules if name.startswith("samtailor_plugins")]:
        del sys.modules[name]


def write(folder: Path, kind: str, name: str, code: str) -> Path:
    file = folder / kind / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(code, encoding="utf-8")
    return file


def distribution(site: Path, group: str, name: str, value: str) -> None:
    """An installed distribution with one entry point."""
    info = site / "toy-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n", encoding="utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_every_built_in_name_can_be_imported(kind):
    known = names(kind)
    assert known == sorted(known)
    assert known
    for name in known:
        assert find(kind, name).__name__ == f"{KINDS[kind]}.{name.replace('-', '_')}"
        assert not name.startswith(("-", "_"))


def test_helpers_of_a_package_are_not_names():
    assert names("bases") == ["edgetam", "lite", "medsam", "sam", "sam-hq", "sam2", "sam3-tracker", "slimsam"]
    assert names("detectors") == ["full-frame", "onnx", "transformers", "ultralytics"]


def test_case_dashes_and_underscores_do_not_matter():
    assert find("methods", " PLM_pmm ") is find("methods", "plm-pmm")


def test_an_unknown_name_lists_the_names_and_the_closest_one():
    with pytest.raises(InputError, match=r"No detector is called 'onx'. Known: full-frame, .*Did you mean 'onnx'"):
        find("detectors", "onx")
    with pytest.raises(InputError, match="No prompt source is called 'clck'"):
        find("prompts", "clck")


def test_a_file_in_a_plug_in_folder_is_a_name(folder):
    write(folder, "methods", "my_method.py", "ANSWER = 42")
    assert "my-method" in names("methods")
    assert "my-method" not in names("formats")
    module = find("methods", "my-method")
    assert module.ANSWER == 42
    assert find("methods", "My_Method") is module  # imported once


def test_of_two_folders_the_first_is_used(folder, tmp_path, monkeypatch):
    write(folder, "methods", "twice.py", "PLACE = 1")
    (tmp_path / "other").mkdir()
    write(tmp_path / "other", "methods", "twice.py", "PLACE = 2")
    monkeypatch.setenv(PLUGINS, f"{folder}{os.pathsep}{tmp_path / 'other'}")
    assert find("methods", "twice").PLACE == 1
    monkeypatch.setenv(PLUGINS, f"{tmp_path / 'other'}{os.pathsep}{folder}")
    assert find("methods", "twice").PLACE == 2


def test_an_entry_point_is_a_name(tmp_path, monkeypatch):
    site = tmp_path / "site"
    distribution(site, "samtailor.methods", "Toy_Method", "toy_method_module")
    (site / "toy_method_module.py").write_text("ANSWER = 43", encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))
    assert "toy-method" in names("methods")
    assert find("methods", "toy-method").ANSWER == 43
    monkeypatch.delitem(sys.modules, "toy_method_module")


def test_an_entry_point_must_be_a_module(tmp_path, monkeypatch):
    distribution(tmp_path / "site", "samtailor.methods", "odd", "pathlib:Path")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with pytest.raises(InputError, match=r"'odd' .* must be a module, got type"):
        find("methods", "odd")


def test_private_files_and_other_files_are_not_names(folder):
    write(folder, "methods", "_private.py", "")
    write(folder, "methods", "notes.txt", "")
    assert not {"-private", "_private", "private", "notes"} & set(names("methods"))
    with pytest.raises(InputError, match="No method is called"):
        find("methods", "_private")


def test_a_plug_in_cannot_replace_a_built_in_name(folder, tmp_path, monkeypatch):
    write(folder, "methods", "plm.py", "raise SystemExit")
    distribution(tmp_path / "site", "samtailor.methods", "plm", "no_such_module")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert names("methods").count("plm") == 1
    assert find("methods", "plm").__name__ == "samtailor.methods.plm"


@pytest.mark.parametrize("code", ["import no_such_library", "def broken(:", "1 / 0"])
def test_a_broken_plug_in_is_named_in_the_message(folder, code):
    write(folder, "methods", "broken.py", code)
    assert "broken" in names("methods")
    with pytest.raises(InputError, match=r"The plug-in 'broken' \(methods\) cannot be imported: \w+Error"):
        find("methods", "broken")
    assert "samtailor_plugins.methods.broken" not in sys.modules
    write(folder, "methods", "broken.py", "FIXED = True")
    assert find("methods", "broken").FIXED


def test_a_folder_that_is_absent_or_unreadable_is_an_error(folder, monkeypatch):
    write(folder, "methods", "mine.py", "")
    monkeypatch.setattr(registry.os, "access", lambda path, mode: Path(path).name != "methods")
    with pytest.raises(InputError, match="cannot be read"):
        names("methods")
    assert "lite" in names("bases")  # it has no folder for bases
    monkeypatch.setenv(PLUGINS, str(folder / "absent"))
    with pytest.raises(InputError, match="which is not a folder"):
        names("methods")


@pytest.mark.parametrize("value", ["1", None, True, float("nan"), -0.1, 1.1, [1]])
def test_a_number_out_of_range_or_of_another_type_is_refused(value):
    with pytest.raises(InputError, match="nms must be a number from 0 to 1, got"):
        number("nms", value, at_least=0, at_most=1)
    assert number("nms", 0.5, at_least=0, at_most=1) == 0.5
    assert number("size", 3, integer=True) == 3
    with pytest.raises(InputError, match=r"size must be an integer of at least 1, got 2\.5"):
        number("size", 2.5, at_least=1, integer=True)


# -- plug-ins in use

BASE = """
from samtailor.bases.lite import build as lite
def matches(source, model_type):
    return source == "my-base" or model_type == "my-type"
def build(source):
    base = lite()
    base.name = source
    return base
"""
DETECTOR = """
import numpy as np
from samtailor.proposals.detectors import ordered
from samtailor.registry import refuse_unknown
def matches(source):
    return source.endswith(".toy")
class Toy:
    fingerprint, names = "toy", ("left",)
    def detect(self, image):
        return ordered(np.array([[0, 0, 9, 8]]), np.ones(1), ["left"], image.shape[:2])
def build(*, weights=None, **unknown):
    refuse_unknown(build, unknown)
    return Toy()
"""
PROMPTS = """
TYPE = "boxes"
def build(**unknown):
    return None
"""


def test_a_base_of_a_plug_in_is_loaded_by_its_name_and_by_its_type(folder, tmp_path):
    write(folder, "bases", "my_base.py", BASE)
    assert load_base("my-base").name == "my-base"
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "my-type"}', encoding="utf-8")
    assert load_base(tmp_path / "model").name == str(tmp_path / "model")
    assert load_base("lite").name == "lite"
    with pytest.raises(InputError, match=r"'sam' is a model family.*'lite', 'medsam', 'my-base'"):
        load_base("sam")
    (tmp_path / "model" / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    with pytest.raises(InputError, match="Known bases: edgetam, lite, medsam, my-base, sam, sam-hq, sam2"):
        load_base(tmp_path / "model")


def test_the_command_line_takes_a_base_of_a_plug_in(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SAMTAILOR_CACHE", str(tmp_path / "cache"))
    write(folder, "bases", "my_base.py", BASE)
    Image.fromarray(disc_sample(0).image).save(tmp_path / "a.png")
    arguments = ["predict", tmp_path / "a.png", "--base", "my-base", "--click", "20,20", "--out", tmp_path / "out"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert any((tmp_path / "out").iterdir())


def test_a_detector_of_a_plug_in_is_used_by_its_name_and_by_its_weights(folder, tmp_path):
    write(folder, "detectors", "toy.py", DETECTOR)
    sample = disc_sample(0)
    source = find("prompts", "detector").build(detector="toy", cache=tmp_path)
    assert isinstance(source, DetectorSource)
    assert source(sample, [sample.annotations[0].mask]).boxes.tolist() == [[[0, 0, 9, 8]]]
    for given in ("toy", "weights.toy"):
        cache, classes = open_detector(given, ["left"])
        assert isinstance(cache, DetectionCache)
        assert cache.detector.detect(np.zeros((20, 20, 3), np.uint8)).labels == ("left",)
        assert classes == ["left"]


def test_a_prompt_source_of_a_plug_in_says_what_it_gives(folder):
    write(folder, "prompts", "my_boxes.py", PROMPTS)
    assert prompt_type("my-boxes") == "boxes"
    assert prompt_type_of("my-boxes") == "boxes"
    write(folder, "prompts", "silent.py", "def build(): ...")
    with pytest.raises(InputError, match="'silent' must declare TYPE, one of points, boxes, none, either; got None"):
        prompt_type("silent")


def test_types_of_the_built_in_prompt_sources():
    types = {name: prompt_type(name) for name in names("prompts")}
    assert types == {
        "detector": "boxes",
        "file": "points",
        "mask-box": "boxes",
        "mask-center": "points",
        "none": "none",
        "pooled-click": "points",
        "proposals": "either",
        "sampled-click": "points",
    }
