"""The Python functions on a tiny base model: the same results as the commands, and results that show themselves."""

from __future__ import annotations

import json

import numpy as np
import pytest

import samtailor
from samtailor.errors import InputError
from samtailor.evaluation.instances import InstanceEvaluation
from samtailor.evaluation.scores import Evaluation

SETTINGS = {"steps": 2, "batch_size": 2, "val": 2, "eval_masks": 2, "trackers": (), "near_duplicates": False}


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMTAILOR_CACHE", str(tmp_path / "cache"))


def test_fit_equals_the_command(run, base_folder, data_folder, tmp_path, capsys):
    result = samtailor.fit(data_folder, tmp_path / "a", method="plm", classes=["disc"], base=base_folder, **SETTINGS)
    lines = capsys.readouterr().err
    assert "Training ..." in lines
    run("fit", data_folder, "--method", "plm", "--classes", "disc", "--base", base_folder, "--out", "b", "--steps", 2,
        "--batch-size", 2, "--val", 2, "--set", "eval_masks=2", "--set", "trackers=[]", "--set",
        "near_duplicates=false")  # fmt: skip
    one, other = (json.loads((tmp_path / name / "adapter.json").read_text()) for name in ("a", "b"))
    assert one["sha256"] == other["sha256"]
    assert one["figures"] == other["figures"]
    assert "held-out mIoU" in repr(result)
    assert str(tmp_path / "a") in result._repr_html_()


def test_fit_takes_samples_and_a_loaded_base(base_folder, data_folder, tmp_path, capsys):
    samples = samtailor.open_dataset(data_folder, classes=["disc"])
    base = samtailor.load_base(base_folder)
    result = samtailor.fit(samples, tmp_path / "a", method="plm", base=base, verbose=False, **SETTINGS)
    assert capsys.readouterr().err == ""
    assert samtailor.load_adapter(result.folder, base).meta.classes == ("disc",)


def test_fit_of_each_class(base_folder, data_folder, tmp_path):
    settings = {**SETTINGS, "steps": 1}
    result = samtailor.fit(
        data_folder, tmp_path / "a", method="plm", base=base_folder, per_class=True, verbose=False, **settings
    )
    assert list(result.parts) == ["disc", "square"]
    assert (tmp_path / "a" / "square" / "adapter.json").is_file()
    assert "square held-out mIoU" in repr(result)


def test_an_unknown_setting_names_the_closest_one(data_folder, tmp_path):
    with pytest.raises(InputError, match=r"no setting 'stepz'\. Did you mean 'steps'"):
        samtailor.fit(data_folder, tmp_path / "a", stepz=3)
    with pytest.raises(InputError, match="list of samples, got a list with a int"):
        samtailor.fit([3], tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_evaluate_equals_the_command(run, adapter_folder, data_folder, tmp_path):
    evaluation = samtailor.evaluate(data_folder, adapter_folder, include_train=True, verbose=False)
    run("evaluate", data_folder, "--adapter", adapter_folder, "--include-train", "--json", "e.json")
    expected = json.loads((tmp_path / "e.json").read_text())
    assert evaluation.summary()["miou"] == expected["adapter"]["miou"]
    assert evaluation.reference.summary()["miou"] == expected["base"]["miou"]
    assert {row.id for row in evaluation.rows} == set(expected["ids"])
    assert not set(expected["left_out_ids"]) & {row.id for row in evaluation.rows}
    lines = repr(evaluation).splitlines()
    assert lines[0].startswith("Base: mIoU")
    assert lines[1].startswith("Adapter: mIoU")
    assert all(line.count("[") == 3 for line in lines[:2])
    assert lines[1].endswith("masks 8, images 8, groups 8")
    assert lines[2] == "Images: training"
    assert evaluation._repr_html_().count("<tr>") == 3


def test_an_evaluation_of_too_few_masks_shows_no_percentage(adapter_folder, data_folder):
    evaluation = samtailor.evaluate(data_folder, adapter_folder, verbose=False)
    assert evaluation.part == "validation"
    text = repr(evaluation) + evaluation._repr_html_()
    assert "too few to say" in text
    assert "[" not in text


def test_evaluate_leaves_out_training_images_of_samples_too(adapter_folder, data_folder):
    train = set(json.loads((adapter_folder / "split.json").read_text())["train"])
    samples = samtailor.open_dataset(data_folder)
    evaluation = samtailor.evaluate(samples, adapter_folder, verbose=False)
    assert not train & {row.id for row in evaluation.rows}
    everything = samtailor.evaluate(samples, adapter_folder, include_train=True, verbose=False)
    assert train < {row.id for row in everything.rows}


def test_evaluate_the_base_alone(base_folder, data_folder, capsys):
    evaluation = samtailor.evaluate(data_folder, base=base_folder, classes=["disc"], limit=2)
    assert isinstance(evaluation, Evaluation)
    assert evaluation.reference is None
    assert len(evaluation.rows) == 2
    assert "Evaluating images ..." in capsys.readouterr().err


def test_evaluate_refuses_options_of_automatic_mode(base_folder, data_folder):
    with pytest.raises(InputError, match="options of --prompt auto"):
        samtailor.evaluate(data_folder, base=base_folder, prompt_type="boxes")
    with pytest.raises(InputError, match="must be val or test"):
        samtailor.evaluate(data_folder, base=base_folder, split="val")


def test_evaluate_in_automatic_mode(base_folder, data_folder):
    evaluation = samtailor.evaluate(data_folder, base=base_folder, prompt="auto", detector="full-frame", verbose=False)
    assert isinstance(evaluation, InstanceEvaluation)
    assert 0 <= evaluation.summary()["ap50"] <= 1
    assert repr(evaluation).startswith("Evaluation: AP50")
    assert "AP50" in evaluation._repr_html_()


def test_label_writes_a_data_set(base_folder, data_folder, tmp_path, capsys):
    result = samtailor.label(
        data_folder / "images", None, tmp_path / "out", "yolo", base=base_folder, detector="full-frame", threshold=0.5
    )
    assert result.images == 8
    assert sum(result.objects.values()) > 0
    assert len(list((tmp_path / "out" / "labels").rglob("p000.txt"))) == 1
    assert len(samtailor.open_dataset(tmp_path / "out")) == 8
    assert "Labeling images ..." in capsys.readouterr().err
    assert repr(result).startswith("Labelled(8 images: ")
    assert "<td>images</td><td>8</td>" in result._repr_html_()


def test_label_refuses_two_adapters_of_one_name(tmp_path, data_folder):
    with pytest.raises(InputError, match="same name"):
        samtailor.label(data_folder / "images", ["a/banner", "b/banner"], tmp_path / "out")


def test_predictor_and_settings(tiny_sam):
    predictor = samtailor.Predictor(tiny_sam)
    predictor.set_image(np.zeros((48, 80, 3), np.uint8))
    masks, scores, _ = predictor.predict(point_coords=[[20, 20]], point_labels=[1])
    assert masks.shape == (len(scores), 48, 80)
    assert samtailor.FitConfig(steps=3).steps == 3
