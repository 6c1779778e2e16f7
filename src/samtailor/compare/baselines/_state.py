"""Common parts of all baselines: the fit, class names, and strict loading of tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from samtailor.compare.baselines import BaselineFit
from samtailor.compare.baselines._feed import Feed, InputFormat
from samtailor.compare.baselines._loop import Trainable, Training, run
from samtailor.errors import InputError
from samtailor.structures import Sample
from samtailor.train.progress import Progress


class Fittable(Trainable):
    """Base class of the baselines of this package; subclasses define the loss.

    Args:
        network: the network; `requires_grad` is off for frozen parameters.
        input_format: input of the network.
        training: settings of a fit.
        name, options, weights: see `Baseline`.
    """

    def __init__(
        self,
        network: nn.Module,
        input_format: InputFormat,
        training: Training,
        *,
        name: str,
        options: Mapping[str, Any],
        weights: str,
    ) -> None:
        super().__init__()
        self.network, self.input_format, self.training_settings = network, input_format, training
        self.name, self.options, self.weights = name, dict(options), weights
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
    ) -> BaselineFit:
        """See `Baseline.fit`."""
        names, settings = checked_names(classes, self.options["classes"]), self.training_settings
        count = settings.updates(len(samples), steps, epochs)
        feed = self._feed(samples, names, seed)
        self.classes = names
        self.to(device)
        loss_of = self._loss_of(feed, seed, next(self.parameters()).device)
        return run(self, loss_of, settings, held_out, steps=count, seed=seed, progress=progress)

    def _feed(self, samples: Sequence[Sample], classes: tuple[str, ...], seed: int) -> Feed:
        """Batches of the images."""
        return Feed(samples, classes, self.input_format, augment=self.training_settings.augment, seed=seed)

    def _loss_of(self, feed: Feed, seed: int, device: torch.device) -> Callable[[int], Tensor]:
        """A function of the step, counted from 0, that computes its loss."""
        raise NotImplementedError

    def learned(self) -> dict[str, Tensor]:
        """See `Baseline.learned`."""
        raise NotImplementedError

    def load_learned(self, tensors: Mapping[str, Tensor]) -> None:
        """See `Baseline.load_learned`."""
        raise NotImplementedError

    def parameters_by_use(self) -> dict[str, int]:
        """See `Baseline.parameters_by_use`."""
        return {
            "all": sum(p.numel() for p in self.network.parameters()),
            "trained": sum(p.numel() for p in self.network.parameters() if p.requires_grad),
        }


def checked_names(classes: Sequence[str], count: int) -> tuple[str, ...]:
    """Class names, checked against the number of classes that the network was built for."""
    if isinstance(classes, str):
        raise InputError(f"classes must be a list of names, got the string {classes!r}. Write [{classes!r}].")
    if len(set(classes)) != count or len(classes) != count:
        raise InputError(
            f"The network was built for {count} class{'es' * (count > 1)}, got {len(classes)}: "
            f"{', '.join(classes) or 'none'}. Build it with classes={len(classes)}, each name once."
        )
    return tuple(classes)


def check_count(options: Mapping[str, Any]) -> None:
    """Raise an `InputError` unless `options["classes"]` is an integer of at least 1."""
    count = options["classes"]
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise InputError(f"classes must be the number of classes without the background, at least 1; got {count!r}.")


def load_strictly(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """`load_state_dict` with a readable error.

    Raises:
        InputError: a tensor is missing, unexpected, or of another shape.
    """
    expected = module.state_dict()
    wrong = {
        "missing": sorted(expected.keys() - tensors.keys()),
        "unexpected": sorted(tensors.keys() - expected.keys()),
        "of another shape": sorted(
            n for n in expected.keys() & tensors.keys() if expected[n].shape != tensors[n].shape
        ),
    }
    problems = [f"{len(names)} {what}, e.g. {names[0]}" for what, names in wrong.items() if names]
    if problems:
        raise InputError(f"The tensors do not belong to this network: {'; '.join(problems)}.")
    module.load_state_dict(dict(tensors))


__all__ = ["Fittable", "check_count", "checked_names", "load_strictly"]
