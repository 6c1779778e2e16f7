"""Measure few-shot methods on real images, one region per image, and write results/few-shot-8.json.

    python tools/measure_few_shot.py --data DATA --detectors DETECTORS --out RUNS
        [--shots 8] [--seeds 0,1] [--methods tailor,am-sam,blo-sam,samed] [--only humans,lesions] [--set KEY=VALUE ...]
        [--every]

DATA holds the data sets as folders. Each set is one `samtailor compare`, kept in RUNS/SET and resumable. `--only`
measures some of the sets again; the figures of the others stay in the file. AM-SAM gets a person detector where the
object is a person, and the full frame, its own fallback, where no detector knows the object. `--every` takes the
methods, masks, seeds and settings of results/few-shot-every.json instead.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import results
from results import BaseModelUsed, Cell, Column, Figure, Table

PERSON = "yolox_nano.onnx"
SETS: dict[str, tuple[str, list[str]]] = {
    "humans": ("People", []),
    "lesions": ("Skin lesions", []),
    "plates": ("Licence plates", []),
    "nuclei": ("Cell nuclei", []),
    "facades": ("Signboards", ["--classes", "signboard"]),
    "face_parts": ("Hair, nose", ["--classes", "hair,nose", "--per-class", "--group", r"regex:personne\d\d"]),
}
EVERY = {
    "results": results.FOLDER / "few-shot-every.json",
    "only": ["humans", "lesions"],
    "shots": "4,8,16",
    "seeds": "0,1,2,3,4",
    "methods": "tailor,sam,sam-f,plm-pmm,samed,med-sa,blo-sam,am-sam,deeplabv3,swin-unet,ssp,hsnet",
    "set": [
        *("samed.steps=100", "med-sa.steps=100", "plm-pmm.steps=300"),
        *("deeplabv3.options.weights=scratch", "deeplabv3.options.size=129", "deeplabv3.options.batch=4"),
        *("deeplabv3.steps=100", "swin-unet.options.weights=scratch", "swin-unet.options.size=128"),
        *("swin-unet.options.window=4", "swin-unet.options.batch=4", "swin-unet.steps=100"),
        *("ssp.options.weights=scratch", "ssp.options.size=129", "ssp.steps=50"),
        *("hsnet.options.weights=scratch", "hsnet.options.size=128", "hsnet.steps=50"),
    ],
}
COLUMNS = (
    Column(key="shots", label="Masks", digits=0),
    Column(key="method", label="Method"),
    Column(key="dice", label="Dice (seeds)"),
    Column(key="change", label="Dice minus first row", signed=True),
    Column(key="parameters", label="Trained parameters", digits=0),
    Column(key="seconds", label="Fit, CPU seconds", digits=0),
)


def main() -> None:
    options = _options()
    tables: dict[str, Table] = {}
    for name in options.only or SETS:
        made = json.loads(_measure(name, options).read_text(encoding="utf-8"))
        tables[name] = table_of(name, made["rows"])
        results.save(
            "few-shot-every" if options.every else "few-shot-8",
            tables,
            title=f"{options.shots.replace(',', ', ')} masks and no click: Dice on held-out images",
            units="Dice in percent; brackets: 95 % interval of the paired difference (bootstrap over groups of images)",
            notes=[f"Settings: `{setting}`." for setting in options.set],
            base=BaseModelUsed(**{key: made["base"][key] for key in ("name", "fingerprint")}),
            seeds=[int(seed) for seed in options.seeds.split(",") if seed],
            file=options.results,
        )


def _measure(name: str, options: argparse.Namespace) -> Path:
    out = options.out / name
    command = [sys.executable, "-m", "samtailor", "compare", str(options.data / name), "--out", str(out)]
    command += ["--methods", options.methods, "--regions", "--shots", options.shots, "--seeds", options.seeds]
    command += ["--workers", str(options.workers)]
    if "am-sam" in options.methods.split(","):
        seen = [f"--detector={options.detectors / PERSON}", "--detector-classes=person"]
        blind = ["--detector=full-frame"]
        command += seen if name == "humans" else blind
    for setting in options.set:
        command += ["--set", setting]
    subprocess.run([*command, *SETS[name][1]], check=True)
    return out / "compare.json"


def table_of(name: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """The table of a data set; `rows` are those of compare.json."""
    cells = {f"{row['shots']}-{_key(row['title'])}": _row(row) for row in rows}
    return Table(title=SETS[name][0], columns=COLUMNS, rows=cells)


def _row(row: Mapping[str, Any]) -> dict[str, Cell]:
    seeds = tuple(results.percent(seed["dice"]) for seed in row["seeds"].values())
    cells: dict[str, Cell] = {
        "shots": row["shots"],
        "method": row["title"],
        "dice": Figure(value=results.percent(row["dice"]), seeds=seeds),
        "parameters": row["cost"]["parameters"] or 0,
    }
    if (change := row["difference"]) is not None:
        cells["change"] = results.interval(change["dice"], change["dice_masks_interval"])
    if seconds := row["cost"]["cpu_seconds"]:
        cells["seconds"] = round(seconds, 1)
    return cells


def _key(title: str) -> str:
    return title.lower().replace("+", "-")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--detectors", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", default="tailor,am-sam,blo-sam,samed,sam")
    parser.add_argument("--shots", default="8")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], help="a setting of the fits, as `compare --set` takes it")
    parser.add_argument("--only", type=lambda text: text.split(","), help="data sets to measure")
    parser.add_argument("--every", action="store_true", help="every system of the papers, with 4, 8 and 16 masks")
    results.add_option(parser, "few-shot-8")
    if "--every" in sys.argv[1:]:
        parser.set_defaults(**EVERY)
    return parser.parse_args()


if __name__ == "__main__":
    main()
