"""Run every command that reads or writes files under faults of the machine: results/machine-faults.json.

    sudo python tools/measure_machine_faults.py

The faults are in `faults/machine.py`, the commands in `faults/commands.py`. A command under a fault must end with a
message and exit code 2, without a traceback and without an incomplete file in its result; or it does not need what is
missing and ends with exit code 0 and its result. A service that starts gets requests; each must have a result or an
error message. Exit code 1 of the tool: something else happened.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

import results
from faults.commands import COMMANDS, CommandLine, fresh, prepare
from faults.forked import Ending, run
from faults.machine import FAULTS, MachineFault
from faults.visits import Reply

REFUSED, DONE = "refused", "done"
"""Ends with a message and exit code 2 (`check`, `label` and `find`: 1, after they list what cannot be read); or does
what it should, since the fault does not concern it."""


def main() -> None:
    """Try all faults on all commands, or on those of `--only`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(COMMANDS), default=list(COMMANDS))
    parser.add_argument("--faults", nargs="+", choices=list(FAULTS), default=list(FAULTS))
    results.add_option(parser, "machine-faults")
    args = parser.parse_args()
    outcomes: dict[tuple[str, str], str] = {}
    for name, found in tried(args.only, args.faults):
        outcomes |= found
        if args.faults == list(FAULTS):
            _save(name, found, args.results)
    wrong = {key: one for key, one in outcomes.items() if one not in (REFUSED, DONE)}
    for (command, fault), text in wrong.items():
        print(f"{command}, {fault}: {text}")
    print(Counter("wrong" if one not in (REFUSED, DONE) else one for one in outcomes.values()))
    sys.exit(1 if wrong else 0)


def tried(commands: list[str], faults: list[str]) -> Iterator[tuple[str, dict[tuple[str, str], str]]]:
    """What became of each command under each fault: `REFUSED`, `DONE`, or what went wrong. Command by command."""
    with tempfile.TemporaryDirectory() as text:
        os.environ["SAMTAILOR_CACHE"] = str(Path(text) / "cache")
        prepared = prepare(Path(text) / "prepared")
        for name in commands:
            command, outcomes = COMMANDS[name], {}
            for key, fault in (("", MachineFault("none", lambda place: None)), *((one, FAULTS[one]) for one in faults)):
                place = fresh(Path(text) / "work", prepared, fault.result, command)
                ending = run(command.on(place), place, fault, command.visit)
                outcome = _judged(ending, command)
                if key:
                    outcomes[name, key] = outcome
                elif outcome != DONE:
                    raise SystemExit(f"{name} fails without a fault: {outcome}")
                print(name, key or "without a fault", outcome, flush=True)
            yield name, outcomes


def _judged(ending: Ending, command: CommandLine) -> str:
    if "Traceback" in ending.text:
        return f"a traceback: {ending.text[-900:]}"
    if ending.broken:
        return f"incomplete files: {ending.broken}"
    if ending.wrong:
        return f"{ending.wrong}. {ending.text[-600:]}"
    if command.visit and ending.code in (0, 130) and ending.replies:
        return _judged_replies(ending.replies)
    if ending.code == 0 and any(fnmatch(name, command.makes) for name in ending.files):
        return DONE
    if ending.code in (2, command.reports) and re.search("error|could not be read", ending.text, re.IGNORECASE):
        return REFUSED
    return f"exit code {ending.code}: {ending.text[-600:]}"


def _judged_replies(replies: Sequence[Reply]) -> str:
    """A service is `REFUSED` if one of its replies is an error message and the others are results."""
    refused = [reply for reply in replies if reply.status >= 400]
    for reply in refused:
        if not reply.message:
            return f"{reply.request}: status {reply.status}, {str(reply.body)[:300]}"
    return REFUSED if refused else DONE


def _save(name: str, outcomes: dict[tuple[str, str], str], file: Path) -> None:
    """Write the row of a command, beside those of the others in the file."""
    rows: dict[str, dict[str, object]] = {}
    if file.is_file():
        rows = dict(results.Result.model_validate_json(file.read_text(encoding="utf-8")).tables["main"].rows)
    short = {REFUSED: "message", DONE: "done"}
    cells = {fault: short.get(outcomes[name, fault], "WRONG") for fault in FAULTS}
    rows[name] = {"command": f"`{name}`", **cells}
    columns = [results.Column(key="command", label="Command", digits=None)]
    columns += [results.Column(key=key, label=fault.label, digits=None) for key, fault in FAULTS.items()]
    note = (
        "message: one message and exit code 2; of a service, an error message to a request. done: the fault does not "
        "concern the command."
    )
    ordered = {name: rows[name] for name in COMMANDS if name in rows}
    table = results.Table(columns=tuple(columns), rows=ordered, note=note)
    results.save("machine-faults", {"main": table}, title="Faults of the machine", units="", base=None, file=file)


if __name__ == "__main__":
    main()
