"""Few-shot networks: the shots are the support set, kept with the network; one binary question a class.

The references train on thousands of images of other classes (PASCAL or COCO base classes) and freeze. Nobody hands
those to a user with eight masks, so here the episodes are made of the shots themselves: one shot is the query,
another one its support. `steps=0` leaves that out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from samtailor.compare.baselines._feed import Entry, Feed
from samtailor.compare.baselines._loop import Training
from samtailor.compare.baselines._state import Fittable, load_strictly
from samtailor.errors import DataError, InputError
from samtailor.structures import Sample

SUPPORT = "support"


class Network(Protocol):
    """What a few-shot network is asked for; an `nn.Module`. S is the side of its input."""

    def remember(self, images: Tensor, masks: Tensor) -> Any:
        """What K support images (K, 3, S, S) and bool masks (K, S, S) say, in whatever form `answer` takes."""
        ...

    def answer(self, image: Tensor, memory: Any, resize: Callable[[Tensor], Tensor]) -> Tensor:
        """One image (1, 3, S, S) to a map (height, width) that is above 0 on the object.

        Args:
            image: normalised.
            memory: of `remember`.
            resize: (1, C, S, S) at the input's size to (1, C, height, width) at the image's.
        """
        ...

    def loss(self, queries: Tensor, targets: Tensor, images: Tensor, masks: Tensor) -> Tensor:
        """Of B one-shot episodes: queries and support (B, 3, S, S), bool targets and masks (B, S, S)."""
        ...


class FewShot(Fittable):
    """See `samtailor.compare.baselines.Baseline`.

    Args:
        network: see `Network`; frozen parameters have `requires_grad` off.
        entry: how images enter.
        training: settings of a fit.
        name, options, weights: see `Baseline`.
    """

    def __init__(self, network: nn.Module, entry: Entry, training: Training, **about: Any) -> None:
        super().__init__(network, entry, training, **about)
        self.support: dict[str, tuple[Tensor, Tensor]] = {}
        """Per class images float32 (K, 3, S, S) and bool masks (K, S, S), on the CPU."""
        self._memory: dict[str, Any] = {}

    def _fed(self, samples: Sequence[Sample], classes: tuple[str, ...], seed: int) -> Feed:
        """Keeps the support set; the episodes are made of it."""
        self.support = _support(samples, classes, self.entry)
        return super()._fed(samples, classes, seed)

    def _loss_of(self, feed: Feed, seed: int, where: torch.device) -> Callable[[int], Tensor]:
        def loss_of(step: int) -> Tensor:
            episodes = (t.to(where) for t in _episodes(feed, step, self.training_settings.batch, seed))
            return self.network.loss(*episodes)

        self._memory = {}
        return loss_of

    @torch.no_grad()
    def segment(self, pixels: np.ndarray) -> Tensor:
        """See `Baseline.segment`.

        Raises:
            InputError: there is no support set yet.
        """
        if not self.support:
            raise InputError(f"{self.name!r} has no support set yet: fit it to some images first.")
        self.eval()
        where = next(self.parameters()).device
        image, frame = self.entry.image(pixels)[None].to(where), self.entry.frame(*pixels.shape[:2])
        return torch.stack(
            [self.network.answer(image, self._remembered(label), frame.logits).float().cpu() for label in self.classes]
        )

    def train(self, mode: bool = True) -> FewShot:
        """What was made of the support set is out of date once training goes on or states change."""
        if mode:
            self._memory = {}
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> FewShot:
        self._memory = {}  # on the device before
        return super()._apply(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As of `nn.Module`; forgets what the old state made of the support set."""
        self._memory = {}
        return super().load_state_dict(*args, **kwargs)

    def learned(self) -> dict[str, Tensor]:
        """See `Baseline.learned`."""
        found = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
        for number, label in enumerate(self.classes):
            images, masks = self.support[label]
            found[f"{SUPPORT}.{number}.images"], found[f"{SUPPORT}.{number}.masks"] = images, masks.to(torch.uint8)
        return found

    def load_learned(self, tensors: Mapping[str, Tensor]) -> None:
        """See `Baseline.load_learned`; `classes` must be set, they are the names of the support sets."""
        support = {name: value for name, value in tensors.items() if name.startswith(f"{SUPPORT}.")}
        wanted = {f"{SUPPORT}.{n}.{part}" for n in range(len(self.classes)) for part in ("images", "masks")}
        if support.keys() != wanted:
            raise InputError(
                f"The support set of {', '.join(self.classes) or 'no class'} is not whole in these tensors."
            )
        pairs = [(support[f"{SUPPORT}.{n}.images"], support[f"{SUPPORT}.{n}.masks"]) for n in range(len(self.classes))]
        side = self.entry.size
        for images, masks in pairs:
            if images.shape[1:] != (3, side, side) or masks.shape != (len(images), side, side):
                raise InputError(
                    f"A support set has shapes {tuple(images.shape)} and {tuple(masks.shape)}, not {side} px."
                )
        load_strictly(self.network, {name: value for name, value in tensors.items() if name not in support})
        self.support = {label: (i, m.bool()) for label, (i, m) in zip(self.classes, pairs, strict=True)}
        self._memory = {}
        self.eval()

    def _remembered(self, label: str) -> Any:
        if label not in self._memory:
            where = next(self.parameters()).device
            self._memory[label] = self.network.remember(*(t.to(where) for t in self.support[label]))
        return self._memory[label]


def _support(samples: Sequence[Sample], classes: Sequence[str], entry: Entry) -> dict[str, tuple[Tensor, Tensor]]:
    """Untouched images and masks of each class."""
    feed, found = Feed(samples, classes, entry, augment=False, seed=0), {label: [] for label in classes}
    for index in range(len(feed.samples)):
        image, masks = feed.view(index, 0)
        for label, mask in masks.items():
            found[label].append((image, mask))
    for label, shots in found.items():
        if not shots:
            raise DataError(f"None of the {len(samples)} images has a mask of {label!r}: its support set is empty.")
    return {label: tuple(torch.stack(part) for part in zip(*shots, strict=True)) for label, shots in found.items()}


def _episodes(feed: Feed, step: int, size: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Queries, their targets, supports, their masks of `size` one-shot episodes (see `Network.loss`).

    The support is another image of the class; where there is no other, another view of the same one.
    """
    rng = np.random.default_rng([seed, 2, step])
    shots = {
        label: [i for i, sample in enumerate(feed.samples) if any(a.label == label for a in sample.annotations)]
        for label in feed.classes
    }
    rows = []
    while len(rows) < size:
        label = feed.classes[rng.integers(len(feed.classes))]
        query = shots[label][rng.integers(len(shots[label]))]
        others = [i for i in shots[label] if i != query] or [query]
        pair = (query, others[rng.integers(len(others))])
        rows.append([part for i in pair for part in feed.showing(i, label, int(rng.integers(1 << 20)))])
    return tuple(torch.stack(column) for column in zip(*rows, strict=True))


__all__ = ["FewShot", "Network"]
