"""`samtailor find`: from references and images to a data set."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from samtailor.data.dataset import open_dataset


@pytest.fixture
def command(run, base_folder, data_folder):
    """`find` on two images with the random base; every answer is accepted."""
    images = [data_folder / "images" / f"p00{number}.png" for number in (1, 2)]

    def call(*arguments, code=0):
        return run("find", *images, "--base", base_folder, "--threshold", 0, "--out", "out", *arguments, code=code)

    return call


@pytest.fixture
def shown(data_folder):
    """An image and its mask, in words of the command line."""
    return data_folder / "images" / "p000.png", data_folder / "masks" / "disc" / "p000.png"


def test_the_result_is_a_data_set_and_a_second_run_continues(command, shown, tmp_path):
    result = command("--like", *shown, "--name", "disc", "--format", "yolo")
    assert "2 images" in result.stderr
    settings = json.loads((tmp_path / "out" / "label.json").read_text())["settings"]
    assert settings["matcher"] == "multiscale"
    assert len(settings["like"]) == 1
    assert len(open_dataset(tmp_path / "out")) == 2
    assert "2 from an earlier run" in command("--like", *shown, "--name", "disc", "--format", "yolo").stderr
    assert "--overwrite" in command("--like", *shown, "--name", "square", "--format", "yolo", code=2).stderr


def test_boxes_clicks_negatives_and_persam(command, shown, data_folder, tmp_path):
    image, mask = shown
    rows, columns = np.nonzero(np.asarray(Image.open(mask)))
    box = f"{columns.min()},{rows.min()},{columns.max() + 1},{rows.max() + 1}"
    click = f"{columns.mean():.0f},{rows.mean():.0f}"
    square = data_folder / "masks" / "square" / "p003.png"
    command("--like", image, box, "--like", image, click, "--not-like", data_folder / "images" / "p003.png", square,
            "--not-like", data_folder / "images" / "p004.png", "all")  # fmt: skip
    command("--like", *shown, "--matcher", "persam-f", "--matcher-option", "steps=2", "--overwrite")
    data = json.loads(next((tmp_path / "out").rglob("*.json")).read_text())
    assert data


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "There is no reference of what to find"),
        (["--not-like", "IMAGE", "MASK"], "There is no reference of what to find"),
        (["--like", "IMAGE"], "an image and what is marked in it"),
        (["--like", "IMAGE", "nothing.png"], "is no mask file"),
        (["--like", "IMAGE", "all"], "is no mask file"),
        (["--like", "nothing.png", "MASK"], "There is no image"),
        (["--like", "IMAGE", "empty.png"], "the mask is empty"),
        (["--like", "IMAGE", "other.png"], "another aspect ratio"),
        (["--like", "IMAGE", "1,2,3,4,5"], "is no mask file"),
        (["--like", "IMAGE", "500,2"], "outside the image"),
        (["--like", "IMAGE", "MASK", "--matcher", "multi"], "No matcher is called"),
        (["--like", "IMAGE", "MASK", "--matcher-option", "tiles=9"], "from 1 to 3"),
        (["--like", "IMAGE", "MASK", "--matcher-option", "tile=2"], "no option"),
        (["--like", "IMAGE", "MASK", "--matcher", "persam", "--not-like", "IMAGE", "all"], "no negative references"),
    ],
)
def test_wrong_input_is_one_message_and_writes_nothing(command, shown, tmp_path, arguments, message):
    Image.fromarray(np.zeros((48, 80), np.uint8)).save(tmp_path / "empty.png")
    Image.fromarray(np.full((48, 48), 255, np.uint8)).save(tmp_path / "other.png")
    words = {"IMAGE": shown[0], "MASK": shown[1]}
    result = command(*(words.get(word, word) for word in arguments), code=2)
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()
