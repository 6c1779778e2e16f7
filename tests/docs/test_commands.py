"""Every `samtailor ...` command line in README and documentation is one that the program accepts."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import typer

from samtailor.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
GENERATED = {ROOT / "docs" / "reference" / "cli.md"}  # made from the program itself
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
RECORD = re.compile(r"^Measured with .*$", re.MULTILINE)
INLINE = re.compile(r"`(samtailor [a-z][^`]*)`")


def commands() -> list:
    """Whole command lines in code blocks: continued lines joined, comments and variables in front removed."""
    found = []
    for page in PAGES:
        if page in GENERATED:
            continue
        text = page.read_text(encoding="utf-8")
        blocks = "\n".join(match[3] for match in FENCE.finditer(text) if match[2] in ("", "sh")).replace("\\\n", " ")
        lines = [re.sub(r"^(?:\w+=\S+ +)*", "", line.strip()) for line in blocks.splitlines()]
        lines = [line for line in lines if line.startswith("samtailor ")]
        found += [pytest.param(line, id=f"{name(page)}: {line[:70]}") for line in dict.fromkeys(lines)]
    return found


def mentions() -> list:
    """Commands in running text, which may leave out arguments. Records of measurements are not read."""
    pages = [page for page in PAGES if page not in GENERATED and page.parent.name not in ("measurements", "research")]
    texts = {page: RECORD.sub("", FENCE.sub("", page.read_text(encoding="utf-8"))) for page in pages}
    found = {page: dict.fromkeys(" ".join(one.split()) for one in INLINE.findall(text)) for page, text in texts.items()}
    return [pytest.param(line, id=f"{name(page)}: {line[:70]}") for page, lines in found.items() for line in lines]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the words name, and its arguments."""
    command = typer.main.get_command(app)
    while inner := getattr(command, "commands", None):
        if not words or words[0].startswith("-"):
            break
        assert words[0] in inner, f"there is no command {words[0]!r}"
        command, words = inner[words[0]], words[1:]
    return command, words


def test_the_pages_have_commands():
    assert len(commands()) > 50
    assert len(mentions()) > 30


@pytest.mark.parametrize("line", commands())
def test_the_program_accepts_the_command(line):
    command, words = command_of(shlex.split(line, comments=True)[1:])
    if words != ["--version"]:
        context = command.make_context("samtailor", words)  # parses, and runs nothing
        assert context.command is command


@pytest.mark.parametrize("line", mentions())
def test_the_program_has_the_options_of_a_mention(line):
    command, words = command_of(shlex.split(line)[1:])
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known | {"--help"}
