"""`samtailor label`: from adapters and images to a data set."""

from __future__ import annotations

import shutil

import pytest

from samtailor.data.dataset import open_dataset


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
    lines = (tmp_path / "out" / "labels" / "p000.txt").read_text().splitlines()
    assert lines
    assert all(len(line.split()) <= 1 + 2 * 24 for line in lines)
    again = run("label", data_folder / "images", "--adapter", f"one={proposing}", "--adapter", f"two={proposing}",
                "--format", "yolo", "--vertices", 24, "--out", "out")  # fmt: skip
    assert "8 from an earlier run" in again.stderr


def test_tiles_refinement_and_a_broken_image(run, proposing, data_folder, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("p000.png", "p002.png"):
        shutil.copy(data_folder / "images" / name, tmp_path / "in")
    (tmp_path / "in" / "p001.png").write_bytes(b"no image")
    result = run("label", "in", "--adapter", proposing, "--tile", 60, "--refine", "--out", "out", code=1)
    assert "1 image could not be read" in result.stderr
    assert "p001.png" in result.stderr
    assert len(open_dataset(tmp_path / "out")) == 2


def test_invalid_arguments_raise(run, adapter_folder, proposing, data_folder):
    images = data_folder / "images"
    assert "propose-fit" in run("label", images, "--adapter", adapter_folder, "--out", "a", code=2).stderr
    assert "Known: coco" in run("label", images, "--adapter", proposing, "--format", "x", "--out", "a", code=2).stderr
    assert "no image or folder" in run("label", "nowhere", "--adapter", proposing, "--out", "a", code=2).stderr
