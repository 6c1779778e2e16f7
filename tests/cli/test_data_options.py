"""Options of a data set have one spelling in every command, and an adapter remembers those of its fit."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from samtailor import artefact, evaluate
from samtailor.artefact import AdapterMeta, DataReference, open_for, reading_options, reference
from samtailor.artefact.metadata import BaseReference
from samtailor.errors import DataError, InputError

SUFFIX = "data_options.mask_suffix=_drawn"


@pytest.fixture(scope="module")
def twice(data_folder, tmp_path_factory):
    """Two masks for each image, NAME_drawn (disc) and NAME_copied (square): only an option can say which."""
    root = tmp_path_factory.mktemp("twice")
    shutil.copytree(data_folder / "images", root / "images")
    (root / "masks").mkdir()
    for label, suffix in (("disc", "drawn"), ("square", "copied")):
        for file in (data_folder / "masks" / label).glob("*.png"):
            shutil.copy(file, root / "masks" / f"{file.stem}_{suffix}.png")
    return root


@pytest.fixture(scope="module")
def fitted(twice, base_folder, tmp_path_factory):
    """An adapter of one step, fitted to the masks NAME_drawn."""
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.fitting import fit
    from samtailor.train.config import FitConfig

    root = tmp_path_factory.mktemp("fitted")
    settings = {"method": "plm", "steps": 1, "batch_size": 2, "val": 2, "trackers": (), "near_duplicates": False}
    settings |= {"data_options": {"mask_suffix": "_drawn"}, "eval_masks": 2}
    config = FitConfig(data=twice, out=root / "a", base=str(base_folder), **settings)
    return fit(config, store=EmbeddingCache(root / "cache")).folder


def mean_area(twice, suffix):
    files = (twice / "masks").glob(f"*_{suffix}.png")
    return float(np.mean([(np.asarray(Image.open(file)) > 0).sum() for file in files]))


def areas(tmp_path):
    report = json.loads((tmp_path / "check.json").read_text())
    return report["classes"]["object"]["area_min"], report["classes"]["object"]["area_max"]


def test_check_takes_the_options_of_fit(run, twice, tmp_path):
    for suffix in ("drawn", "copied"):
        run("check", twice, "--set", f"data_options.mask_suffix=_{suffix}", "--json", "check.json")
        low, high = areas(tmp_path)
        assert low <= mean_area(twice, suffix) <= high
    assert "no option 'sufix'" in run("check", twice, "--set", "data_options.sufix=_x", code=2).stderr
    assert "data_options.NAME=VALUE" in run("check", twice, "--set", "steps=5", code=2).stderr


def test_an_adapter_remembers_the_options_of_its_fit(run, fitted, twice, tmp_path):
    meta = artefact.read_meta(fitted)
    assert meta.data == DataReference(format="folder", options={"mask_suffix": "_drawn"})
    result = run("evaluate", twice, "--adapter", fitted, "--include-train", "--json", "remembered.json")
    assert "mask_suffix=_drawn, as the adapter was fitted" in result.stderr.replace("\n", " ")
    run("evaluate", twice, "--adapter", fitted, "--include-train", "--set", SUFFIX, "--json", "given.json")
    other = run(
        *("evaluate", twice, "--adapter", fitted, "--include-train"),
        *("--set", "data_options.mask_suffix=_copied", "--json", "other.json"),
    )
    assert "as the adapter was fitted" not in other.stderr
    scores = {
        name: json.loads((tmp_path / f"{name}.json").read_text())["base"]["miou"]
        for name in ("remembered", "given", "other")
    }
    assert scores["remembered"] == scores["given"] != scores["other"]
    assert evaluate(twice, fitted, include_train=True, verbose=False).reference.summary()["miou"] == scores["given"]


def test_propose_fit_uses_what_the_adapter_remembers(run, fitted, twice, tmp_path):
    shutil.copytree(fitted, tmp_path / "copy")
    result = run("propose-fit", twice, "--adapter", "copy", "--steps", 1, "--views", 1)
    assert "mask_suffix=_drawn, as the adapter was fitted" in result.stderr.replace("\n", " ")


def test_compare_and_iou_map_take_the_options(run, twice, base_folder, tmp_path):
    run("iou-map", "--data", twice, "--id", "p000", "--base", base_folder, "--cells", 2, "--set", SUFFIX)
    common = ("--methods", "sam", "--base", base_folder, "--set", SUFFIX)
    run("compare", twice, "--out", "c", *common)
    shutil.copytree(twice, tmp_path / "held")
    for suffix in ("drawn", "copied"):
        run("compare", twice, "--test", "held", "--out", suffix, *common,
            "--set", f"test_options.mask_suffix=_{suffix}")  # fmt: skip
    scores = [json.loads((tmp_path / name / "compare.json").read_text()) for name in ("drawn", "copied")]
    assert scores[0] != scores[1]
    message = run("compare", twice, "--out", "d", *common, "--set", "test_options.mask_suffix=_x", code=2).stderr
    assert "--test" in message


def meta(format, **options):
    about = BaseReference(name="b", fingerprint="f", parameters=1)
    return AdapterMeta(method="plm", base=about, data=DataReference(format=format, options=options))


def test_remembered_options_belong_to_a_layout(twice):
    remembered = meta("folder", mask_suffix="_drawn")
    assert reading_options(remembered, twice, None, {}).options == {"mask_suffix": "_drawn"}
    assert reading_options(remembered, twice, "folder", {}).options == {"mask_suffix": "_drawn"}
    reset = reading_options(remembered, twice, None, {"mask_suffix": None})
    assert (reset.options, reset.note) == ({"mask_suffix": None}, "")
    other = reading_options(meta("coco", annotations="train.json"), twice, None, {})
    assert other.options == {}
    assert "annotations=train.json" in other.note
    assert "coco" in other.note
    assert reading_options(remembered, twice, "coco", {}).options == {}
    assert reading_options(None, twice, None, {"masks": "m"}).options == {"masks": "m"}
    assert reading_options(meta(None), twice, None, {}).note == ""


def test_a_layout_that_cannot_be_detected_is_that_of_the_fit(tmp_path, twice):
    (tmp_path / "photos").mkdir()
    shutil.copytree(twice / "masks", tmp_path / "truth")
    for file in (twice / "images").iterdir():
        shutil.copy(file, tmp_path / "photos" / file.name)
    (tmp_path / "odd").mkdir()
    (tmp_path / "photos").rename(tmp_path / "odd" / "zzz")
    (tmp_path / "truth").rename(tmp_path / "odd" / "yyy")
    remembered = meta("folder", images="zzz", masks="yyy", mask_suffix="_drawn")
    samples, note = open_for(remembered, tmp_path / "odd")
    assert len(samples) == 8
    assert "folder" in note


def test_a_failure_names_what_the_adapter_decided(twice):
    with pytest.raises((DataError, InputError), match="as the adapter was fitted"):
        open_for(meta("folder", mask_suffix="_missing"), twice)


def test_paths_out_of_the_data_set_are_neither_remembered_nor_used(twice):
    options = {"annotations": "/home/me/a.json", "images": "../x", "masks": "C:\\m", "mask_suffix": "_drawn"}
    assert reference(None, "folder", options).options == {"mask_suffix": "_drawn"}
    assert reading_options(meta("folder", **options), twice, None, {}).options == {"mask_suffix": "_drawn"}


def test_messages_name_the_spelling_of_the_command_line(run, twice, tmp_path):
    one = {"images": [{"id": 1, "file_name": "p000.png", "height": 48, "width": 80}], "categories": []}
    for name in ("train", "later"):
        (tmp_path / "d" / "annotations").mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / "annotations" / f"{name}.json").write_text(json.dumps({**one, "annotations": []}))
    shutil.copytree(twice / "images", tmp_path / "d" / "images")
    result = run("check", "d", "--set", "data_options.annotations=annotations/train.json", "--json", "check.json")
    assert json.loads((tmp_path / "check.json").read_text())["images"] == 1
    assert result.exit_code == 0
