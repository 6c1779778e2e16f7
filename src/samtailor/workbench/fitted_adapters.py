"""The adapters that were fitted in a project: their folders, and the fits that were interrupted."""

from __future__ import annotations

import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any

from samtailor import artefact
from samtailor.errors import InputError, SamtailorError
from samtailor.fitting.folder import CONFIG
from samtailor.fitting.verdict import replaces_of
from samtailor.limits import parse_json, read_bytes
from samtailor.serve.adapters import LoadedAdapter
from samtailor.serve.engine import Engine
from samtailor.serve.refusals import Refused, Taken, Unknown
from samtailor.workbench import gallery
from samtailor.workbench.adapter_info import adapter_meta, metas_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,47}")
_log = logging.getLogger("samtailor.workbench")


class FittedAdapters:
    """Adapters below a folder, each loaded into an engine under the name of its folder.

    Args:
        folder: folder of the adapters; the root of the engine's adapters.
        jobs: folder of the job files.
        engine: where the adapters are loaded.
    """

    def __init__(self, folder: Path, jobs: Path, engine: Engine) -> None:
        self._folder, self._jobs, self._engine = folder, jobs, engine
        self.broken: dict[str, str] = {}
        for one in sorted(folder.iterdir()):
            if one.is_dir() and artefact.members(one):
                self._load(one.name)

    def belongs(self, loaded: LoadedAdapter) -> bool:
        """Whether an adapter was fitted in the project."""
        return loaded.folder is not None and loaded.folder.parent == self._folder

    def unfinished(self, busy: str | None) -> list[str]:
        """Names of fits that were stopped or killed; their job file still exists. They can be continued.

        Args:
            busy: name of the fit that is in progress.
        """
        begun = (one for one in sorted(self._folder.iterdir()) if any(one.glob(CONFIG)) or any(one.glob(f"*/{CONFIG}")))
        names = (one.name for one in begun)
        return [name for name in names if name != busy and self._job_file(name).is_file()]

    def earlier_work(self, name: str) -> dict[str, Any]:
        """Input of an unfinished fit.

        Raises:
            InputError: its file is damaged.
        """
        # the file may come with a project of someone else: it does not decide where the fit is written
        work = parse_json(read_bytes(self._job_file(name), "annotation_bytes"), str(self._job_file(name)))
        if not isinstance(work, dict):
            raise InputError(f"{self._job_file(name)} is damaged. Delete the fit {name!r}.")
        return work

    def present(self) -> str | None:
        """Folder of the adapter that a new one is compared with: the newest that is not worse. None without one."""
        used = [one for one in self._engine.adapters.all() if self.belongs(one) and _replaces(one) is not False]
        newest = max(used, key=lambda one: adapter_meta(one).created, default=None)
        return None if newest is None else str(newest.folder)

    def finish(self, name: str) -> None:
        """Load the adapter of a fit that has ended."""
        self.load(name)
        self._job_file(name).unlink(missing_ok=True)

    def load(self, name: str) -> None:
        """Load an adapter, in place of an earlier one of the same fit."""
        if name in self.loaded():
            self._engine.remove_adapter(name)
        self._engine.adapters.add_below(name, name)

    def remove(self, name: str) -> None:
        """Delete an adapter, or a stopped fit.

        Raises:
            Unknown: no such adapter. Taken: it does not belong to the project.
        """
        out = self.folder(name)
        loaded = next((loaded for loaded in self._engine.adapters.all() if loaded.name == name), None)
        if loaded is not None and (loaded.folder is None or loaded.folder.resolve() != out):
            raise Taken(f"The adapter {name!r} was given on the command line; it does not belong to this project.")
        if loaded is None and not out.is_dir():
            raise Unknown(f"There is no adapter {name!r}.")
        if loaded is not None:
            self._engine.remove_adapter(name)
        for inside in (out, *(Path(one) for one in artefact.members(out).values())):
            (inside / artefact.METADATA).unlink(missing_ok=True)  # without it the folder no longer counts as an adapter
        shutil.rmtree(out)
        self._job_file(name).unlink(missing_ok=True)
        self.broken.pop(name, None)

    def gallery(self, name: str) -> dict[str, Any]:
        """Held-out objects before and after the fit of an adapter, see `gallery`; empty if no image was held out.

        Raises:
            Unknown: no such adapter, or it was not fitted in this project.
        """
        file = self.folder(name) / gallery.FILE
        self._engine.adapters.get(name)
        if not file.is_file():
            raise Unknown(f"The adapter {name!r} has no held-out objects to show: it was not fitted in this project.")
        return json.loads(file.read_text(encoding="utf-8"))

    def folder(self, name: str) -> Path:
        """Folder of an adapter.

        Raises:
            Refused: an invalid name, or the folder is a link.
        """
        if not _NAME.fullmatch(name):
            raise Refused(
                "An adapter name has 1 to 48 letters, digits, '_' and '-', and starts with a letter or digit."
            )
        path = self._folder / name
        if path.is_symlink():
            raise Refused(f"{name!r} is a link to another folder, and is left untouched.")
        return path

    def new_folder(self, name: str) -> Path:
        """Folder of a new adapter; does not exist yet. Raises Taken if there is an adapter or folder of this name."""
        out = self.folder(name)
        if name in self.loaded() or out.exists():
            raise Taken(f"There is already an adapter named {name!r}. Choose another name, or delete it first.")
        return out

    def next_name(self) -> str:
        """The next free "fit-N"."""
        taken = {*self.loaded(), *(one.name for one in self._folder.iterdir())}
        return next(name for i in range(1, len(taken) + 2) if (name := f"fit-{i}") not in taken)

    def loaded(self) -> list[str]:
        """Names of all adapters of the engine."""
        return [one.name for one in self._engine.adapters.all() if one.name is not None]

    def _job_file(self, name: str) -> Path:
        return self._jobs / f"fit-{name}.json"

    def _load(self, name: str) -> None:
        try:
            self._engine.adapters.add_below(name, name)
        except SamtailorError as error:
            self.broken[name] = str(error)
            _log.warning("The adapter %s cannot be loaded: %s", name, error)


def _replaces(loaded: LoadedAdapter) -> bool | None:
    return replaces_of(metas_of(loaded))


__all__ = ["FittedAdapters"]
