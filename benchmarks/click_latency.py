"""Latency of a click in the workbench: POST segment over HTTP, all candidates and the zoomed mask, image encoded.

python benchmarks/click_latency.py [--base lite] [--clicks 200] [--size 480x640] [--fit]

The server is `samtailor ui` in a separate process, on synthetic banners. With --fit, four images are accepted and the
clicks are repeated while a fit trains.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import bench
from samtailor.bases import load_base
from samtailor.data.synth.samples import samples
from samtailor.masks.rle import to_json
from samtailor.workbench.start import draw


def main() -> None:
    parser = bench.parser(__doc__)
    parser.add_argument("--base", default="lite")
    parser.add_argument("--clicks", type=int, default=200)
    parser.add_argument("--size", default="480x640", help="height x width of the images, pixels")
    parser.add_argument("--fit", action="store_true", help="measure also while a fit runs")
    options = parser.parse_args()
    size = tuple(int(side) for side in options.size.split("x"))
    with tempfile.TemporaryDirectory() as home:
        folder = draw(Path(home) / "images", 4, size)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "samtailor", "ui", str(folder), "--base", options.base, "--classes", "banner",
                   "--port", str(port), "--no-browser"]  # fmt: skip
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            rows = measure(Page(port), size, options)
        finally:
            server.terminate()
            server.wait()
    base = load_base(options.base)
    bench.record("click-latency", "Latency of a click in the workbench", rows, base, options.results, digits=0)


def measure(page: Page, size: tuple[int, int], options: argparse.Namespace) -> dict[str, bench.Row]:
    rows: dict[str, bench.Row] = {}
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, images {options.size}, base {options.base}")
    ids = [row["id"] for row in page.request("GET", "/api/images")]
    start = time.perf_counter()
    page.request("POST", f"/api/images/{ids[0]}/encode")
    print(f"first encode                {1000 * (time.perf_counter() - start):7.1f} ms")
    clicks(page, ids[0], size, 10)
    what = (
        f"Click in the workbench over HTTP, all candidates and the zoomed mask; base {options.base}, {options.size} px"
    )
    rows |= summarize("", f"{what}, {os.cpu_count()} cores", clicks(page, ids[0], size, options.clicks))
    if options.fit:
        truth = samples(4, 0, kind="banners", size=size)
        for id, sample in zip(ids, truth, strict=True):
            masks = enumerate(to_json(annotation.rle) for annotation in sample.annotations)
            objects = [{"id": str(i), "class": "banner", "rle": rle} for i, rle in masks]
            body = {"revision": 0, "state": "accepted", "objects": objects}
            page.request("PUT", f"/api/images/{id}/annotations", body)
        page.request("POST", "/api/jobs/fit", {"steps": 100_000, "proposals": False})
        while (job := page.request("GET", "/api/jobs/current"))["stage"] != "fit" and job["state"] == "running":
            time.sleep(0.2)
        rows |= summarize("fit-", "The same while a fit runs", clicks(page, ids[0], size, options.clicks))
        print(f"speed of the fit: {page.request('GET', '/api/jobs/current')['images_per_second']:.1f} masks/s")
    return rows


def clicks(page: Page, id: str, size: tuple[int, int], count: int) -> list[float]:
    """Latency in milliseconds of `count` clicks at random places, 50 ms apart."""
    rng, milliseconds = np.random.default_rng(0), []
    for _ in range(count):
        x, y = rng.uniform(0, size[1] - 1), rng.uniform(0, size[0] - 1)
        start = time.perf_counter()
        prompt = {"adapter": None, "points": [[x, y]], "labels": [1], "zoom": False}  # as the page sends it
        page.request("POST", f"/api/images/{id}/segment", prompt)
        milliseconds.append(1000 * (time.perf_counter() - start))
        time.sleep(0.05)
    return milliseconds


def summarize(key: str, what: str, milliseconds: list[float]) -> dict[str, bench.Row]:
    middle, worst = statistics.median(milliseconds), statistics.quantiles(milliseconds, n=20)[-1]
    print(f"{what}: {middle:.1f} ms median, {worst:.1f} ms 95th percentile, {len(milliseconds)} clicks")
    rows = {f"{key}median": (f"{what}, median", round(middle, 1), "ms")}
    return rows | {f"{key}p95": ("The same, 95th percentile", round(worst, 1), "ms")}


class Page:
    """A client with one connection, like a browser."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        for _ in range(600):
            try:
                self.request("GET", "/api/project")
                return
            except ConnectionError:
                self._connection.close()
                time.sleep(0.2)
        raise SystemExit("The server did not start.")

    def request(self, method: str, path: str, body: object = None) -> object:
        headers = {} if body is None else {"content-type": "application/json"}
        self._connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = self._connection.getresponse()
        data = response.read()
        if response.status >= 400:
            raise SystemExit(f"{method} {path}: {response.status} {data.decode()}")
        return json.loads(data) if data else None


if __name__ == "__main__":
    main()
