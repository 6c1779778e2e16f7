"""Write docs/cli.md from the command line itself: python tools/make_cli_docs.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from samtailor.cli import app
from samtailor.cli.group import Command

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
INTRO = """# Command line

Generated from the program by `tools/make_cli_docs.py`; do not edit. Results are printed on standard output, messages
and progress on standard error. Files are written completely or not at all.

Exit codes: 0 success, 1 `check` found errors or `label` could not read an image, 2 wrong input (one message on standard
error), 130 stopped with Ctrl-C.
"""


def page() -> str:
    """The whole page."""
    root = typer.main.get_command(app)
    sections = []
    for name, command in root.commands.items():
        inner = getattr(command, "commands", None)
        sections += [(f"samtailor {name}", command)]
        sections += [(f"samtailor {name} {sub}", one) for sub, one in (inner or {}).items()]
    parts = [INTRO, "| command | |\n|---|---|"]
    parts[1] += "".join(f"\n| [`{title}`](#{title.replace(' ', '-')}) | {_short(c)} |" for title, c in sections)
    return "\n".join([*parts, "", *(_section(title, command) for title, command in sections)])


def _short(command: Any) -> str:
    return (command.short_help or command.help or "").strip().split("\n")[0]


def _section(title: str, command: Any) -> str:
    if isinstance(command, Command):
        command.fill_in_names()
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    names = " ".join(a.metavar or a.name.upper() for a in arguments)
    lines = [f"## {title}", "", (command.help or "").strip(), ""]
    if getattr(command, "commands", None):
        return "\n".join(lines)
    lines += ["```", f"{title} [OPTIONS] {names}".strip(), "```", ""]
    rows = [_row(p) for p in command.params if p.param_type_name == "argument" and getattr(p, "help", None)]
    rows += [_row(p) for p in command.params if p.param_type_name == "option" and p.name != "help"]
    return "\n".join([*lines, "| | | default |", "|---|---|---|", *rows, ""])


def _row(parameter: Any) -> str:
    flag = bool(getattr(parameter, "is_flag", False))
    metavar = "" if flag else f" {parameter.metavar}"
    name = parameter.metavar if parameter.param_type_name == "argument" else ", ".join(parameter.opts) + metavar
    default = "required" if parameter.required else "" if parameter.default in (None, False) else parameter.default
    default = f"`{default}`" if default not in ("", "required") else default
    text = (parameter.help or "").replace("|", "\\|")
    return f"| `{name.replace('|', chr(92) + '|')}` | {text} | {default} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE} is written.")
