"""`serve --workers`: one service of several processes, run as a user would."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import yaml
from PIL import Image

pytestmark = pytest.mark.slow
PROMPT = {"points": [[30, 20]]}
SECONDS = 400
CONTAINER = Path(__file__).parents[2] / "examples" / "kubernetes" / "serve.yaml"


def png(index: int) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(index).integers(0, 255, (48, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def until(condition, what: str):
    """Wait for a condition; its value."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(httpx.TransportError):
            if value := condition():
                return value
        time.sleep(0.1)
    raise AssertionError(f"no {what} within {SECONDS} s")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def workers_of(process: subprocess.Popen) -> list[psutil.Process]:
    workers = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # ended meanwhile
                workers += [child] if "spawn_main" in " ".join(child.cmdline()) else []
    return workers


@pytest.fixture
def start(base_folder, tmp_path):
    """Start `serve` with arguments; the process and its address. Its messages are in tmp_path/messages."""
    started: list[subprocess.Popen] = []

    def call(*arguments: object, **environment: str):
        port = free_port()
        command = [sys.executable, "-m", "samtailor", "serve", "--base", base_folder, "--port", port, *arguments]
        variables = os.environ | {"SAMTAILOR_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"} | environment
        with (tmp_path / "messages").open("a") as messages:
            process = subprocess.Popen([*map(str, command)], env=variables, stderr=messages)
        started.append(process)
        return process, f"http://127.0.0.1:{port}"

    yield call
    for process in started:
        for child in workers_of(process) if process.poll() is None else []:
            child.kill()
        process.kill()
        process.wait()


def test_two_workers_are_one_service(start, adapter_folder, tmp_path):
    root = tmp_path / "adapters"
    shutil.copytree(adapter_folder, root / "disc")
    process, address = start("--workers", 2, "--adapters-root", root)
    until(lambda: "samtailor_workers 2.0" in httpx.get(f"{address}/metrics").text, "second worker")

    ids = [httpx.post(f"{address}/embeddings", content=png(index)).json()["id"] for index in range(6)]
    assert httpx.put(f"{address}/adapters/disc", json={"folder": "disc"}).status_code == 201

    def ask(index: int) -> list:
        question = {"embedding": ids[index % 6], "prompts": [PROMPT], "adapter": "disc"}
        answer = httpx.post(f"{address}/segment", json=question, timeout=SECONDS)
        assert answer.status_code == 200, answer.text
        return answer.json()["masks"]

    with ThreadPoolExecutor(4) as pool:
        masks = list(pool.map(ask, range(36)))
    assert all(masks[index] == masks[index % 6] for index in range(36))

    def counted() -> bool:
        return 'samtailor_requests_total{method="POST",route="/segment",status="200"} 36.0' in metrics()

    def metrics() -> str:
        return httpx.get(f"{address}/metrics").text

    until(counted, "sum of the requests")
    workers_of(process)[0].send_signal(signal.SIGKILL)
    until(lambda: "samtailor_workers 1.0" in metrics(), "loss of a worker")
    until(lambda: "samtailor_workers 2.0" in metrics(), "new worker")
    assert counted(), "counters of a worker that has ended stay"
    assert "samtailor_adapters 1.0" in metrics()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(12))) == masks[:6] * 2
    assert "was ended by SIGKILL. It is replaced" in (tmp_path / "messages").read_text()

    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS) == -signal.SIGTERM
    assert not list((tmp_path / "cache" / "serve").iterdir()), "images of clients are removed"


def test_ctrl_c_stops_all(start):
    process, address = start("--workers", 2)
    until(lambda: httpx.get(f"{address}/ready").status_code == 200, "answer")
    children = workers_of(process)
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == 130
    assert not psutil.wait_procs(children, timeout=SECONDS)[1]


def test_workers_end_with_their_parent(start):
    process, address = start("--workers", 2)
    until(lambda: httpx.get(f"{address}/ready").status_code == 200, "answer")
    children = until(lambda: len(workers_of(process)) == 2 and workers_of(process), "two workers")
    process.kill()
    process.wait()
    assert not psutil.wait_procs(children, timeout=SECONDS)[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--adapter", "a=nowhere"), "nowhere"),
        (("--device", "cuda:99"), "cuda:99"),
        (("--adapters-root", "nowhere"), "no folder nowhere"),
    ],
)
def test_what_a_worker_cannot_load_ends_the_command_in_words(start, tmp_path, arguments, words):
    process, _ = start("--workers", 2, *arguments)
    assert process.wait(SECONDS) == 2
    said = (tmp_path / "messages").read_text()
    assert words in " ".join(said.split())
    assert "Traceback" not in said


def test_workers_that_end_again_and_again_stop_the_service(start, tmp_path):
    process, _ = start("--workers", 2)
    until(lambda: "Serving" in (tmp_path / "messages").read_text(), "service")
    end = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < end:
        for worker in workers_of(process):
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
        time.sleep(0.2)
    assert process.wait(SECONDS) == 2
    assert "6 workers ended within 60 s" in " ".join((tmp_path / "messages").read_text().split())


def test_the_command_of_the_pod_answers_its_probes(start, adapter_folder, tmp_path):
    """As kubelet and Prometheus ask: by the address of the pod, with the token for metrics only."""
    deployment = next(one for one in yaml.safe_load_all(CONTAINER.read_text("utf-8")) if one["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    given = [word for word in container["args"][1:] if not word.startswith(("--port", "--host"))]
    (tmp_path / "data").mkdir()
    shutil.copytree(adapter_folder, tmp_path / "data" / "adapters" / "disc")
    words = [word.replace("=/data/", f"={tmp_path}/data/") for word in given]
    token = {"authorization": "Bearer a-long-token"}
    pods = [start(*words, SAMTAILOR_TOKEN="a-long-token") for _ in range(2)]
    for _, address in pods:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            path = container[probe]["httpGet"]["path"]
            until(lambda a=address, p=path: httpx.get(a + p).status_code == 200, probe)
        assert httpx.get(f"{address}/metrics").status_code == 401
        assert "samtailor_workers" in httpx.get(f"{address}/metrics", headers=token).text
        host = {"host": "samtailor"}  # the name of the Service
        assert httpx.get(f"{address}/adapters", headers={**token, **host}).status_code == 200
    one, other = (address for _, address in pods)
    assert httpx.put(f"{one}/adapters/disc", json={"folder": "disc"}, headers=token).status_code == 201
    id = httpx.post(f"{one}/embeddings", content=png(0), headers=token, timeout=SECONDS).json()["id"]
    question = {"embedding": id, "prompts": [PROMPT], "adapter": "disc"}
    answers = [httpx.post(f"{a}/segment", json=question, headers=token, timeout=SECONDS) for a in (one, other)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
