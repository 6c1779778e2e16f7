"""`serve` and `label-studio`: what they start with, and errors before a port is opened."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient


@pytest.fixture
def started(monkeypatch):
    """Arguments of the server that would have been started: (application, host, port)."""
    calls: list = []
    monkeypatch.setattr("samtailor.serve.run.run", lambda *arguments: calls.append(arguments))
    return calls


def test_serve_starts_with_its_adapters(run, started, adapter_folder):
    result = run("serve", "--adapter", f"disc={adapter_folder}", "--port", 8123)
    ((app, host, port),) = started
    assert (host, port) == ("127.0.0.1", 8123)
    assert "Token" not in result.stderr
    with TestClient(app, base_url="http://localhost") as client:
        assert [one["name"] for one in client.get("/adapters").json()["adapters"]] == ["disc"]


def test_other_hosts_need_a_token(run, started, base_folder):
    token = run("serve", "--base", base_folder, "--host", "0.0.0.0").stderr.partition("Token: ")[2].strip()
    with TestClient(started[0][0], base_url="http://localhost") as client:
        assert client.get("/adapters").status_code == 401
        assert client.get("/adapters", headers={"authorization": f"Bearer {token}"}).status_code == 200


def test_label_studio_starts(run, started, base_folder, tmp_path):
    result = run("label-studio", "project", "--base", base_folder, "--url", "http://localhost:8080", "--train-every", 8)
    assert "http://127.0.0.1:9090" in result.stderr
    with TestClient(started[0][0], base_url="http://localhost:9090") as client:
        assert client.get("/health").json()["status"] == "UP"
    assert (tmp_path / "project" / "tasks").is_dir()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["serve", "--adapter", "a="], "NAME=DIR"),
        (["serve", "--adapter", "a=x", "--adapter", "a=y"], "Two adapters"),
        (["serve", "--adapter", "a=./nowhere"], "no folder"),
        (["serve", "--token", "short"], "at least 8"),
        (["serve", "--adapters-root", "nowhere"], "no folder nowhere"),
        (["label-studio", "p", "--url", "localhost"], "address of Label Studio"),
        (["label-studio", "p", "--set", "steps"], "KEY=VALUE"),
    ],
)
def test_errors_are_raised_before_the_port_is_opened(run, started, base_folder, arguments, word):
    base = [] if "a=./nowhere" in arguments else ["--base", base_folder]
    assert word in run(*arguments, *base, code=2).stderr
    assert started == []
