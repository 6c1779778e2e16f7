"""The service: the masks of the predictor, one encoding for concurrent requests, replaceable adapters, metrics."""

from __future__ import annotations

import base64
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from pycocotools import mask as coco

from samtailor import artefact
from samtailor.masks.polygons import outlines
from samtailor.masks.rle import from_polygons
from samtailor.predict.instances import predict_instances
from samtailor.predict.predictor import Predictor
from samtailor.predict.source import AdapterSource
from samtailor.serve.app import build
from samtailor.serve.engine import Engine
from samtailor.serve.limits import Limits
from samtailor.serve.metrics import Metrics
from saved import save

ASKED = {"points": [[30, 20], [3, 4]], "labels": [1, 0]}


def png(index: int = 0, size: tuple[int, int] = (48, 80)) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image(index, size)).save(stream, "PNG")
    return stream.getvalue()


def image(index: int = 0, size: tuple[int, int] = (48, 80)) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 255, (*size, 3), dtype=np.uint8)


@pytest.fixture
def served(tiny_sam2, tmp_path):
    """A client, its engine with the adapter plm, and the folder for further adapters."""
    root = tmp_path / "adapters"
    save(root / "plm", tiny_sam2, head="paper_plain")
    metrics = Metrics()
    engine = Engine(tiny_sam2, limits=Limits(bytes=200_000, pixels=100_000), root=root, counter=metrics)
    engine.adapters.add("plm", root / "plm")
    with TestClient(build(engine, metrics=metrics), base_url="http://127.0.0.1:8000") as client:
        yield client, engine, root


def sent(client, index=0):
    response = client.post("/embeddings", content=png(index))
    assert response.status_code == 201, response.text
    return response.json()["id"]


def ask(client, **question):
    return client.post("/segment", json={"prompts": [ASKED], **question})


def mask_of(row):
    rle = row["rle"]
    return coco.decode({"size": rle["size"], "counts": rle["counts"].encode()}).astype(bool)


def count(client, name):
    return next(float(row.split()[-1]) for row in client.get("/metrics").text.splitlines() if row.startswith(name))


@pytest.mark.parametrize("adapter", [None, "plm"])
@pytest.mark.parametrize("prompt", [ASKED, {"box": [5, 5, 30, 40]}, {"points": [[9, 9]], "box": [5, 5, 30, 40]}])
def test_masks_equal_those_of_the_predictor(served, tiny_sam2, adapter, prompt):
    client, _, root = served
    predictor = Predictor(tiny_sam2, {"plm": artefact.load(root / "plm", tiny_sam2).segmenter})
    predictor.set_image(image())
    given = (prompt.get("points"), prompt.get("labels"), prompt.get("box"))
    masks, scores, _ = predictor.predict(*given, adapter=adapter or "base")
    order = np.argsort(-scores)
    request = {"embedding": sent(client), "adapter": adapter, "prompts": [prompt]}
    every = client.post("/segment", json=request | {"masks": "all"}).json()["masks"]
    assert [np.array_equal(mask_of(row), masks[i]) for row, i in zip(every, order, strict=True)] == [True] * 3
    assert np.allclose([row["score"] for row in every], scores[order])
    best = client.post("/segment", json=request).json()
    assert best["masks"] == [every[0]]
    assert best["masks"][0]["area"] == masks[order[0]].sum()
    assert best["embedding"] == {"id": request["embedding"], "width": 80, "height": 48}


def test_all_formats_have_the_same_mask(served):
    client, _, _ = served
    id = sent(client)
    rle, text, shapes = (
        ask(client, embedding=id, format=form, tolerance=0).json()["masks"][0] for form in ("rle", "png", "polygons")
    )
    mask = mask_of(rle)
    with Image.open(io.BytesIO(base64.b64decode(text["png"]))) as image:
        assert np.array_equal(np.asarray(image), mask * np.uint8(255))
    assert np.array_equal(drawn([(p["outer"], p["holes"]) for p in shapes["polygons"]], mask.shape), mask)
    x0, y0, x1, y1 = rle["box"]
    assert mask[y0:y1, x0:x1].sum() == mask.sum() == rle["area"]
    assert mask[:, x0].any()
    assert mask[y1 - 1].any()


def drawn(parts, size):
    canvas = np.zeros(size, bool)
    for outer, holes in parts:
        part = coco.decode(from_polygons([np.ravel(outer).tolist()], size)).astype(bool)
        for hole in holes:
            part &= ~coco.decode(from_polygons([np.ravel(hole).tolist()], size)).astype(bool)
        canvas |= part
    return canvas


def test_polygons_are_exact_or_within_the_tolerance():
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = rng.random((9, 13)) > 0.4
        assert np.array_equal(drawn(outlines(mask, 0), mask.shape), mask)
    y, x = np.mgrid[:100, :120]
    ring = abs(np.hypot(y - 50, x - 60) - 30) < 10
    (exact,), (fewer,) = outlines(ring, 0), outlines(ring, 1.0)
    assert len(fewer[0]) < len(exact[0]) / 3
    assert len(fewer[1]) == 1
    again = drawn([fewer], ring.shape)
    assert (again & ring).sum() / (again | ring).sum() > 0.95
    assert outlines(np.zeros((4, 4), bool)) == []
    assert outlines(np.ones((1, 1), bool), 5.0)[0][0].tolist() == [[0, 0], [0, 1], [1, 1], [1, 0]]


def test_the_image_may_be_part_of_the_request(served):
    client, _, _ = served
    by_id = ask(client, embedding=sent(client), adapter="plm").json()
    form = {"question": json.dumps({"prompts": [ASKED], "adapter": "plm"})}
    along = client.post("/segment", files={"image": ("a.png", png(), "image/png")}, data=form)
    assert along.json() == by_id
    uploaded = client.post("/embeddings", files={"image": png()})
    assert uploaded.status_code == 201
    assert uploaded.json() == by_id["embedding"]
    assert client.get(f"/embeddings/{uploaded.json()['id']}").json() == uploaded.json()
    assert client.delete(f"/embeddings/{uploaded.json()['id']}").status_code == 204
    assert ask(client, embedding=uploaded.json()["id"]).status_code == 404


def slow(engine, monkeypatch):
    """The encoder waits for `go` and counts its calls."""
    go, calls, encode = threading.Event(), [], engine.base.encode_image

    def waiting(images):
        calls.append(1)
        assert go.wait(20)
        return encode(images)

    monkeypatch.setattr(engine.base, "encode_image", waiting)
    return go, calls


@contextmanager
def released(go):
    """Release waiting threads when a test fails."""
    try:
        yield
    finally:
        go.set()


def until(truth):
    for _ in range(400):
        if truth():
            return
        threading.Event().wait(0.005)
    raise AssertionError("never happened")


def test_concurrent_requests_for_one_image_share_one_encoding(served, monkeypatch):
    client, engine, _ = served
    go, calls = slow(engine, monkeypatch)
    with ThreadPoolExecutor(6) as pool, released(go):
        waiting = [pool.submit(client.post, "/embeddings", content=png()) for _ in range(6)]
        until(lambda: count(client, 'samtailor_embeddings_total{how="joined"}') == 5)
        go.set()
        responses = [one.result() for one in waiting]
    assert {response.status_code for response in responses} == {201}
    assert len({response.json()["id"] for response in responses}) == 1
    assert len(calls) == 1
    ask(client, embedding=responses[0].json()["id"])
    sent(client)
    assert len(calls) == 1


def test_a_full_queue_returns_503_and_other_requests_continue(tiny_sam2, monkeypatch):
    engine = Engine(tiny_sam2, limits=Limits(encodes=1, encode_queue=1))
    with TestClient(build(engine), base_url="http://localhost") as client:
        known = sent(client, 9)
        go, _ = slow(engine, monkeypatch)
        with ThreadPoolExecutor(2) as pool, released(go):
            taken = [pool.submit(client.post, "/embeddings", content=png(i)) for i in range(2)]
            until(lambda: engine.encoding.waiting == 1)
            refused = client.post("/embeddings", content=png(2))
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) >= 1
            assert "Try again" in refused.json()["error"]
            assert ask(client, embedding=known).status_code == 200  # decoding is not held up
            assert client.get("/health").status_code == 200
            go.set()
            assert [one.result().status_code for one in taken] == [201, 201]
        assert client.post("/embeddings", content=png(2)).status_code == 201


def test_a_failed_encoding_is_repeated_by_the_next_request(served, monkeypatch):
    client, engine, _ = served
    client = TestClient(client.app, base_url="http://localhost", raise_server_exceptions=False)
    with monkeypatch.context() as broken:
        broken.setattr(engine.base, "encode_image", lambda images: 1 / 0)
        failed = client.post("/embeddings", content=png())
    assert failed.status_code == 500
    assert "ZeroDivision" not in failed.text
    assert client.post("/embeddings", content=png()).status_code == 201


def test_memory_is_bounded_and_the_oldest_embedding_is_dropped(tiny_sam2):
    engine = Engine(tiny_sam2)
    with TestClient(build(engine), base_url="http://localhost") as client:
        first, second = sent(client, 0), sent(client, 1)
        one = engine.find(first).bytes
        assert engine.embeddings.bytes == pytest.approx(2 * one, rel=0.01)
        engine.embeddings._kept.max_size = int(2.5 * one)
        client.get(f"/embeddings/{first}")  # used: now the second is the oldest
        third = sent(client, 2)
        known = [client.get(f"/embeddings/{id}").status_code for id in (first, second, third)]
        assert known == [200, 404, 200]
        assert "Send the image" in client.get(f"/embeddings/{second}").json()["error"]


def test_cached_embeddings_survive_a_restart(tiny_sam2, tmp_path, monkeypatch):
    def response():
        with TestClient(build(Engine(tiny_sam2, cache=tmp_path)), base_url="http://localhost") as client:
            return ask(client, embedding=sent(client)).json()

    first = response()
    monkeypatch.setattr(tiny_sam2, "encode_image", None)
    assert response() == first


def test_adapters_are_added_and_removed_during_requests(served, tiny_sam2):
    client, _, root = served
    save(root / "more" / "other", tiny_sam2, head="paper_plain", seed=8)
    id = sent(client)
    bare, plm = ask(client, embedding=id).json(), ask(client, embedding=id, adapter="plm").json()
    assert bare["masks"] != plm["masks"]
    stop = threading.Event()

    def asking(adapter):
        while not stop.is_set():
            yield ask(client, embedding=id, adapter=adapter)

    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(lambda a=a: list(asking(a))) for a in (None, "plm", "other")]
        for _ in range(3):
            added = client.put("/adapters/other", json={"folder": "more/other"})
            assert added.status_code == 201
            assert added.json()["classes"] == ["disc"]
            assert ask(client, embedding=id, adapter="other").json()["masks"] != plm["masks"]
            assert [a["name"] for a in client.get("/adapters").json()["adapters"]] == ["plm", "other"]
            assert client.put("/adapters/other", json={"folder": "more/other"}).status_code == 409
            assert client.delete("/adapters/other").status_code == 204
        stop.set()
        without, through, other = (run.result() for run in runs)
    assert all(one.json() == bare for one in without)
    assert all(one.json() == plm for one in through)
    assert {one.status_code for one in other} <= {200, 404}
    assert len(without) > 3


def test_many_threads_predict_as_one_thread(served, tiny_sam2, tmp_path):
    client, engine, _ = served
    engine.adapters.add("lora", save(tmp_path / "lora", tiny_sam2, "am-sam"))
    engine.adapters.add("sam-f", save(tmp_path / "f", tiny_sam2, "sam-f"))
    ids = [sent(client, i) for i in range(3)]
    request = [(id, adapter) for id in ids for adapter in (None, "plm", "lora", "sam-f")]
    alone = [ask(client, embedding=id, adapter=adapter).json() for id, adapter in request]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda row: ask(client, embedding=row[0], adapter=row[1]).json(), request * 3))
    assert together == alone * 3
    assert len({str(response["masks"]) for response in alone}) == 12


def test_an_adapter_inside_the_encoder_has_its_own_embedding(served, tiny_sam2, tmp_path, monkeypatch):
    client, engine, _ = served
    folder = save(tmp_path / "samed", tiny_sam2, "samed")
    engine.adapters.add("samed", folder)
    segmenter = artefact.load(folder, tiny_sam2).segmenter
    assert not segmenter.encoder_frozen
    predictor = Predictor(tiny_sam2, {"samed": segmenter})
    predictor.set_image(image())
    masks, scores, _ = predictor.predict(ASKED["points"], ASKED["labels"], adapter="samed")
    id = sent(client)
    request = {"embedding": id, "adapter": "samed", "prompts": [ASKED]}
    response = client.post("/segment", json=request).json()
    assert np.array_equal(mask_of(response["masks"][0]), masks[scores.argmax()])
    assert [a["own_encoder"] for a in client.get("/adapters").json()["adapters"]] == [False, True]
    made = count(client, 'samtailor_embeddings_total{how="made"}')
    assert made == 2
    assert client.post("/segment", json=request).json() == response
    assert ask(client, embedding=id).status_code == 200
    assert count(client, 'samtailor_embeddings_total{how="made"}') == made
    assert len(engine.embeddings) == 2
    client.delete("/adapters/samed")
    assert len(engine.embeddings) == 1


def test_a_promptless_adapter_needs_no_prompt(served, tiny_sam2, tmp_path):
    client, engine, _ = served
    folder = save(tmp_path / "blo", tiny_sam2, "blo-sam", prompt="none")
    engine.adapters.add("blo", folder)
    predictor = Predictor(tiny_sam2, {"blo": artefact.load(folder, tiny_sam2).segmenter})
    predictor.set_image(image())
    masks, scores, _ = predictor.predict(adapter="blo")
    request = {"embedding": sent(client), "adapter": "blo"}
    (by_prompt,) = client.post("/segment", json={**request, "prompts": [{}]}).json()["masks"]
    assert np.array_equal(mask_of(by_prompt), masks[scores.argmax()])
    predicted = client.post("/segment", json={**request, "auto": True}).json()["masks"]
    assert [row["rle"] for row in predicted] == [by_prompt["rle"]] * bool(by_prompt["area"])


def test_auto_uses_the_proposals(served, tiny_sam2, tmp_path):
    client, engine, _ = served
    folder = save(tmp_path / "finds", tiny_sam2, proposals=True, head="paper_plain")
    engine.adapters.add("finds", folder)
    id = sent(client)
    predicted = client.post("/segment", json={"embedding": id, "adapter": "finds", "auto": True}).json()["masks"]
    assert predicted
    assert {row["label"] for row in predicted} == {"disc"}
    predictor = Predictor(tiny_sam2, {"finds": artefact.load(folder, tiny_sam2).segmenter})
    same = predict_instances(predictor, image(), AdapterSource.of(predictor, "finds", folder))
    assert [row["score"] for row in predicted] == pytest.approx([one.score for one in same])
    assert all(np.array_equal(mask_of(row), one.mask) for row, one in zip(predicted, same, strict=True))
    none = client.post("/segment", json={"embedding": id, "adapter": "finds", "auto": True, "threshold": 1.0})
    assert none.json()["masks"] == []
    for adapter in ("plm", None):
        response = client.post("/segment", json={"embedding": id, "adapter": adapter, "auto": True})
        assert response.status_code == 422
        assert "propose-fit" in response.json()["error"]


def test_metrics_count_requests_and_embeddings(served):
    client, _, _ = served
    id = sent(client)
    ask(client, embedding=id, adapter="plm")
    ask(client, embedding="unknown")
    client.get("/made/up/path")
    response = client.get("/metrics").text
    assert 'samtailor_requests_total{method="POST",route="/segment",status="200"} 1.0' in response
    assert 'samtailor_requests_total{method="POST",route="/segment",status="404"} 1.0' in response
    assert 'samtailor_requests_total{method="GET",route="other",status="404"} 1.0' in response
    assert 'samtailor_masks_total{adapter="plm"} 1.0' in response
    assert 'samtailor_embeddings_total{how="made"} 1.0' in response
    assert "samtailor_embeddings_kept 1.0" in response
    assert "samtailor_adapters 1.0" in response


def test_openapi_describes_the_interface(served):
    client, _, _ = served
    description = client.get("/openapi.json").json()
    assert set(description["paths"]) >= {
        "/embeddings",
        "/segment",
        "/adapters",
        "/adapters/{name}",
        "/health",
        "/ready",
    }
    assert "Prompt" in description["components"]["schemas"]
    assert "adapter" in description["components"]["schemas"]["Question"]["properties"]
    assert client.get("/ready").json() == {"status": "ready"}
    assert client.get("/docs").status_code == 404  # its page would fetch scripts from elsewhere
