"""The adapters in a folder: one, or one for each class of a fit with `per_class`."""

from __future__ import annotations

from pathlib import Path

from samtailor.artefact.metadata import METADATA


def members(source: str | Path) -> dict[str, str]:
    """Adapters that a source stands for, by the names of their folders; empty for a folder without any.

    Args:
        source: folder of an adapter, folder of a fit with `per_class` (with one adapter in each folder below it), or
            hub id.

    Returns:
        name to folder or hub id. An adapter itself, and a hub id, has the last part of its path as its name.
    """
    folder = Path(source)
    if not folder.is_dir() or (folder / METADATA).is_file():
        return {(folder.resolve() if folder.is_dir() else folder).name: str(source)}
    return {file.parent.name: str(file.parent) for file in sorted(folder.glob(f"*/{METADATA}"))}


def named_members(name: str, source: str | Path) -> dict[str, str]:
    """`members` of a source that was given a name: it itself, or NAME-CLASS for each of several.

    A folder without an adapter is returned as it is, so that the error of reading it says what is missing.
    """
    inside = members(source)
    if (len(inside) == 1 and str(source) in inside.values()) or not inside:
        return {name: str(source)}
    return {f"{name}-{member}": folder for member, folder in inside.items()}


__all__ = ["members", "named_members"]
