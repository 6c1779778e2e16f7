"""One view of each training image against several, on plates and signboards; results/views.json.

    python tools/measure_views.py --data DATA --out RUNS [--views 1 8] [--seeds 0,1,2] [--steps 1000]

Each set and number of views is one `samtailor compare`, kept in RUNS and resumable.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import measure_real
import results
from results import BaseModelUsed, Cell, Column, Table

METHODS = {"SAM+PLM": "plm", "SAM+PLM+PMM": "plm-pmm"}
SETS = {"plates": "Licence plates", "facades": "Signboards"}
VALIDATION = "plates"
"""The set whose validation figures are reported too."""


def main() -> None:
    options = _options()
    test: dict[str, dict[str, Cell]] = {"sam": {"method": "SAM"}}
    validation: dict[str, dict[str, Cell]] = {}
    base = None
    for name in SETS:
        for views in options.views:
            file = measure_real.measure(name, _of(options, views))
            made = json.loads(file.read_text(encoding="utf-8"))
            base = BaseModelUsed(**{key: made["base"][key] for key in ("name", "fingerprint")})
            for method, row in made["methods"].items():
                key, label = _row(method, views)
                cells = test.setdefault(key, {"method": label})
                cells[name] = results.interval(row["miou"], row["miou_interval"])
            if name == VALIDATION:
                validation |= _validation(file.parent, views)
    columns = [Column(key="method", label=""), *(Column(key=key, label=title) for key, title in SETS.items())]
    states = [Column(key="method", label=""), Column(key="kept", label="Selected state")]
    states.append(Column(key="last", label="Last state"))
    results.save(
        "views",
        {
            "test": Table(
                title="Held-out test images, one click", columns=tuple(columns), rows=test, best_row=tuple(SETS)
            ),
            "validation": Table(
                title="Licence plates, validation images that select the state; mean over seeds",
                columns=tuple(states),
                rows=validation,
                best_row=("kept", "last"),
            ),
        },
        title="One view of each training image against eight",
        units="mIoU in percent; brackets: 95 % interval (bootstrap over groups of images)",
        notes=[f"{options.steps} steps."],
        base=base,
        seeds=[int(seed) for seed in options.seeds.split(",") if seed],
        file=options.results,
    )


def _of(options: argparse.Namespace, views: int) -> argparse.Namespace:
    """Options of `measure_real.measure` for this number of views."""
    own = {"out": options.out / f"views-{views}", "set": [f"views={views}"], "base": "lite"}
    return argparse.Namespace(**{**vars(options), **own, "methods": f"sam,{','.join(METHODS.values())}"})


def _row(method: str, views: int) -> tuple[str, str]:
    if method not in METHODS:
        return "sam", method
    return f"{METHODS[method]}-{views}", f"{method}, {'one view' if views == 1 else f'{views} views'}"


def _validation(folder: Path, views: int) -> dict[str, dict[str, Cell]]:
    """mIoU of the start, the selected and the last state on the validation images: mean over the seeds' fits."""
    rows: dict[str, dict[str, Cell]] = {}
    for method in METHODS:
        curves = []
        for file in sorted(folder.glob("fits/**/history.json")):
            if file.parent.name == method.lower().replace("+", "-"):
                held_out = json.loads(file.read_text(encoding="utf-8"))["held_out"]
                curves.append([entry["miou"] for entry in held_out])
        if not curves:
            raise SystemExit(f"{folder}/fits has no history of {method}.")
        key, label = _row(method, views)
        rows["sam"] = {"method": "SAM", "kept": results.percent(statistics.mean(curve[0] for curve in curves))}
        rows[key] = {
            "method": label,
            "kept": results.percent(statistics.mean(map(max, curves))),
            "last": results.percent(statistics.mean(curve[-1] for curve in curves)),
        }
    return rows


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--views", type=int, nargs="+", default=(1, 8))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=1000)
    results.add_option(parser, "views")
    return parser.parse_args()


if __name__ == "__main__":
    main()
