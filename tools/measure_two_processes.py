"""Loss curves of one process and of two with half the batch each; results/two-processes.json.

    python tools/measure_two_processes.py --out RUNS [--steps 40] [--batch 8]

Every row is the same fit of `plm` on synthetic banners with the bundled base, on the CPU: one process; two processes
started by `accelerate launch`; two launchers as on two machines; two processes of which one is killed at half of the
steps and that continue with --resume. The number of training masks is no multiple of the batch. The last row is one
process with half the batch, which must differ.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import results
from results import Cell, Column, Figure, Table
from samtailor.bases import load_base

ROOT = Path(__file__).resolve().parents[1]
ONE = ["-m", "samtailor"]
TWO = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
       "--mixed_precision", "no", "--dynamo_backend", "no"]  # fmt: skip
KILLED = """
import os, signal, sys
from samtailor.cli import main
from samtailor.train import loop

rate = loop.rate

def killing(config, step, group="lower"):
    if step == {step} and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return rate(config, step, group)

loop.rate = killing
main(sys.argv[1:])
"""


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    data, seed = options.out / "data", 0
    if not data.exists():
        _run([*ONE, "synth", "banners", "--count=13", "--size=240x320", f"--seed={seed}", f"--out={data}"], options.out)
    curves = {
        "one": _fit(options, "one", [ONE], options.batch),
        "two": _fit(options, "two", [[*TWO, *ONE]], options.batch // 2),
        "machines": _fit(options, "machines", _machines(), options.batch // 2),
        "killed": _killed(options),
        "half": _fit(options, "half", [ONE], options.batch // 2),
    }
    results.save(
        "two-processes",
        {"curves": _table(options, curves)},
        title="Two processes and one with the double batch",
        units="loss; the largest relative difference over all steps",
        base=load_base(),
        seeds=[seed],
        notes=[f"`plm` on 13 synthetic images, {options.steps} steps, CPU, gloo. All processes ran on one machine."],
        file=options.results,
    )


def _table(options: argparse.Namespace, curves: dict[str, list[float]]) -> Table:
    batch = options.batch
    names = {
        "one": f"one process, batches of {batch}",
        "two": f"two processes, batches of {batch // 2} each",
        "machines": "the same, started as on two machines",
        "killed": f"two processes, one killed at step {options.steps // 2}, then `--resume`",
        "half": f"one process, batches of {batch // 2}",
    }
    at = [1, options.steps // 4, options.steps // 2, options.steps]
    columns = [Column(key="how", label="Fit"), *(Column(key=f"step{n}", label=f"Loss, step {n}", digits=5) for n in at)]
    columns.append(Column(key="difference", label="Largest relative difference"))
    rows: dict[str, dict[str, Cell]] = {}
    for name, curve in curves.items():
        if len(curve) != options.steps:
            sys.exit(f"The fit {name!r} has logged {len(curve)} of {options.steps} steps.")
        row: dict[str, Cell] = {"how": names[name], **{f"step{n}": Figure(value=curve[n - 1]) for n in at}}
        if name != "one":
            pairs = zip(curve, curves["one"], strict=True)
            row["difference"] = f"{max(abs(one - other) / other for one, other in pairs):.1e}"
        rows[name] = row
    return Table(title="Losses", columns=tuple(columns), rows=rows)


def _machines() -> list[list[str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = ["-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1", "--master_addr=127.0.0.1",
              f"--master_port={port}"]  # fmt: skip
    return [[*launch, f"--node_rank={rank}", *ONE] for rank in (0, 1)]


def _killed(options: argparse.Namespace) -> list[float]:
    script = options.out / "killed.py"
    script.write_text(KILLED.format(step=options.steps // 2), encoding="utf-8")
    _fit(options, "killed", [[*TWO, str(script)]], options.batch // 2, ends=False)
    return _fit(options, "killed", [[*TWO, *ONE]], options.batch // 2, "--resume")


def _fit(
    options: argparse.Namespace, name: str, launches: Sequence[Sequence[str]], batch: int, *more: str, ends: bool = True
) -> list[float]:
    """Losses of a fit; with `ends=False` it must fail, with the words that the command promises."""
    fit = ["fit", str(options.out / "data"), "--method=plm", "--classes=banner", f"--steps={options.steps}",
           f"--batch-size={batch}", "--val=0.1", "--device=cpu", f"--out={options.out / name}",
           "--set=checkpoint_every=4", "--set=near_duplicates=false", "--set=trackers=none", *more]  # fmt: skip
    started = [_start([*launch, *fit], options.out) for launch in launches]
    errors = [process.communicate()[1] for process in started]
    codes = [process.returncode for process in started]
    if ends and any(codes):
        sys.exit(f"The fit {name!r} failed:\n{errors[0]}")
    if not ends and (not all(codes) or "Another process of this fit has ended" not in " ".join(errors[0].split())):
        sys.exit(f"The fit {name!r} did not say that a process was killed:\n{errors[0]}")
    if not ends:
        return []
    history = json.loads((options.out / name / "history.json").read_text(encoding="utf-8"))
    return [record["loss"] for record in history["train"]]


def _start(command: Sequence[str], out: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"SAMTAILOR_CACHE": str(out / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, *command], env=environment, stderr=subprocess.PIPE, text=True)


def _run(command: Sequence[str], out: Path) -> None:
    process = _start(command, out)
    _, errors = process.communicate()
    if process.returncode:
        sys.exit(errors)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the fits; must not hold earlier ones")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=8)
    results.add_option(parser, "two-processes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
