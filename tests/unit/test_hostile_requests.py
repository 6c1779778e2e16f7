"""Hostile requests to all three services: whatever is sent, the status is below 500, or names a limit (503, 507)."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from test_serve_door import HERE, image_file

from samtailor.serve import app as serve_app
from samtailor.serve.annotators import label_studio
from samtailor.serve.engine import Engine
from samtailor.serve.limits import Limits
from samtailor.workbench import app as page_app
from studio import BRUSH, open_backend
from workbench import ids, images_folder, objects_of, objects_to_json, open_session, square

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from fuzz.mutations import VALUES, of_json

IDS = ("\0", "..", "../x", "%2e%2e", "a" * 3000, "é", "\udcff", "-1", "%00", "x\ny", "a/b", "null", "%ff", "%ed%a0%80")
CLICK = {"type": "keypointlabels", "is_positive": 1, "value": {"x": 40, "y": 40, "keypointlabels": ["disc"]}}
REGION = {"type": "polygonlabels", "value": {"points": [[5, 5], [90, 10], [50, 80]], "polygonlabels": ["disc"]}}


def check(response) -> None:
    assert response.status_code < 500 or response.status_code in (503, 507), (response.status_code, response.text)
    if response.status_code >= 400:
        assert "error" in response.json()


def hostile(body: object, count: int, seed: str):
    """Damaged copies of a JSON body, and bodies that are no JSON object at all."""
    rng, data = random.Random(seed), json.dumps(body).encode()
    yield from (of_json(data, rng) for _ in range(count))
    yield from (json.dumps(value).encode("utf-8", "surrogatepass") for value in VALUES[:40])
    yield from (b"", b"\xff", b"{", b"[" * 5000, data[:-1], b'{"a": "\\ud800"}')


def send(client, method: str, path: str, data: bytes) -> None:
    check(client.request(method, path, content=data, headers={"content-type": "application/json"}))


def test_the_service(tiny_sam2, tmp_path):
    (tmp_path / "root").mkdir()
    engine = Engine(tiny_sam2, limits=Limits(prompts=4, points=8), root=tmp_path / "root")
    with TestClient(serve_app.build(engine), base_url=HERE, raise_server_exceptions=False) as client:
        id = client.post("/embeddings", content=image_file()).json()["id"]
        prompts = [{"points": [[5, 6]], "labels": [1], "box": [1, 2, 9, 9], "label": "a"}]
        body = {"embedding": id, "adapter": None, "prompts": prompts, "masks": "best", "format": "rle", "tolerance": 1}
        for data in hostile(body, 60, "segment"):
            send(client, "POST", "/segment", data)
        for data in hostile({"folder": "a"}, 20, "place"):
            send(client, "PUT", "/adapters/a", data)
        for name in IDS:
            safe = name.encode("utf-8", "surrogateescape").decode("latin-1")
            for method, path in (("GET", "/embeddings/"), ("DELETE", "/embeddings/"), ("DELETE", "/adapters/")):
                check_path(client, method, path + safe)
            check_path(client, "POST", f"/embeddings?adapter={safe}", image_file())


def check_path(client, method: str, path: str, data: bytes = b"") -> None:
    from urllib.parse import quote

    check(client.request(method, quote(path, safe="/%?=&"), content=data))


def test_the_page(tiny_sam2, tmp_path):
    session = open_session(images_folder(tmp_path / "images", 2), tiny_sam2)
    with TestClient(page_app.build(session), base_url=HERE, raise_server_exceptions=False) as client:
        first = ids(session.project)[0]
        requests = {
            ("PUT", "/api/classes"): {"classes": [{"name": "a", "color": "#aabbcc"}], "renamed": {"disc": "a"}},
            ("PUT", f"/api/images/{first}/annotations"): {
                "revision": 0, "state": "open", "objects": objects_to_json(objects_of(0)),
            },
            ("POST", f"/api/images/{first}/segment"): {"adapter": None, "points": [[5, 5]], "zoom": True},
            ("POST", f"/api/images/{first}/compare"): {"points": [[5, 5]], "adapters": [None]},
            ("POST", f"/api/images/{first}/auto"): {"adapter": None, "threshold": 0.5},
            ("POST", f"/api/images/{first}/polygon"): {"rle": square(3, 3), "tolerance": 1},
            ("POST", f"/api/images/{first}/rasterize"): {"polygons": [{"outer": [[1, 1], [9, 1], [9, 9]]}]},
            ("POST", "/api/jobs/label"): {"adapter": "x", "threshold": 0.5, "only": [first]},
            ("POST", "/api/export"): {"format": "coco", "states": ["accepted"], "images": "none"},
        }  # fmt: skip
        for (method, path), body in requests.items():
            for data in hostile(body, 30, path.rpartition("/")[2]):
                send(client, method, path, data)
        for name in IDS:
            for path in ("/api/images/{}/thumbnail", "/api/images/{}/annotations", "/api/adapters/{}/gallery",
                         "/api/exports/{}.zip", "/api/images/{}/iou-map?object=x", "/{}"):  # fmt: skip
                check_path(client, "GET", path.format(name.encode("utf-8", "surrogateescape").decode("latin-1")))
        check_path(client, "GET", f"/api/images/{first}/iou-map?object=%ff&grid={'9' * 5000}")
        assert client.get("/api/project").status_code == 200
    session.engine.close()


def test_label_studio(tiny_sam2, tmp_path):
    backend = open_backend(tiny_sam2, tmp_path)
    task = {"id": 1, "data": {"image": "/data/local-files/?d=p0.png"}}
    project = {"id": 7, "label_config": BRUSH}
    context = {"context": {"result": [CLICK]}}
    annotation = {"id": 3, "result": [REGION], "was_cancelled": False}
    requests = {
        "/setup": {"project": "7.1", "schema": BRUSH},
        "/predict": {
            "tasks": [task],
            "project": "7.1",
            "label_config": BRUSH,
            "params": context,
        },
        "/webhook": {"action": "ANNOTATION_CREATED", "task": task, "annotation": annotation, "project": project},
    }
    more = {
        "deleted": {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 3}]},
        "tasks": {"action": "TASKS_DELETED", "tasks": [{"id": 3}]},
        "many": {
            "action": "ANNOTATIONS_CREATED",
            "task": [task],
            "annotation": [annotation | {"task": 1}],
            "project": project,
        },
    }
    with TestClient(label_studio.build(backend), base_url=HERE, raise_server_exceptions=False) as client:
        assert client.post("/setup", json=requests["/setup"]).status_code == 200
        for path, body in requests.items():
            for data in hostile(body, 60, path):
                send(client, "POST", path, data)
        for name, body in more.items():
            for data in hostile(body, 30, name):
                send(client, "POST", "/webhook", data)
        for i in range(400):
            client.post("/setup", json={"project": f"{i}.0", "schema": BRUSH})
        assert len(backend._configs) <= 256
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize("text", ["<View>" * 100_000, "x" * 300_000, "<View>\ud800</View>", "<!DOCTYPE a>", 7])
def test_label_configurations_are_bounded(text):
    from samtailor.errors import InputError
    from samtailor.serve.annotators.label_config import parse

    with pytest.raises(InputError):
        parse(text)
