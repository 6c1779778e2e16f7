"""What a project is, beside its images: the classes of its objects and the base, in `project.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from samtailor.errors import DataError, InputError

COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#f032e6", "#9a6324", "#808000", "#42a5f5",
           "#ffe119", "#aaffc3")  # fmt: skip
"""Of classes that come without one, in turn."""


class Class(BaseModel):
    """A class of objects; its name can be a folder's."""

    model_config = ConfigDict(extra="forbid")

    name: str
    color: str = ""

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        name = name.strip()
        if not 1 <= len(name) <= 64 or not name.isprintable() or set(name) & set('/\\:*?"<>|') or name[0] == ".":
            raise ValueError('a class has 1 to 64 characters, none of / \\ : * ? " < > | and no dot first')
        return name

    @field_validator("color")
    @classmethod
    def _hexadecimal(cls, color: str) -> str:
        if color and (len(color) != 7 or color[0] != "#" or not set(color[1:].lower()) <= set("0123456789abcdef")):
            raise ValueError("a colour is #rrggbb")
        return color


class Settings(BaseModel):
    """project.json.

    Args:
        base: name of the base that adapters are fitted on.
        classes: in their order.
        aliases: earlier name of a class to its name now, for adapters that were fitted before.
        renaming: old name to new while records are being written over.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: int = 1
    base: str
    classes: list[Class] = []
    aliases: dict[str, str] = {}
    renaming: dict[str, str] = {}


def read_settings(home: Path) -> Settings | None:
    """project.json of a project; None where there is none yet.

    Raises:
        DataError: damaged, or of a newer samtailor.
    """
    file = home / "project.json"
    try:
        return Settings.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read. Is it of a newer samtailor? ({type(error).__name__})") from error


def named(name: str) -> Class:
    """A class of that name; anything that is no name is an InputError."""
    try:
        return Class(name=name)
    except ValidationError as error:
        raise InputError(f"{name[:80]!r}: {error.errors()[0]['msg']}.") from error


def coloured(one: Class, index: int) -> Class:
    """The class with a colour; the next one of `COLOURS` where it has none."""
    return one if one.color else Class(name=one.name, color=COLOURS[index % len(COLOURS)])


def aliases(old: Mapping[str, str], renamed: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """Every earlier name to the present one; names that are in use again stand for themselves."""
    found = {earlier: renamed.get(now, now) for earlier, now in old.items()} | dict(renamed)
    return {earlier: now for earlier, now in found.items() if earlier not in names}


__all__ = ["COLOURS", "Class", "Settings", "aliases", "coloured", "named", "read_settings"]
