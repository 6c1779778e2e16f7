"""The photographs of the demo are held-out images of an openly licensed set; the tool that copies them checks it."""

from __future__ import annotations

import csv
import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samtailor.data import coffee_leaves
from samtailor.data.dataset import open_dataset

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import make_demo_images as tool  # noqa: E402
from bundled_base.sources import held_out_every, training_images  # noqa: E402


def manifest() -> list[dict[str, str]]:
    with (coffee_leaves.FOLDER / "manifest.csv").open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def test_no_image_of_the_demo_is_one_that_the_bundled_base_is_trained_on():
    every = held_out_every(tool.SOURCE)
    rows = manifest()
    assert [int(row["place"]) % every for row in rows] == [every - 1] * len(rows)
    assert [row["file"] for row in rows] == sorted(row["file"] for row in rows)


def test_the_images_are_those_of_the_manifest():
    listed = {row["file"]: row["sha256"] for row in manifest()}
    images = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (coffee_leaves.FOLDER / "images").iterdir()}
    assert images == listed


def test_the_demo_needs_less_than_3_mb():
    files = [path for path in coffee_leaves.FOLDER.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) < 3e6


def test_the_copy_is_a_data_set_with_its_license(tmp_path):
    folder = coffee_leaves.write(tmp_path / "leaves")
    samples = open_dataset(folder)
    assert len(samples) == 19
    assert all(sample.of(["leaf"]) for sample in samples)
    assert sum(bool(sample.of(["lesion"])) for sample in samples) == 16  # three leaves are healthy
    for sample in samples:
        assert sample.image.shape[:2] == sample.size
    assert "MIT License" in (folder / "LICENSE.upstream.txt").read_text("utf-8")
    assert "esgario/lara2018" in (folder / "README.md").read_text("utf-8")
    assert "esgario/lara2018" in (ROOT / "NOTICE").read_text("utf-8")
    (folder / "images" / "leaf_21.jpg").write_bytes(b"")
    assert len(open_dataset(coffee_leaves.write(folder))) == 19
    assert (folder / "images" / "leaf_21.jpg").stat().st_size


@pytest.fixture
def source(tmp_path) -> Path:
    """Twenty images, the last two places of each ten with lesions."""
    folder = tmp_path / "data" / tool.SOURCE
    for name in ("images", "labels", "parts"):
        (folder / name).mkdir(parents=True)
    (folder / tool.LICENSE).write_text("MIT License")
    for index in range(20):
        labels = np.zeros((8, 12), np.uint8)
        labels[2:6, 2:9] = 1
        parts = np.zeros_like(labels)
        parts[3:5, 3:5] = index == 9
        Image.fromarray(np.full((8, 12, 3), 10 * index, np.uint8)).save(folder / "images" / f"{index:02d}.jpg")
        Image.fromarray(labels).save(folder / "labels" / f"{index:02d}.png")
        if index % 10 >= 8:
            Image.fromarray(parts).save(folder / "parts" / f"{index:02d}.png")
    return folder


def called(monkeypatch, source: Path, *more: str) -> None:
    monkeypatch.setattr(sys, "argv", ["make_demo_images.py", str(source.parent), *more])
    tool.main()


def test_the_tool_takes_held_out_images_only(source, tmp_path, monkeypatch):
    package = tmp_path / "package"
    monkeypatch.setattr(tool, "FOLDER", package)
    called(monkeypatch, source)
    names = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    masks = {"masks/leaf/09.png", "masks/leaf/19.png", "masks/lesion/09.png"}  # the lesion mask of 19 is empty
    assert names == {"images/09.jpg", "images/19.jpg", *masks, "manifest.csv", tool.LICENSE}
    assert not {path.name for path in training_images(source)} & {"09.jpg", "19.jpg"}
    with Image.open(package / "masks/leaf/09.png") as mask:
        assert mask.mode == "1"
        assert np.asarray(mask).sum() == 28
    with pytest.raises(SystemExit) as end:
        called(monkeypatch, source, "--check")
    assert end.value.code in (0, False)


def test_the_check_reports_what_differs(source, tmp_path, monkeypatch, capsys):
    package = tmp_path / "package"
    monkeypatch.setattr(tool, "FOLDER", package)
    called(monkeypatch, source)
    (package / "images" / "03.jpg").write_bytes((source / "images" / "03.jpg").read_bytes())
    (package / "masks" / "leaf" / "19.png").write_bytes(b"other")
    (package / tool.LICENSE).unlink()
    with pytest.raises(SystemExit) as end:
        called(monkeypatch, source, "--check")
    assert end.value.code in (1, True)
    lines = capsys.readouterr().err.splitlines()
    assert "images/03.jpg is not from the source" in lines
    assert "masks/leaf/19.png differs" in lines
    assert f"{tool.LICENSE} is missing" in lines
    called(monkeypatch, source)  # writes again, without what does not belong there
    assert not (package / "images" / "03.jpg").exists()
