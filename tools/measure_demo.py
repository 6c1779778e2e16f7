"""Write results/demo.json or results/demo-seeds.json from what `samtailor demo` left.

    python tools/measure_demo.py demo                          # results/demo.json
    python tools/measure_demo.py demo demo-1 demo-2            # results/demo-seeds.json: one folder per seed

The folders hold report.json, which `samtailor demo --out FOLDER` writes.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import results
from results import BaseModelUsed, Cell, Column, Table

KEYS = {"SAM": "sam", "SAM-F": "sam-f", "SAM+PLM": "plm", "SAM+PLM+PMM": "plm-pmm"}


def main() -> None:
    options = _options()
    reports = [json.loads((folder / "report.json").read_text(encoding="utf-8")) for folder in options.folders]
    bases = {BaseModelUsed(**{key: one["base"][key] for key in ("name", "fingerprint")}) for one in reports}
    if len(bases) != 1:
        raise SystemExit("The folders are of different base models: run the demos again.")
    save = _save_one if len(reports) == 1 else _save_seeds
    save(reports, bases.pop(), options.results)


def _save_one(reports: list[dict[str, Any]], base: BaseModelUsed, file: Path | None) -> None:
    (report,) = reports
    rows: dict[str, dict[str, Cell]] = {}
    for name, key in KEYS.items():
        one = report["methods"][name]
        rows[key] = {"method": name, "miou": results.interval(one["miou"], one["miou_interval"])}
        rows[key]["oracle"] = results.interval(one["oracle_miou"], one["oracle_miou_interval"])
    columns = [Column(key="method", label=""), Column(key="miou", label="mIoU")]
    columns.append(Column(key="oracle", label="Oracle mIoU"))
    first, data = report["methods"]["SAM"], report["data"]
    train, test = (data["images"][part] for part in ("train", "test"))
    steps = report["settings"]["SAM+PLM"]["steps"]
    results.save(
        "demo",
        {"figures": Table(title="One click, held-out banners", columns=tuple(columns), rows=rows, best_row=("miou",))},
        title="Demo: one click on synthetic banners, held-out images, before and after the fit",
        units="percent; brackets: 95 % interval (bootstrap over groups of images)",
        notes=[
            f"{test} test images with {first['masks']} banners; {train} training images, of which a share selects the "
            "best state.",
            f"{steps} steps instead of the default 1,000, and one view of each image instead of eight.",
            "The same command on the same machine gives the same figures. Another number of threads or another "
            "processor changes the last bit of sums, and fits then differ by up to three points.",
        ],
        base=base,
        seeds=[data["seed"]],
        command=f"{_threads()}samtailor demo --out demo",
        file=file,
    )


def _save_seeds(reports: list[dict[str, Any]], base: BaseModelUsed, file: Path | None) -> None:
    seeds = [report["data"]["seed"] for report in reports]
    columns = [Column(key="method", label=""), *(Column(key=f"s{seed}", label=f"Seed {seed}") for seed in seeds)]
    rows: dict[str, dict[str, Cell]] = {
        key: {"method": name}
        | {f"s{seed}": results.percent(one["methods"][name]["miou"]) for seed, one in zip(seeds, reports, strict=True)}
        for name, key in KEYS.items()
    }
    best = tuple(f"s{seed}" for seed in seeds)
    results.save(
        "demo-seeds",
        {"figures": Table(title="mIoU for each seed", columns=tuple(columns), rows=rows, best_row=best)},
        title=f"Demo with {len(seeds)} seeds",
        units="mIoU in percent",
        notes=["A seed changes images, split, initialisation, order and clicks."],
        base=base,
        seeds=seeds,
        command=f"{_threads()}samtailor demo --seed SEED --out demo-SEED",
        file=file,
    )


def _threads() -> str:
    """Sums, and so the figures, depend on the number of threads."""
    return f"OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']} " if "OMP_NUM_THREADS" in os.environ else ""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--results", type=Path, help="JSON file for the figures (default: by the number of folders)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
