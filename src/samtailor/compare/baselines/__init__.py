"""Networks other than SAM, for comparison: one file per network, `find("baselines", NAME).build(classes, **options)`.

They predict one region per class and image (`data.regions`), so that their masks are comparable with those of SAM
methods. There are two kinds: networks trained on the images, and few-shot networks with the images as support set. A
file outside the package is a baseline too if its `build` returns a `Baseline`; it may declare `TITLE`, its name in
tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # torch takes seconds to import and a list of names does not need it
    import numpy as np
    import torch
    from torch import Tensor

    from samtailor.structures import Sample
    from samtailor.train.progress import Progress

SCRATCH = "scratch"
"""Value of the option `weights` for a randomly initialized backbone."""


@dataclass(frozen=True)
class BaselineFit:
    """Result of a fit.

    Args:
        steps: number of updates.
        best_step: step of the kept state; `steps` without held-out images.
        best_miou: held-out mIoU of the kept state over regions, in [0, 1]; None without held-out images.
        history: per validation {"step", "loss" (mean since the last one), "miou" (None without held-out images)}.
    """

    steps: int
    best_step: int
    best_miou: float | None
    history: tuple[Mapping[str, Any], ...] = field(default_factory=tuple)


class Baseline(Protocol):
    """A network with methods to fit, predict and save. It is an `nn.Module`.

    Args:
        name: name of its file, with dashes.
        options: JSON-compatible options of `build`; with `weights="scratch"` they build the same architecture again.
        weights: initial weights of the backbone: a hub id, a folder, or "scratch".
        classes: class names in the order of the predictions; empty before the fit.
    """

    name: str
    options: Mapping[str, Any]
    weights: str
    classes: tuple[str, ...]

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
        """Fit to images, with the objects of a class joined to one region.

        Args:
            samples: images with masks; a few-shot network keeps them as its support set.
            held_out: images that select the best of ten states by mIoU; empty: the last state is kept.
            classes: class names, as many as the network was built for.
            seed: seed of order, augmentation and dropout; on a CPU the same seed gives the same network.
            steps: number of updates; None: by `epochs`, or the default of the network. For a few-shot network it may
                be 0 (no training).
            epochs: passes over the images, instead of `steps`.
            device: device of the fit, where the network stays; None: its present device.
            progress: called after every update.

        Raises:
            InputError: another number of classes, both `steps` and `epochs`, or a loss that is not finite.
            DataError: no image has any of the classes; for a few-shot network, a class is missing.
        """
        ...

    def segment(self, image: np.ndarray) -> Tensor:
        """uint8 RGB (height, width, 3) to float32 (classes, height, width) on the CPU, at the size of the image.

        A pixel belongs to a class if its value is above 0.
        """
        ...

    def learned(self) -> dict[str, Tensor]:
        """Tensors for `load_learned`, on the CPU: the whole network, and the support set of a few-shot network."""
        ...

    def load_learned(self, tensors: Mapping[str, Tensor]) -> None:
        """Load `learned()` of the same architecture, strictly.

        Raises:
            InputError: a tensor is missing, unexpected, or of another shape.
        """
        ...

    def parameters_by_use(self) -> dict[str, int]:
        """Number of parameters: "all", and "trained" (those that `fit` changes)."""
        ...

    def to(self, device: Any) -> Baseline:
        """Move to a device, see `nn.Module`."""
        ...


def __getattr__(name: str) -> Any:  # a list of names does not import torch
    homes = {"load": "_artefact", "save": "_artefact", "evaluate_baseline": "_evaluation"}
    if name in homes:
        import importlib

        return getattr(importlib.import_module(f"samtailor.compare.baselines.{homes[name]}"), name)
    raise AttributeError(f"module 'samtailor.compare.baselines' has no attribute {name!r}")


__all__ = ["SCRATCH", "Baseline", "BaselineFit", "evaluate_baseline", "load", "save"]
