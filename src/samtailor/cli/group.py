"""Behavior that all commands share: error messages, exit codes, notes, renamed flags, and help texts with names.

Help texts may contain `{methods}`, `{writers}` and so on (any kind of `registry.KINDS`, and `{recipes}`). The names
are read from the registry when the help is printed, so that plug-ins are listed and nothing is imported before.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from samtailor.errors import SamtailorError, fault_in_words
from samtailor.registry import KINDS, names

_BETWEEN = "\x1f"  # the unit separator of ASCII, which no file name has


class Command(TyperCommand):
    """A command whose help texts list the names of the registry, and that accepts flags by their old names.

    An option whose metavar is several words (`--like PHOTO MARK`) takes as many values; see `words_of`.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Replace old flags before parsing."""
        known = {flag for parameter in self.get_params(ctx) for flag in (*parameter.opts, *parameter.secondary_opts)}
        several = {flag: count for one in self.get_params(ctx) if (count := _count(one)) > 1 for flag in one.opts}
        return super().parse_args(ctx, joined_words(renamed_flags(args, known), several))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help text."""
        self.fill_in_names()
        super().format_help(ctx, formatter)

    def fill_in_names(self) -> None:
        """Replace `{methods}` and the like in the help texts of all parameters."""
        for parameter in self.params:
            text = getattr(parameter, "help", None)
            if text and "{" in text:
                parameter.help = with_names(text)  # type: ignore[attr-defined]


class Group(TyperGroup):
    """A group of commands. An expected error is one message without a traceback; the exit code is 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        _print_notices()
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show
        try:
            return super().invoke(ctx)
        except SamtailorError as error:
            _message("Error", str(error), "bold red")
            raise typer.Exit(2) from error
        except KeyboardInterrupt as stopped:  # an interrupted fit says how to continue
            _message("Stopped", str(stopped) or "by Ctrl-C.", "bold yellow")
            raise typer.Exit(130) from None
        except BrokenPipeError:  # `samtailor ... | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except Exception as error:
            words = fault_in_words(error)
            if words is None:
                raise
            _message("Error", words, "bold red")
            raise typer.Exit(2) from error

    def list_commands(self, ctx: Any) -> list[str]:
        """Commands in the order in which they were added, not in alphabetical order."""
        return list(self.commands)


def renamed_flags(arguments: Sequence[str], known: Collection[str] = ()) -> list[str]:
    """Arguments with flags under their present names; one note on standard error for each old flag.

    Args:
        arguments: of the command line.
        known: flags that the command has, which are never replaced.
    """
    if all(not argument.startswith("--") or argument.partition("=")[0] in known for argument in arguments):
        return list(arguments)
    from samtailor.structures.renames import FLAGS  # imports numpy: only if a flag is unknown

    renamed: list[str] = []
    for position, argument in enumerate(arguments):
        if argument == "--":
            return [*renamed, *arguments[position:]]
        flag, equals, value = argument.partition("=")
        if flag in FLAGS and flag not in known:
            _message("Note", f"{flag} is now called {FLAGS[flag]}. The old name works until version 0.3.", "yellow")
            flag = FLAGS[flag]
        renamed.append(f"{flag}{equals}{value}")
    return renamed


def joined_words(arguments: Sequence[str], several: Mapping[str, int]) -> list[str]:
    """Arguments in which the values of an option with several values are one; the parser knows one value per option.

    Args:
        arguments: of the command line.
        several: number of values by flag.
    """
    joined: list[str] = []
    rest = list(arguments)
    while rest:
        joined.append(word := rest.pop(0))
        if word == "--":
            break
        values: list[str] = []
        while rest and len(values) < several.get(word, 0) and not rest[0].startswith("--"):
            values.append(rest.pop(0))
        joined += [_BETWEEN.join(values)] if values else []
    return joined + rest


def words_of(value: str) -> list[str]:
    """The values that were given to an option with several values."""
    return value.split(_BETWEEN)


def _count(parameter: Any) -> int:
    """Number of values of an option."""
    return len((parameter.metavar or "").split())


def with_names(text: str) -> str:
    """A help text in which `{methods}` and the like are replaced by the names of the registry."""
    return re.sub(r"\{(\w+)\}", lambda match: ", ".join(_names(match[1])) or match[0], text)


def _names(kind: str) -> list[str]:
    if kind == "recipes":
        from samtailor.compare.recipes import recipe_names

        return recipe_names()
    return names(kind) if kind in KINDS else []


class _Notices(logging.Handler):
    """Prints warnings of the package on standard error, above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        _message("Note", record.getMessage(), "yellow")


def _print_notices() -> None:
    logger = logging.getLogger("samtailor")
    if not any(isinstance(handler, _Notices) for handler in logger.handlers):
        logger.addHandler(_Notices(logging.WARNING))
        logger.propagate = False


def _message(word: str, text: str, style: str) -> None:
    from rich.text import Text

    from samtailor.cli.screen import errors

    errors().print(Text.assemble((f"{word}: ", style), text), soft_wrap=True)


__all__ = ["Command", "Group", "joined_words", "renamed_flags", "with_names", "words_of"]
