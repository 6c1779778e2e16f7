"""The backend against a real Label Studio from PyPI: it accepts the backend, sends a click, gets a mask."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.request

import numpy as np
import pytest
from PIL import Image
from test_label_studio import BRUSH, keypoint

from samtailor.annotators import brush
from samtailor.annotators.backend import Backend
from samtailor.annotators.collection import Collection
from samtailor.annotators.fetch import Pictures
from samtailor.annotators.label_studio import build
from samtailor.annotators.training import Training
from samtailor.serve.engine import Engine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("label-studio") is None, reason="label-studio is not installed (pip install it)"),
]
TOKEN = "0123456789abcdef0123456789abcdef01234567"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def studio(tmp_path):
    """Address of a Label Studio with one user."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    env = os.environ | {"LABEL_STUDIO_BASE_DATA_DIR": str(tmp_path / "studio"), "COLLECT_ANALYTICS": "False",
                        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "True", "SSRF_PROTECTION_ENABLED": "False"}  # fmt: skip
    command = ["label-studio", "start", "--no-browser", "--port", str(port), "--username", "a@example.org",
               "--password", "a-long-password", "--user-token", TOKEN]  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        while not answers(url + "/health"):
            assert process.poll() is None, (tmp_path / "log").read_text()[-2000:]
            time.sleep(1)
        yield url
    finally:
        process.terminate()
        process.wait()


def answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url).status == 200
    except OSError:
        return False


def call(url: str, body: dict | bytes | None = None, kind: str = "application/json"):
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    headers = {"Authorization": f"Token {TOKEN}", "Content-Type": kind}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers)) as answer:
        return json.load(answer)


def test_a_real_label_studio_gets_a_mask_for_a_click(studio, tiny_sam2, tmp_path):
    import uvicorn

    engine = Engine(tiny_sam2)
    training = Training(tmp_path / "fits", tmp_path / "data", "nano", done=print)
    backend = Backend(engine, Pictures(studio, TOKEN, None), Collection(tmp_path / "project"), training)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(build(backend), port=port, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not answers(f"http://127.0.0.1:{port}/health"):
            time.sleep(0.1)
        project = call(f"{studio}/api/projects", {"title": "signs", "label_config": BRUSH})["id"]
        ml = call(f"{studio}/api/ml", {"project": project, "url": f"http://127.0.0.1:{port}", "is_interactive": True})
        stream = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8)).save(stream, "PNG")
        form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n'
        form += b"Content-Type: image/png\r\n\r\n" + stream.getvalue() + b"\r\n--x--\r\n"
        call(f"{studio}/api/projects/{project}/import", form, "multipart/form-data; boundary=x")
        task = call(f"{studio}/api/tasks?project={project}")["tasks"][0]["id"]
        asked = {"task": task, "context": {"result": [keypoint(40, 45)]}}
        found = call(f"{studio}/api/ml/{ml['id']}/interactive-annotating", asked)["data"]
        value = found["result"][0]["value"]
        assert brush.decode(value["rle"], 48, 80).any()
    finally:
        server.should_exit = True
        thread.join()
