"""Measure few-shot methods on real images, one region an image, and write docs/few-shot.md (figures, no image).

    python tools/measure_few_shot.py --data DATA --detectors DETECTORS --out RUNS
        [--shots 8] [--seeds 0,1] [--methods tailor,am-sam,blo-sam,samed] [--only humans,lesions] [--set KEY=VALUE ...]

DATA holds the sets as folders. Each set is one `samtailor compare`, kept in RUNS/SET and resumable; the page is
written from whatever is there (`--page-only` measures nothing). AM-SAM gets a person detector where the object is a
person, and the full frame, its own fallback, where no detector knows the object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

PERSON = "yolox_nano.onnx"
SETS: dict[str, dict[str, list[str] | str]] = {
    "humans": {"what": "people", "options": ["--detector-classes", "person"]},
    "lesions": {"what": "skin lesions", "options": []},
    "plates": {"what": "licence plates, boxes as rectangles", "options": []},
    "nuclei": {"what": "cell nuclei, all of an image as one region", "options": []},
    "facades": {"what": "signboards, boxes as rectangles", "options": ["--classes", "signboard"]},
    "face_parts": {
        "what": "hair and nose, one adapter each; persons are kept on one side",
        "options": ["--classes", "hair,nose", "--per-class", "--group", r"regex:personne\d\d"],
    },
}
EVERY = """\
SAM, SAM-F, SAM+PLM+PMM and Med-SA are given a click in the middle of the true region. SAM+PLM+PMM had 300 of its 1,000
steps, SAMed and Med-SA 100. ImageNet weights cannot be reached where this was measured: **DeepLabV3, Swin-Unet, SSP and
HSNet start from nothing** and see images of 128 px (100, 100, 50 and 50 updates), so their rows say that they need a
pre-trained backbone, and no more. `samtailor compare DATA/SET --out RUNS/SET --shots 4,8,16 --seeds 0,1,2,3,4 --methods
tailor,sam,sam-f,plm-pmm,samed,med-sa,blo-sam,am-sam,deeplabv3,swin-unet,ssp,hsnet --set samed.steps=100 --set
med-sa.steps=100 --set plm-pmm.steps=300 --set deeplabv3.options.weights=scratch --set deeplabv3.options.size=129 --set
deeplabv3.options.batch=4 --set deeplabv3.steps=100`, likewise `swin-unet` (size 128, window 4, batch 4, steps 100),
`ssp` (size 129, steps 50) and `hsnet` (size 128, steps 50), and the detector as above."""
PAGE = Path(__file__).resolve().parents[1] / "docs" / "few-shot.md"


def main() -> None:
    options = _options()
    for name in () if options.page_only else options.only or SETS:
        _measure(name, options)
    _write(options)


def _measure(name: str, options: argparse.Namespace) -> None:
    command = [sys.executable, "-m", "samtailor", "compare", str(options.data / name), "--out", str(options.out / name)]
    command += ["--methods", options.methods, "--shots", options.shots, "--seeds", options.seeds]
    command += ["--workers", str(options.workers)]
    if "am-sam" in options.methods.split(","):
        seen = [f"--detector={options.detectors / PERSON}"]
        blind = ["--detector=full-frame"]
        command += seen if name == "humans" else blind
    for setting in options.set:
        command += ["--set", setting]
    subprocess.run([*command, *SETS[name]["options"]], check=True)


def _write(options: argparse.Namespace) -> None:
    files = {name: options.out / name / "compare.json" for name in SETS}
    made = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.is_file()}
    found = {name: one["rows"] for name, one in made.items()}
    shots = sorted({row["shots"] for rows in found.values() for row in rows})
    parts = [_intro(options), *(_average(found, count) for count in shots)]
    for name, rows in found.items():
        every = f"{EVERY}\n\n" if any(row["title"] == "DeepLabV3" for row in rows) else ""
        what = f"{SETS[name]['what'].capitalize()}.{_base(made[name])}"
        parts.append(f"## {name}\n\n{what}\n\n{every}{_table(rows)}")
    PAGE.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")


def _base(made: dict) -> str:
    """Which weights were measured; runs of old do not say so."""
    return f" Fingerprint of the base {made['base']['fingerprint']}." if "base" in made else ""


def _intro(options: argparse.Namespace) -> str:
    changed = f" With `--set {' --set '.join(options.set)}`." if options.set else ""
    return (
        "# Few shots on real images\n\n"
        "One region an image and class (all its objects together), judged on held-out images at their own size: a "
        "fifth of each set, dealt out anew by each seed, near-copies on one side. Base `nano`. The same shots for "
        "every method of a seed, nothing beyond them chooses a state. `tailor`, `blo-sam` and `samed` are asked "
        "without a prompt, `am-sam` with the box of a frozen detector (a YOLOX person detector on humans; elsewhere no "
        "COCO detector knows the object and its box is the full frame), `sam` and `sam-f` with one click in the middle "
        "of the region, which somebody has to make and which knows where the object is. Mean Dice in percent over "
        "seeds, in brackets the seeds one by one, then the paired difference to the first row with its 95 % interval "
        "over the held-out masks (bootstrap over groups of images).\n\n"
        "Made by `python tools/measure_few_shot.py --data DATA --detectors DETECTORS --out RUNS "
        f"--shots {options.shots} --seeds {options.seeds}`.{changed} The sets have the shots and the seeds that their "
        "tables show. More shots and every system of the papers, on earlier weights: "
        "[few-shot-every.md](few-shot-every.md)."
    )


def _average(found: dict[str, list[dict]], shots: int) -> str:
    """Unweighted mean over the sets that have this number of shots, for methods that stand in all of them."""
    by_set = {name: {r["title"]: r["dice"] for r in rows if r["shots"] == shots} for name, rows in found.items()}
    by_set = {name: rows for name, rows in by_set.items() if rows}
    if len(by_set) < 2:
        return ""
    titles = [title for title in next(iter(by_set.values())) if all(title in rows for rows in by_set.values())]
    lines = [f"| {shots} shots | " + " | ".join(by_set) + " | mean |", "|---" * (len(by_set) + 2) + "|"]
    for title in titles:
        values = [rows[title] for rows in by_set.values()]
        cells = " | ".join(_percent(value) for value in (*values, statistics.mean(values)))
        lines.append(f"| {title} | {cells} |")
    return "\n".join(lines)


def _table(rows: list[dict]) -> str:
    lines = [
        "| shots | | Dice | against the first | learn | fit, processor s |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        seeds = " ".join(_percent(seed["dice"]) for seed in row["seeds"].values())
        cost = row["cost"]
        seconds = "" if not cost["cpu_seconds"] else f"{cost['cpu_seconds']:.0f}"
        lines.append(
            f"| {row['shots']} | {row['title']} | {_percent(row['dice'])} ({seeds}) | {_difference(row)} | "
            f"{cost['parameters'] or 0:,} | {seconds} |"
        )
    return "\n".join(lines)


def _difference(row: dict) -> str:
    if (change := row["difference"]) is None:
        return ""
    interval = change["dice_masks_interval"]
    shown = "" if interval is None else f" [{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]"
    return f"{100 * change['dice']:+.1f}{shown}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--detectors", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", default="tailor,am-sam,blo-sam,samed,sam")
    parser.add_argument("--shots", default="8")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], help="a setting of the fits, as `compare --set` takes it")
    parser.add_argument("--page-only", action="store_true", help="write the page from the runs that are there")
    parser.add_argument(
        "--only", type=lambda text: text.split(","), help="sets to measure; the page takes all there are"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
