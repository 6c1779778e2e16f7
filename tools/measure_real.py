"""Measure every method on real images and write docs/real-data.md (figures only, no image).

    python tools/measure_real.py --data DATA --out RUNS [--seeds 0,1,2] [--steps 1000]
        [--methods sam,sam-f,plm,plm-pmm,tailor] [--only humans,plates]

DATA holds the sets as folders (humans, face_parts, plates, facades, nuclei). Each set is one `samtailor compare`, kept
in RUNS/SET-STEPS and resumable; the page is written from all that are there, with other numbers of steps too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROWS = ("SAM", "SAM-F", "SAM+PLM", "SAM+PLM+PMM", "tailor")
METHODS = "sam,sam-f,plm,plm-pmm,tailor"
SETS: dict[str, dict[str, list[str] | str]] = {
    "humans": {"what": "people, one mask an image", "options": []},
    "face_parts": {
        "what": "five parts, one adapter each; persons are kept on one side",
        "options": ["--per-class", "--group", r"regex:personne\d\d"],
    },
    "plates": {"what": "licence plates, boxes as rectangles", "options": []},
    "facades": {"what": "signboards, boxes as rectangles", "options": ["--classes", "signboard"]},
    "nuclei": {"what": "cell nuclei, up to hundreds an image", "options": []},
}
PAGE = Path(__file__).resolve().parents[1] / "docs" / "real-data.md"


def main() -> None:
    options = _options()
    for name in options.only or SETS:
        _measure(name, options)
    _write(options)


def _measure(name: str, options: argparse.Namespace) -> None:
    command = [sys.executable, "-m", "samtailor", "compare", str(options.data / name), "--base", options.base]
    command += ["--out", str(options.out / f"{name}-{options.steps}"), "--set", f"steps={options.steps}"]
    command += ["--methods", options.methods, "--seeds", options.seeds]
    subprocess.run([*command, *SETS[name]["options"]], check=True)


def _write(options: argparse.Namespace) -> None:
    parts = [_intro(options)]
    for name, about in SETS.items():
        runs = {int(run.parent.name.rpartition("-")[2]): run for run in options.out.glob(f"{name}-*/comparison.json")}
        for steps, file in sorted(runs.items()):
            made = json.loads(file.read_text(encoding="utf-8"))
            found, base = made["methods"], made["base"]["fingerprint"]
            what = f"{about['what'].capitalize()}. {_counts(found)} Fingerprint of the base {base}."
            parts.append(f"## {name}, {steps} steps\n\n{what}\n\n{_table(found)}")
            if len(found["SAM"]["classes"]) > 1:
                parts.append(_by_class(found))
    PAGE.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _intro(options: argparse.Namespace) -> str:
    return (
        "# Real images\n\n"
        "Single-click protocol on held-out images: a fifth of each set, dealt out anew by each seed, near-copies on "
        f"one side. Base `{options.base}`, everything but the number of steps default (it is 1,000), seeds "
        f"{options.seeds} where a set does not say otherwise, all of them reported. mIoU in percent over the masks of "
        "all seeds with its 95 % interval (bootstrap over groups of images), the seeds one by one with their "
        "standard deviation, the oracle (best of the same three masks), Dice, and the paired difference to SAM. SAM "
        "has one row: only the images differ between its seeds. A row equal to SAM's says that no state of a fit "
        "beat its start on the images held out of the training part, so that the start was kept. Most of the sets "
        "carry no licence for their images: none is shown.\n\n"
        f"Made by `python tools/measure_real.py --data DATA --out RUNS --steps {options.steps} --methods "
        f"{options.methods}`, other numbers of steps with that number and `--only SET`."
    )


def _counts(found: dict) -> str:
    seeds = ", ".join(found["SAM"]["seeds"])
    masks, groups = found["SAM"]["masks"], found["SAM"]["groups"]
    return f"{masks} held-out masks over seeds {seeds}, in {groups} groups of images."


def _table(found: dict) -> str:
    lines = ["| | mIoU | seeds | oracle | Dice | mIoU against SAM |", "|---|---|---|---|---|---|"]
    for name in (name for name in ROWS if name in found):
        row = found[name]
        seeds = list(row["seeds"].values())
        mean = sum(seeds) / len(seeds)
        spread = (sum((s - mean) ** 2 for s in seeds) / max(1, len(seeds) - 1)) ** 0.5
        each = " ".join(_percent(s) for s in seeds) + (f" (sd {_percent(spread)})" if len(seeds) > 1 else "")
        lines.append(
            f"| {name} | {_with_interval(row, 'miou')} | {each} | {_with_interval(row, 'oracle_miou')} | "
            f"{_with_interval(row, 'dice')} | {_difference(row)} |"
        )
    return "\n".join(lines)


def _by_class(found: dict) -> str:
    classes = sorted(found["SAM"]["classes"])
    lines = ["| mIoU / oracle | " + " | ".join(classes) + " |", "|---" * (len(classes) + 1) + "|"]
    for name in (name for name in ROWS if name in found):
        cells = [found[name]["classes"][c] for c in classes]
        shown = " | ".join(f"{_percent(c['miou'])} / {_percent(c['oracle_miou'])}" for c in cells)
        lines.append(f"| {name} | {shown} |")
    return "\n".join(lines)


def _difference(row: dict) -> str:
    if "difference" not in row:
        return ""
    change = row["difference"]["miou"]
    low, high = row["difference"]["miou_interval"]
    return f"{100 * change:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def _with_interval(row: dict, key: str) -> str:
    low, high = row[f"{key}_interval"]
    return f"{_percent(row[key])} [{_percent(low)}, {_percent(high)}]"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--base", default="nano")
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument(
        "--only", type=lambda text: text.split(","), help="sets to measure; the page takes all there are"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
