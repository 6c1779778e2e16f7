"""Read damaged files with every reader and write the table of docs/reference/reliability.md.

    PYTHONPATH=src python tools/measure_fuzzing.py --inputs 4000

A quarter of the inputs is made by Hypothesis, the others are seeded mutations of valid files. Each reader runs in a
process of its own with limited memory. Foreign exceptions are all that are not errors of samtailor.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor

import results
from fuzz.readers import READERS
from fuzz.run import run_apart


def main() -> None:
    """Measure all readers, or those of `--only`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="readers at the same time")
    parser.add_argument("--only", nargs="+", choices=sorted(READERS), default=list(READERS))
    results.add_option(parser, "fuzzing")
    args = parser.parse_args()
    rows = {}
    with ThreadPoolExecutor(args.jobs) as pool:  # each thread waits for processes
        outcomes = pool.map(lambda name: run_apart(name, args.inputs, args.seed), args.only)
        found = dict(zip(args.only, outcomes, strict=True))
    for name, outcome in found.items():
        rows[name] = {
            "reader": READERS[name].label,
            "inputs": outcome.inputs,
            "generated": outcome.generated,
            "refused": outcome.refused,
            "foreign": sum(outcome.foreign.values()),
            "crashes": outcome.crashes + outcome.hangs,
            "seconds": round(outcome.seconds, 3),
            "megabytes": round(outcome.bytes / 1e6, 1),
        }
        print(name, rows[name], *outcome.examples[:20], sep="\n  ", flush=True)
    columns = (
        results.Column(key="reader", label="Reader"),
        results.Column(key="inputs", label="Inputs", digits=None),
        results.Column(key="generated", label="by Hypothesis", digits=None),
        results.Column(key="refused", label="Refused in words", digits=None),
        results.Column(key="foreign", label="Foreign exceptions", digits=None),
        results.Column(key="crashes", label="Crashes and hangs", digits=None),
        results.Column(key="seconds", label="Worst CPU time, s", digits=3),
        results.Column(key="megabytes", label="Memory, MB", digits=1),
    )
    note = "Inputs that are neither refused nor a fault are still valid. Memory: growth over all inputs."
    table = results.Table(columns=columns, rows=rows, note=note)
    results.save(
        "fuzzing", {"main": table}, title="Damaged files", units="", base=None, seeds=(args.seed,), file=args.results
    )


if __name__ == "__main__":
    main()
