"""`samtailor figures` and the pictures of a report, from small runs."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from PIL import Image

from samtailor.compare.figures.am_sam_5 import _points
from samtailor.compare.run_folder import RunFolder
from samtailor.registry import names

FAST = ["--set", "steps=1", "--set", "batch_size=2", "--set", "eval_masks=2", "--set", "near_duplicates=false"]


def size_of(path) -> tuple[int, int]:
    image = np.asarray(Image.open(path).convert("RGB"))
    assert image.std() > 5, "a picture, not one color"
    return image.shape[1], image.shape[0]


def test_the_figures_of_kim(run, base_folder, data_folder, tmp_path):
    methods = "sam,sam-f,plm,plm-pmm"
    made = run("compare", data_folder, "--base", base_folder, "--methods", methods, "--per-class", "--out", "c", *FAST)
    assert "Table, report" in made.stderr
    page = (tmp_path / "c" / "report.html").read_text()
    shown = int(re.search(r"The same (\d+) objects for all methods", page)[1])
    assert shown >= 2
    assert page.count('alt="SAM+PLM+PMM: IoU') == page.count('alt="SAM: IoU') == shown
    assert "too few to say" in page, "four masks"
    assert "Dice of each method" not in page
    wanted = ["kim-2a", "kim-2b", "kim-4", "kim-5", "kim-6", "kim-9", "am-sam-4"]
    run("figures", "c", "--figure", ",".join(wanted), "--objects", 2)
    sizes = {name: size_of(tmp_path / "c" / "figures" / f"{name}.png") for name in wanted}
    assert sizes["kim-4"] == sizes["am-sam-4"]
    assert sizes["kim-4"][0] == 6 * 410 + 10, "image, truth and four methods side by side"
    assert sizes["kim-2a"][0] == 4 * 410 + 10, "a click and three masks"
    one = (tmp_path / "c" / "figures" / "kim-4.png").read_bytes()
    run("figures", "c", "--figure", "kim-4", "--objects", 2, "--out", "again")
    assert (tmp_path / "again" / "kim-4.png").read_bytes() == one, "the draw is fixed by its seed"
    for figure, words in (
        ("kim-10", "overlaps or touches"),
        ("kim-table-1", "CelebAMask-HQ"),
        ("am-sam-1", "kept no states"),
        ("am-sam-6", "several values of alpha"),
        ("kim-44", "Did you mean 'kim-4'"),
    ):
        assert words in " ".join(run("figures", "c", "--figure", figure, code=2).stderr.split())
    assert "Name the figure" in run("figures", "c", code=2).stderr


def test_the_figures_of_am_sam(run, base_folder, data_folder, tmp_path):
    command = ["compare", data_folder, "--base", base_folder, "--methods", "blo-sam,am-sam", "--classes", "disc"]
    command += ["--preset", "am-sam-2024", "--shots", 2, "--out", "c", "--set", "near_duplicates=false"]
    command += ["--set", "epochs=2", "--set", "snapshots=[1,2]"]
    refused = " ".join(run(*command, code=2).stderr.split())
    assert "--detector FILE" in refused
    assert "--detector full-frame" in refused
    assert not (tmp_path / "c").exists()
    assert "am-sam-2024" in run(*command, "--detector", "full-frame").stderr
    run("figures", "c", "--figure", "am-sam-1,am-sam-5", "--objects", 1)
    assert size_of(tmp_path / "c" / "figures" / "am-sam-1.png")[0] == 3 * 410 + 10, "truth and two epochs"
    size_of(tmp_path / "c" / "figures" / "am-sam-5.png")
    fitted = RunFolder.read(tmp_path / "c")
    assert [fitted.epochs(folder) for row in fitted.rows for folder in row.folders] == [2, 2]
    assert _points(2, {"train": [{"step": 8}], "held_out": [{"step": 4, "dice": 0.5}]}) == [(1.0, 50.0)]
    history = json.loads(next((tmp_path / "c" / "fits").rglob("am-sam-2shots/history.json")).read_text())
    assert [record["step"] for record in history["held_out"]] == [0, 1, 2], "each epoch is evaluated, on D2"
    assert all(0 <= record["dice"] <= 1 for record in history["held_out"])


def test_failures_beside_neighbors_are_found_by_search(run, base_folder, tmp_path):
    """Two discs that touch, and one alone: only the first two are candidates."""
    for folder in ("images", "masks"):
        (tmp_path / "d" / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :96]
    for number in range(8):
        labels = np.zeros((64, 96), np.uint8)
        for value, center in enumerate((20, 41, 80), 1):
            labels[(x - center) ** 2 + (y - 30) ** 2 <= 100] = value
        image = rng.integers(60, 90, (64, 96, 3), dtype=np.uint8)
        image[labels > 0] = (220, 180, 40)
        Image.fromarray(image).save(tmp_path / "d" / "images" / f"{number}.png")
        Image.fromarray(labels.astype(np.uint16)).save(tmp_path / "d" / "masks" / f"{number}.png")
    (tmp_path / "d" / "masks").rename(tmp_path / "d" / "labels")
    run("compare", "d", "--base", base_folder, "--methods", "sam,sam-f", "--format", "instances", "--out", "c", *FAST)
    run("figures", "c", "--figure", "kim-10", "--objects", 3)
    assert size_of(tmp_path / "c" / "figures" / "kim-10.png")[0] == 4 * 410 + 10


def test_every_figure_says_what_it_shows(run):
    listed = run("figures").stdout
    for name in names("figures"):
        assert f"{name}: " in listed


@pytest.mark.parametrize("content", ["", "{}"])
def test_another_folder_is_refused(run, tmp_path, content):
    (tmp_path / "other").mkdir()
    if content:
        (tmp_path / "other" / "compare.json").write_text(content)
    refused = run("figures", "other", "--figure", "kim-4", code=2).stderr
    assert "not the folder of a finished run" in " ".join(refused.split())
