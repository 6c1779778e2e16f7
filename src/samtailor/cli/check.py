"""`samtailor check`: find errors in a data set before fitting."""

from __future__ import annotations

from typing import Annotated

import typer

from samtailor.cli import options


def check_command(
    data: options.Data,
    format: options.Format = None,
    classes: options.Classes = None,
    group: options.GroupRule = None,
    setting: options.DataSetting = None,
    json: options.Json = None,
    html: options.Html = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with code 1 on warnings too.")] = False,
) -> None:
    """Read a whole data set and report errors, warnings and statistics.

    Exit code 0: no errors; 1: errors (with --strict also warnings).
    """
    from samtailor.cli.screen import results, say
    from samtailor.data.check import check
    from samtailor.data.writing import write_json

    more = options.data_options(setting) | ({} if group is None else {"group": group})
    chosen = options.names(classes)
    report = check(data, format, classes=chosen, **more)
    text = report.render()
    results().print(text, markup=False, soft_wrap=True)
    if " option " in text:
        say("Options are given as --set data_options.NAME=VALUE, in every command that reads the data.")
    if json is not None:
        write_json(json, report.to_json())
    if html is not None:
        from samtailor.data.dataset import open_dataset
        from samtailor.report.thumbnails import write_contact_sheet

        opened = report.images > 0
        write_contact_sheet(
            html, report, open_dataset(data, format=report.format, classes=chosen, **more) if opened else []
        )
        say(f"The contact sheet is in {html}.")
    has_warnings = any(finding.severity == "warning" for finding in report.findings)
    if not report.ok or (strict and has_warnings):
        raise typer.Exit(1)
