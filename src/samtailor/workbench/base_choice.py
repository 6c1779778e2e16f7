"""Choice of the base model of a project: suggestions, their speed on this machine, and the one for the next start."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from samtailor.data.writing import write_json
from samtailor.errors import DataError
from samtailor.limits import MALFORMED, parse_json, read_bytes
from samtailor.registry import BUNDLED_BASE
from samtailor.serve.refusals import Refused
from samtailor.workbench.jobs import Job, Jobs, Message
from samtailor.workbench.project import Project

SUGGESTIONS = {
    BUNDLED_BASE: "Part of the package. Fast on a CPU; coarse on fine outlines.",
    "facebook/sam2.1-hiera-tiny": "Good outlines; a few seconds for an image on a CPU, fast on a GPU.",
    "facebook/sam2.1-hiera-small": "Better masks, somewhat slower.",
    "facebook/sam2.1-hiera-large": "The best masks; needs a GPU.",
    "facebook/sam-vit-base": "SAM 1, for adapters and papers that build on it; slow on a CPU.",
}
"""Base models that are suggested, with a hint. Any other hub id or folder can be given too."""
FILE = "bases.json"
"""Measurements, in the cache of the project."""


class BaseChoice:
    """Base models of a project.

    Args:
        project: an open project.
        jobs: jobs of the session.
        current: name of the base model that is loaded.
        device: device of the jobs; None uses a GPU if there is one.
        changed: called after a change.
    """

    def __init__(
        self, project: Project, jobs: Jobs, current: str, device: str | None, changed: Callable[[], object]
    ) -> None:
        self._project, self._jobs, self._current = project, jobs, current
        self._device, self._changed = device, changed
        self._file = project.home / "cache" / FILE

    @property
    def next(self) -> str | None:
        """The base model that is loaded at the next start; None if it is the present one."""
        base = self._project.settings.base
        return None if base == self._current else base

    def rows(self) -> list[dict[str, Any]]:
        """Name, hint and measurement ("parameters", "size", "encode_seconds", "click_seconds", "device") of each."""
        measured = self._measured()
        names = dict.fromkeys([self._current, *SUGGESTIONS, *measured])
        return [
            {"name": name, "hint": SUGGESTIONS.get(name, ""), "current": name == self._current,
             "next": name == self.next, "measured": measured.get(name)}
            for name in names
        ]  # fmt: skip

    def measure(self, name: str) -> Job:
        """Start loading a base model, from the hub if it is not on this machine, and measuring its speed.

        Raises:
            Taken: a job is in progress. Refused: no name.
        """
        if not (name := name.strip()):
            raise Refused("Give a hub id, a folder, or a name such as 'lite'.")

        def on_done(result: Message) -> Mapping[str, Any]:
            write_json(self._file, {**self._measured(), name: result["measured"]})
            self._changed()
            return {}

        slug = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[-48:] or "base"
        work = {"base": name, "device": self._device}
        return self._jobs.start("measure", slug, work, on_message=lambda message: None, on_done=on_done)

    def choose(self, name: str) -> None:
        """Use a base model from the next start on.

        Raises:
            Refused: it was not measured, so that it is unknown whether it can be loaded. Taken: a job is in progress.
        """
        self._jobs.check_free()
        if name != self._current and name not in self._measured():
            raise Refused(f"Measure {name} first: that loads it, and shows whether this machine can run it.")
        self._project.set_base(name)
        self._changed()

    def _measured(self) -> dict[str, Any]:
        try:
            values = parse_json(read_bytes(self._file, "metadata_bytes"), str(self._file))
            return {name: row for name, row in values.items() if isinstance(row, dict)}
        except (DataError, OSError, *MALFORMED, json.JSONDecodeError):  # measured again when needed
            return {}


__all__ = ["FILE", "SUGGESTIONS", "BaseChoice"]
