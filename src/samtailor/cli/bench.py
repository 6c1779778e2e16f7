"""`samtailor bench`: measure the speed of this machine, beside what one would run instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from samtailor.cli import options

if TYPE_CHECKING:
    from samtailor.bench import Report


def bench_command(
    base: options.Base = "lite",
    only: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="Groups: encode, prompts, images, label, fit. Default: all but fit, which takes minutes on a CPU.",
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, metavar="N", help="Rounds of each way; the median is reported.")] = 5,
    images: Annotated[int, typer.Option(min=1, metavar="N", help="Image files of the group label.")] = 8,
    compile: Annotated[
        bool, typer.Option("--compile", help="Also run the encoder with torch.compile, which needs a C++ compiler.")
    ] = False,
    device: options.Device = None,
    json: options.Json = None,
) -> None:
    """Encoder, decoder, whole images, labeling and fitting on this machine, as ratios that alternate in one run.

    The first row of each group is what one would run instead. Floors are of the measured rate of a matrix product and
    the measured bandwidth of the memory.
    """
    from samtailor.bases import load_on
    from samtailor.bench import run
    from samtailor.bench.suite import DEFAULT
    from samtailor.cli.screen import say
    from samtailor.data.writing import write_json

    groups = options.listed(only) if only is not None else DEFAULT
    report = run(
        load_on(base, device), groups=groups, rounds=rounds, images=images, compiled=compile,
        progress=lambda name: say(f"Measuring {name} ..."),
    )  # fmt: skip
    _print(report)
    if json is not None:
        write_json(json, report.to_json())
        say(f"The figures are in {json}.")


def _print(report: Report) -> None:
    from samtailor.cli.screen import say, table

    machine = report.machine
    rates = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {name}" for name, rate in machine.rates.items())
    say(f"{machine.name}, {machine.threads} threads: {rates}, memory {machine.bandwidth / 1e9:.0f} GB/s.")
    head = ["", "ms", "CPU ms", "times as fast", "by CPU time", "floor, ms", "multiple of the floor"]
    for group in dict.fromkeys(row.group for row in report.rows):
        rows = [
            [
                row.name + (f" ({row.note})" if row.note else ""),
                f"{1e3 * row.seconds:.1f}", f"{1e3 * row.cpu_seconds:.1f}", f"{row.ratio:.2f}", f"{row.cpu_ratio:.2f}",
                "" if row.floor is None else f"{1e3 * row.floor:.2f}",
                "" if row.distance is None else f"{row.distance:.1f}",
            ]
            for row in report.rows
            if row.group == group
        ]  # fmt: skip
        table(f"{group[:1].upper()}{group[1:]}", head, rows)
    for name, reason in report.left_out.items():
        say(f"Left out: {name}: {reason}.")
