"""How the data set of a fit was read, remembered with the adapter, so that other commands read it the same way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from samtailor.artefact.metadata import AdapterMeta, DataReference
from samtailor.data.dataset import Dataset, detect, layout_options, open_dataset
from samtailor.errors import DataError, InputError


@dataclass(frozen=True)
class ReadingOptions:
    """How to read a data set.

    Args:
        format: name of the layout; None: to be detected.
        options: options of the layout.
        note: a sentence that says which of them the adapter remembers; empty if none is used.
    """

    format: str | None
    options: dict[str, Any] = field(default_factory=dict)
    note: str = ""


def reference(data: Path | None, format: str | None, options: Mapping[str, Any]) -> DataReference:
    """What an adapter remembers of the data set of its fit.

    Absolute paths are not remembered: they mean nothing on another machine, and adapters are shared.

    Args:
        data: folder of the data set; None if the samples were in memory.
        format, options: as given to the fit.
    """
    if format is None and data is not None:
        try:
            format = detect(data)
        except DataError:  # the folder was moved during the fit
            format = None
    return DataReference(format=format, options={k: v for k, v in options.items() if not _leaves(v)})


def reading_options(
    meta: AdapterMeta | None, data: str | Path, format: str | None, given: Mapping[str, Any]
) -> ReadingOptions:
    """How to read a data set for an adapter: as given, and otherwise as the data set of its fit was read.

    What the adapter remembers is used if the data set has the layout of that data set, or a layout that cannot be
    detected.

    Args:
        meta: metadata of the adapter; None without one.
        data: folder of the data set.
        format: layout, if given.
        given: given options of the layout; they take precedence. None as a value resets an option.
    """
    known = None if meta is None else meta.data
    if known is None or (known.format is None and not known.options):
        return ReadingOptions(format, dict(given))
    name, detected = format, True
    if name is None:
        try:
            name = detect(Path(data))
        except DataError:
            name, detected = known.format, False
    if name is None or (known.format is not None and _normalized(name) != _normalized(known.format)):
        note = ""
        if known.options:
            note = f"Not used: the data options of the adapter ({_shown(known.options)}), which was fitted to data in "
            note += f"the format {known.format}; these are {name}."
        return ReadingOptions(format, dict(given), note)
    accepted = layout_options(name)
    remembered = {
        key: value
        for key, value in known.options.items()
        if key in accepted and key not in given and not _leaves(value)
    }
    parts = [f"the format {name}"] if not detected else []
    parts += [f"the data options {_shown(remembered)}"] if remembered else []
    note = f"The data are read with {' and '.join(parts)}, as the adapter was fitted" if parts else ""
    change = " (change with --format)." if not remembered else " (change with --set data_options.NAME=VALUE)."
    return ReadingOptions(name if not detected else format, {**remembered, **given}, note and note + change)


def open_for(
    meta: AdapterMeta | None,
    data: str | Path,
    *,
    format: str | None = None,
    group: str | None = None,
    given: Mapping[str, Any] | None = None,
) -> tuple[Dataset, str]:
    """Open a data set as `reading_options` says: samples, and its note.

    Raises:
        DataError, InputError: as `open_dataset` does; the message ends with the note.
    """
    reading = reading_options(meta, data, format, given or {})
    try:
        return open_dataset(data, format=reading.format, group=group, **reading.options), reading.note
    except (DataError, InputError) as error:
        if not reading.note:
            raise
        raise type(error)(f"{error} {reading.note}") from error


def _leaves(value: Any) -> bool:
    """Whether a value is a path out of the folder of the data set."""
    if not isinstance(value, str):
        return False
    return any(path(value).is_absolute() or ".." in path(value).parts for path in (PurePosixPath, PureWindowsPath))


def _shown(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())


def _normalized(name: str) -> str:
    return name.strip().lower().replace("_", "-")


__all__ = ["ReadingOptions", "open_for", "reading_options", "reference"]
