"""`samtailor ui`: what it opens, what it keeps where, what it refuses before a port is opened."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image


@pytest.fixture
def started(monkeypatch):
    """What would have listened: (application, host, port), asked about while it is there."""
    seen: list = []

    def run(app, host, port):
        with TestClient(app, base_url="http://localhost") as client:
            seen.append((host, port, client.get("/api/project"), client.get("/api/images")))

    monkeypatch.setattr("samtailor.serve.run.run", run)
    return seen


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(2):
        Image.fromarray(np.full((30, 40, 3), 60 * i, np.uint8)).save(folder / f"p{i}.png")
    return folder


def test_a_project_begins_beside_its_images_and_goes_on(run, started, images, base_folder):
    told = run("ui", images, "--base", base_folder, "--classes", "plate,sign", "--no-browser")
    assert "http://127.0.0.1:8765/" in told.stderr
    settings = json.loads((images / ".samtailor" / "project.json").read_text())
    assert [one["name"] for one in settings["classes"]] == ["plate", "sign"]
    run("ui", images, "--no-browser", "--port", 9000)  # the base is the project's own
    host, port, project, rows = started[1]
    assert (host, port) == ("127.0.0.1", 9000)
    assert [one["name"] for one in project.json()["classes"]] == ["plate", "sign"]
    assert [one["name"] for one in rows.json()] == ["p0.png", "p1.png"]
    assert "stands on the base" in run("ui", images, "--base", "nano", "--no-browser", code=2).stderr


def test_another_place_for_the_project_and_an_adapter(run, started, images, base_folder, adapter_folder, tmp_path):
    run("ui", images, "--project", "kept", "--adapter", f"disc={adapter_folder}", "--no-browser")
    assert (tmp_path / "kept" / "project.json").exists()
    assert not (images / ".samtailor").exists()
    project = started[0][2].json()
    assert [(one["name"], one["own"]) for one in project["adapters"]] == [("disc", False)]
    assert [one["name"] for one in project["classes"]] == ["disc"]  # what the adapter knows


def test_elsewhere_a_token_is_made_and_told_with_the_address(run, started, images, base_folder):
    told = run("ui", images, "--base", base_folder, "--host", "0.0.0.0", "--no-browser")
    assert "http://127.0.0.1:8765/?token=" in told.stderr
    assert started[0][2].status_code == 401


def test_the_page_is_opened_unless_it_is_not_wanted(run, started, images, base_folder, monkeypatch):
    opened: list = []
    monkeypatch.setattr("threading.Timer", lambda seconds, call, arguments: _Now(call, arguments))
    monkeypatch.setattr("webbrowser.open", opened.append)
    run("ui", images, "--base", base_folder)
    run("ui", images, "--no-browser")
    run("ui", images, "--host", "192.168.1.5", "--token", "a-long-token")
    assert opened == ["http://127.0.0.1:8765/", "http://192.168.1.5:8765/?token=a-long-token"]


class _Now:
    def __init__(self, call, arguments):
        self.start = lambda: call(*arguments)


def test_the_demo_draws_images_once(run, started, base_folder, monkeypatch, tmp_path):
    monkeypatch.setattr("samtailor.workbench.start.draw.__defaults__", (2, (96, 128)))
    run("ui", "drawn", "--demo", "--base", base_folder, "--no-browser")
    files = sorted((tmp_path / "drawn").glob("*.jpg"))
    assert len(files) == 2
    before = files[0].stat().st_mtime_ns
    run("ui", "drawn", "--demo", "--no-browser")
    assert files[0].stat().st_mtime_ns == before
    assert [one["name"] for one in started[1][2].json()["classes"]] == ["banner"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["ui"], "Which images"),
        (["ui", "nowhere"], "no folder nowhere"),
        (["ui", "empty"], "holds no image"),
        (["ui", "images", "--classes", "a/b"], "a class has"),
        (["ui", "images", "--token", "short"], "at least 8"),
        (["ui", "images", "--adapter", "a=./none"], "no folder"),
    ],
)
def test_what_is_wrong_is_told_before_the_port_is_opened(run, started, images, base_folder, tmp_path, arguments, word):
    (tmp_path / "empty").mkdir()
    base = ["--base", base_folder] if "images" in arguments else []
    assert word in run(*arguments, *base, "--no-browser", code=2).stderr
    assert started == []
