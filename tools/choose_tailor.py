"""Try settings of `tailor` on training images alone: fit on shots, judge on other training images.

    python tools/choose_tailor.py --data DATA --out RUNS --shots 64 [--seed 0] [--only humans,plates]
        [--variant NAME=KEY:VALUE,KEY:VALUE ...]

DATA holds the sets of `measure_few_shot.py` as folders. The fifth of each set that `samtailor compare` judges on with
this seed is put aside unseen. Of the other images up to 24 judge (at most a third), and the shots come from the rest;
where that has fewer, all of it is fitted on. Always there: the defaults. A variant changes settings of the fit, those
with `options.` before them of the method: `one=options.members:1,steps:150`. Hair and nose of faces are sets of their
own. Prints Dice of one region an image, percent, as a table in Markdown; RUNS keeps the fits (resumable) and
RUNS/choose.json the figures.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from samtailor.bases import load_on
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.compare import compare, deal
from samtailor.compare.folds import settled
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
JUDGES = 24


def main() -> None:
    options = _options()
    base, store = load_on(options.base, None), EmbeddingCache()
    file = options.out / "choose.json"
    figures = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    for name in options.only or SETS:
        figures[name] = _tried(name, options, base, store)
        write_json(file, figures)
    print(_table(figures))


def _tried(name: str, options: argparse.Namespace, base: Any, store: EmbeddingCache) -> dict[str, Any]:
    about = SETS[name]
    samples = open_dataset(options.data / about.get("folder", name), group=about.get("group"))
    classes = list(about.get("classes") or ()) or None
    settings = FitConfig(base=options.base, method="tailor", val=0, trackers=())
    first = deal(samples, settings, options.seed, classes)
    pool = first.split.pick(samples, "train")
    judges = min(JUDGES, len(pool) // 3)
    second = deal(pool, settled(settings, test=judges), options.seed, classes)
    fitted = second.split.pick(pool, "train")
    count = min(options.shots, sum(bool(sample.of(classes)) for sample in fitted))
    runs = {"defaults": settings} | {label: settled(settings, **own) for label, own in options.variant}
    found = compare(
        runs,
        options.out / f"{name}-{options.shots}-{options.seed}",
        base,
        fitted,
        second.held_out,
        seeds=[options.seed],
        shots=count,
        classes=classes,
        store=store,
    )
    dice = {label: 100 * row["dice"] for label, row in found.summary().items()}
    print(name, count, {label: round(value, 1) for label, value in dice.items()}, flush=True)
    return {"shots": count, "judged": len(second.held_out), "dice": dice}


def _table(figures: dict[str, Any]) -> str:
    labels = list(dict.fromkeys(label for one in figures.values() for label in one["dice"]))
    lines = ["| | " + " | ".join(f"{name} ({one['shots']})" for name, one in figures.items()) + " | mean |"]
    lines.append("|---" * (len(figures) + 2) + "|")
    for label in labels:
        values = [one["dice"].get(label) for one in figures.values()]
        mean = f"{sum(values) / len(values):.1f}" if None not in values else ""
        cells = " | ".join("" if value is None else f"{value:.1f}" for value in values)
        lines.append(f"| {label} | {cells} | {mean} |")
    return "\n".join(lines)


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
    parser.add_argument("--base", default="nano")
    parser.add_argument("--shots", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=lambda text: text.split(","))
    parser.add_argument("--variant", type=_variant, action="append", default=[])
    return parser.parse_args()


if __name__ == "__main__":
    main()
