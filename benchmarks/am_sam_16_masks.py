"""AM-SAM on 16 masks with the bundled base, 100 epochs: seconds and peak memory of the whole command.

`samtailor fit --method am-sam` runs in a process of its own, from files on disk to the adapter, with an empty cache of
embeddings; start of Python, encoding and validations are in the figures. Images are synthetic banners, boxes those
of the masks (a detector's are found once an image and kept). Processor seconds are of all its threads together: on a
machine with other work they tell more than the clock.

    OMP_NUM_THREADS=2 python benchmarks/am_sam_16_masks.py [--masks 16] [--epochs 100] [--size 480x640]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as place:
        data, out, cache = Path(place, "data"), Path(place, "out"), Path(place, "cache")
        synth = ["synth", "banners", f"--count={options.masks}", f"--size={options.size}", f"--out={data}"]
        _run(synth, cache)
        fit = ["fit", str(data), "--classes=banner", "--method=am-sam", f"--shots={options.masks}", "--val=0",
               "--set=prompt=mask-box", "--set=near_duplicates=false", f"--set=epochs={options.epochs}",
               f"--out={out}", *options.more]  # fmt: skip
        before, start = _processor(), time.perf_counter()
        _run(fit, cache)
        seconds, busy = time.perf_counter() - start, _processor() - before
        steps = json.loads((out / "adapter.json").read_text())["steps"]
    unit = 1 if sys.platform == "darwin" else 1024  # what ru_maxrss counts in
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    print(f"{options.masks} masks, {options.epochs} epochs, {steps} iterations")
    print(f"clock            {seconds:8.1f} s      (asked: below 90)")
    print(f"processor        {busy:8.1f} s      {1000 * busy / steps:.1f} ms an iteration, all else included")
    print(f"peak memory      {peak / 2**30:8.2f} GiB    (asked: below 2)")
    what = f"AM-SAM on {options.masks} masks, {options.epochs} epochs, the whole command; bundled base"
    rows = {"seconds": (f"{what}, {bench.threads(os.environ.get('OMP_NUM_THREADS', 'all'))}", round(seconds), "s")}
    rows["memory"] = ("Its peak memory", round(peak / 2**30, 2), "GiB")
    bench.record("am-sam-16-masks", "AM-SAM on 16 masks", rows, bench.results.bundled(), options.results)


def _run(command: list[str], cache: Path) -> None:
    environment = os.environ | {"SAMTAILOR_CACHE": str(cache)}
    subprocess.run(
        [sys.executable, "-m", "samtailor", *command], check=True, env=environment, stdout=subprocess.DEVNULL
    )


def _processor() -> float:
    """Seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _options() -> argparse.Namespace:
    parser = bench.parser(__doc__)
    parser.add_argument("--masks", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--size", default="480x640", help="of the images, px")
    parser.add_argument("--more", nargs="*", default=[], help="further arguments of fit")
    return parser.parse_args()


if __name__ == "__main__":
    main()
