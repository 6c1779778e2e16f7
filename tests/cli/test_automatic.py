"""`propose-fit` and `--prompt auto`: objects found without a prompt, from input files to output files."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from onnx_networks import constant
from samtailor.cache.detections import DetectionCache
from samtailor.errors import InputError
from samtailor.predict.auto import by_detector, prompt_type_of, promptless
from samtailor.predict.files import predict_files
from samtailor.predict.predictor import Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.predict.source import AdapterSource
from samtailor.proposals.detectors import _heads
from samtailor.structures import InferenceSpec


@pytest.fixture
def adapter_copy(adapter_folder, tmp_path):
    """A copy of the adapter, to write proposals into."""
    return shutil.copytree(adapter_folder, tmp_path / "own")


def detector_file(path, score: float):
    """A v8 network of one class that detects a box in the middle of a 64 px input, with the given score."""
    rows = np.zeros((_heads.cells((64, 64)), 5), np.float32)
    rows[:, :4] = 1
    rows[3] = [32, 32, 20, 20, score]
    return constant(path, rows.T, (64, 64), names="{0: 'thing'}")


def test_propose_fit_then_predict_without_a_prompt(run, adapter_copy, data_folder, tmp_path):
    result = run("propose-fit", data_folder, "--adapter", adapter_copy, "--steps", 3, "--views", 2, "--json", "f.json")
    assert "false-positive rate" in result.stdout
    assert "points) are in" in result.stderr  # it was fitted on clicks
    figures = json.loads((tmp_path / "f.json").read_text())
    split = json.loads((adapter_copy / "split.json").read_text())
    assert figures["images"] == len(split["train"])
    assert figures["held_out"]["disc"]["images"] == len(split["val"])
    assert "Replace them with --overwrite" in run("propose-fit", data_folder, "--adapter", adapter_copy, code=2).stderr

    images = data_folder / "images"
    result = run("predict", images, "--adapter", adapter_copy, "--prompt", "auto", "--threshold", 0, "--out", "all")
    content = json.loads((tmp_path / "all" / "predictions.json").read_text())
    assert [c["name"] for c in content["categories"]] == ["disc"]
    assert len(content["annotations"]) == sum(image["objects"] for image in content["images"])
    assert content["annotations"]
    for row in content["annotations"]:
        assert 0 <= row["score"] <= 1
        assert row["score"] == row["prompt"]["score"]
        assert row["prompt"]["points"]
        assert row["prompt"]["box"] is None
        assert row["area"] == coco.area(row["segmentation"]) > 0

    result = run("predict", images, "--adapter", adapter_copy, "--prompt", "auto", "--threshold", 1, "--out", "none")
    content = json.loads((tmp_path / "none" / "predictions.json").read_text())
    assert content["annotations"] == []
    assert len(content["images"]) == 8
    assert "No objects in 8 of 8 images: " in result.stderr


@pytest.mark.parametrize(("score", "objects"), [(0.9, 1), (0.1, 0)])
def test_detections_prompt_the_base_with_boxes(run, base_folder, tmp_path, score, objects):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    file = detector_file(tmp_path / "d.onnx", score)
    arguments = ["predict", "a.png", "--base", base_folder, "--detector", file, "--out", "o"]
    result = run(*arguments)
    content = json.loads((tmp_path / "o" / "predictions.json").read_text())
    assert [image["objects"] for image in content["images"]] == [objects]
    assert ("No objects in 1 of 1 image" in result.stderr) is (objects == 0)
    if objects:
        (row,) = content["annotations"]
        assert row["prompt"]["box"] == pytest.approx([22, 22, 42, 42])
        assert row["score"] == pytest.approx(0.9)
        assert content["categories"][0]["name"] == "thing"
        run(*arguments, "--overwrite", "--prompt-type", "points")
        again = json.loads((tmp_path / "o" / "predictions.json").read_text())
        assert again["annotations"][0]["prompt"]["points"] == [[31.5, 31.5]]


def test_without_a_prompt_source_predict_fails(run, base_folder, adapter_copy, data_folder, tmp_path):
    image = next((data_folder / "images").iterdir())
    for arguments in (["--base", base_folder], ["--adapter", adapter_copy]):
        assert "propose-fit DATA" in run("predict", image, *arguments, "--prompt", "auto", code=2).stderr
    assert "must be auto" in run("predict", image, "--prompt", "magic", "--base", base_folder, code=2).stderr
    assert "must be auto" in run("predict", image, "--prompt", "auto", "--click", "1,1", code=2).stderr
    file = detector_file(tmp_path / "d.onnx", 0.9)
    arguments = ["predict", image, "--base", base_folder, "--detector", file, "--detector-classes", "cat"]
    assert "no class 'cat'" in run(*arguments, code=2).stderr


class Two:
    """Detects the same object twice."""

    fingerprint, names = "two", ()

    def detect(self, image):
        from samtailor.proposals.detectors import Detections

        boxes = np.array([[10, 10, 40, 40], [10, 10, 40, 40]], np.float32)
        return Detections(boxes, np.array([0.9, 0.8], np.float32), ("a", "a"))


def test_two_proposals_with_the_same_mask_are_one_object(tiny_sam, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    source = AdapterSource(None, by_detector(DetectionCache(Two(), tmp_path / "cache")))
    written = predict_files(Predictor(tiny_sam), {"a": tmp_path / "a.png"}, {}, tmp_path / "o", sources=[source])
    assert [row["score"] for row in written["annotations"]] == [pytest.approx(0.9)]


def test_prompt_type_follows_the_prompt_source():
    sources = (None, "sampled-click", "mask-box", "detector")
    assert [prompt_type_of(name) for name in sources] == ["points"] * 2 + ["boxes"] * 2
    unselected = SimpleNamespace(segmenter=lambda name: SimpleNamespace(inference=InferenceSpec()))
    assert promptless("it", "a")(unselected, None) == [ObjectPrompt(promptless=True, label="a")]
    ObjectPrompt(promptless=True).check((5, 5))
    with pytest.raises(InputError, match="at least one click"):
        ObjectPrompt().check((5, 5))


def test_evaluate_auto_reports_ap_and_false_positives(run, adapter_copy, data_folder, tmp_path):
    run("propose-fit", data_folder, "--adapter", adapter_copy, "--steps", 3, "--views", 1)
    arguments = ["evaluate", data_folder, "--adapter", adapter_copy, "--prompt", "auto"]
    result = run(*arguments, "--json", "f.json", "--html", "f.html")
    assert "too few to say" in result.stdout
    content = json.loads((tmp_path / "f.json").read_text())
    split = json.loads((adapter_copy / "split.json").read_text())
    for name in ("base", "adapter"):
        assert (content[name]["too_few"], content[name]["ap"], content[name]["precision"]) == (True, None, None)
        assert content[name]["images"] == 8 - len(split["train"])
    assert sorted(content["left_out_ids"]) == sorted(split["train"])
    assert "Automatic mode" in (tmp_path / "f.html").read_text()
    run(*arguments, "--include-train", "--json", "t.json")
    everything = json.loads((tmp_path / "t.json").read_text())
    for name in ("base", "adapter"):
        assert 0 <= everything[name]["ap"] <= everything[name]["ap50"] <= 1
        assert everything[name]["recall_interval"][0] <= everything[name]["recall"]
    run(*arguments, "--split", "val", "--threshold", 0, "--json", "v.json")
    part = json.loads((tmp_path / "v.json").read_text())["adapter"]
    assert part["images"] == len(split["val"])
    assert part["found"] >= content["adapter"]["found"]
    assert "--split must be val or test" in run("evaluate", data_folder, "--split", "val", code=2).stderr
    assert "options of --prompt auto" in run("evaluate", data_folder, "--prompt-type", "boxes", code=2).stderr
