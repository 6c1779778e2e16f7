"""An adapter of a service, ready to predict, or one that joins the adapters of several classes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from samtailor.artefact import AdapterMeta
from samtailor.bases import Base
from samtailor.bases.companions import Companion
from samtailor.errors import ArtefactError
from samtailor.predict.predictor import Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.predict.source import AdapterSource, adapter_proposer
from samtailor.proposals import Proposals
from samtailor.serve.refusals import Refused
from samtailor.structures import NOTHING, Postprocess


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
        members: of the folder of a fit of several classes, the adapter of each class; each answers the prompts of its
            class, and automatic mode has the objects of all.
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
    members: tuple[LoadedAdapter, ...] = ()
    spare: SimpleQueue[Predictor] = field(default_factory=SimpleQueue)

    @property
    def automatic(self) -> bool:
        """Whether it supports automatic mode."""
        return self.promptless or self.proposals is not None or any(one.automatic for one in self.members)

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

    def of_class(self, label: str | None) -> LoadedAdapter | None:
        """The adapter for prompts of a class: this one, or its member of that class; None: the base model."""
        if not self.members:
            return self
        return next((one for one in self.members if label is not None and label in one.classes), None)

    @contextmanager
    def predictor(self) -> Iterator[Predictor]:
        """A predictor for one request; its image is dropped afterwards."""
        predictor = self.spare.get()
        try:
            yield predictor
        finally:
            predictor.reset_image()
            self.spare.put(predictor)

    def sources(self, threshold: float | None) -> list[AdapterSource]:
        """The prompt sources of the adapter, or of those of its members that have one; see `source`."""
        able = [one for one in self.members if one.automatic]
        return [one.source(threshold) for one in able or (self,)]

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
        exclusive = () if self.meta is None else self.meta.inference.exclusive
        if self.proposals is None:
            return AdapterSource(self.name, propose, postprocess=self.postprocess, exclusive=exclusive)
        by_base = self.meta is not None and self.meta.inference.base_instances
        segments = None if by_base else self.name
        return AdapterSource(
            segments, propose, tiles=self.proposals.tiles, postprocess=self.postprocess, exclusive=exclusive
        )


def joined(name: str, folder: Path, members: Sequence[LoadedAdapter]) -> LoadedAdapter:
    """One adapter out of those of several classes.

    Raises:
        ArtefactError: one of them has its own image encoder, so that they cannot share an embedding.
    """
    if own := [f"{one.name}" for one in members if one.own_encoder]:
        raise ArtefactError(
            f"{folder} holds one adapter for each class, and {own[0]} has its own image encoder. Load them one by one."
        )
    companions = {one.fingerprint: one for member in members for one in member.companions}
    metas = [member.meta for member in members if member.meta is not None]
    meta = metas[0].model_copy(
        update={
            "classes": tuple(dict.fromkeys(label for one in metas for label in one.classes)),
            "figures": {},
            "parameters": {f"{i}.{k}": count for i, one in enumerate(metas) for k, count in one.parameters.items()},
            "sha256": hashlib.sha256("".join(one.sha256 for one in metas).encode()).hexdigest(),
        }
    )
    return LoadedAdapter(
        name, " ".join(companions), members[0].base, companions=tuple(companions.values()), meta=meta, folder=folder,
        members=tuple(members),
    )  # fmt: skip


__all__ = ["LoadedAdapter", "joined"]
