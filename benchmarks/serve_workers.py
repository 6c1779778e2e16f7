"""Requests per second of `samtailor serve` with one and with several workers, and the memory of a worker.

Both services run on the same machine and are measured in turn: each round sends the same number of images that no
service has seen, with one click each, and then clicks on known images, from several clients at once. Threads are those
that the services choose themselves: a single worker uses all cores, several share them.

On a machine with other work the ratio of requests per second says little: several processes get a larger part of the
cores than one. The row then names the load. The processor time of a request is that of all threads of the service.

    python benchmarks/serve_workers.py [--workers 2] [--rounds 5] [--images 16] [--clicks 100] [--clients 4]
"""

from __future__ import annotations

import io
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil
from PIL import Image

import bench
from samtailor.bases import load_base

BUSY = 0.5
"""Load average of a machine with other work."""
CLICK = {"prompts": [{"points": [[320, 240]]}]}


def main() -> None:
    options = _options()
    rates: dict[str, list[list[float]]] = {"images": [], "clicks": []}
    busy: dict[str, list[list[float]]] = {"images": [], "clicks": []}
    load = os.getloadavg()[0]
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        services = [stack.enter_context(_service(workers, place)) for workers in (1, options.workers)]
        _send(services[0][0], 0), _send(services[1][0], 1)  # warm
        seed = 2
        for turn in range(options.rounds):
            for kept in (rates, busy):
                for what in kept:
                    kept[what].append([0.0, 0.0])
            for one in (0, 1) if turn % 2 == 0 else (1, 0):
                (address, process), seeds = services[one], range(seed, seed + options.images)
                ids: list[str] = []

                def image(k: int, address=address, seeds=seeds, ids=ids) -> None:
                    ids.append(_send(address, seeds[k]))

                def click(k: int, address=address, ids=ids) -> None:
                    _click(address, ids[k % len(ids)])

                for what, job, count in (("images", image, options.images), ("clicks", click, options.clicks)):
                    before = _processor(process)
                    rates[what][-1][one] = _rate(options, job, count)
                    busy[what][-1][one] = (_processor(process) - before) / count
                seed += options.images
        memory = [statistics.mean(_memory(process)) for _, process in services]
    for what, pairs in rates.items():
        print(what, " ".join(f"{one:.1f} {several:.1f} per s;" for one, several in pairs))
    ratios = {what: statistics.median(several / one for one, several in pairs) for what, pairs in rates.items()}
    print(f"ratios {ratios}, MiB of a worker {memory}")
    work = {what: statistics.median(several / one for one, several in pairs) for what, pairs in busy.items()}
    print(f"processor time of a request: ratios {work}; load {load:.1f}")
    times = f"{options.workers} workers against one, {options.clients} clients; bundled base, {os.cpu_count()} cores"
    if load > BUSY:
        times += f", which other programs used too (load {load:.0f})"
    rows = {
        "images": (
            f"`serve`, new images with a click, {times}",
            round(ratios["images"], 3),
            "times as many per second",
        ),
        "images-work": ("The same, processor time of an image", round(work["images"], 3), "times as much"),
        "clicks": (f"`serve`, clicks on known images, {times}", round(ratios["clicks"], 3), "times as many per second"),
        "clicks-work": ("The same, processor time of a click", round(work["clicks"], 3), "times as much"),
        "memory-one": ("`serve`, memory of the only worker", round(memory[0]), "MiB"),
        "memory-several": (f"`serve`, memory of each of {options.workers} workers", round(memory[1]), "MiB"),
    }
    bench.record("serve-workers", "Several workers of a service", rows, load_base(), options.results, digits=2)


@contextmanager
def _service(workers: int, place: Path):
    """Address of a service and its process; it is stopped at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"SAMTAILOR_CACHE": str(place / f"cache{workers}")}
    environment.pop("OMP_NUM_THREADS", None)
    command = [sys.executable, "-m", "samtailor", "serve", f"--workers={workers}", f"--port={port}", "--queue=1000"]
    if workers == 1:  # several workers round embeddings to half precision and write them to the disk
        command += ["--cache", str(place / "embeddings1")]
    process, address = subprocess.Popen(command, env=environment), f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            if process.poll() is not None:
                sys.exit("The service did not start.")
            try:
                if httpx.get(f"{address}/ready").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.5)
        if workers > 1:
            while f"samtailor_workers {workers}.0" not in httpx.get(f"{address}/metrics").text:
                time.sleep(0.5)
        yield address, process
    finally:
        process.terminate()
        process.wait()


def _rate(options, job: Callable[[int], object], count: int) -> float:
    start = time.perf_counter()
    with ThreadPoolExecutor(options.clients) as pool:
        list(pool.map(job, range(count)))
    return count / (time.perf_counter() - start)


def _send(address: str, seed: int) -> str:
    """Segment a new image; its id. Each request has its own connection, so that every worker gets some."""
    stream = io.BytesIO()
    small = np.random.default_rng(seed).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(small).resize((640, 480), Image.Resampling.BICUBIC).save(stream, "JPEG")
    answer = httpx.post(
        f"{address}/segment", files={"image": stream.getvalue()}, data={"question": json.dumps(CLICK)}, timeout=300
    )
    return answer.raise_for_status().json()["embedding"]["id"]


def _click(address: str, id: str) -> None:
    httpx.post(f"{address}/segment", json={"embedding": id, **CLICK}, timeout=300).raise_for_status()


def _processor(process: subprocess.Popen) -> float:
    """Processor seconds of a service so far."""
    parent = psutil.Process(process.pid)
    times = [one.cpu_times() for one in (parent, *parent.children())]
    return sum(one.user + one.system for one in times)


def _memory(process: subprocess.Popen) -> list[float]:
    """MiB of each worker; pages that several processes map are divided among them."""
    parent = psutil.Process(process.pid)
    workers = [one for one in parent.children() if "spawn_main" in " ".join(one.cmdline())] or [parent]
    return [one.memory_full_info().pss / 2**20 for one in workers]


def _options():
    parser = bench.parser(__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=16, help="of a round")
    parser.add_argument("--clicks", type=int, default=100, help="of a round")
    parser.add_argument("--clients", type=int, default=4)
    return parser.parse_args()


if __name__ == "__main__":
    main()
