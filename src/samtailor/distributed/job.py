"""What workers need to do: a task with its options and files, independent of where the driver runs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samtailor.errors import InputError

_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Shipment:
    """Files and folders that workers on other machines get a copy of, such as adapters.

    Args:
        content: name to {relative path: bytes}; a single file has the path "".
    """

    content: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)

    @classmethod
    def of(cls, places: Mapping[str, str | Path]) -> Shipment:
        """Read files and folders by name.

        Raises:
            InputError: more than 2 GB.
        """
        content: dict[str, dict[str, bytes]] = {}
        total = 0
        for name, place in places.items():
            files = [place] if (place := Path(place)).is_file() else sorted(f for f in place.rglob("*") if f.is_file())
            total += sum(file.stat().st_size for file in files)
            if total > _BYTES:
                raise InputError(f"{place} is too large to send to workers: more than 2 GB with the others.")
            content[name] = {
                "" if file == place else file.relative_to(place).as_posix(): file.read_bytes() for file in files
            }
        return cls(content)

    def unpack(self, folder: Path) -> dict[str, str]:
        """Write everything to a folder; returns name to path."""
        places = {}
        for number, (name, files) in enumerate(self.content.items()):
            root = folder / str(number) / (Path(name).name or "file")
            for inside, data in files.items():
                target = root / inside if inside else root
                if not target.resolve().is_relative_to(root.resolve()):
                    raise InputError(f"{inside!r} is no path inside {name!r}.")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
            places[name] = str(root)
        return places


@dataclass(frozen=True)
class Job:
    """A task for workers.

    Args:
        task: name of a module in `tasks`.
        options: of the task; JSON-compatible.
        shipment: files by the name that the options use for them.
        timeout: seconds for one image before a worker counts as hanging.
        max_pixels: largest number of pixels of an image; None: the default.
        threads: torch threads of a worker; None: torch's setting.
    """

    task: str
    options: Mapping[str, Any]
    shipment: Shipment = field(default_factory=Shipment)
    timeout: float = 120.0
    max_pixels: int | None = None
    threads: int | None = None

    def unpacked(self) -> dict[str, Any]:
        """Options, with the shipped files in a temporary folder that stays until the process ends."""
        folder = Path(tempfile.mkdtemp(prefix="samtailor-"))
        return {**self.options, "places": self.shipment.unpack(folder), "folder": str(folder)}


__all__ = ["Job", "Shipment"]
