"""`samtailor label`: from adapters and images to a data set."""

from __future__ import annotations

import json
import shlex
import shutil

import pytest

from samtailor.data.dataset import open_dataset
from samtailor.registry import names


@pytest.fixture(scope="module")
def proposing(adapter_folder, base_folder, tmp_path_factory):
    """The adapter with an untrained proposal head that proposes objects everywhere."""
    import torch

    from samtailor.bases import load_base
    from samtailor.proposals import Proposals
    from samtailor.proposals.head import make_head

    folder = tmp_path_factory.mktemp("proposing") / "disc"
    shutil.copytree(adapter_folder, folder)
    base = load_base(base_folder)
    torch.manual_seed(0)
    with torch.no_grad():
        features = base.encode_image(torch.zeros(1, 3, base.size, base.size))
    head = make_head(base, features, 1)
    with torch.no_grad():
        head.heat.weight.normal_(std=0.5)
        head.heat.bias.fill_(1.0)
    Proposals(head, ["disc"], base.fingerprint, base_name=str(base_folder)).save(folder)
    return folder


def test_two_adapters_label_a_folder(run, proposing, data_folder, tmp_path):
    result = run("label", data_folder / "images", "--adapter", f"one={proposing}", "--adapter", f"two={proposing}",
                 "--format", "yolo", "--vertices", 24, "--out", "out")  # fmt: skip
    assert "8 images" in result.stderr
    samples = open_dataset(tmp_path / "out")
    assert len(samples) == 8
    assert {a.label for sample in samples for a in sample.annotations} == {"disc"}
    lines = next((tmp_path / "out" / "labels").rglob("p000.txt")).read_text().splitlines()
    assert lines
    assert all(len(line.split()) <= 1 + 2 * 24 for line in lines)
    again = run("label", data_folder / "images", "--adapter", f"one={proposing}", "--adapter", f"two={proposing}",
                "--format", "yolo", "--vertices", 24, "--out", "out")  # fmt: skip
    assert "8 from an earlier run" in again.stderr


@pytest.mark.parametrize("form", [name for name in names("writers") if name in names("formats")])
def test_the_command_that_is_printed_shows_the_masks(run, proposing, data_folder, tmp_path, form):
    result = run("label", data_folder / "images", "--adapter", proposing, "--format", form, "--out", "my labels")
    command = shlex.split(next(line for line in result.stderr.splitlines() if "samtailor check" in line).split(": ")[1])
    run(*command[1:])
    assert "8 images" in (tmp_path / "my labels.html").read_text(encoding="utf-8")


def test_tiles_refinement_and_a_broken_image(run, proposing, data_folder, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("p000.png", "p002.png"):
        shutil.copy(data_folder / "images" / name, tmp_path / "in")
    (tmp_path / "in" / "p001.png").write_bytes(b"no image")
    result = run("label", "in", "--adapter", proposing, "--tile", 60, "--refine", "--out", "out", code=1)
    assert "1 image could not be read" in result.stderr
    assert "p001.png" in result.stderr
    assert len(open_dataset(tmp_path / "out")) == 2


def test_masks_of_run_lengths_and_what_a_format_cannot_hold(run, proposing, data_folder, tmp_path):
    image = data_folder / "images" / "p000.png"
    run("label", image, "--adapter", proposing, "--rle", "--out", "coco")
    content = json.loads((tmp_path / "coco" / "annotations" / "instances.json").read_text())
    assert content["annotations"]
    assert all(isinstance(one["segmentation"], dict) for one in content["annotations"])
    result = run("label", image, "--adapter", proposing, "--format", "masks", "--threshold", 0, "--out", "masks")
    written = json.loads((tmp_path / "masks" / "label.json").read_text())["written"]
    assert written["objects"] == written["written"] > 1
    assert written["changed"]["objects of one class are one mask"] == written["objects"]
    assert f"Changed {written['objects']} objects: objects of one class" in result.stderr.replace("\n", " ")
    arguments = ("label", image, "--adapter", proposing, "--format", "voc", "--out", "x")
    assert "coco, cvat, label-studio" in run(*arguments, "--rle", code=2).stderr.replace("\n", " ")
    assert "no option 'depth'" in run(*arguments, "--set", "depth=1", code=2).stderr


def test_predictions_as_a_data_set(run, base_folder, data_folder, tmp_path):
    image = data_folder / "images" / "p000.png"
    common = ("predict", image, "--base", base_folder, "--box", "10,10,40,40")
    result = run(*common, "--format", "cvat", "--rle", "--out", "p")
    assert "format cvat" in result.stderr.replace("\n", " ")
    predicted = json.loads((tmp_path / "p" / "predictions.json").read_text())
    (sample,) = open_dataset(tmp_path / "p" / "cvat")
    assert len(sample.annotations) == predicted["dataset"]["written"] == 1
    assert sample.annotations[0].area == predicted["annotations"][0]["area"]
    assert predicted["info"]["base"]
    assert "--format" in run(*common, "--rle", "--out", "q", code=2).stderr


def test_invalid_arguments_raise(run, adapter_folder, proposing, data_folder):
    images = data_folder / "images"
    assert "propose-fit" in run("label", images, "--adapter", adapter_folder, "--out", "a", code=2).stderr
    assert "Known: coco" in run("label", images, "--adapter", proposing, "--format", "x", "--out", "a", code=2).stderr
    assert "no image or folder" in run("label", "nowhere", "--adapter", proposing, "--out", "a", code=2).stderr
