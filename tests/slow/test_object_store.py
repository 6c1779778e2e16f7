"""`batch` and the embedding cache over object stores: local servers of the S3 and Google Cloud Storage protocols.

They are not dependencies: `pip install '.[store]'`, and into an environment of their own `pip install 'moto[server]'
gcp-storage-emulator`; name the executables in SAMTAILOR_MOTO_SERVER and SAMTAILOR_GCS_EMULATOR (or have them in PATH).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from samtailor.cache.store import open_address

pytestmark = pytest.mark.slow
IMAGES = 24
SECONDS = 300


def _server(name: str, variable: str, module: str, arguments: list[str]) -> tuple[subprocess.Popen[bytes], int]:
    executable = os.environ.get(variable) or shutil.which(name)
    if executable is None or importlib.util.find_spec(module) is None:
        pytest.skip(f"no {name} or no {module}: see the head of this file")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([executable, *(a.format(port=port) for a in arguments)], stdout=quiet, stderr=quiet)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return process, port
        time.sleep(0.2)
    process.kill()
    raise AssertionError(f"{name} does not listen")


@pytest.fixture(params=["s3", "gs"], scope="module")
def store(request) -> Iterator[str]:
    """Address of an empty bucket of a running store."""
    if request.param == "s3":
        process, port = _server("moto_server", "SAMTAILOR_MOTO_SERVER", "s3fs", ["-p", "{port}"])
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        environment = dict.fromkeys(names, "test") | {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_DEFAULT_REGION": "us-east-1",
        }  # fmt: skip
    else:
        arguments = ["start", "--port", "{port}", "--in-memory", "--default-bucket=bucket"]
        process, port = _server("gcp-storage-emulator", "SAMTAILOR_GCS_EMULATOR", "gcsfs", arguments)
        environment = {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}"}
    address = f"{request.param}://bucket"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        if request.param == "s3":
            open_address(address)[0].mkdir("bucket")
        yield address
    process.kill()
    process.wait()


@pytest.fixture
def uploaded(store, tmp_path) -> str:
    files = open_address(store)[0]
    for index in range(IMAGES):
        file = tmp_path / f"{index}.png"
        Image.fromarray(np.random.default_rng(index).integers(0, 255, (48, 64, 3), np.uint8)).save(file)
        files.put(str(file), f"bucket/photos/{index}.png")
    return store


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "samtailor", *(str(word) for word in words)]


def run(*words: str | Path) -> str:
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_images_are_read_from_a_store_and_results_written_to_it_once_though_the_command_is_killed(uploaded):
    out = f"{uploaded}/vectors"
    words = ("batch", "embed", f"{uploaded}/photos", "--out", out, "--engine", "processes", "--block", "4")
    first = subprocess.Popen(command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and first.poll() is None:
        files = open_address(out)[0]
        files.invalidate_cache()
        if files.exists("bucket/vectors/commits") and files.find("bucket/vectors/commits"):
            break
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    run(*words)
    run("verify", out)
    files = open_address(out)[0]
    files.invalidate_cache()
    images = [
        name
        for file in files.find("bucket/vectors/images")
        for name in pq.read_table(f"{file}", filesystem=files)["image"].to_pylist()
    ]
    assert sorted(images, key=int) == [str(index) for index in range(IMAGES)]
    vectors = sum(pq.read_table(f"{file}", filesystem=files).num_rows for file in files.find("bucket/vectors/vectors"))
    assert vectors == IMAGES


def test_embeddings_of_one_machine_are_used_by_another(store, tmp_path, monkeypatch):
    monkeypatch.setenv("SAMTAILOR_CACHE_STORE", f"{store}/embeddings")
    data = tmp_path / "data"
    run("synth", "banners", "--out", data, "--count", "6", "--size", "64x64")
    fit = ("fit", data, "--method", "plm", "--steps", "2", "--shots", "4", "--set", "views=2")
    for machine in ("one", "two"):
        monkeypatch.setenv("SAMTAILOR_CACHE", str(tmp_path / machine))
        run(*fit, "--out", tmp_path / f"adapter-{machine}")
        files = open_address(store)[0]
        files.invalidate_cache()
        known = {path: files.info(path)["size"] for path in files.find("bucket/embeddings")}
        if machine == "one":
            before = known
    assert before
    assert known == before
