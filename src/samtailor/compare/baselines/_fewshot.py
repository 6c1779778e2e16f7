"""Few-shot networks: the shots are the support set and are stored with the network; one binary mask per class.

The references train on thousands of images of other classes (PASCAL or COCO base classes) and freeze the network. A
user with eight masks does not have those, so the episodes are made of the shots: one shot is the query, another one
its support. `steps=0` skips this training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from samtailor.compare.baselines._feed import Feed, InputFormat
from samtailor.compare.baselines._loop import Training
from samtailor.compare.baselines._state import Fittable, load_strictly
from samtailor.errors import DataError, InputError
from samtailor.structures import Sample

SUPPORT = "support"


class Network(nn.Module):
    """Base class of few-shot networks. S is the side of the input."""

    def encode_support(self, images: Tensor, masks: Tensor) -> Any:
        """Encode K support images (K, 3, S, S) and bool masks (K, S, S), as the argument `support` of `predict`."""
        raise NotImplementedError

    def predict(self, image: Tensor, support: Any, resize: Callable[[Tensor], Tensor]) -> Tensor:
        """Map one image (1, 3, S, S) to values (height, width) that are above 0 on the object.

        Args:
            image: normalized.
            support: result of `encode_support`.
            resize: maps (1, C, S, S) to (1, C, height, width), the size of the image.
        """
        raise NotImplementedError

    def loss(self, queries: Tensor, targets: Tensor, images: Tensor, masks: Tensor) -> Tensor:
        """Loss of B one-shot episodes: queries and support images (B, 3, S, S), bool targets and masks (B, S, S)."""
        raise NotImplementedError


class FewShot(Fittable):
    """See `samtailor.compare.baselines.Baseline`.

    Args:
        network: the network; `requires_grad` is off for frozen parameters.
        input_format: input of the network.
        training: settings of a fit.
        name, options, weights: see `Baseline`.
    """

    network: Network

    def __init__(self, network: Network, input_format: InputFormat, training: Training, **about: Any) -> None:
        super().__init__(network, input_format, training, **about)
        self.support: dict[str, tuple[Tensor, Tensor]] = {}
        """By class: float32 images (K, 3, S, S) and bool masks (K, S, S), on the CPU."""
        self._encoded: dict[str, Any] = {}

    def _feed(self, samples: Sequence[Sample], classes: tuple[str, ...], seed: int) -> Feed:
        """Keep the support set, and make the feed of episodes."""
        self.support = _support(samples, classes, self.input_format)
        return super()._feed(samples, classes, seed)

    def _loss_of(self, feed: Feed, seed: int, device: torch.device) -> Callable[[int], Tensor]:
        def loss_of(step: int) -> Tensor:
            episodes = (t.to(device) for t in _episodes(feed, step, self.training_settings.batch, seed))
            return self.network.loss(*episodes)

        self._encoded = {}
        return loss_of

    @torch.no_grad()
    def segment(self, image: np.ndarray) -> Tensor:
        """See `Baseline.segment`.

        Raises:
            InputError: there is no support set.
        """
        if not self.support:
            raise InputError(f"{self.name!r} has no support set: fit it to some images first.")
        self.eval()
        device = next(self.parameters()).device
        pixels, frame = self.input_format.image(image)[None].to(device), self.input_format.frame(*image.shape[:2])
        supports = (self._encoded_support(label) for label in self.classes)
        return torch.stack([self.network.predict(pixels, s, frame.logits).float().cpu() for s in supports])

    def train(self, mode: bool = True) -> FewShot:
        """See `nn.Module`; training invalidates the encoded support set."""
        if mode:
            self._encoded = {}
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> FewShot:
        self._encoded = {}  # it may be on another device
        return super()._apply(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """See `nn.Module`; other weights invalidate the encoded support set."""
        self._encoded = {}
        return super().load_state_dict(*args, **kwargs)

    def learned(self) -> dict[str, Tensor]:
        """See `Baseline.learned`."""
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
        for number, label in enumerate(self.classes):
            images, masks = self.support[label]
            tensors[f"{SUPPORT}.{number}.images"] = images
            tensors[f"{SUPPORT}.{number}.masks"] = masks.to(torch.uint8)
        return tensors

    def load_learned(self, tensors: Mapping[str, Tensor]) -> None:
        """See `Baseline.load_learned`; `classes`, the names of the support sets, must be set."""
        support = {name: value for name, value in tensors.items() if name.startswith(f"{SUPPORT}.")}
        wanted = {f"{SUPPORT}.{n}.{part}" for n in range(len(self.classes)) for part in ("images", "masks")}
        if support.keys() != wanted:
            raise InputError(
                f"The support set of {', '.join(self.classes) or 'no class'} is incomplete in these tensors."
            )
        pairs = [(support[f"{SUPPORT}.{n}.images"], support[f"{SUPPORT}.{n}.masks"]) for n in range(len(self.classes))]
        side = self.input_format.size
        for images, masks in pairs:
            if images.shape[1:] != (3, side, side) or masks.shape != (len(images), side, side):
                raise InputError(
                    f"A support set has shapes {tuple(images.shape)} and {tuple(masks.shape)}, not {side} px."
                )
        load_strictly(self.network, {name: value for name, value in tensors.items() if name not in support})
        self.support = {label: (i, m.bool()) for label, (i, m) in zip(self.classes, pairs, strict=True)}
        self._encoded = {}
        self.eval()

    def _encoded_support(self, label: str) -> Any:
        if label not in self._encoded:
            device = next(self.parameters()).device
            self._encoded[label] = self.network.encode_support(*(t.to(device) for t in self.support[label]))
        return self._encoded[label]


def _support(
    samples: Sequence[Sample], classes: Sequence[str], input_format: InputFormat
) -> dict[str, tuple[Tensor, Tensor]]:
    """Original images and masks of each class."""
    feed = Feed(samples, classes, input_format, augment=False, seed=0)
    shots: dict[str, list[tuple[Tensor, Tensor]]] = {label: [] for label in classes}
    for index in range(len(feed.samples)):
        image, masks = feed.view(index, 0)
        for label, mask in masks.items():
            shots[label].append((image, mask))
    for label, pairs in shots.items():
        if not pairs:
            raise DataError(f"None of the {len(samples)} images has a mask of {label!r}: its support set is empty.")
    return {label: (torch.stack([i for i, _ in p]), torch.stack([m for _, m in p])) for label, p in shots.items()}


def _episodes(feed: Feed, step: int, size: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Arguments of `Network.loss` for `size` one-shot episodes.

    The support is another image of the class, or another view of the query if there is no other image.
    """
    rng = np.random.default_rng([seed, 2, step])
    shots = {
        label: [i for i, sample in enumerate(feed.samples) if any(a.label == label for a in sample.annotations)]
        for label in feed.classes
    }
    queries: list[Tensor] = []
    targets: list[Tensor] = []
    supports: list[Tensor] = []
    masks: list[Tensor] = []
    while len(queries) < size:
        label = feed.classes[rng.integers(len(feed.classes))]
        query = shots[label][rng.integers(len(shots[label]))]
        others = [i for i in shots[label] if i != query] or [query]
        support = others[rng.integers(len(others))]
        for index, images, regions in ((query, queries, targets), (support, supports, masks)):
            image, mask = feed.showing(index, label, int(rng.integers(1 << 20)))
            images.append(image)
            regions.append(mask)
    return torch.stack(queries), torch.stack(targets), torch.stack(supports), torch.stack(masks)


__all__ = ["FewShot", "Network"]
