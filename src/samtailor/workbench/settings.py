"""Settings of a project in `project.json`: its classes and its base model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from samtailor.data.writing import SEAL, check_seal
from samtailor.errors import DataError, InputError
from samtailor.limits import MALFORMED, parse_json, read_bytes

COLORS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#f032e6", "#9a6324", "#808000", "#42a5f5",
          "#ffe119", "#aaffc3")  # fmt: skip
"""Default colors of classes, used in turn."""
DEFAULT_CLASS = "object"
"""Class of a new project without classes."""


class Class(BaseModel):
    """A class of objects. Its name is also valid as a folder name."""

    model_config = ConfigDict(extra="forbid")

    name: str
    color: str = ""

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        name = name.strip()
        if not 1 <= len(name) <= 64 or not name.isprintable() or set(name) & set('/\\:*?"<>|') or name[0] == ".":
            raise ValueError('a class name has 1 to 64 characters, none of / \\ : * ? " < > | and no leading dot')
        return name

    @field_validator("color")
    @classmethod
    def _check_color(cls, color: str) -> str:
        if color and (len(color) != 7 or color[0] != "#" or not set(color[1:].lower()) <= set("0123456789abcdef")):
            raise ValueError("a color has the form #rrggbb")
        return color


class Settings(BaseModel):
    """Content of project.json.

    Args:
        base: name of the base model that adapters are fitted on.
        classes: in their order.
        aliases: earlier name of a class to its present name, for adapters that were fitted before a renaming.
        renaming: old name to new name while records are being rewritten.
        hidden: files in the images' folder that are not listed as images, such as imported masks.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: int = 1
    base: str
    classes: list[Class] = []
    aliases: dict[str, str] = {}
    renaming: dict[str, str] = {}
    hidden: list[str] = []


def read_settings(home: Path) -> Settings | None:
    """Read project.json of a project folder; None if there is no such file.

    Raises:
        DataError: the file is damaged, or was written by a newer version.
    """
    file = home / "project.json"
    try:
        if not file.exists():
            return None
        values = parse_json(read_bytes(file, "metadata_bytes"), str(file), nested=True)
        settings = Settings.model_validate({key: value for key, value in values.items() if key != SEAL})
        check_seal(values, file)
        return settings
    except (DataError, *MALFORMED) as error:
        reason = type(error).__name__ if isinstance(error, ValidationError) else str(error)[:300]
        raise DataError(
            f"{file} cannot be read ({reason}). It is damaged, or was written by a newer samtailor."
        ) from error


def make_class(name: str) -> Class:
    """A class without a color. Raises InputError for an invalid name."""
    try:
        return Class(name=name)
    except ValidationError as error:
        raise InputError(f"Invalid class name {name[:80]!r}: {error.errors()[0]['msg']}.") from error


def with_color(class_: Class, index: int) -> Class:
    """The class with a color: its own, or number `index` of `COLORS`."""
    return class_ if class_.color else Class(name=class_.name, color=COLORS[index % len(COLORS)])


def updated_aliases(old: Mapping[str, str], renamed: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """Every earlier name to the present name, without names that are in use again."""
    updated = {earlier: renamed.get(now, now) for earlier, now in old.items()} | dict(renamed)
    return {earlier: now for earlier, now in updated.items() if earlier not in names}


__all__ = [
    "COLORS",
    "DEFAULT_CLASS",
    "Class",
    "Settings",
    "make_class",
    "read_settings",
    "updated_aliases",
    "with_color",
]
