"""Measure the method `auto` on real images against its candidates and other methods, and write results/auto.json.

    python tools/measure_auto.py --data DATA --detectors DETECTORS --out RUNS
        [--shots 4,8,16] [--seeds 0,1,2] [--only humans,nuclei] [--budget 2m] [--workers 2] [--quick] [--table]

DATA holds the data sets as folders. Each combination of data set, seed and number of masks is one run and one file,
RUNS/rows/SET-SEED-SHOTS.json; finished runs are kept, so that the command can be stopped and started again. RUNS may be
that of tools/measure_few_shot.py, whose fits of the other methods are then used. `--table` only writes the results of
the rows that are there. `--quick` makes one small run per set, to try the tool; it writes no results.

A run is `samtailor compare` with `auto` and the other methods on the same masks and test images. Then every candidate
that the contest rejected for regions is fitted as well, with the plan of the contest and nothing changed but the
candidate, and judged on the test images: the regret is the Dice of the best one minus that of `auto`. Clicks are
compared with the base model and with PLM. The budget counts CPU time divided by the number of processes
(`options.clock=cpu`), so that other programs on the machine do not change the result.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import results
from auto.memory import run
from auto.one import Part
from auto.tables import tables
from measure_few_shot import PERSON, SETS
from results import BaseModelUsed

QUICK = {"shots": "4", "seeds": "0", "budget": "20s", "methods": "auto,tailor", "steps": 20}
TITLE = "Choosing by a contest: `auto` against its candidates and other methods"
UNITS = "percent, mean over seeds and classes, unless a column says otherwise"
NOTES = (
    "Regret: Dice of the best candidate on the test images, which no contest sees, minus that of the chosen one.",
    "Forecast: expected gain of 8 more masks, from the masks of the contest alone, against the gain measured.",
    "A method that was not run beside the contests has the figures of the few-shot table, of the same masks.",
)


def main() -> None:
    options = _options()
    if not options.table:
        for name, seed, shots in _runs(options):
            file = options.out / "rows" / f"{name}-{seed}-{shots}.json"
            if not file.is_file():
                row = _measure(name, seed, shots, options)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(row, indent=1), encoding="utf-8")
            print(file, json.dumps(json.loads(file.read_text(encoding="utf-8"))["compare"]), flush=True)
    rows = _rows(options.out)
    if not options.quick and rows:
        _save(rows, options)


def _runs(options: argparse.Namespace) -> Iterator[tuple[str, int, int]]:
    """All combinations; all sets with one seed before the next seed, so that a stopped run covers every set."""
    for seed in map(int, options.seeds.split(",")):
        for shots in map(int, options.shots.split(",")):
            for name in options.only or SETS:
                yield name, seed, shots


def _measure(name: str, seed: int, shots: int, options: argparse.Namespace) -> dict[str, Any]:
    out = options.out / name
    out.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "samtailor", "compare", str(options.data / name), "--out", str(out), "--regions"]
    command += ["--shots", str(shots), "--seeds", f"{seed},", *SETS[name][1]]
    settings = [f"auto.budget={options.budget}", "auto.options.clock=cpu", f"auto.options.workers={options.workers}"]
    settings += options.set
    settings += [] if options.steps is None else [f"tailor.steps={options.steps}"]
    own = [one for setting in settings if setting.startswith("auto.") for one in ("--set", setting)]
    others = [one for setting in settings if not setting.startswith("auto.") for one in ("--set", setting)]
    if "am-sam" in options.methods.split(","):
        seen = [f"--detector={options.detectors / PERSON}", "--detector-classes=person"]
        detector = seen if name == "humans" else ["--detector=full-frame"]
    else:
        detector = []
    log = options.out / f"{name}-{seed}-{shots}.log"
    alone = run([*command, "--methods", "auto", *own], log)  # memory and time of the contest without the other methods
    run([*command, "--methods", options.methods, *own, *others, *detector], log)  # keeps the contest
    return _row(out, name, seed, shots, options) | {"seconds": alone.seconds, "mib": alone.mib}


def _row(out: Path, name: str, seed: int, shots: int, options: argparse.Namespace) -> dict[str, Any]:
    from samtailor.bases import load_on
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.data.dataset import open_dataset

    content = json.loads((out / "compare.json").read_text(encoding="utf-8"))
    base, store = load_on(content["base"]["name"], None), EmbeddingCache()
    samples = open_dataset(options.data / name)
    judged = set(content["judged_on"][str(seed)])
    tests = [sample for sample in samples if sample.id in judged][: 10 if options.quick else None]
    folders = content["folders"][str(shots)]
    plm_steps = 0 if options.without_plm else options.steps
    return {
        "set": name, "seed": seed, "shots": shots, "base": content["base"],
        "parts": {
            label: Part(label, out / folder, samples, tests, base, store, plm_steps).row()
            for label, folder in _adapters(folders).items()
        },
        "compare": {row["title"]: row["dice"] for row in content["rows"]},
        "cpu_seconds": {row["title"]: row["cost"]["cpu_seconds"] for row in content["rows"]},
    }  # fmt: skip


def _adapters(folders: Mapping[str, str | None]) -> dict[str, str]:
    """Label of each adapter of a contest to its folder, from the folders of a comparison."""
    split = ((key.split("/", 2), folder) for key, folder in folders.items())
    return {label: folder for (title, _, label), folder in split if title == "auto" and folder is not None}


def _rows(out: Path) -> list[dict[str, Any]]:
    """The finished runs; methods that were not run beside `auto` have the Dice of results/few-shot-8.json."""
    rows = [json.loads(file.read_text(encoding="utf-8")) for file in sorted((out / "rows").glob("*.json"))]
    return [row | {"compare": _earlier(row) | row["compare"]} for row in rows]


def _earlier(row: Mapping[str, Any]) -> dict[str, float]:
    """Dice of other methods with the same base, data set, seed and number of masks."""
    known = results.read("few-shot-8")
    table = known.tables.get(row["set"])
    if table is None or known.base is None or known.base.fingerprint != row["base"]["fingerprint"]:
        return {}
    if row["seed"] not in known.seeds:
        return {}
    place, found = known.seeds.index(row["seed"]), {}
    for key, cells in table.rows.items():
        shots, _, method = key.partition("-")
        dice = cells.get("dice")
        if shots == str(row["shots"]) and isinstance(dice, results.Figure) and dice.seeds:
            found[method] = dice.seeds[place] / 100
    return found


def _save(rows: Sequence[Mapping[str, Any]], options: argparse.Namespace) -> None:
    prints = {row["base"]["fingerprint"] for row in rows}
    if len(prints) != 1:
        raise SystemExit(f"{options.out} holds runs with several base models ({prints}): measure all of them again.")
    results.save(
        "auto",
        tables(rows),
        title=TITLE,
        units=UNITS,
        notes=NOTES,
        base=BaseModelUsed(name=rows[0]["base"]["name"], fingerprint=prints.pop()),
        seeds=sorted({row["seed"] for row in rows}),
        file=options.results,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--detectors", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", default="auto,tailor,am-sam,blo-sam")
    parser.add_argument("--shots", default="4,8,16")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--budget", default="2m", help="of each contest")
    parser.add_argument("--workers", type=int, default=2, help="processes of each contest")
    parser.add_argument("--steps", type=int, help="of tailor and PLM; default: their own")
    parser.add_argument("--without-plm", action="store_true", help="compare clicks with the base model only")
    parser.add_argument("--set", action="append", default=[], help="METHOD.SETTING=VALUE, as of `compare --set`")
    parser.add_argument("--only", type=lambda text: text.split(","), help="data sets to measure")
    parser.add_argument("--quick", action="store_true", help="one small run per set, to try the tool; no results")
    parser.add_argument("--table", action="store_true", help="only write the results of finished runs")
    results.add_option(parser, "auto")
    if "--quick" in sys.argv[1:]:
        parser.set_defaults(**QUICK)
    return parser.parse_args()


if __name__ == "__main__":
    main()
