"""Figures of the training of the bundled base against views seen, from its logs; results/base-training.json.

    python tools/record_base_training.py FILE [FILE ...]

FILE is the log of a run (RUN/log.jsonl) or the description beside exported weights (training.json). Each measurement in
it is a row; rows of earlier calls are kept, so that a run whose log is gone keeps its figures. The figures are those
that the training measured itself, on a part of the held-out images (`--held-out` of train_bundled_base.py).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import results
from bundled_base.evaluation import FIGURES, TITLES
from results import Cell, Column, Table


def main() -> None:
    """Read the files and write the result."""
    options = _options()
    found = {entry["images"]: entry["held_out"] for file in options.files for entry in entries(file)}
    if not found:
        sys.exit(f"{', '.join(map(str, options.files))} hold no measurement: no entry has `held_out`.")
    earlier = results.read(options.results.stem, options.results.parent).tables if options.results.is_file() else {}
    tables = {}
    for key, (title, figure) in FIGURES.items():
        kept = earlier[key].rows if key in earlier else {}
        rows = {int(images): row for images, row in kept.items()} | {
            n: _row(n, sets, figure) for n, sets in found.items()
        }
        columns = [Column(key="views", label="Views seen", digits=0)]
        columns += [Column(key=name.replace("_", "-"), label=label) for name, label in TITLES.items()]
        tables[key] = Table(title=title, columns=tuple(columns), rows={str(n): rows[n] for n in sorted(rows)})
    results.save(
        "base-training",
        tables,
        title="Training of the bundled base, by views seen",
        units="mean IoU in percent",
        base=None,
        notes=("Measured during the training on a part of the held-out images.",),
        file=options.results,
    )


def entries(file: Path) -> Iterator[dict]:
    """Measurements of a log or of the description of exported weights.

    Raises:
        SystemExit: the file is neither.
    """
    text = file.read_text(encoding="utf-8")
    try:
        lines = [json.loads(line) for line in text.splitlines()] if file.suffix == ".jsonl" else [json.loads(text)]
    except ValueError as error:
        sys.exit(f"{file} is no log of a training: {error}")
    for line in lines:
        entry = line["held_out"] if "progress" in line else line
        if entry.get("held_out"):
            yield entry


def _row(images: int, sets: dict[str, dict[str, float]], figure: str) -> dict[str, Cell]:
    values = {name.replace("_", "-"): results.percent(sets[name][figure]) for name in TITLES if name in sets}
    return {"views": images} | values


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="log.jsonl of runs, or training.json of exported weights")
    results.add_option(parser, "base-training")
    return parser.parse_args()


if __name__ == "__main__":
    main()
