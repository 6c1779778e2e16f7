"""Two processes of one service (here two engines) share images and adapters."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from samtailor.cache import embeddings as embedding_cache
from samtailor.errors import InputError
from samtailor.serve.app import build
from samtailor.serve.metrics import Metrics
from samtailor.serve.refusals import NotKept
from samtailor.serve.run_folder import run_folder
from samtailor.serve.shared import ListedAdapter, SharedFolder
from samtailor.serve.shared_engine import SharedEngine
from saved import save

PROMPT = {"points": [[30, 20], [3, 4]], "labels": [1, 0]}


def png(index: int = 0) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(index).integers(0, 255, (48, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def services(tiny_sam2, tmp_path):
    """Clients of two services that share a folder, the folder, and the folder of adapters."""
    root = tmp_path / "adapters"
    save(root / "plm", tiny_sam2, head="paper_plain")
    shared = tmp_path / "shared"
    with ExitStack() as stack:
        clients = []
        for _ in range(2):
            metrics = Metrics()
            engine = SharedEngine(tiny_sam2, SharedFolder(shared), root=root, counter=metrics)
            app = build(engine, metrics=metrics)
            clients.append(stack.enter_context(TestClient(app, base_url="http://127.0.0.1:8000")))
        yield *clients, SharedFolder(shared), root


@pytest.fixture
def encoded(monkeypatch):
    """Names of the encoders that ran, one for each image."""
    ran: list[str] = []
    encode = embedding_cache.encode

    def counting(encoder, images, precision="fp32"):
        ran.extend(type(encoder).__name__ for _ in images)
        return encode(encoder, images, precision)

    monkeypatch.setattr(embedding_cache, "encode", counting)
    return ran


def embed(client, index: int = 0) -> str:
    response = client.post("/embeddings", content=png(index))
    assert response.status_code == 201, response.text
    return response.json()["id"]


def segment(client, id: str, **more):
    return client.post("/segment", json={"embedding": id, "prompts": [PROMPT], **more})


def names(client) -> list[str]:
    return [one["name"] for one in client.get("/adapters").json()["adapters"]]


def test_an_image_of_one_is_known_to_the_other_and_encoded_once(services, encoded):
    one, other, *_ = services
    id = embed(one)
    assert other.get(f"/embeddings/{id}").json() == {"id": id, "width": 80, "height": 48}
    answers = [segment(client, id).json() for client in (one, other)]
    assert answers[0] == answers[1]
    assert answers[0]["masks"]
    assert encoded == ["BaseEncoder"]


def test_both_encode_the_same_image_once_when_asked_together(services, encoded):
    clients = services[:2]
    with ThreadPoolExecutor(2) as pool:
        assert len(set(pool.map(embed, clients))) == 1
    assert encoded == ["BaseEncoder"]


def test_an_image_that_one_drops_is_dropped_in_the_other(services):
    one, other, *_ = services
    id = embed(one)
    assert segment(other, id).status_code == 200
    assert one.delete(f"/embeddings/{id}").status_code == 204
    for client in (one, other):
        assert client.get(f"/embeddings/{id}").status_code == 404
        assert segment(client, id).status_code == 404
        assert client.delete(f"/embeddings/{id}").status_code == 404
    assert embed(other) == id
    assert segment(one, id).status_code == 200


@pytest.mark.parametrize("content", [b"no image", png(1)])
def test_a_damaged_image_is_dropped(services, caplog, content):
    one, other, shared, _ = services
    id = embed(one)
    (file,) = (shared.root / "images").rglob("*.image")
    file.write_bytes(content)
    assert segment(other, id).status_code == 404
    assert "damaged" in caplog.text
    assert not shared.has(id)


def test_an_adapter_is_added_and_removed_in_both(services, tiny_sam2):
    one, other, _, root = services
    id = embed(one)
    assert one.put("/adapters/mine", json={"folder": "plm"}).status_code == 201
    assert names(other) == names(one) == ["mine"]
    assert segment(other, id, adapter="mine").json() == segment(one, id, adapter="mine").json()
    assert other.put("/adapters/mine", json={"folder": "plm"}).status_code == 409
    assert one.delete("/adapters/mine").status_code == 204
    assert segment(other, id, adapter="mine").status_code == 404
    save(root / "new", tiny_sam2, head="paper_plain", seed=8)
    before = segment(one, id).json()["masks"]
    assert other.put("/adapters/mine", json={"folder": "new"}).status_code == 201
    assert segment(one, id, adapter="mine").json()["masks"] != before
    assert "samtailor_adapters 1.0" in one.get("/metrics").text


def test_requests_that_arrive_together_wait_for_one_update(services):
    one, other, *_ = services
    id = embed(one)
    one.put("/adapters/mine", json={"folder": "plm"})
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: segment(other, id, adapter="mine").status_code, range(12)))
    assert answers == [200] * 12


def test_an_adapter_that_changed_or_vanished_is_refused_by_the_other(services, tiny_sam2, caplog):
    one, other, _, root = services
    id = embed(one)
    one.put("/adapters/mine", json={"folder": "plm"})
    save(root / "plm", tiny_sam2, head="paper_plain", seed=9)
    refused = segment(other, id, adapter="mine")
    assert refused.status_code == 422
    assert "has changed since it was added" in refused.json()["error"]
    assert segment(one, id, adapter="mine").status_code == 200
    assert segment(other, id).status_code == 200
    assert "cannot be loaded" in caplog.text
    assert other.delete("/adapters/mine").status_code == 204
    assert names(one) == []
    one.put("/adapters/gone", json={"folder": "plm"})
    shutil.rmtree(root / "plm")
    assert segment(other, id, adapter="gone").status_code == 422


def test_the_adapters_of_the_command_line_are_required(tiny_sam2, tmp_path):
    shared = SharedFolder(tmp_path / "shared")
    save(tmp_path / "plm", tiny_sam2, head="paper_plain")
    shared.begin({"plm": str(tmp_path / "plm")})
    with shared.changing() as listed:
        listed["gone"] = ListedAdapter(str(tmp_path / "gone"))
    engine = SharedEngine(tiny_sam2, shared)
    engine.update(["plm"])
    assert [one.name for one in engine.adapters.all()] == ["plm"]
    engine.close()
    engine = SharedEngine(tiny_sam2, shared)
    with pytest.raises(Exception, match="gone"):
        engine.update(["gone"])
    engine.close()


def test_a_second_start_keeps_the_list(tmp_path):
    shared = SharedFolder(tmp_path)
    shared.begin({"a": "hub/a"})
    with shared.changing() as listed:
        listed["hot"] = ListedAdapter("hub/hot")
    before, stamp = shared.adapters(), shared.stamp
    shared.begin({"a": "hub/a"})
    assert (shared.adapters(), shared.stamp) == (before, stamp)
    shared.begin({"a": "hub/b"})
    assert shared.adapters()["a"].version != before["a"].version
    assert shared.adapters()["hot"] == before["hot"]


def test_a_damaged_list_is_an_error(tmp_path):
    shared = SharedFolder(tmp_path)
    shared.begin({"a": "hub/a"})
    text = (tmp_path / "adapters.json").read_text()
    for wrong in (text.replace("hub/a", "hub/b"), text[:20], "[]"):
        (tmp_path / "adapters.json").write_text(wrong)
        with pytest.raises(InputError, match="damaged"):
            shared.adapters()


def test_images_are_bounded_and_the_least_recently_used_go_first(tmp_path):
    shared = SharedFolder(tmp_path, max_bytes=10_000)
    for index in range(12):
        shared.keep(f"image{index}", bytes(1000))
        assert shared.has("image0") == (index < 12)
    assert shared.has("image11")
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.image")) <= 10_000
    assert shared.image("never") is None


def test_a_full_folder_is_an_error_until_there_is_room(tmp_path):
    shared = SharedFolder(tmp_path)
    Path(tmp_path / "images").write_text("in the way")
    with pytest.raises(NotKept, match="full or not writable"):
        shared.keep("one", b"x")
    Path(tmp_path / "images").unlink()
    shared.keep("one", b"x")
    assert shared.image("one") == b"x"


def test_folders_of_killed_services_are_removed_and_those_of_running_ones_stay(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMTAILOR_CACHE", str(tmp_path))
    left = tmp_path / "serve" / "left"
    (left / "shared").mkdir(parents=True)
    os.utime(left, (1, 1))
    with run_folder() as running:
        os.utime(running, (1, 1))
        assert running.stat().st_mode & 0o077 == 0
        assert not left.exists()
        with run_folder() as other:
            assert running.exists()
        assert not other.exists()
    assert not running.exists()


def test_the_parent_of_the_workers_imports_no_torch():
    modules = "samtailor.serve.workers, samtailor.serve.shared, samtailor.serve.metrics, samtailor.serve.limits"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
