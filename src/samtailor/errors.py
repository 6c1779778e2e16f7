"""The exceptions a user can meet. The command line prints them without a traceback and exits with code 2.

Every message says what was expected, what came, and what to do about it.
"""

from __future__ import annotations


class SamtailorError(Exception):
    """Base of every error that samtailor raises on purpose."""


class InputError(SamtailorError, ValueError):
    """An argument, prompt, image or option is not what was expected."""


class DataError(SamtailorError, ValueError):
    """A data set cannot be read as the layout it was taken for."""


class ArtefactError(SamtailorError, ValueError):
    """An adapter on disk is missing, damaged, or belongs to another base model."""


class BaseUnavailableError(SamtailorError, OSError):
    """The weights of a base model are neither on this machine nor to be had from the hub."""


class MissingExtraError(SamtailorError, ImportError):
    """An optional dependency is needed; the message names the extra to install."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A count in a message: "1 mask", "2 masks", "0 masks"; `plural` for a noun that takes more than an s."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
