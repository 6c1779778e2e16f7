"""A server of `samtailor ui` and a browser page before it, for tools. Needs Playwright and Chromium."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

SIZE = {"width": 1280, "height": 800}


@contextmanager
def workbench_page(arguments: Sequence[str], log: IO[bytes] | None = None) -> Iterator[tuple[Any, str]]:
    """Start a server on a free port and open a browser; both end with the block.

    Args:
        arguments: of `samtailor ui`, without port and browser.
        log: open file for the output of the server; None: that of this process.

    Yields:
        the page of Playwright, which shows nothing yet, and the address of the server.
    """
    from playwright.sync_api import sync_playwright

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/"
    command = [sys.executable, "-m", "samtailor", "ui", *arguments, "--no-browser", "--port", str(port)]
    with sync_playwright() as play:
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _await(server, url)
            executable = shutil.which("chromium") or shutil.which("google-chrome") or play.chromium.executable_path
            browser = play.chromium.launch(executable_path=executable, args=["--no-sandbox"])
            yield browser.new_context(viewport=SIZE, accept_downloads=True).new_page(), url
            browser.close()
        finally:
            server.terminate()
            server.wait()


def _await(server: subprocess.Popen, url: str) -> None:
    while server.poll() is None:
        try:
            urllib.request.urlopen(f"{url}api/project", timeout=30).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise SystemExit("The server did not start; its output says why.")


__all__ = ["SIZE", "workbench_page"]
