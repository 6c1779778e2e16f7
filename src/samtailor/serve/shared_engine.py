"""An engine of a service with several processes: ids of images and adapters are those of all of them.

An image that one process encoded is known to the others: they read its embedding from the cache on disk. A process
compares its adapters with the shared list before each request, so that an adapter that one of them added or removed is
added or removed in the others by their next request.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Collection
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np

from samtailor.bases import Base
from samtailor.errors import ArtefactError, SamtailorError
from samtailor.serve.adapters import LoadedAdapter
from samtailor.serve.embeddings import Embedding
from samtailor.serve.engine import Engine, result, unknown_image
from samtailor.serve.refusals import Refused, Unreadable
from samtailor.serve.shared import ListedAdapter, SharedFolder
from samtailor.structures import Features

_log = logging.getLogger("samtailor.serve")


class SharedEngine(Engine):
    """See the module docstring.

    Args:
        base: as in `Engine`.
        shared: the folder of all processes of the service.
        cache: folder of embeddings; None: one in the shared folder.
        more: as in `Engine`.
    """

    def __init__(self, base: Base, shared: SharedFolder, *, cache: Path | None = None, **more: Any) -> None:
        super().__init__(base, cache=cache or shared.embeddings, **more)
        self._shared = shared
        self._stamp: tuple[int, int, int] | None = None
        self._versions: dict[str, str] = {}  # of the loaded adapters
        self._faults: dict[str, str] = {}  # why a listed adapter could not be loaded
        self._updating = threading.RLock()
        self._update: Future[None] | None = None

    # -- adapters

    async def current(self, adapter: str | None = None) -> None:
        """Load and remove adapters as the other processes did.

        Raises:
            Refused: the adapter of this name cannot be loaded.
        """
        while self._shared.stamp != self._stamp:
            if self._update is None or self._update.done():  # one for all waiting requests
                self._update = self._loading.submit(self.update)
            await result(self._update)
        if adapter in self._faults:
            raise Refused(self._faults[adapter])

    def update(self, required: Collection[str] = ()) -> None:
        """Make the adapters those of the shared list. One that cannot be loaded is a warning.

        Args:
            required: names of adapters that must be loaded.

        Raises:
            SamtailorError: one of these cannot be loaded, or the list is damaged.
        """
        with self._updating:
            stamp = self._shared.stamp
            if stamp == self._stamp:
                return
            listed = self._shared.adapters()
            for name in [name for name in self._versions if name not in listed]:
                self._forget(name)
            for name in [name for name in self._faults if name not in listed]:
                del self._faults[name]
            for name, entry in listed.items():
                if self._versions.get(name) != entry.version:
                    self._load_listed(name, entry, name in required)
            self._stamp = stamp

    async def add_adapter(self, name: str, folder: str) -> LoadedAdapter:
        """Load an adapter from below the root in all processes, see `Adapters.add_below`."""
        return await result(self._loading.submit(lambda: self._add(name, folder)))

    def remove_adapter(self, name: str) -> None:
        """Remove an adapter from all processes.

        Raises:
            Unknown: no adapter of this name.
        """
        with self._shared.changing() as listed, self._updating:
            self.update()
            if name not in self._faults:
                self.adapters.get(name)
            listed.pop(name, None)
        self.update()

    def _add(self, name: str, folder: str) -> LoadedAdapter:
        with self._shared.changing() as listed, self._updating:
            self.update()
            loaded = self.adapters.add_below(name, folder)
            entry = ListedAdapter(str(loaded.folder), loaded.meta.sha256 if loaded.meta is not None else None)
            listed[name] = entry
            self._versions[name] = entry.version
            self._faults.pop(name, None)
        return loaded

    def _load_listed(self, name: str, entry: ListedAdapter, required: bool) -> None:
        self._forget(name)
        self._faults.pop(name, None)
        try:
            loaded = self.adapters.add(name, entry.source, replace=True)
            if entry.sha256 is not None and loaded.meta is not None and loaded.meta.sha256 != entry.sha256:
                super().remove_adapter(name)
                raise ArtefactError(
                    f"The adapter {name!r} in {entry.source} has changed since it was added. Remove it and add "
                    "it again."
                )
        except SamtailorError as error:
            if required:
                raise
            self._faults[name] = f"The adapter {name!r} cannot be loaded: {error}"
            _log.warning("%s", self._faults[name])
        self._versions[name] = entry.version

    def _forget(self, name: str) -> None:
        if self._versions.pop(name, None) is not None and name not in self._faults:
            super().remove_adapter(name)

    # -- images

    async def known(self, id: str) -> Embedding:
        """The embedding of an id that any process made.

        Raises:
            Unknown: it was never computed, or was dropped.
        """
        return await self._known(id, self.adapters.get(None))

    def drop(self, id: str) -> None:
        """Drop an image in all processes."""
        if not self._shared.has(id):
            raise unknown_image(id)
        self._shared.drop(id)
        self.embeddings.drop(id)

    async def _known(self, id: str, loaded: LoadedAdapter) -> Embedding:
        if not self._shared.has(id):
            self.embeddings.drop(id)  # another process dropped it
            raise unknown_image(id)
        if (kept := self.embeddings.get((id, loaded.encoder))) is not None:
            return kept
        data = await asyncio.to_thread(self._shared.image, id)
        if data is None:
            raise unknown_image(id)
        try:
            embedding = await self._embed(data, loaded)
            intact = embedding.id == id
        except Unreadable:
            intact = False
        if not intact:
            _log.warning("The shared image %s is damaged and was dropped.", id)
            self._shared.drop(id)
            raise unknown_image(id)
        return embedding

    async def _embed(self, data: bytes, loaded: LoadedAdapter) -> Embedding:
        embedding = await super()._embed(data, loaded)
        if not self._shared.has(embedding.id):
            await asyncio.to_thread(self._shared.keep, embedding.id, data)
        return embedding

    def _features(self, id: str, pixels: np.ndarray, loaded: LoadedAdapter) -> Features:
        if loaded.own_encoder:  # not kept on disk
            return super()._features(id, pixels, loaded)
        with self._shared.encoding(id):
            return super()._features(id, pixels, loaded)


__all__ = ["SharedEngine"]
