"""Measure every method on real images, one click per object, and write results/real-data.json.

    python tools/measure_real.py --data DATA --out RUNS [--seeds 0,1,2] [--steps 1000]
        [--methods sam,sam-f,plm,plm-pmm] [--only humans,plates] [--set KEY=VALUE ...]

DATA holds the data sets as folders (humans, face_parts, plates, facades, nuclei). Each set is one `samtailor compare`,
kept in RUNS/SET-STEPS and resumable. `--only` measures some of the sets again; the figures of the others stay in the
file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import results
from results import BaseModelUsed, Cell, Column, Figure, Table

METHODS = "sam,sam-f,plm,plm-pmm"
KEYS = {"SAM": "sam", "SAM-F": "sam-f", "SAM+PLM": "plm", "SAM+PLM+PMM": "plm-pmm", "tailor": "tailor"}
SETS: dict[str, tuple[str, list[str]]] = {
    "humans": ("People", []),
    "face_parts": ("Face parts", ["--per-class", "--group", r"regex:personne\d\d"]),
    "plates": ("Licence plates", []),
    "facades": ("Signboards", ["--classes", "signboard"]),
    "nuclei": ("Cell nuclei", []),
}
COLUMNS = (
    Column(key="method", label=""),
    Column(key="miou", label="mIoU"),
    Column(key="seeds", label="Seeds"),
    Column(key="oracle", label="Oracle"),
    Column(key="dice", label="Dice"),
    Column(key="change", label="mIoU minus SAM", signed=True),
)


def main() -> None:
    options = _options()
    tables: dict[str, Table] = {}
    for name in options.only or SETS:
        made = json.loads(measure(name, options).read_text(encoding="utf-8"))
        tables |= tables_of(name, made["methods"])
        results.save(
            "real-data",
            tables,
            title="One click on real images, with 95 % intervals",
            units="percent; brackets: 95 % interval (bootstrap over groups of images)",
            base=BaseModelUsed(**{key: made["base"][key] for key in ("name", "fingerprint")}),
            seeds=[int(seed) for seed in options.seeds.split(",") if seed],
            file=options.results,
        )


def measure(name: str, options: argparse.Namespace) -> Path:
    """Run one comparison; its comparison.json."""
    out = options.out / f"{name}-{options.steps}"
    command = [sys.executable, "-m", "samtailor", "compare", str(options.data / name), "--base", options.base]
    command += ["--out", str(out), "--set", f"steps={options.steps}"]
    command += ["--methods", options.methods, "--seeds", options.seeds]
    for setting in options.set:
        command += ["--set", setting]
    subprocess.run([*command, *SETS[name][1]], check=True)
    return out / "comparison.json"


def tables_of(name: str, found: Mapping[str, Any]) -> dict[str, Table]:
    """The table of a data set and, with several classes, those of the classes; `found` is from comparison.json."""
    title, first = SETS[name][0], next(iter(found.values()))
    rows = {KEYS.get(method, method.lower()): _row(method, row) for method, row in found.items()}
    note = f"{first['masks']:,} held-out masks over all seeds, in {first['groups']} groups of images."
    tables = {name: Table(title=title, columns=COLUMNS, rows=rows, note=note)}
    if len(first["classes"]) > 1:
        tables[f"{name}-classes"] = _by_class(f"{title}, each class: mIoU", found, "miou")
        tables[f"{name}-classes-oracle"] = _by_class(f"{title}, each class: oracle mIoU", found, "oracle_miou")
    return tables


def _row(method: str, row: Mapping[str, Any]) -> dict[str, Cell]:
    seeds = [100 * value for value in row["seeds"].values()]
    mean = sum(seeds) / len(seeds)
    sd = (sum((value - mean) ** 2 for value in seeds) / max(1, len(seeds) - 1)) ** 0.5
    cells: dict[str, Cell] = {
        "method": method,
        "seeds": Figure(seeds=tuple(round(s, 2) for s in seeds), sd=round(sd, 2) if len(seeds) > 1 else None),
    }
    for key, name in (("miou", "miou"), ("oracle", "oracle_miou"), ("dice", "dice")):
        cells[key] = results.interval(row[name], row[f"{name}_interval"])
    if "difference" in row:
        cells["change"] = results.interval(row["difference"]["miou"], row["difference"]["miou_interval"])
    return cells


def _by_class(title: str, found: Mapping[str, Any], key: str) -> Table:
    classes = sorted(next(iter(found.values()))["classes"])
    columns = [Column(key="method", label=""), *(Column(key=c, label=c.capitalize()) for c in classes)]
    rows = {
        KEYS.get(method, method.lower()): {"method": method}
        | {c: results.percent(row["classes"][c][key]) for c in classes}
        for method, row in found.items()
    }
    return Table(title=title, columns=tuple(columns), rows=rows, best_row=tuple(classes))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--base", default="lite")
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--only", type=lambda text: text.split(","), help="data sets to measure")
    parser.add_argument("--set", action="append", default=[], help="a setting of the fits, as `compare --set` takes it")
    results.add_option(parser, "real-data")
    return parser.parse_args()


if __name__ == "__main__":
    main()
