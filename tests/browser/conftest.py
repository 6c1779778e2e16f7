"""Chromium, a running `samtailor ui`, and synthetic images with known masks."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import hand
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests in this folder are slow: they start a browser and a server."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def chromium() -> Iterator:
    """Chromium of the system, or the one that `playwright install chromium` installed."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[dev]'")
    with sync_api.sync_playwright() as play:
        executable = next(filter(None, map(shutil.which, NAMES)), None) or play.chromium.executable_path
        if not Path(executable).exists():
            pytest.skip("Chromium is not installed: install it, or run `playwright install chromium`.")
        browser = play.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium) -> Iterator:
    """A page of 1280x800 px. Script errors and violations of the Content-Security-Policy fail the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    context.set_default_timeout(120_000)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console", lambda message: errors.append(message.text) if "Content Security Policy" in message.text else None
    )
    yield page
    context.close()
    assert not errors


class Workbench:
    """A running `samtailor ui` that can be killed and started again on the same port."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.arguments = folder, arguments
        self.url = f"http://127.0.0.1:{self.port}/"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start the server, and wait until it responds."""
        command = [sys.executable, "-m", "samtailor", "ui", str(self.folder), "--no-browser", "--port", str(self.port)]
        with (self.folder.parent / "log").open("ab") as log:
            self.process = subprocess.Popen([*command, *self.arguments], stdout=log, stderr=log, env=os.environ)
        while self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}api/project", timeout=30).close()
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.3)
        pytest.fail((self.folder.parent / "log").read_text())

    def kill(self) -> None:
        """Kill the server without a chance to save."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def draw(samples, folder: Path) -> Path:
    """Write the images of samples to a folder."""
    from PIL import Image

    folder.mkdir(exist_ok=True)
    for sample in samples:
        Image.fromarray(sample.image).save(folder / f"{sample.id}.png")
    return folder


@pytest.fixture
def workbench(tmp_path) -> Iterator[Callable[..., Workbench]]:
    """Start a workbench for one test: ``workbench(samples, "--classes", "banner")``."""
    started: list[Workbench] = []

    def start(samples, *arguments: str) -> Workbench:
        started.append(Workbench(draw(samples, tmp_path / "images"), *arguments))
        started[-1].start()
        return started[-1]

    yield start
    for instance in started:
        instance.kill()


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Iterator[tuple[Workbench, Iterator]]:
    """One workbench for all tests that do not kill it, and its images: each test takes the next one."""
    from samtailor.data.synth.samples import samples

    scenes = list(samples(24, 5, kind="banners", size=(240, 320)))
    folder = draw(scenes, tmp_path_factory.mktemp("shared") / "images")
    server = Workbench(folder, "--classes", "banner,plate")
    server.start()
    yield server, iter(scenes)
    server.kill()


@pytest.fixture
def place(shared, page):
    """The shared workbench, opened at an image that no other test uses."""
    server, scenes = shared
    sample = next(scenes)
    hand.go(page, server, sample)
    return server, sample
