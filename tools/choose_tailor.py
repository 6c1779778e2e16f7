"""Try settings of `tailor` on training images alone: fit on a few, evaluate on other training images.

    python tools/choose_tailor.py --data DATA --out RUNS --shots 64 [--seeds 0,1] [--only humans,plates]
        [--variant NAME=KEY:VALUE,KEY:VALUE ...] [--table steps]

DATA holds the data sets of `measure_few_shot.py` as folders. The fifth of each set that `samtailor compare` evaluates
on with a seed is set aside. Up to 24 of the other images (at most a third) are for evaluation, and the training
images come from the rest; a set with fewer images is fitted on all of them. The defaults are always measured. A variant
changes settings of the fit; those that begin with `options.` are of the method: `one=options.members:1,steps:150`. Hair
and nose of faces are sets of their own. Writes Dice of one region per image without a prompt, and the CPU seconds of a
fit, to table `TABLE-SHOTS` of results/tailor-trials.json, and Dice of single objects for a click at their center to
`TABLE-SHOTS-clicks`; RUNS keeps the fits (resumable) and RUNS/choose.json the figures.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import results
from results import Cell, Column, Figure, Table
from samtailor.bases import load_on
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.compare import compare, split_for_seed
from samtailor.compare.seed_split import with_settings
from samtailor.data.dataset import open_dataset
from samtailor.data.writing import write_json
from samtailor.train.config import FitConfig

FACES = {"group": r"regex:personne\d\d"}
SETS: dict[str, dict[str, Any]] = {
    "humans": {},
    "lesions": {},
    "plates": {},
    "nuclei": {},
    "facades": {"classes": ("signboard",)},
    "hair": {"folder": "face_parts", "classes": ("hair",), **FACES},
    "nose": {"folder": "face_parts", "classes": ("nose",), **FACES},
}
TITLES = {"humans": "People", "lesions": "Skin lesions", "plates": "Licence plates", "nuclei": "Cell nuclei"}
TITLES |= {"facades": "Signboards", "hair": "Hair", "nose": "Nose"}
JUDGES = 24


def main() -> None:
    options = _options()
    base, store = load_on(options.base, None), EmbeddingCache()
    file = options.out / "choose.json"
    figures = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    for name in options.only or SETS:
        for seed in options.seeds:
            figures[f"{name}/{seed}"] = _tried(name, seed, options, base, store)
            write_json(file, figures)
    results.save(
        "tailor-trials",
        {f"{options.table}-{options.shots}{end}": _table(figures, options, end) for end in ("", "-clicks")},
        title="`tailor`: what was tried",
        units="Dice in percent of one region per image, unless the table says otherwise",
        notes=["Cross-validation inside the training part of each set; the held-out fifth was not touched."],
        base=base,
        seeds=options.seeds,
        file=options.results,
    )


def _tried(name: str, seed: int, options: argparse.Namespace, base: Any, store: EmbeddingCache) -> dict[str, Any]:
    about = SETS[name]
    samples = open_dataset(options.data / about.get("folder", name), group=about.get("group"))
    classes = list(about.get("classes") or ()) or None
    settings = FitConfig(base=options.base, method="tailor", val=0, trackers=())
    first = split_for_seed(samples, settings, seed, classes)
    pool = first.split.pick(samples, "train")
    judges = min(JUDGES, len(pool) // 3)
    second = split_for_seed(pool, with_settings(settings, test=judges), seed, classes)
    fitted = second.split.pick(pool, "train")
    count = min(options.shots, sum(bool(sample.of(classes)) for sample in fitted))
    runs = {"defaults": settings} | {label: with_settings(settings, **own) for label, own in options.variant}
    out = options.out / f"{name}-{options.shots}-{seed}"
    how: dict[str, Any] = {"seeds": [seed], "shots": count, "classes": classes, "store": store}
    dice = {}
    for end, regions in (("", True), ("-clicks", False)):  # the second time the fits are there
        found = compare(runs, out, base, fitted, second.held_out, regions=regions, **how)
        dice["dice" + end] = {label: 100 * row["dice"] for label, row in found.summary().items()}
    spent = {key.split("/")[0]: cost.cpu_seconds for key, cost in found.costs.items() if cost is not None}
    print(name, seed, count, dice, spent, flush=True)
    return {"shots": count, "judged": len(second.held_out), **dice, "cpu_seconds": spent}


def _table(figures: dict[str, Any], options: argparse.Namespace, end: str) -> Table:
    """Rows are variants, columns are sets; with several seeds each cell has the mean and the seeds."""
    names = list(options.only or SETS)
    runs = {name: [figures[f"{name}/{seed}"] for seed in options.seeds] for name in names}
    columns = [Column(key="what", label="")]
    columns += [Column(key=name, label=f"{TITLES[name]} ({runs[name][0]['shots']})") for name in names]
    columns += [Column(key="mean", label="Mean"), Column(key="seconds", label="Fit, CPU seconds", digits=0)]
    rows: dict[str, dict[str, Cell]] = {}
    for label in ["defaults", *(label for label, _ in options.variant)]:
        values = {name: [run["dice" + end][label] for run in runs[name]] for name in names}
        spent = [run["cpu_seconds"].get(label) for name in names for run in runs[name]]
        rows[label.lower()] = {"what": label} | {name: _cell(each) for name, each in values.items()}
        rows[label.lower()]["mean"] = round(sum(map(sum, values.values())) / sum(map(len, values.values())), 2)
        known = [one for one in spent if one is not None]
        rows[label.lower()]["seconds"] = round(sum(known) / len(known), 1) if len(known) == len(spent) else None
    title = f"{options.table.capitalize()}, {options.shots} masks" + (", one click" if end else "")
    return Table(title=title, columns=tuple(columns), rows=rows, best_row=(*names, "mean"))


def _cell(values: list[float]) -> Cell:
    rounded = tuple(round(value, 2) for value in values)
    return rounded[0] if len(rounded) == 1 else Figure(value=round(sum(values) / len(values), 2), seeds=rounded)


def _variant(text: str) -> tuple[str, dict[str, Any]]:
    label, _, settings = text.partition("=")
    pairs = [pair.partition(":") for pair in settings.split(",")]
    if not label or not settings or not all(colon and value for _, colon, value in pairs):
        raise argparse.ArgumentTypeError(f"expected NAME=KEY:VALUE,..., got {text!r}")
    given = {key: json.loads(value) for key, _, value in pairs}
    options = {key.removeprefix("options."): given.pop(key) for key in list(given) if key.startswith("options.")}
    return label, {**given, "options": options}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base", default="lite")
    parser.add_argument("--shots", type=int, default=64)
    parser.add_argument("--seeds", type=lambda text: [int(one) for one in text.split(",")], default=[0])
    parser.add_argument("--table", default="steps", help="first part of the name of the table")
    parser.add_argument("--only", type=lambda text: text.split(","))
    parser.add_argument("--variant", type=_variant, action="append", default=[])
    results.add_option(parser, "tailor-trials")
    return parser.parse_args()


if __name__ == "__main__":
    main()
