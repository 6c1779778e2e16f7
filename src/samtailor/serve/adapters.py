"""The adapters of a service, which may be added, replaced and removed while requests are processed.

An adapter is loaded, moved to its device and given to its predictors before its name is published; a published
`LoadedAdapter` is never changed, only replaced. A request keeps the `LoadedAdapter` that it started with, and is not
affected when adapters are added or removed.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from samtailor import artefact
from samtailor.artefact import AdapterMeta
from samtailor.bases import Base
from samtailor.bases.companions import Companion
from samtailor.errors import InputError
from samtailor.predict.postprocessing import of_automatic
from samtailor.predict.predictor import BASE, Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.predict.source import AdapterSource, adapter_proposer
from samtailor.proposals import Proposals, disk
from samtailor.segmenter import Segmenter
from samtailor.serve.refusals import NotAllowed, Refused, Taken, Unknown
from samtailor.structures import NOTHING, Postprocess

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_FILES = ("adapter.safetensors", "adapter.json", "proposals.safetensors", "proposals.json")


@dataclass(frozen=True)
class LoadedAdapter:
    """The base alone, or an adapter that is ready to predict.

    Args:
        name: None for the base.
        encoder: which encoder made the embedding that it decodes: "" the base's, the digest of the adapter if it has
            its own, and the fingerprints of `companions` if its features hold their maps.
        base: model that encodes for it.
        own_encoder: whether that is another one than the base of the service.
        companions: companions of the adapter and of its proposals, each once.
        meta: of the adapter.
        folder: of the adapter; None if it came from the hub.
        proposals: learned proposals in its folder.
        promptless: it predicts without a prompt.
        by_itself: a prediction without a prompt is the objects of the image.
        postprocess: what is done to the objects of automatic mode.
        spare: one predictor for each thread that decodes.
    """

    name: str | None
    encoder: str
    base: Base
    own_encoder: bool = False
    companions: tuple[Companion, ...] = ()
    meta: AdapterMeta | None = None
    folder: Path | None = None
    proposals: Proposals | None = None
    promptless: bool = False
    by_itself: bool = False
    postprocess: Postprocess = NOTHING
    spare: SimpleQueue[Predictor] = field(default_factory=SimpleQueue)

    @property
    def automatic(self) -> bool:
        """Whether it supports automatic mode."""
        return self.promptless or self.proposals is not None

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of the adapter; none for the base."""
        return self.meta.classes if self.meta is not None else ()

    def base_answers(self, prompt: ObjectPrompt) -> bool:
        """Whether a prompt needs the base of the service and its embedding, although this adapter is selected.

        True for types of prompts at which the fit found the adapter no better than the base (`InferenceSpec.strength`),
        if the adapter has its own encoder. Other adapters use the base's answer themselves.
        """
        if not self.own_encoder or self.meta is None:
            return False
        prompt_type = "box" if prompt.box is not None else "click" if prompt.clicks else None
        return prompt_type in self.meta.inference.base_prompts

    @contextmanager
    def predictor(self) -> Iterator[Predictor]:
        """A predictor for one request; its image is dropped afterwards."""
        predictor = self.spare.get()
        try:
            yield predictor
        finally:
            predictor.reset_image()
            self.spare.put(predictor)

    def source(self, threshold: float | None) -> AdapterSource:
        """The adapter with its prompt source for automatic mode.

        Only sources that are part of the adapter: learned proposals, and the prediction without a prompt. A detector
        that the adapter was fitted with is never opened, since its path comes from the adapter and may be any file.

        Args:
            threshold: lowest score of a proposal; None: the threshold of each class.

        Raises:
            Refused: it has no such prompt source.
        """
        propose = adapter_proposer(
            self.name,
            proposals=self.proposals,
            promptless=self.promptless,
            by_itself=self.by_itself,
            classes=self.classes,
            threshold=threshold,
        )
        if propose is None:
            name = "The base model" if self.name is None else f"The adapter {self.name!r}"
            raise Refused(
                f"{name} has no prompt source for automatic mode. Give points or a box, or train proposals for an "
                "adapter: samtailor propose-fit DATA --adapter DIR."
            )
        if self.proposals is None:
            return AdapterSource(self.name, propose, postprocess=self.postprocess)
        by_base = self.meta is not None and self.meta.inference.base_instances
        segments = None if by_base else self.name
        return AdapterSource(segments, propose, tiles=self.proposals.tiles, postprocess=self.postprocess)


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
            known = ", ".join(self._loaded) or "none"
        raise Unknown(f"No adapter is called {name!r}. Loaded: {known}.")

    def add(self, name: str, source: str | Path, *, replace: bool = False) -> LoadedAdapter:
        """Load an adapter from a folder or the hub.

        Args:
            name: letters, digits, "_", "-" and ".", at most 64 characters; not "base".
            source: folder, or hub id.
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
        if any(not (path / file).resolve().is_relative_to(self.root) for file in _FILES):
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
        for _ in range(self._threads):
            loaded.spare.put(Predictor(loaded.base, adapters))
        return loaded


__all__ = ["Adapters", "LoadedAdapter"]
