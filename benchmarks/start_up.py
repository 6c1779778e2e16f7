"""`samtailor --help` and `--version` against a bare Python start, and which heavy modules they import (none).

python benchmarks/start_up.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import bench

HEAVY = ("torch", "transformers", "cv2", "matplotlib", "pycocotools")


def main() -> None:
    options = bench.parser(__doc__).parse_args()
    rows: dict[str, bench.Row] = {}
    bare = _median([sys.executable, "-c", "pass"])
    for flag in ("--help", "--version"):
        taken = _median([sys.executable, "-m", "samtailor", flag])
        rows[flag.strip("-")] = (f"`samtailor {flag}`", round(taken, 3), "s")
        print(f"samtailor {flag:10s} {taken:.3f} s, {taken / bare:.1f} x a bare python start ({bare:.3f} s)")
    code = f"import sys, samtailor.cli; print([m for m in {HEAVY} if m in sys.modules])"
    print(
        "heavy modules imported by the command line:",
        subprocess.check_output([sys.executable, "-c", code], text=True).strip(),
    )
    bench.record("start-up", "Start of the command line", rows, None, options.results, digits=2)


def _median(command: list[str], repeats: int = 7) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    main()
