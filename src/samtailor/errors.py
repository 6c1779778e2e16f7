"""Exceptions for users. The command line prints them without a traceback and exits with code 2.

Every message states what was expected, what was given, and what to do.
"""

from __future__ import annotations


class SamtailorError(Exception):
    """Base class of all errors that samtailor raises."""


class InputError(SamtailorError, ValueError):
    """An argument, prompt, image or option is invalid."""


class DataError(SamtailorError, ValueError):
    """A data set cannot be read in its layout."""


class ArtefactError(SamtailorError, ValueError):
    """An adapter on disk is missing, damaged, or belongs to another base model."""


class BaseUnavailableError(SamtailorError, OSError):
    """The weights of a base model or of a companion are neither on this machine nor available from the hub."""


class MissingExtraError(SamtailorError, ImportError):
    """An optional dependency is missing; the message names the extra to install."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun: "1 mask", "2 masks", "0 masks"; `plural` for irregular nouns."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
