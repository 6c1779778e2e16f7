"""Images with one region per class, as input of a network with a fixed square size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from samtailor.data.augment import Augment, flip_pairs
from samtailor.data.regions import regions
from samtailor.data.transform import Frame
from samtailor.errors import DataError, InputError
from samtailor.structures import Sample


@dataclass(frozen=True)
class InputFormat:
    """Input of a network: squashed to a square (as in the references) and normalized.

    Args:
        size: side of the square, pixels.
        mean, std: per channel, RGB, on the scale 0 to 255.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def frame(self, height: int, width: int) -> Frame:
        """Geometry between an image and the square; logits have the resolution of the square."""
        return Frame(height, width, self.size, squash=True, low_res=self.size)

    def image(self, image: np.ndarray) -> Tensor:
        """uint8 RGB (height, width, 3) to float32 (3, size, size)."""
        if image.ndim != 3:
            raise InputError(f"An image must be uint8 RGB of shape (height, width, 3), got {image.shape}.")
        return self.frame(*image.shape[:2]).image(image, self)

    def mask(self, mask: np.ndarray) -> Tensor:
        """Boolean (height, width) to bool (size, size), nearest."""
        return torch.from_numpy(self.frame(*mask.shape).mask(mask))


class Feed:
    """Augmented views of images.

    Every view is a function of (sample, number of the view, seed), so two fits with the same seed use the same views.

    Args:
        samples: images; those without any of the classes are background.
        classes: class names.
        input_format: input of the network.
        augment: flipped, cropped and color-jittered views; False: the original images.
        seed: seed of views and order.

    Raises:
        DataError: no image has any of the classes.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        classes: Sequence[str],
        input_format: InputFormat,
        *,
        augment: bool,
        seed: int,
    ) -> None:
        # all labels are kept, because a flip turns a left eye into a right one
        self.samples, self.classes, self.seed = regions(samples), tuple(classes), seed
        self.input_format = input_format
        if not any(sample.of(classes) for sample in self.samples):
            raise DataError(f"None of the {len(samples)} images to fit has a mask of {', '.join(classes)}.")
        sides = flip_pairs(a.label for sample in samples for a in sample.of(None))
        self._augment = Augment(1 << 30, flip=sides is not None, flip_pairs=sides or (), seed=seed) if augment else None

    def view(self, index: int, number: int) -> tuple[Tensor, dict[str, Tensor]]:
        """View `number` of image `index`: float32 (3, size, size), and a bool (size, size) for each class in it."""
        sample = self.samples[index]
        if self._augment is not None:
            sample = self._augment.draw(sample, 1 + number).sample(sample)
        masks = {a.label: a for a in sample.annotations if a.label in self.classes}
        image = self.input_format.image(sample.image)
        return image, {label: self.input_format.mask(a.mask) for label, a in masks.items()}

    def showing(self, index: int, label: str, number: int) -> tuple[Tensor, Tensor]:
        """A view and its mask of one class; the original image if a flip changed the class."""
        image, masks = self.view(index, number)
        if label in masks:
            return image, masks[label]
        sample = self.samples[index]
        return self.input_format.image(sample.image), self.input_format.mask(sample.of([label])[0].mask)

    def batch(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        """(B, 3, size, size) and int64 labels (B, size, size): 0 is background, classes start at 1.

        Each pass over the images has another order. B is at least 2, because batch normalization of image-level
        features needs two images.
        """
        count = max(2, min(size, len(self.samples)))
        views = [self.view(*self._place(step * count + k)) for k in range(count)]
        return torch.stack([image for image, _ in views]), torch.stack([self._labels(masks) for _, masks in views])

    def _place(self, position: int) -> tuple[int, int]:
        """(image, number of its view) at a position of the endless sequence of shuffled passes."""
        turn, offset = divmod(position, len(self.samples))
        order = np.random.default_rng([self.seed, 1, turn]).permutation(len(self.samples))
        return int(order[offset]), turn

    def _labels(self, masks: dict[str, Tensor]) -> Tensor:
        """One label per pixel; where regions overlap, the smaller one is on top."""
        labels = torch.zeros(self.input_format.size, self.input_format.size, dtype=torch.int64)
        for name, mask in sorted(masks.items(), key=lambda item: -int(item[1].sum())):
            labels[mask] = 1 + self.classes.index(name)
        return labels


__all__ = ["Feed", "InputFormat"]
