"""Counts in messages."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """ "1 mask", "2 masks", "0 masks"; `plural` for a noun that takes more than an s ("classes")."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


__all__ = ["counted"]
