"""Connections that send nothing, send slowly or do not read are ended, and do not use up what others need."""

from __future__ import annotations

import socket
import threading
import time

import pytest
import uvicorn
from fastapi.testclient import TestClient
from test_serve_door import HERE, image_file

from samtailor.serve import connections, guard
from samtailor.serve.app import build
from samtailor.serve.engine import Engine
from samtailor.serve.guard import Guard
from samtailor.serve.limits import Limits

LARGE = 64_000_000  # more than the kernel buffers of two sockets
WAIT = 20.0  # seconds until a test gives up; nothing is compared with it


async def app(scope, receive, send):
    """Read the body, then answer with LARGE bytes for /large, else with 2 bytes."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"].endswith("shutdown"):
                return
    while (await receive()).get("more_body"):
        pass
    body = b"x" * LARGE if scope["path"] == "/large" else b"ok"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(params=["h11", "httptools"])
def server(request, monkeypatch):
    """A server whose patience is half a second; every HTTP implementation of uvicorn that is installed."""
    pytest.importorskip(request.param)
    monkeypatch.setattr(connections, "SECONDS", 0.5)
    monkeypatch.setattr(connections, "WAITING", 4)
    monkeypatch.setattr(guard, "_GRACE", 0.1)
    protocol = {
        "h11": "uvicorn.protocols.http.h11_impl.H11Protocol",
        "httptools": "uvicorn.protocols.http.httptools_impl.HttpToolsProtocol",
    }[request.param]
    limits = Limits(requests=2, seconds=1, rate=1000)
    config = uvicorn.Config(Guard(app, limits=limits), host="127.0.0.1", port=0, log_config=None, ws="none",
                            http=connections.patient_protocol(protocol), timeout_keep_alive=1)  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + WAIT
    while not server.started and time.monotonic() < end:
        time.sleep(0.01)
    yield server
    server.should_exit = True
    thread.join(WAIT)


@pytest.fixture
def port(server) -> int:
    return server.servers[0].sockets[0].getsockname()[1]


def connected(port: int) -> socket.socket:
    one = socket.create_connection(("127.0.0.1", port), timeout=WAIT)
    one.settimeout(WAIT)
    return one


def rest(one: socket.socket) -> bytes:
    """What the server sends until it closes the connection. Times out if it does not."""
    data = bytearray()
    try:
        while part := one.recv(65536):
            data += part
    except ConnectionResetError:
        pass
    return bytes(data)


def test_a_complete_request_is_answered(port):
    with connected(port) as one:
        one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert rest(one).endswith(b"ok")


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nHost: local", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_unfinished_headers_are_not_awaited(port, start):
    with connected(port) as one:
        one.sendall(start)
        rest(one)


def test_dripping_headers_do_not_prolong_the_time(port):
    with connected(port) as one:
        one.sendall(b"GET / HTTP/1.1\r\nX: ")
        with pytest.raises(OSError):  # noqa: PT012
            for _ in range(200):
                one.sendall(b"a")
                time.sleep(0.1)


def test_a_dripping_body_ends(port):
    with connected(port) as one:
        one.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        answer = b""
        for _ in range(100):
            try:
                one.sendall(b"a")
                one.settimeout(0.1)
                answer += one.recv(1000)
                break
            except TimeoutError:
                continue
        assert b"408" in answer.split(b"\r\n")[0]


def test_slow_uploads_do_not_use_up_the_places(port):
    slow = [connected(port) for _ in range(2)]
    for one in slow:
        one.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\na")
    time.sleep(0.4)
    with connected(port) as one:
        one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert rest(one).startswith(b"HTTP/1.1 200")
    for one in slow:
        one.close()


def test_requests_without_a_body_are_no_uploads():
    """A stream of events, for example, is not ended to make room."""
    import asyncio

    async def endless(scope, receive, send):
        await asyncio.Event().wait()

    async def requests() -> list[int]:
        one = Guard(endless, limits=Limits(requests=1, rate=1000))
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"localhost")]}
        stream = asyncio.ensure_future(one(scope, asyncio.Event().wait, None))
        await asyncio.sleep(0)
        guard_uploads, statuses = len(one._uploads), []

        async def send(message):
            statuses.append(message.get("status"))

        await one(scope, asyncio.Event().wait, send)
        stream.cancel()
        return [guard_uploads, statuses[0]]

    assert asyncio.run(requests()) == [0, 503]


def test_waiting_connections_do_not_use_up_the_sockets(port):
    waiting = [connected(port) for _ in range(5)]
    assert rest(waiting[0]) == b""  # the oldest is closed for the fifth
    for one in waiting:
        one.close()


def test_a_response_that_nobody_reads_is_ended(server, port):
    with connected(port) as one:
        one.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        one.recv(1)
        end = time.monotonic() + WAIT
        while server.server_state.connections and time.monotonic() < end:
            time.sleep(0.01)
        assert len(rest(one)) < LARGE - 1


def test_work_on_a_request_is_limited(tiny_sam2, monkeypatch):
    engine = Engine(tiny_sam2, limits=Limits(work_seconds=1))
    now = iter(range(0, 100_000, 2))
    monkeypatch.setattr("samtailor.serve.predictions.time.monotonic", lambda: next(now))
    with TestClient(build(engine), base_url=HERE) as client:
        id = client.post("/embeddings", content=image_file()).json()["id"]
        prompts = [{"points": [[5, 5]]}] * 4
        response = client.post("/segment", json={"embedding": id, "prompts": prompts})
    assert response.status_code == 503
    assert "fewer prompts" in response.json()["error"]


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "http://a]b", "http://\x00", "://", "null", "x" * 5000])
def test_malformed_origins_are_refused(tiny_sam2, origin):
    with TestClient(build(Engine(tiny_sam2)), base_url=HERE, raise_server_exceptions=False) as client:
        assert client.get("/adapters", headers={"origin": origin.encode("latin-1")}).status_code == 403


def test_malformed_lengths_are_refused(tiny_sam2):
    with TestClient(build(Engine(tiny_sam2)), base_url=HERE, raise_server_exceptions=False) as client:
        for length in ("9" * 5000, "-1", "x", "1e3"):
            assert client.post("/segment", content=b"{}", headers={"content-length": length}).status_code == 413
