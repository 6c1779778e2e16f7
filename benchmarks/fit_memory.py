"""Memory of a fit does not grow with the number of images: the same fit on a small and on a large data set.

Each fit runs in a process of its own, from the files on disk to the adapter, with an empty cache of embeddings, the
same number of steps and the same batch; the peak of its resident memory is read when it ends. Beside it stands what
the large set would take more if its embeddings (single precision) were kept in memory.

    python benchmarks/fit_memory.py [--images 24 240] [--size 128] [--steps 30] [--method plm]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import bench


def main() -> None:
    options = _options()
    if options.child:
        print(json.dumps(_measured(options)))
        return
    found = {}
    with tempfile.TemporaryDirectory() as place:
        for count in options.images:
            folder = Path(place, str(count))
            size = f"{options.size}x{options.size}"
            _run("-m", "samtailor", "synth", "banners", f"--count={count}", f"--size={size}", f"--out={folder}/data")
            again = f"--child={folder}", f"--steps={options.steps}", f"--method={options.method}"
            found[count] = one = json.loads(_run(__file__, *again))
            print(f"{count:5d} images  {one['peak'] / 2**20:8.1f} MiB peak", flush=True)
    few, many = options.images
    grown = (found[many]["peak"] - found[few]["peak"]) / 2**20
    kept = (many - few) * found[many]["embedding"] / 2**20
    ratio = found[many]["peak"] / found[few]["peak"]
    print(f"ratio            {ratio:8.3f}     for {many / few:.1f} x the images")
    print(f"more             {grown:8.1f} MiB      ({kept:.0f} MiB if embeddings were kept in memory)")
    what = f"Peak memory of a fit on {many} images, against {few} images; bundled base"
    rows = {"ratio": (what, round(ratio, 4), "times as much")}
    bench.record("fit-memory", "Memory of a fit", rows, bench.results.bundled(), options.results, digits=3)


def _run(*command: str) -> str:
    """Standard output of a Python process."""
    return subprocess.run([sys.executable, *command], check=True, stdout=subprocess.PIPE, text=True).stdout


def _measured(options: argparse.Namespace) -> dict[str, float]:
    """Fit in this process; bytes of its peak and of one embedding."""
    from samtailor.bases import load_base
    from samtailor.fitting import fit
    from samtailor.train.config import FitConfig

    folder = options.child
    base = load_base("lite")
    config = FitConfig(
        data=folder / "data",
        out=folder / "adapter",
        cache=folder / "cache",
        method=options.method,
        steps=options.steps,
        eval_every=options.steps,
        val=4,
        device="cpu",
        trackers=(),
    )
    fit(config, base=base)
    entry = next((folder / "cache").rglob("*.safetensors"))
    unit = 1 if sys.platform == "darwin" else 1024  # what ru_maxrss counts in
    return {
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        "embedding": 2 * entry.stat().st_size,  # half precision on disk
    }


def _options() -> argparse.Namespace:
    parser = bench.parser(__doc__)
    parser.add_argument("--images", type=int, nargs=2, default=(24, 240), metavar="N")
    parser.add_argument("--size", type=int, default=128, help="side of the images, px")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--method", default="plm")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
