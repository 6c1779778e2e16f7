"""Run the cases of public bug reports and write the table of docs/reference/reliability.md.

    python tools/measure_cases.py CASES

CASES is a folder with a folder for each case. What each must do is in `cases/expected.py`. A case is right, refused in
words (where only a user can decide, or an optional package is missing), silent (something is left out or changed and no
message says so) or wrong. Exit code 1 if a case is silent or wrong, has no expectation, or has no folder.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import results
from cases.expected import EXPECTED, WITHOUT_FOLDER
from cases.judge import VERDICTS, Bench, Case, Finding

ADAPTER = "fit_data_options_mask_suffix"
"""The case whose data are used for the adapter of the others."""


def main() -> None:
    """Run all cases, or those of `--only`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path, help="folder of the cases")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these cases; nothing is written")
    results.add_option(parser, "cases")
    args = parser.parse_args()
    folders = {entry.name for entry in args.cases.iterdir() if entry.is_dir()}
    unknown, missing = sorted(folders - set(EXPECTED)), sorted(set(EXPECTED) - folders - WITHOUT_FOLDER)
    for name in unknown:
        print(f"{name}: no expectation")
    for name in missing:
        print(f"{name}: no folder")
    names = [name for name in EXPECTED if name not in missing and (not args.only or name in args.only)]
    with tempfile.TemporaryDirectory() as text:
        findings = judged({name: EXPECTED[name] for name in names}, args.cases.resolve(), Path(text))
    if not args.only:
        _save(findings, args.results)
    bad = sum(one.verdict in VERDICTS[2:] for one in findings.values())
    print({verdict: sum(one.verdict == verdict for one in findings.values()) for verdict in VERDICTS})
    sys.exit(1 if bad or unknown or missing else 0)


def judged(cases: dict[str, Case], folder: Path, work: Path) -> dict[str, Finding]:
    """The finding on each case; prints those that are not right."""
    adapter = work / "adapter"
    if (folder / ADAPTER).is_dir():
        bench = Bench(folder / ADAPTER, work, adapter)
        status, text = bench.run("fit", "{data}", "--method", "tailor", "--steps", "3", "--out", "{adapter}")
        if status:
            raise SystemExit(f"no adapter: {text}")
    findings = {}
    for name, case in cases.items():
        out = work / name
        out.mkdir()
        findings[name] = case.judged(Bench(folder / name, out, adapter))
        print(f"{name}: {findings[name].verdict} {findings[name].reason}".rstrip(), flush=True)
    return findings


def _save(findings: dict[str, Finding], file: Path) -> None:
    columns = (results.Column(key="case", label="Case", digits=None), results.Column(key="verdict", label="Result"))
    rows = {name: {"case": EXPECTED[name].expected, "verdict": one.verdict} for name, one in findings.items()}
    counts = {verdict: sum(one.verdict == verdict for one in findings.values()) for verdict in VERDICTS}
    total = results.Table(
        columns=(
            results.Column(key="cases", label="Cases", digits=None),
            *(results.Column(key=_key(one), label=one.capitalize(), digits=None) for one in VERDICTS),
        ),
        rows={"all": {"cases": len(findings)} | {_key(one): number for one, number in counts.items()}},
    )
    table = results.Table(columns=columns, rows=rows)
    results.save("cases", {"total": total, "main": table}, title="Cases", units="", base=None, file=file)


def _key(verdict: str) -> str:
    return verdict.replace(" ", "-")


if __name__ == "__main__":
    main()
