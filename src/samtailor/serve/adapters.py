"""The adapters of a service, which may be added, replaced and removed while requests are processed.

An adapter is loaded, moved to its device and given to its predictors before its name is published; a published
`LoadedAdapter` is never changed, only replaced. A request keeps the `LoadedAdapter` that it started with, and is not
affected when adapters are added or removed.
"""

from __future__ import annotations

import re
import threading
from pathlib import Path

from samtailor import artefact
from samtailor.bases import Base
from samtailor.errors import InputError
from samtailor.predict.postprocessing import of_automatic
from samtailor.predict.predictor import BASE, Predictor
from samtailor.proposals import disk
from samtailor.segmenter import Segmenter
from samtailor.serve.loaded import LoadedAdapter, joined
from samtailor.serve.refusals import NotAllowed, Refused, Taken, Unknown

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_FILES = ("adapter.safetensors", "adapter.json", "proposals.safetensors", "proposals.json")


class Adapters:
    """The adapters of a service, by name.

    Args:
        base: of all adapters.
        threads: number of threads that decode.
        root: folder below which `add_below` may load adapters; None: it may load none.

    Raises:
        InputError: there is no such folder.
    """

    def __init__(self, base: Base, threads: int, root: Path | None = None) -> None:
        self._base, self._threads = base, threads
        self.root = None if root is None else root.resolve()
        if self.root is not None and not self.root.is_dir():
            raise InputError(f"There is no folder {root} for adapters.")
        self._lock = threading.Lock()
        self._loading: set[str] = set()
        self._loaded: dict[str, LoadedAdapter] = {}
        self._bare = self._with_predictors(LoadedAdapter(None, "", base), None)

    def __len__(self) -> int:
        return len(self._loaded)

    def all(self) -> list[LoadedAdapter]:
        """All adapters, in the order in which they were added."""
        with self._lock:
            return list(self._loaded.values())

    def get(self, name: str | None) -> LoadedAdapter:
        """The adapter of a name; None is the base.

        Raises:
            Unknown: no adapter of this name.
        """
        if name is None:
            return self._bare
        with self._lock:
            if name in self._loaded:
                return self._loaded[name]
            group = self._loaded.get(name.partition("/")[0])
            for member in () if group is None else group.members:
                if member.name == name:
                    return member
            known = ", ".join(self._loaded) or "none"
        raise Unknown(f"No adapter is called {name!r}. Loaded: {known}.")

    def add(self, name: str, source: str | Path, *, replace: bool = False) -> LoadedAdapter:
        """Load an adapter from a folder or the hub.

        Args:
            name: letters, digits, "_", "-" and ".", at most 64 characters; not "base".
            source: folder, also of a fit of several classes with an adapter for each, or hub id. The adapter of a class
                is called NAME/CLASS.
            replace: replace a loaded adapter of this name instead of raising.

        Raises:
            Taken: an adapter of this name is loaded or being loaded.
            Refused: an invalid name.
            ArtefactError: no valid adapter for this base.
        """
        if not _NAME.fullmatch(name) or name == BASE:
            raise Refused(
                f"{name[:80]!r} is not a valid adapter name: letters, digits, '_', '-' and '.', at most 64 characters, "
                f"and not {BASE!r}."
            )
        with self._lock:
            if name in self._loading or (name in self._loaded and not replace):
                raise Taken(f"There is an adapter {name!r} already; remove it first.")
            self._loading.add(name)
        try:
            loaded = self._load(name, source)
            with self._lock:
                self._loaded[name] = loaded
        finally:
            with self._lock:
                self._loading.discard(name)
        return loaded

    def add_below(self, name: str, folder: str) -> LoadedAdapter:
        """Load an adapter on behalf of a client: only a folder, and files, below the root.

        Args:
            name: as in `add`.
            folder: relative to the root.

        Raises:
            NotAllowed: there is no root, or the folder or one of its files lies elsewhere.
            Unknown: there is no such folder.
        """
        if self.root is None:
            raise NotAllowed("This service was started without a folder for adapters, so that none can be added.")
        path = (self.root / folder).resolve() if "\0" not in folder else self.root
        if path == self.root or not path.is_relative_to(self.root):
            raise NotAllowed(f"{folder!r} is not below the folder for adapters.")
        if not path.is_dir():
            raise Unknown(f"There is no folder {folder!r} below the folder for adapters.")
        folders = (path, *map(Path, artefact.members(path).values()))
        if any(not (one / file).resolve().is_relative_to(self.root) for one in folders for file in _FILES):
            raise NotAllowed(f"{folder!r} contains a link to a file elsewhere.")
        return self.add(name, path)

    def remove(self, name: str) -> LoadedAdapter:
        """Remove an adapter; requests in progress keep it.

        Raises:
            Unknown: no adapter of this name.
        """
        loaded = self.get(name)
        with self._lock:
            self._loaded.pop(name, None)
        return loaded

    def _load(self, name: str, source: str | Path) -> LoadedAdapter:
        inside = artefact.members(source)
        if not inside or str(source) in inside.values():
            return self._load_one(name, source)
        members = [
            self._load_one(f"{name}/{', '.join(artefact.read_meta(one).classes)}", one) for one in inside.values()
        ]
        return self._with_predictors(joined(name, Path(source), members), None)

    def _load_one(self, name: str, source: str | Path) -> LoadedAdapter:
        adapter = artefact.load(source, self._base)
        folder = Path(source) if Path(source).is_dir() else None
        proposals = disk.load(adapter.folder, self._base) if disk.exists(adapter.folder) else None
        segmenter, encoder = adapter.segmenter, ""
        if not segmenter.encoder_frozen:
            # its embedding can be kept and set only as that of a base
            segmenter, encoder = segmenter.on_adapted_base(), adapter.meta.sha256
        own = bool(encoder)
        proposals = None if own else proposals  # they read the base's embedding
        listed = [*segmenter.companions, *(proposals.companions if proposals is not None else ())]
        companions = {one.fingerprint: one for one in listed}
        loaded = LoadedAdapter(
            name, " ".join([encoder, *companions]).strip(), segmenter.base, own, tuple(companions.values()),
            adapter.meta, folder,
            proposals=proposals,
            promptless=segmenter.promptless, by_itself=segmenter.by_itself,
            postprocess=of_automatic(segmenter, proposed=proposals is not None),
        )  # fmt: skip
        return self._with_predictors(loaded, segmenter)

    def _with_predictors(self, loaded: LoadedAdapter, segmenter: Segmenter | None) -> LoadedAdapter:
        adapters = {} if segmenter is None or loaded.name is None else {loaded.name: segmenter}
        for member in loaded.members:
            with member.predictor() as predictor:
                adapters[f"{member.name}"] = predictor.segmenter(f"{member.name}")
        for _ in range(self._threads):
            loaded.spare.put(Predictor(loaded.base, adapters))
        return loaded


__all__ = ["Adapters", "LoadedAdapter"]
