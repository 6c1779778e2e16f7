"""Networks that are not SAM, for comparison: one file a network, `find("baselines", "deeplabv3").build(...)`.

They answer one region a class and an image (`data.regions`), so that their masks stand beside those of SAM methods
in one table. Two kinds: networks trained on the images (`deeplabv3`, `swin-unet`) and few-shot networks that take
them as support set (`ssp`, `hsnet`).
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
"""Value of the option `weights` for a backbone that starts from random numbers."""


@dataclass(frozen=True)
class Fitted:
    """What a fit did.

    Args:
        steps: updates made.
        best_step: update after which the kept state was reached; `steps` where nothing chose among states.
        best_miou: held-out mIoU of the kept state, 0 to 1, one region a class and image; None without held-out
            images.
        history: per validation {"step", "loss" (mean since the last one), "miou" (None without held-out images)}.
    """

    steps: int
    best_step: int
    best_miou: float | None
    history: tuple[Mapping[str, Any], ...] = field(default_factory=tuple)


class Baseline(Protocol):
    """A network with everything it needs to be fitted, asked and saved. It is an `nn.Module`.

    Args:
        name: of its file, with dashes.
        options: of its `build`, as JSON holds them; with `weights="scratch"` they make the same architecture again.
        weights: where its backbone started: a hub id, a folder, or "scratch".
        classes: names it was fitted to, in the order of its answers; empty before.
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
    ) -> Fitted:
        """Fit to images, the objects of a class joined to one region.

        Args:
            samples: images with masks; a few-shot network keeps them as its support set.
            held_out: images that choose the best of ten states by mIoU; empty: the last state is kept.
            classes: names of the classes, as many as the network was built for.
            seed: of order, augmentation and dropout; the same seed gives the same network on a CPU.
            steps: updates; None: `epochs`, or the network's default. A few-shot network takes 0 (no training).
            epochs: passes over the images, instead of `steps`.
            device: to fit on and to stay on; None: where it is.
            progress: called after every update.

        Raises:
            InputError: another number of classes, both `steps` and `epochs`, a loss that is not finite.
            DataError: no image has any of the classes; for a few-shot network, one of the classes is in none.
        """
        ...

    def segment(self, image: np.ndarray) -> Tensor:
        """uint8 RGB (height, width, 3) to float32 (classes, height, width) on the CPU, at the image's own size.

        A pixel belongs to a class where its value is above 0.
        """
        ...

    def learned(self) -> dict[str, Tensor]:
        """All that `load_learned` needs, on the CPU: the whole network, and a few-shot network's support set."""
        ...

    def load_learned(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over `learned()` of the same architecture; strict.

        Raises:
            InputError: a tensor is missing, left over, or of another shape.
        """
        ...

    def parameters_by_use(self) -> dict[str, int]:
        """Numbers: "all", and "trained" (those that `fit` changes)."""
        ...


def __getattr__(name: str) -> Any:  # torch only when something is done with a baseline
    homes = {"load": "_artefact", "save": "_artefact", "evaluate_baseline": "_evaluation"}
    if name in homes:
        import importlib

        return getattr(importlib.import_module(f"samtailor.compare.baselines.{homes[name]}"), name)
    raise AttributeError(f"module 'samtailor.compare.baselines' has no attribute {name!r}")


__all__ = ["SCRATCH", "Baseline", "Fitted", "evaluate_baseline", "load", "save"]
