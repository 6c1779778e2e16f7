"""Write results/demo.json or results/demo-seeds.json from what `samtailor demo` left.

    python tools/measure_demo.py demo                          # results/demo.json
    python tools/measure_demo.py demo demo-1 demo-2            # results/demo-seeds.json: one folder per seed

One folder may hold only the leaves or only the banners; the tables of the other part then stay as they are.

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

ROWS = {"base model, one click": "base", "base model, a click on each": "each", "adapter, no click": "adapter"}
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
    parts = {"figures": ("banners", _banners), "leaves": ("leaves", _leaves)}
    tables = {table: make(report[part]) for table, (part, make) in parts.items() if part in report}
    only = f" --only {next(part for part, _ in parts.values() if part in report)}" if len(tables) == 1 else ""
    results.save(
        "demo",
        tables,
        title="Demo: photographs of leaves and synthetic banners, held-out images, before and after the fit",
        units="percent; brackets: 95 % interval (bootstrap over images, or groups of images)",
        notes=[
            "The leaves are fitted by a contest within 40 seconds for each class, so their figures depend on the speed "
            "of the machine. The same command on the same machine gives the same figures for the banners. Another "
            "number of threads or another processor changes the last bit of sums, and fits then differ by up to three "
            "points.",
        ],
        base=base,
        seeds=[report["seed"]],
        command=f"{_threads()}samtailor demo{only} --out demo",
        file=file,
    )


def _banners(report: dict[str, Any]) -> Table:
    rows: dict[str, dict[str, Cell]] = {}
    for name, key in KEYS.items():
        one = report["methods"][name]
        rows[key] = {"method": name, "miou": results.interval(one["miou"], one["miou_interval"])}
        rows[key]["oracle"] = results.interval(one["oracle_miou"], one["oracle_miou_interval"])
    columns = [Column(key="method", label=""), Column(key="miou", label="mIoU")]
    columns.append(Column(key="oracle", label="Oracle mIoU"))
    train, test = (report["data"]["images"][part] for part in ("train", "test"))
    steps = report["settings"]["SAM+PLM"]["steps"]
    note = (
        f"{test} test images with {report['methods']['SAM']['masks']} banners; {train} training images, of which a "
        f"share selects the best state. {steps} steps instead of the default 1,000, and one view of each image instead "
        "of eight."
    )
    title = "One click, held-out banners"
    return Table(title=title, columns=tuple(columns), rows=rows, best_row=("miou",), note=note)


def _leaves(report: dict[str, Any]) -> Table:
    columns = [Column(key="what", label=""), Column(key="clicks", label="Clicks per image")]
    columns += [Column(key="iou", label="mIoU"), Column(key="dice", label="Dice")]
    rows: dict[str, dict[str, Cell]] = {}
    for name, by_row in report["classes"].items():
        for row, one in by_row.items():
            cells = {key: results.interval(one[key], one[f"{key}_interval"]) for key in ("iou", "dice")}
            rows[f"{name}-{ROWS[row]}"] = {"what": f"{name.capitalize()}: {row}", "clicks": one["clicks"], **cells}
    train, test = (len(report["images"][part]) for part in ("train", "test"))
    diseased = report["diseased"]
    note = (
        f"{train} labeled images and {test} test images, {diseased['healthy']} of them healthy. One region per "
        "image and class. Diseased share of the leaf without a click: "
        f"{100 * diseased['difference']:.1f} points off on average, the true mean is {100 * diseased['true']:.1f} %."
    )
    return Table(title="Coffee leaves, eight labeled images", columns=tuple(columns), rows=rows, note=note)


def _save_seeds(reports: list[dict[str, Any]], base: BaseModelUsed, file: Path | None) -> None:
    seeds = [report["seed"] for report in reports]
    columns = [Column(key="method", label=""), *(Column(key=f"s{seed}", label=f"Seed {seed}") for seed in seeds)]
    rows: dict[str, dict[str, Cell]] = {
        key: {"method": name}
        | {
            f"s{seed}": results.percent(one["banners"]["methods"][name]["miou"])
            for seed, one in zip(seeds, reports, strict=True)
        }
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
        command=f"{_threads()}samtailor demo --only banners --seed SEED --out demo-SEED",
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
