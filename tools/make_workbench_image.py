"""Write docs/assets/workbench.png: the page of `samtailor ui` with the photographs of the demo and their masks.

    python tools/make_workbench_image.py

The masks are imported, which also shows the import. Needs Playwright and Chromium.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from samtailor.data import coffee_leaves

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "assets" / "workbench.png"
SIZE = {"width": 1280, "height": 800}


def main() -> None:
    """Start a server on a temporary copy of the photographs, and take the picture."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as play:
        data = coffee_leaves.write(Path(name) / "leaves")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "samtailor", "ui", "--import", str(data), "--no-browser", "--port", str(port)]
        server = subprocess.Popen(command)
        try:
            url = f"http://127.0.0.1:{port}/"
            _await(server, url)
            executable = shutil.which("chromium") or shutil.which("google-chrome") or play.chromium.executable_path
            browser = play.chromium.launch(executable_path=executable, args=["--no-sandbox"])
            page = browser.new_page(viewport=SIZE)
            page.set_default_timeout(120_000)
            page.goto(url)
            page.locator("#stage[data-ready=true]").wait_for()
            page.locator(".object .pick").first.click()
            page.wait_for_function("() => [...document.querySelectorAll('.thumb img')].every(one => one.complete)")
            page.wait_for_timeout(500)
            page.screenshot(path=PICTURE)
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
    raise SystemExit("The server did not start.")


if __name__ == "__main__":
    main()
