"""What the service rejects: requests without a token or from other sites, invalid files, invalid prompts."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from samtailor.errors import InputError
from samtailor.registry import find
from samtailor.serve.app import build
from samtailor.serve.engine import Engine
from samtailor.serve.limits import Limits
from samtailor.serve.run import address, is_local, token_for

HERE = "http://127.0.0.1:8000"


def image_file(kind: str = "PNG", size: tuple[int, int] = (40, 30)) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that claims to be huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


@pytest.fixture
def engine(tiny_sam2, tmp_path):
    (tmp_path / "root").mkdir()
    return Engine(tiny_sam2, limits=Limits(bytes=20_000, json_bytes=3000, pixels=50_000, prompts=3, points=4),
                  root=tmp_path / "root")  # fmt: skip


@pytest.fixture
def client(engine):
    with TestClient(build(engine), base_url=HERE) as client:
        yield client


def check_refused(response, status, *words):
    assert response.status_code == status, response.text
    assert list(response.json()) == ["error"]
    for word in words:
        assert word in response.json()["error"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_images_of_every_format_are_accepted(client, kind):
    response = client.post("/embeddings", content=image_file(kind))
    assert (response.status_code, response.json()["width"], response.json()["height"]) == (201, 40, 30)


@pytest.mark.parametrize(
    ("data", "status", "word"),
    [
        (b"", 422, "no image"),
        (b"hello", 415, "not a readable image"),
        (image_file()[:500], 415, "truncated"),
        (image_file("JPEG")[:300], 415, "image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415, "Expected JPEG"),
        (image_file("ICO"), 415, "Expected JPEG"),
        (bomb(300, 300), 413, "90,000 pixels"),
        (bomb(60_000, 60_000), 413, "pixels"),
        (bomb(2**31 - 1, 2**31 - 1), 413, "pixels"),
        (bomb(0, 0), 415, "not a readable image"),
        (image_file() + b"\0" * 20_000, 413, "20,000 bytes"),
    ],
)
def test_damaged_and_oversized_files_are_rejected(client, data, status, word):
    check_refused(client.post("/embeddings", content=data), status, word)
    if data:
        check_refused(client.post("/segment", files={"image": data}, data={"question": '{"auto": true}'}), status)
    assert client.post("/embeddings", content=image_file()).status_code == 201


def test_a_body_without_a_stated_length_is_limited(client):
    def pieces():
        for _ in range(30):
            yield b"\0" * 1000

    check_refused(client.post("/embeddings", content=pieces()), 413, "the limit is 20,000 bytes")


def test_json_has_its_own_limit(client):
    response = client.post("/segment", content=b" " * 4000, headers={"content-type": "application/json"})
    check_refused(response, 413, "3,000")


@pytest.mark.parametrize(
    ("question", "status", "words"),
    [
        ({}, 422, ["The image is missing"]),
        ({"embedding": "ID"}, 422, ["1 to 3 prompts"]),
        ({"embedding": "0" * 40, "prompts": [{"points": [[1, 1]]}]}, 404, ["Send the image"]),
        ({"embedding": "../../etc/passwd", "prompts": [{"points": [[1, 1]]}]}, 404, []),
        ({"embedding": "ID", "prompts": [{"points": [[1, 1]]}], "adapter": "nose"}, 404, ["'nose'", "Loaded: none"]),
        ({"embedding": "ID", "prompts": [{"points": [[40, 1]]}]}, 422, ["outside the image of 40x30"]),
        ({"embedding": "ID", "prompts": [{"points": [[-1, 1]]}]}, 422, ["outside"]),
        ({"embedding": "ID", "prompts": [{"points": [[1, 1, 1]]}]}, 422, ["prompts.0.points.0"]),
        ({"embedding": "ID", "prompts": [{"points": [["a", 1]]}]}, 422, ["prompts.0.points.0.0"]),
        ({"embedding": "ID", "prompts": [{"points": [[1, 1]], "labels": [1, 1]}]}, 422, ["one value per point"]),
        ({"embedding": "ID", "prompts": [{"points": [[1, 1]], "labels": [2]}]}, 422, ["labels"]),
        ({"embedding": "ID", "prompts": [{"points": [[1, 1]] * 5}]}, 422, ["at most 4 points"]),
        ({"embedding": "ID", "prompts": [{"box": [1, 2, 3]}]}, 422, ["prompts.0.box"]),
        ({"embedding": "ID", "prompts": [{"box": [9, 9, 3, 3]}]}, 422, ["x0 < x1"]),
        ({"embedding": "ID", "prompts": [{"box": [0, 0, 1e30, 3]}]}, 422, ["inside the image"]),
        ({"embedding": "ID", "prompts": [{}]}, 422, ["needs points or a box"]),
        ({"embedding": "ID", "prompts": [{"points": [[1, 1]]}] * 4}, 422, ["1 to 3 prompts"]),
        ({"embedding": "ID", "prompts": [{"points": [[1, 1]]}], "auto": True}, 422, ["not both"]),
        ({"embedding": "ID", "prompts": [{"points": [[1, 1]]}], "format": "pickle"}, 422, ["format"]),
        ({"embedding": "ID", "promts": []}, 422, ["promts"]),
    ],
)
def test_invalid_requests_are_rejected(client, question, status, words):
    id = client.post("/embeddings", content=image_file()).json()["id"]
    request = {**question, "embedding": id} if question.get("embedding") == "ID" else question
    check_refused(client.post("/segment", json=request), status, *words)


@pytest.mark.parametrize("text", ["", "{", "[]", "NaN", '{"embedding": "x", "prompts": [{"points": [[NaN, 1]]}]}'])
def test_invalid_json_is_rejected(client, text):
    check_refused(client.post("/segment", content=text, headers={"content-type": "application/json"}), 422)


def test_incomplete_forms_are_rejected(client):
    check_refused(client.post("/segment", files={"other": image_file()}), 422, "image")
    check_refused(client.post("/embeddings", data={"image": "text"}, files={"x": b"1"}), 422, "image")
    both = {"question": '{"embedding": "x", "auto": true}'}
    check_refused(client.post("/segment", files={"image": image_file()}, data=both), 422, "not both")
    check_refused(client.post("/embeddings", files=[("image", image_file()), ("second", image_file())]), 400)
    check_refused(client.put("/segment"), 405)
    check_refused(client.get("/embeddings/" + "9" * 40), 404)
    check_refused(client.get("/nowhere"), 404)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 403),
        ({"host": "evil.example:8000"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"host": ""}, 403),
        ({"host": "localhost:1"}, 200),
        ({"host": "LOCALHOST."}, 200),
        ({"host": "[::1]:8000"}, 200),
        ({"host": "192.168.1.5:8000"}, 200),
        ({"host": "named.example"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:9"}, 403),
        ({"origin": "http://127.0.0.1:8000.evil.example"}, 403),
        ({"origin": "file://127.0.0.1:8000"}, 403),
        ({"origin": HERE}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, 200),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, 403),
    ],
)
def test_other_hosts_and_other_sites_are_rejected(engine, headers, status):
    with TestClient(build(engine, hosts=["named.example"]), base_url=HERE) as client:
        for path in ("/adapters", "/health"):
            response = client.get(path, headers=headers)
            assert response.status_code == status, response.text
        if status == 403 or "sec-fetch-mode" in headers:
            assert client.post("/embeddings", content=image_file(), headers=headers).status_code == 403
    assert "access-control-allow-origin" not in response.headers
    assert response.headers.get("x-content-type-options", "nosniff") == "nosniff"


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (None, 401),
        ("Bearer wrong-wrong", 401),
        ("Bearer secret-secre", 401),
        ("Bearer secret-secret", 200),
        ("bearer secret-secret", 200),
        ("Basic " + base64.b64encode(b"me:secret-secret").decode(), 200),
        ("Basic " + base64.b64encode(b"secret-secret").decode(), 401),
        ("Basic ?", 401),
        ("Digest secret-secret", 401),
        ("Bearer s\xe9cret", 401),
    ],
)
def test_requests_need_the_token(engine, header, status):
    with TestClient(build(engine, token="secret-secret"), base_url=HERE) as client:
        headers = {} if header is None else {"authorization": header.encode("latin-1")}
        for path in ("/adapters", "/metrics", "/openapi.json"):
            assert client.get(path, headers=headers).status_code == status
        assert client.get("/health").status_code == client.get("/ready").status_code == 200
        if status == 401:
            check_refused(client.post("/embeddings", content=image_file(), headers=headers), 401, "Authorization")


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("127.0.0.1", "http://127.0.0.1:8765"),
        ("0.0.0.0", "http://127.0.0.1:8765"),
        ("192.168.1.5", "http://192.168.1.5:8765"),
        ("::", "http://[::1]:8765"),
        ("fd00::2", "http://[fd00::2]:8765"),
        ("[::1]", "http://[::1]:8765"),
        ("labels.example", "http://labels.example:8765"),
    ],
)
def test_the_printed_address_can_be_opened(host, place):
    assert address(host, 8765) == place


def test_a_token_is_generated_for_other_hosts():
    assert token_for("127.0.0.1", None) == token_for("localhost", None) == token_for("::1", None) == (None, False)
    token, made = token_for("0.0.0.0", None)
    assert made
    assert len(token) >= 24
    assert token != token_for("0.0.0.0", None)[0]
    assert token_for("127.0.0.1", "long-enough") == ("long-enough", False)
    assert not is_local("example.org")
    for bad in ("", "short", "with a space", "naïve-token"):
        with pytest.raises(InputError, match="at least 8"):
            token_for("0.0.0.0", bad)


def test_too_many_concurrent_requests_are_rejected(tiny_sam2):
    import asyncio

    engine = Engine(tiny_sam2, limits=Limits(requests=1, seconds=1))
    app, statuses = build(engine), {}

    async def one(name, receive):
        async def send(message):
            if message["type"] == "http.response.start":
                statuses[name] = message["status"]

        scope = {"type": "http", "method": "POST", "path": "/embeddings", "raw_path": b"", "query_string": b"",
                 "headers": [(b"host", b"localhost")], "scheme": "http", "server": ("localhost", 80),
                 "client": ("1.1.1.1", 1), "root_path": "", "http_version": "1.1"}  # fmt: skip
        await app(scope, receive, send)

    async def both():
        stalled = asyncio.ensure_future(one("stalled", asyncio.Event().wait))
        await asyncio.sleep(0.05)
        await one("second", asyncio.Event().wait)
        await stalled

    asyncio.run(both())
    assert statuses == {"second": 503, "stalled": 408}


def put(client, name, folder):
    return client.put(f"/adapters/{name}", json={"folder": folder})


def test_adapters_are_loaded_only_from_below_the_root(client, engine, tiny_sam2, tmp_path):
    from samtailor import artefact

    root, outside = tmp_path / "root", tmp_path / "outside"
    segmenter = find("methods", "plm").build(tiny_sam2)[0]
    for folder in (root / "good", outside):
        artefact.save(folder, segmenter, artefact.describe(segmenter, method="plm", options={}))
    (root / "link").symlink_to(outside)
    (root / "files").mkdir()
    for name in ("adapter.json", "adapter.safetensors"):
        (root / "files" / name).symlink_to(outside / name)
    for folder in ("../outside", str(outside), "link", "files", ".", "", "good/../../outside", "a\0b"):
        check_refused(put(client, "x", folder), 403)
    check_refused(put(client, "x", "nowhere"), 404, "nowhere")
    for name in ("a b", "é", "x" * 65, "-x", ".."):
        assert put(client, name, "good").status_code in (404, 422)
    assert put(client, "x", "good").status_code == 201
    check_refused(client.delete("/adapters/y"), 404, "Loaded: x")
    assert client.delete("/adapters/x").status_code == 204
    with TestClient(build(Engine(tiny_sam2)), base_url=HERE) as bare:
        check_refused(put(bare, "x", "good"), 403, "without a folder")


def test_damaged_and_pickled_adapters_are_rejected(client, tiny_sam2, tmp_path):
    from samtailor import artefact

    root = tmp_path / "root"
    segmenter = find("methods", "plm").build(tiny_sam2)[0]
    meta = artefact.save(root / "a", segmenter, artefact.describe(segmenter, method="plm", options={}))
    tensors = root / "a" / "adapter.safetensors"
    whole = tensors.read_bytes()
    tensors.write_bytes(whole[:-9])
    check_refused(put(client, "a", "a"), 422, "damaged")
    import pickle

    tensors.write_bytes(pickle.dumps({"a": 1}))
    check_refused(put(client, "a", "a"), 422, "damaged")
    tensors.write_bytes(whole)
    (root / "a" / "adapter.json").write_text(meta.model_dump_json().replace('"plm"', '"os.system"'))
    check_refused(put(client, "a", "a"), 422)
    (root / "a" / "adapter.json").write_text("{}")
    check_refused(put(client, "a", "a"), 422, "damaged")
    assert client.get("/adapters").json()["adapters"] == []
