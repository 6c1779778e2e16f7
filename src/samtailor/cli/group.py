"""What every command shares at its door: errors in words, Ctrl-C, notices."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from samtailor.errors import SamtailorError


class Group(TyperGroup):
    """A group of commands that tells a user's mistake in one message, without a traceback, with exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        _listen_to_notices()
        try:
            return super().invoke(ctx)
        except SamtailorError as error:
            _say("Error", str(error), "bold red")
            raise typer.Exit(2) from error
        except KeyboardInterrupt as stopped:  # a fit says how to go on
            _say("Stopped", str(stopped) or "by Ctrl-C.", "bold yellow")
            raise typer.Exit(130) from None
        except BrokenPipeError:  # `samtailor ... | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order in which a user meets them, not the alphabet's."""
        return list(self.commands)


class _Notices(logging.Handler):
    """What readers of data put right by themselves goes to standard error, beside the progress bar, not into it."""

    def emit(self, record: logging.LogRecord) -> None:
        _say("Note", record.getMessage(), "yellow")


def _listen_to_notices() -> None:
    logger = logging.getLogger("samtailor")
    if not any(isinstance(handler, _Notices) for handler in logger.handlers):
        logger.addHandler(_Notices(logging.WARNING))
        logger.propagate = False


def _say(word: str, text: str, style: str) -> None:
    from rich.text import Text

    from samtailor.cli.screen import errors

    errors().print(Text.assemble((f"{word}: ", style), text), soft_wrap=True)
