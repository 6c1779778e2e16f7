"""What all baselines are, do and check alike: the way of a fit, names of classes, and tensors that must fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from samtailor.compare.baselines import Fitted
from samtailor.compare.baselines._feed import Entry, Feed
from samtailor.compare.baselines._loop import Training, run
from samtailor.errors import InputError
from samtailor.structures import Sample
from samtailor.train.progress import Progress


class Fittable(nn.Module):
    """What every `Baseline` holds, and how it is fitted; its kind says on what and by which loss.

    Args:
        network: frozen parameters have `requires_grad` off.
        entry: how images enter.
        training: settings of a fit.
        name, options, weights: see `Baseline`.
    """

    def __init__(
        self,
        network: nn.Module,
        entry: Entry,
        training: Training,
        *,
        name: str,
        options: Mapping[str, Any],
        weights: str,
    ) -> None:
        super().__init__()
        self.network, self.entry, self.training_settings = network, entry, training
        self.name, self.options, self.weights = name, dict(options), weights
        self.classes: tuple[str, ...] = ()
        check_count(options)

    def fit(
        self,
        samples: Sequence[Sample],
        held_out: Sequence[Sample],
        classes: Sequence[str],
        *,
        seed: int = 0,
        steps: int | None = None,
        epochs: int | None = None,
        device: torch.device | str | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Fitted:
        """See `Baseline.fit`."""
        names, settings = named(classes, self.options["classes"]), self.training_settings
        count = settings.updates(len(samples), steps, epochs)
        feed = self._fed(samples, names, seed)
        self.classes = names
        self.to(device)
        loss_of = self._loss_of(feed, seed, next(self.parameters()).device)
        return run(self, loss_of, settings, held_out, steps=count, seed=seed, progress=progress)

    def _fed(self, samples: Sequence[Sample], classes: tuple[str, ...], seed: int) -> Feed:
        """The images as the network takes them."""
        return Feed(samples, classes, self.entry, augment=self.training_settings.augment, seed=seed)

    def _loss_of(self, feed: Feed, seed: int, where: torch.device) -> Callable[[int], Tensor]:
        """The loss of a step, counted from 0."""
        raise NotImplementedError

    def parameters_by_use(self) -> dict[str, int]:
        """See `Baseline.parameters_by_use`."""
        return {
            "all": sum(p.numel() for p in self.network.parameters()),
            "trained": sum(p.numel() for p in self.network.parameters() if p.requires_grad),
        }


def named(classes: Sequence[str], count: int) -> tuple[str, ...]:
    """The names, checked against the number of classes that a network was built for."""
    if isinstance(classes, str):
        raise InputError(f"classes must be a list of names, got the text {classes!r}. Write [{classes!r}].")
    if len(set(classes)) != count or len(classes) != count:
        raise InputError(
            f"The network was built for {count} class{'es' * (count > 1)}, got {len(classes)}: "
            f"{', '.join(classes) or 'none'}. Build it with classes={len(classes)}, each name once."
        )
    return tuple(classes)


def check_count(options: Mapping[str, Any]) -> None:
    """Raise InputError unless `options["classes"]` is a whole number from 1."""
    count = options["classes"]
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise InputError(f"classes must be the number of classes, from 1, the background not counted; got {count!r}.")


def load_strictly(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """`load_state_dict` that says in words what does not fit.

    Raises:
        InputError: a tensor is missing, left over, or of another shape.
    """
    own = module.state_dict()
    wrong = {
        "missing": sorted(own.keys() - tensors.keys()),
        "left over": sorted(tensors.keys() - own.keys()),
        "of another shape": sorted(n for n in own.keys() & tensors.keys() if own[n].shape != tensors[n].shape),
    }
    found = [f"{len(names)} {what}, e.g. {names[0]}" for what, names in wrong.items() if names]
    if found:
        raise InputError(f"The tensors are not of this network: {'; '.join(found)}.")
    module.load_state_dict(dict(tensors))


__all__ = ["Fittable", "check_count", "load_strictly", "named"]
