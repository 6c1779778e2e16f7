"""`samtailor ui`: projects, adapters, tokens, and errors before a port is opened."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image


@pytest.fixture
def started(monkeypatch):
    """Instead of listening: (host, port, response of /api/project, response of /api/images) of each start."""
    calls: list = []

    def run(app, host, port):
        with TestClient(app, base_url="http://localhost") as client:
            calls.append((host, port, client.get("/api/project"), client.get("/api/images")))

    monkeypatch.setattr("samtailor.serve.run.run", run)
    return calls


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(2):
        Image.fromarray(np.full((30, 40, 3), 60 * i, np.uint8)).save(folder / f"p{i}.png")
    return folder


def test_project_is_created_next_to_its_images_and_continued(run, started, images, base_folder):
    result = run("ui", images, "--base", base_folder, "--classes", "plate,sign", "--no-browser")
    assert "http://127.0.0.1:8765/" in result.stderr
    settings = json.loads((images / ".samtailor" / "project.json").read_text())
    assert [class_["name"] for class_ in settings["classes"]] == ["plate", "sign"]
    run("ui", images, "--no-browser", "--port", 9000)  # the base model is that of the project
    host, port, project, rows = started[1]
    assert (host, port) == ("127.0.0.1", 9000)
    assert [class_["name"] for class_ in project.json()["classes"]] == ["plate", "sign"]
    assert [row["name"] for row in rows.json()] == ["p0.png", "p1.png"]
    assert "uses the base model" in run("ui", images, "--base", "lite", "--no-browser", code=2).stderr


def test_project_folder_and_adapter_options(run, started, images, base_folder, adapter_folder, tmp_path):
    run("ui", images, "--project", "kept", "--adapter", f"disc={adapter_folder}", "--no-browser")
    assert (tmp_path / "kept" / "project.json").exists()
    assert not (images / ".samtailor").exists()
    project = started[0][2].json()
    assert [(adapter["name"], adapter["deletable"]) for adapter in project["adapters"]] == [("disc", False)]
    assert [class_["name"] for class_ in project["classes"]] == ["disc"]  # the classes of the adapter


def test_other_hosts_get_a_token_that_is_printed_with_the_address(run, started, images, base_folder):
    result = run("ui", images, "--base", base_folder, "--host", "0.0.0.0", "--no-browser")
    assert "http://127.0.0.1:8765/?token=" in result.stderr
    assert started[0][2].status_code == 401


def test_browser_is_opened_unless_disabled(run, started, images, base_folder, monkeypatch):
    opened: list = []
    monkeypatch.setattr("threading.Timer", lambda seconds, call, arguments: _Immediate(call, arguments))
    monkeypatch.setattr("webbrowser.open", opened.append)
    run("ui", images, "--base", base_folder)
    run("ui", images, "--no-browser")
    run("ui", images, "--host", "192.168.1.5", "--token", "a-long-token")
    assert opened == ["http://127.0.0.1:8765/", "http://192.168.1.5:8765/?token=a-long-token"]


class _Immediate:
    def __init__(self, call, arguments):
        self.start = lambda: call(*arguments)


def test_demo_draws_images_once(run, started, base_folder, monkeypatch, tmp_path):
    monkeypatch.setattr("samtailor.workbench.start.draw.__defaults__", (2, (96, 128)))
    run("ui", "drawn", "--demo", "--base", base_folder, "--no-browser")
    files = sorted((tmp_path / "drawn").glob("*.jpg"))
    assert len(files) == 2
    before = files[0].stat().st_mtime_ns
    run("ui", "drawn", "--demo", "--no-browser")
    assert files[0].stat().st_mtime_ns == before
    assert [class_["name"] for class_ in started[1][2].json()["classes"]] == ["banner"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["ui"], "Expected a folder of images"),
        (["ui", "nowhere"], "no folder nowhere"),
        (["ui", "empty"], "contains no image"),
        (["ui", "images", "--classes", "a/b"], "a class name has"),
        (["ui", "images", "--token", "short"], "at least 8"),
        (["ui", "images", "--adapter", "a=./none"], "no folder"),
    ],
)
def test_errors_are_reported_before_the_port_is_opened(run, started, images, base_folder, tmp_path, arguments, word):
    (tmp_path / "empty").mkdir()
    base = ["--base", base_folder] if "images" in arguments else []
    assert word in run(*arguments, *base, "--no-browser", code=2).stderr
    assert started == []
