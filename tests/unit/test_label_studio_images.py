"""Allowed and forbidden addresses of images."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from samtailor.errors import DataError, InputError
from samtailor.serve.annotators.fetch import ImageFetcher
from samtailor.serve.refusals import NotAllowed, TooLarge
from studio import open_backend


@pytest.fixture
def backend(tiny_sam2, tmp_path):
    return open_backend(tiny_sam2, tmp_path)


@pytest.mark.parametrize(
    "address",
    ["http://evil.example/x.png", "//evil.example/x.png", "file:///etc/passwd", "/etc/passwd", "../secret.png",
     "/data/local-files/?d=../secret.png", "/data/local-files/?d=/etc/passwd", "link.png", "data:image/png;base64,AA",
     "s3://bucket/x.png", "p0.png\0", "ftp://localhost/x"],
)  # fmt: skip
def test_images_from_other_places_are_rejected(backend, tmp_path, address):
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "files" / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(NotAllowed):
        backend._images.get(address)


class Studio(BaseHTTPRequestHandler):
    """A minimal Label Studio."""

    requests: list = []  # noqa: RUF012

    def do_GET(self):
        self.requests.append((self.path, self.headers.get("Authorization")))
        if self.path.startswith("/away"):
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/secret")
            self.end_headers()
            return
        self.send_response(200 if self.path.startswith("/data/upload/") else 404)
        self.end_headers()
        self.wfile.write(b"x" * 50)

    def do_POST(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"access": "short-lived"}')

    def log_message(self, *args):
        pass


@pytest.fixture
def studio():
    server = HTTPServer(("127.0.0.1", 0), Studio)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Studio.requests = []
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_images_are_fetched_from_the_given_label_studio(studio):
    images = ImageFetcher(studio, "secret", None)
    assert images.get("/data/upload/1/a b.png") == b"x" * 50
    assert images.get(f"{studio}/data/upload/1/c.png") == b"x" * 50
    assert Studio.requests == [("/data/upload/1/a%20b.png", "Token secret"), ("/data/upload/1/c.png", "Token secret")]
    ImageFetcher(studio, "aa.bb.cc", None).get("/data/upload/1/d.png")
    assert Studio.requests[-1] == ("/data/upload/1/d.png", "Bearer short-lived")
    with pytest.raises(TooLarge):
        ImageFetcher(studio, None, None, max_bytes=49).get("/data/upload/1/a.png")
    with pytest.raises(DataError, match="Redirects are not followed"):
        images.get("/away")
    with pytest.raises(DataError, match="404"):
        images.get("/nowhere.png")
    elsewhere = (
        studio.replace("127.0.0.1", "localhost"),
        studio.replace("//", "//me@"),
        studio.replace("http", "https"),
    )
    requests = len(Studio.requests)
    for address in elsewhere:
        with pytest.raises(NotAllowed):
            images.get(f"{address}/data/upload/1/a.png")
    assert len(Studio.requests) == requests


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "http://", "http://me:pw@x", "http://x?y=1"])
def test_invalid_addresses_raise(url):
    with pytest.raises(InputError, match="address of Label Studio"):
        ImageFetcher(url, None, None)
