"""Choice of the base model: measured on this machine, in use from the next start on."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from samtailor.workbench.app import build
from samtailor.workbench.work import measure
from samtailor.workbench.worker import Channel
from workbench import images_folder, open_session


class Recorder(Channel):
    def __init__(self) -> None:
        import io

        super().__init__(io.StringIO())
        self.messages: list[dict] = []

    def send(self, **message):
        self.messages.append(message)


@pytest.fixture(scope="module")
def base_folder(tiny_sam_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny_sam_model.save_pretrained(folder)
    return folder


def test_measurement_of_a_base(base_folder):
    measure.run({"base": str(base_folder), "device": "cpu"}, channel := Recorder())
    measured = channel.messages[-1]["done"]["measured"]
    assert measured["parameters"] > 0
    assert measured["encode_seconds"] > 0
    assert measured["click_seconds"] > 0
    assert measured["device"] == "cpu"


def test_only_a_base_that_was_measured_can_be_chosen(tiny_sam2, tmp_path, base_folder):
    session = open_session(images_folder(tmp_path / "images", 1), tiny_sam2)
    name = str(base_folder)
    with TestClient(build(session), base_url="http://127.0.0.1:8765") as client:
        rows = client.get("/api/bases").json()
        assert rows[0] | {"hint": ""} == {
            "name": tiny_sam2.name, "hint": "", "current": True, "next": False, "measured": None,
        }  # fmt: skip
        answer = client.put("/api/base", json={"name": name})
        assert (answer.status_code, "Measure" in answer.json()["error"]) == (422, True)
        assert client.post("/api/jobs/measure", json={"name": name}).status_code == 201
        session.jobs.join(300)
        assert client.get("/api/jobs/current").json()["state"] == "done"
        (row,) = [row for row in client.get("/api/bases").json() if row["name"] == name]
        assert row["measured"]["parameters"] > 0
        assert client.put("/api/base", json={"name": name}).json()["next_base"] == name
        assert session.project.settings.base == name
        assert client.put("/api/base", json={"name": tiny_sam2.name}).json()["next_base"] is None
    session.engine.close()
