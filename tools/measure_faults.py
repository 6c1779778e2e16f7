"""Let writes fail in named ways, continue as a user would, and write the table of docs/reference/reliability.md.

    PYTHONPATH=src python tools/measure_faults.py --faults 1000

The faults are described in `tools/faults/inject.py`, the operations in `tools/faults/scenes.py`.
"""

from __future__ import annotations

import argparse

import results
from faults.inject import FAULTS
from faults.run import try_faults
from faults.scenes import SCENES

SHARES = {"page": 0.38, "export": 0.15, "label": 0.15, "cache": 0.15, "compare": 0.1, "fit": 0.05, "onnx": 0.02}
"""Share of the faults of each scene; a fit takes a second."""


def main() -> None:
    """Try the faults of all scenes, or of those of `--only`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=sorted(SCENES), default=list(SCENES))
    results.add_option(parser, "faults")
    args = parser.parse_args()
    rows: dict[str, dict[str, object]] = {}
    if args.results.is_file():  # rows of the same seed that this run does not measure are kept
        before = results.Result.model_validate_json(args.results.read_text(encoding="utf-8"))
        rows = dict(before.tables["main"].rows) if before.seeds == (args.seed,) else {}
    for name in args.only:
        tally = try_faults(name, round(args.faults * SHARES[name]), args.seed)
        row = {"scene": SCENES[name].label, **{fault: tally.tried[fault] for fault in FAULTS}}
        rows[name] = row | {"complete": tally.complete, "refused": tally.refused, "wrong": len(tally.wrong)}
        print(rows[name], *tally.wrong[:10], sep="\n  ", flush=True)
    titles = {"scene": "Operation", **{name: f"`{name}`" for name in FAULTS}}
    titles |= {"complete": "Complete after repeating", "refused": "Damage named in words", "wrong": "Lost or wrong"}
    columns = tuple(results.Column(key=key, label=label, digits=None) for key, label in titles.items())
    rows = {name: rows[name] for name in SCENES if name in rows}
    table = results.Table(columns=columns, rows=rows)
    results.save("faults", {"main": table}, title="Faults", units="", base=None, seeds=(args.seed,), file=args.results)


if __name__ == "__main__":
    main()
