"""Adapters that come and go while questions are answered.

An adapter is loaded, moved to its device and given to its predictors before its name is known to anyone; what is
known is never changed afterwards, only exchanged. A request keeps the `LoadedAdapter` that it began with, so taking an
adapter out, or putting another in its place, disturbs nobody.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from samtailor import artefact
from samtailor.artefact import AdapterMeta
from samtailor.bases import Base
from samtailor.errors import InputError
from samtailor.predict.auto import Proposer, by_itself, by_map, by_proposals
from samtailor.predict.predictor import Predictor
from samtailor.proposals import Proposals, disk
from samtailor.segmenter import Segmenter
from samtailor.serve.refusals import NotAllowed, Refused, Taken, Unknown

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_FILES = ("adapter.safetensors", "adapter.json", "proposals.safetensors", "proposals.json")


@dataclass(frozen=True)
class LoadedAdapter:
    """Who answers: the base alone, or an adapter.

    Args:
        name: None for the base.
        encoder: whose embedding it answers on: "" the base's, else the digest of the adapter, which has its own.
        base: what encodes for it.
        meta: of the adapter.
        folder: of the adapter; None when it came from the hub.
        proposals: learnt ones that lie in its folder.
        promptless: it answers without a prompt.
        by_itself: that answer is the image's objects.
        spare: one predictor for each thread that decodes.
    """

    name: str | None
    encoder: str
    base: Base
    meta: AdapterMeta | None = None
    folder: Path | None = None
    proposals: Proposals | None = None
    promptless: bool = False
    by_itself: bool = False
    spare: SimpleQueue[Predictor] = field(default_factory=SimpleQueue)

    @property
    def automatic(self) -> bool:
        """Whether it can be asked without a prompt."""
        return self.promptless or self.proposals is not None

    @property
    def tiles(self) -> int:
        """Tiles a side in which its proposals look, see `instances`."""
        return 1 if self.proposals is None else self.proposals.tiles

    @contextmanager
    def predictor(self) -> Iterator[Predictor]:
        """A predictor for the time of one question; it forgets the image afterwards."""
        one = self.spare.get()
        try:
            yield one
        finally:
            one.reset_image()
            self.spare.put(one)

    def proposer(self, threshold: float | None, sizes: Sequence[float] = (1.0,)) -> Proposer:
        """What asks when nobody does; `sizes` are those of learnt boxes, see `automatic.GROWN`.

        Only learnt proposals, and adapters that answer without prompts (of several objects: the parts of their map).
        A detector that an adapter was fitted with is not opened: its file is named by the adapter and may lie anywhere.

        Raises:
            Refused: nothing can propose.
        """
        if self.proposals is not None:
            return by_proposals(self.proposals, threshold=threshold, sizes=sizes)
        if self.promptless and self.name is not None:
            classes = self.meta.classes if self.meta else ()
            label = classes[0] if len(classes) == 1 else None
            return by_itself(label) if self.by_itself else by_map(self.name, label, threshold=threshold)
        who = "The base alone" if self.name is None else f"The adapter {self.name!r}"
        raise Refused(
            f"{who} cannot say by itself where to look. Give points or a box, or train proposals for an adapter: "
            "samtailor propose-fit DATA --adapter DIR."
        )


class Adapters:
    """The adapters of a service, by name.

    Args:
        base: what they stand on.
        threads: how many questions are decoded at once.
        root: folder below which adapters may be added by `add_below`; None: nowhere.
    """

    def __init__(self, base: Base, threads: int, root: Path | None = None) -> None:
        self._base, self._threads = base, threads
        self.root = None if root is None else root.resolve()
        if self.root is not None and not self.root.is_dir():
            raise InputError(f"There is no folder {root} for adapters.")
        self._lock = threading.Lock()
        self._loading: set[str] = set()
        self._slots: dict[str, LoadedAdapter] = {}
        self._bare = self._filled(LoadedAdapter(None, "", base), None)

    def __len__(self) -> int:
        return len(self._slots)

    def slots(self) -> list[LoadedAdapter]:
        """In the order they were added."""
        with self._lock:
            return list(self._slots.values())

    def slot(self, name: str | None) -> LoadedAdapter:
        """Who a name stands for; None is the base.

        Raises:
            Unknown: no adapter of that name.
        """
        if name is None:
            return self._bare
        with self._lock:
            if name in self._slots:
                return self._slots[name]
            known = ", ".join(self._slots) or "none"
        raise Unknown(f"No adapter is called {name!r}. Loaded: {known}.")

    def add(self, name: str, source: str | Path, *, replace: bool = False) -> LoadedAdapter:
        """Load an adapter from a folder or the hub.

        Args:
            name: letters, digits, "_", "-" and ".", at most 64.
            source: folder, or hub id.
            replace: take the place of one of that name; without, that is refused.

        Raises:
            Taken: there is one of that name, or it is being loaded.
            Refused: not a name. ArtefactError: no sound adapter for this base.
        """
        if not _NAME.fullmatch(name):
            raise Refused(f"{name[:80]!r} is no name for an adapter: letters, digits, '_', '-' and '.', at most 64.")
        with self._lock:
            if name in self._loading or (name in self._slots and not replace):
                raise Taken(f"There is an adapter {name!r} already; remove it first.")
            self._loading.add(name)
        try:
            slot = self._load(name, source)
            with self._lock:
                self._slots[name] = slot
        finally:
            with self._lock:
                self._loading.discard(name)
        return slot

    def add_below(self, name: str, folder: str) -> LoadedAdapter:
        """`add` for strangers: a folder below the root, given relative to it, whose files lie below the root too.

        Raises:
            NotAllowed: there is no root, or the folder or one of its files lies elsewhere.
        """
        if self.root is None:
            raise NotAllowed("This service adds no adapters while it runs: it was started without a folder for them.")
        path = (self.root / folder).resolve() if "\0" not in folder else self.root
        if path == self.root or not path.is_relative_to(self.root):
            raise NotAllowed(f"{folder!r} is not a folder below the one that adapters are taken from.")
        if not path.is_dir():
            raise Unknown(f"There is no folder {folder!r} below the one that adapters are taken from.")
        if any(not (path / file).resolve().is_relative_to(self.root) for file in _FILES):
            raise NotAllowed(f"{folder!r} holds a link to a file elsewhere.")
        return self.add(name, path)

    def remove(self, name: str) -> LoadedAdapter:
        """Take an adapter out; questions that it is answering are answered.

        Raises:
            Unknown: no adapter of that name.
        """
        slot = self.slot(name)
        with self._lock:
            self._slots.pop(name, None)
        return slot

    def _load(self, name: str, source: str | Path) -> LoadedAdapter:
        loaded = artefact.load(source, self._base)
        folder = Path(source) if Path(source).is_dir() else None
        proposals = disk.load(loaded.folder, self._base) if disk.exists(loaded.folder) else None
        segmenter, encoder = loaded.segmenter, ""
        if not segmenter.encoder_frozen:
            segmenter, encoder = _on_own_base(segmenter), loaded.meta.sha256
        slot = LoadedAdapter(
            name, encoder, segmenter.base, loaded.meta, folder,
            proposals=proposals if not encoder else None,  # they read the base's embedding
            promptless=segmenter.promptless, by_itself=segmenter.by_itself,
        )  # fmt: skip
        return self._filled(slot, segmenter)

    def _filled(self, slot: LoadedAdapter, segmenter: Segmenter | None) -> LoadedAdapter:
        adapters = {} if segmenter is None or slot.name is None else {slot.name: segmenter}
        for _ in range(self._threads):
            slot.spare.put(Predictor(slot.base, adapters))
        return slot


def _on_own_base(segmenter: Segmenter) -> Segmenter:
    """The same answers by a segmenter whose base is the twin, so that the twin's embedding can be kept and set."""
    own = Segmenter(
        segmenter.model,
        tokens=segmenter.tokens,
        outputs=segmenter.outputs,
        maps=segmenter.maps,
        inference=segmenter.inference,
        transform_prompts=segmenter.transform_prompts,
    )
    return own.eval()


__all__ = ["Adapters", "LoadedAdapter"]
