"""Read damaged files with every reader and write the table of docs/reference/reliability.md.

    PYTHONPATH=src python tools/measure_fuzzing.py --inputs 4000

A quarter of the inputs is made by Hypothesis, the others are seeded mutations of valid files. Each reader runs in a
process of its own with limited memory. Foreign exceptions are all that are not errors of samtailor.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor, as_completed

import results
from fuzz.readers import READERS
from fuzz.run import run_apart

TABLES = {"proposals": "adapters", "adapter": "adapters", "pth": "bases", "base": "bases"}
"""Tables of readers that build a model for each input, and may have been measured with other numbers of inputs."""


def main() -> None:
    """Measure all readers, or those of `--only`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="readers at the same time")
    parser.add_argument("--only", nargs="+", choices=sorted(READERS), default=list(READERS))
    results.add_option(parser, "fuzzing")
    args = parser.parse_args()
    with ThreadPoolExecutor(args.jobs) as pool:  # each thread waits for processes
        running = {pool.submit(run_apart, name, args.inputs, args.seed): name for name in args.only}
        for done in as_completed(running):
            name, outcome = running[done], done.result()
            row = {
                "reader": READERS[name].label,
                "inputs": outcome.inputs,
                "generated": outcome.generated,
                "refused": outcome.refused,
                "foreign": sum(outcome.foreign.values()),
                "crashes": outcome.crashes + outcome.hangs,
                "seconds": round(outcome.seconds, 3),
                "megabytes": round(outcome.bytes / 1e6, 1),
            }
            print(name, row, *outcome.examples[:20], sep="\n  ", flush=True)
            _save(args, {name: row})


def _save(args: argparse.Namespace, rows: dict[str, dict[str, object]]) -> None:
    """Write rows beside those of the same seed, in the order of `READERS`; readers of models have their own tables."""
    (name,) = rows
    key = TABLES.get(name, "main")
    if args.results.is_file():
        before = results.Result.model_validate_json(args.results.read_text(encoding="utf-8"))
        if before.seeds == (args.seed,) and key in before.tables:
            rows = {**before.tables[key].rows, **rows}
    rows = {name: rows[name] for name in READERS if name in rows}
    titles = {
        "reader": "Reader",
        "inputs": "Inputs",
        "generated": "by Hypothesis",
        "refused": "Refused in words",
        "foreign": "Foreign exceptions",
        "crashes": "Crashes and hangs",
        "seconds": "Worst CPU time, s",
        "megabytes": "Memory, MB",
    }
    digits = {"seconds": 3, "megabytes": 1}
    columns = tuple(results.Column(key=key, label=label, digits=digits.get(key)) for key, label in titles.items())
    note = "Inputs that are neither refused nor a fault are still valid. Memory: growth over all inputs."
    table = results.Table(columns=columns, rows=rows, note=note)
    results.save("fuzzing", {key: table}, title="Damaged files", units="", base=None, seeds=(args.seed,),
                 file=args.results)  # fmt: skip


if __name__ == "__main__":
    main()
