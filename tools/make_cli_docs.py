"""Write docs/reference/cli.md from the command line itself: python tools/make_cli_docs.py."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer

from samtailor.cli import app

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"
INTRO = """# Command line

This page is generated from the program by `tools/make_cli_docs.py`. Do not edit it.

Results go to standard output, messages to standard error. Files are written completely or not at all.

| exit code | meaning |
|---|---|
| 0 | success |
| 1 | `check` found errors, or `label` could not read some images |
| 2 | invalid input, or a fault of disk or memory; one message on standard error says what and why |
| 130 | stopped with Ctrl-C |

An option before the command holds for all commands: `samtailor --trust-weights FILE COMMAND ...` lets detector weights
run code that an adapter or a configuration names, see [Reliability](reliability.md#files-from-others).
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
    if (fill := getattr(command, "fill_in_names", None)) is not None:  # names of the registry in help texts
        fill()
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    names = " ".join(a.metavar or a.name.upper() for a in arguments)
    lines = [f"## {title}", "", _linked((command.help or "").strip()), ""]
    if getattr(command, "commands", None):
        return "\n".join(lines)
    lines += ["```", f"{title} [OPTIONS] {names}".strip(), "```", ""]
    rows = [_row(p) for p in command.params if p.param_type_name == "argument" and getattr(p, "help", None)]
    shown = [p for p in command.params if p.param_type_name == "option" and not getattr(p, "hidden", False)]
    rows += [_row(p) for p in shown if p.name != "help"]
    return "\n".join([*lines, "| | | default |", "|---|---|---|", *rows, ""])


def _linked(text: str) -> str:
    """Pages of the documentation become links."""
    return re.sub(r"\bdocs/([\w/-]+\.md)", _link, text)


def _link(match: re.Match[str]) -> str:
    return f"[{match[0]}](../{match[1]})" if (PAGE.parents[1] / match[1]).is_file() else match[0]


def _row(parameter: Any) -> str:
    flag = bool(getattr(parameter, "is_flag", False))
    metavar = "" if flag else f" {parameter.metavar}"
    name = parameter.metavar if parameter.param_type_name == "argument" else ", ".join(parameter.opts) + metavar
    default = "required" if parameter.required else "" if parameter.default in (None, False) else parameter.default
    default = f"`{default}`" if default not in ("", "required") else default
    text = _linked((parameter.help or "").replace("|", "\\|"))
    return f"| `{name.replace('|', chr(92) + '|')}` | {text} | {default} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE} is written.")
