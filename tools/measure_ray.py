"""Large runs on Ray: rates against plain label, and a run in which workers and the driver are killed.

    python tools/measure_ray.py WORK --images 10000

The images are drawn here; a few of them crash a worker, make it hang, are damaged or claim to be huge. During the run a
worker is killed every minute, if there was a result since the last one, and the driver twice, after which the same
command runs again. Needs samtailor[ray] and psutil; Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

import ray_tables
import results
from ray_processes import memory_of, processor_time, sizes, workers_of

BLOCK = 64
"""Images of a block; a worker on Ray returns its results a block at a time."""
SKIP = 2 * BLOCK
DRIVERS = 2
"""Drivers that are killed, at equal parts of the run."""
EVERY = 4.0
"""Seconds between two samples of the memory."""
WAYS: dict[str, dict[str, object]] = {
    "label": {"kind": "plain"},
    "processes-1": {"engine": "processes", "workers": 1},
    "processes-2": {"engine": "processes", "workers": 2},
    "ray-1": {"engine": "ray", "workers": 1},
    "ray-2": {"engine": "ray", "workers": 2},
}
POISON = ("crash-0", "crash_read-0", "hang-0", "error-0")
DAMAGED = ("damaged", "bomb")
SIDE = (96, 72)


def main() -> None:
    """Measure, and write results/ray.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder for images and results; deleted before")
    parser.add_argument("--images", type=int, default=10_000, help="of the run with kills; 0 leaves it out")
    parser.add_argument("--rate-images", type=int, default=512, help="of each measurement of a rate; 0 leaves them out")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each rate")
    parser.add_argument("--kill-every", type=float, default=60.0, help="seconds between two killed workers")
    results.add_option(parser, "ray")
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        drive(json.loads(options.drive.read_text()))
        return
    shutil.rmtree(options.work, ignore_errors=True)
    before = os.getloadavg()[0]
    if options.rate_images:
        if options.rate_images < 2 * SKIP:
            parser.error(f"--rate-images must be at least {2 * SKIP}, or 0")
        draw(options.work / "some", options.rate_images)
        measured = rates(options.work, options.rounds)
        ray_tables.save_rates(options.results, SIDE, measured, (before, os.getloadavg()[0]))
    if options.images:
        draw(options.work / "all", options.images, POISON, DAMAGED)
        run = disturbed(options.work, options.kill_every)
        print(json.dumps(run, indent=2), flush=True)
        ray_tables.save_run(options.results, SIDE, run, (before, os.getloadavg()[0]))


def draw(folder: Path, count: int, poison: tuple[str, ...] = (), damaged: tuple[str, ...] = ()) -> None:
    """Draw images of a few shapes, and the images that break workers."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in [f"image-{number:06d}" for number in range(count)] + list(poison):
        image = Image.new("RGB", SIDE, tuple(int(v) for v in rng.integers(0, 255, 3)))
        pen = ImageDraw.Draw(image)
        for _ in range(3):
            x, y, r = (int(v) for v in rng.integers(8, 60, 3))
            pen.ellipse((x - r // 2, y - r // 2, x + r // 2, y + r // 2), fill=tuple(map(int, rng.integers(0, 255, 3))))
        image.save(folder / f"{name}.png")
    for name in damaged:
        (folder / f"{name}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + (huge_header() if name == "bomb" else b"damaged"))


def huge_header() -> bytes:
    """The header of a PNG file of 60,000 x 60,000 pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


def rates(work: Path, rounds: int) -> dict[str, Any]:
    """Images per second of plain label, of Ray and of processes with one and two workers, in rounds that alternate.

    The first `SKIP` images are left out, because results arrive in blocks: until then each worker has returned one. The
    seconds until the first result are given apart.
    """
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    memory: list[dict[str, float]] = []
    for number in range(rounds):
        for name, way in WAYS.items():
            log, begun = work / f"{name}-{number}.log", time.time()
            out = work / f"rate-{name}-{number}"
            driver = start(work, {"images": str(work / "some"), "out": str(out), "log": str(log), **way})
            busy: list[tuple[int, float]] = []
            while driver.poll() is None:
                time.sleep(EVERY)
                busy.append(((read_log(log)[-1:] or [(0.0, 0)])[0][1], processor_time(driver.pid)))
                if name == "ray-2":
                    memory.append(sizes(driver.pid))
            if driver.returncode:
                raise SystemExit(f"{name} ended with {driver.returncode}.")
            seen[name].append({**rate(read_log(log), begun), "cpu": cpu_of(busy)})
            print(number, name, seen[name][-1], flush=True)
            shutil.rmtree(out)
    return {"rounds": seen, "images": len(list((work / "some").iterdir())), "skip": SKIP, **memory_of(memory)}


def rate(lines: list[tuple[float, int]], begun: float) -> dict[str, float]:
    """Rate without the first images, and seconds until the first result."""
    first = next(i for i, (_, done) in enumerate(lines) if done >= SKIP)
    (t0, n0), (t1, n1) = lines[first], lines[-1]
    return {"rate": (n1 - n0) / (t1 - t0), "start": lines[0][0] - begun, "whole": n1 / (t1 - begun)}


def cpu_of(samples: list[tuple[int, float]]) -> float:
    """Processor seconds of an image, from numbers of images done and processor times; without the first images.

    The times of processes that have ended are missing at the end, so the sample with the longest time is the last one.
    """
    used = [one for one in samples if one[0] >= SKIP and one[1] > 0]
    (n0, t0), (n1, t1) = used[0], max(used, key=lambda one: one[1])
    return (t1 - t0) / (n1 - n0)


def read_log(log: Path) -> list[tuple[float, int]]:
    """Times and numbers of images done; the last line of a killed driver may be cut off."""
    lines = log.read_text().rpartition("\n")[0].splitlines() if log.exists() else []
    return [(float(a), int(b)) for a, b in (line.split() for line in lines)]


def start(work: Path, options: dict[str, object]) -> subprocess.Popen[bytes]:
    """Start a driver in a process group of its own."""
    file = work / "drive.json"
    file.write_text(json.dumps(options))
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, str(work), "--drive", str(file)]
    return subprocess.Popen(command, env=environment, start_new_session=True)


def drive(options: dict[str, object]) -> None:
    """A driver: run the task and log its progress."""
    with open(str(options["log"]), "a", buffering=1) as log:

        def progress(done: int, total: int) -> None:
            log.write(f"{time.time():.3f} {done}\n")

        if options.get("kind") == "plain":
            import torch

            import samtailor

            torch.set_num_threads(os.cpu_count() or 1)
            samtailor.label(
                str(options["images"]), None, str(options["out"]), detector="full-frame", image_files="none",
                progress=progress,
            )  # fmt: skip
            return
        from samtailor.distributed.api import Machines, start
        from samtailor.distributed.engines.ray_data import Resources
        from samtailor.distributed.run import Sizes

        workers = int(str(options["workers"]))
        machines = Machines(str(options["engine"]), Resources(workers=(workers, workers), readers=1), timeout=40.0)
        start(
            "faulty_task", {"kind": "label", "adapters": {}, "detector": "full-frame"}, {}, [str(options["images"])],
            str(options["out"]), machines, {"sizes": Sizes(BLOCK, 8, 2), "progress": progress},
        )  # fmt: skip


def disturbed(work: Path, every: float) -> dict[str, Any]:
    """The run over all images with two workers, in which workers and `DRIVERS` drivers are killed.

    Args:
        work: folder.
        every: seconds between two killed workers.
    """
    log, begun = work / "disturbed.log", time.time()
    options = {"images": str(work / "all"), "out": str(work / "out"), "log": str(log), "engine": "ray", "workers": 2}
    total = len(list((work / "all").iterdir()))
    memory: list[dict[str, float]] = []
    kills: Counter[str] = Counter()
    driver, last, seen, runs = start(work, options), time.time(), 0, 1
    while True:
        time.sleep(EVERY)
        done = read_log(log)[-1:] or [(0.0, 0)]
        if driver.poll() is not None:
            if driver.returncode == 0:
                break
            if driver.returncode != -signal.SIGKILL or runs > 5:
                raise SystemExit(f"The driver ended with {driver.returncode}.")
            driver, runs = start(work, options), runs + 1
            continue
        memory.append(sizes(driver.pid))
        if kills["driver"] < DRIVERS and done[0][1] > (kills["driver"] + 1) * total / (DRIVERS + 1):
            os.kill(driver.pid, signal.SIGKILL)
            kills["driver"] += 1
        elif time.time() - last > every and done[0][1] > seen and (victims := workers_of(driver.pid)):
            last, seen = time.time(), done[0][1]  # on a busy machine a worker may need more than a minute to start
            victims[kills["worker"] % len(victims)].kill()
            kills["worker"] += 1
    return {**account(work, total), "kills": dict(kills), "seconds": time.time() - begun, **memory_of(memory)}


def account(work: Path, total: int) -> dict[str, object]:
    """What is lost, doubled and named, from the tables."""
    import pyarrow.parquet as parquet

    from samtailor.distributed.manifest import verify

    images = Counter(parquet.read_table(work / "out" / "images")["image"].to_pylist())
    status = parquet.read_table(work / "out" / "images", columns=["image", "status", "error"]).to_pylist()
    wanted = {path.stem for path in (work / "all").iterdir()}
    objects = parquet.read_table(work / "out" / "objects")["image"].to_pylist()
    result = verify(str(work / "out"))
    files = {name: list((work / "out" / name).iterdir()) for name in ("images", "objects", "commits")}
    return {
        "listed": total,
        "lost": len(wanted - images.keys()),
        "doubled": sum(number - 1 for number in images.values()),
        "doubled_objects": len(objects) - len(set(objects)),  # full-frame: one object an image
        "named": {row["image"]: [row["status"], row["error"]] for row in status if row["status"] != "done"},
        "problems": result.problems,
        "bytes": {name: sum(file.stat().st_size for file in listed) for name, listed in files.items()},
        "files": {name: len(listed) for name, listed in files.items()},
    }


if __name__ == "__main__":
    main()
