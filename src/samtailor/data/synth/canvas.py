"""The canvas: an image being painted, and beside it the maps of which pixel belongs to what."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from samtailor.data.synth import shapes
from samtailor.data.synth.textures import Material

DECOR = "*"  # label of a layer that is drawn on a thing without being a part of its own


@dataclass
class Layer:
    """One surface of a thing.

    outlines: unit-frame polygons painted together, as one mask. label: name of the part; None for
    what is the thing itself, without a part; :data:`DECOR` for drawing that leaves the parts as they are.
    clip: paint only where the thing already is.
    """

    outlines: list[np.ndarray]
    material: Material
    label: str | None = None
    clip: bool = False


@dataclass
class Canvas:
    """An image and its id maps.

    image: ``(S, S, 3)`` uint8 RGB. objects, parts: ``(S, S)`` uint8 ids; 0 is none, and id i is
    called ``object_names[i - 1]`` or ``part_names[i - 1]``. groups: what hangs on what, object id to object id; a
    carrier and all that hangs on it are one group. nested: part id to that of the part it is a
    part of; ``parts`` has the smallest one.
    """

    image: np.ndarray
    objects: np.ndarray
    parts: np.ndarray
    object_names: list[str] = field(default_factory=list)
    part_names: list[str] = field(default_factory=list)
    part_owner: list[int] = field(default_factory=list)  # object id of each part
    groups: dict[int, int] = field(default_factory=dict)
    nested: dict[int, int] = field(default_factory=dict)

    @classmethod
    def on(cls, background: np.ndarray) -> Canvas:
        """A canvas with ``background`` ``(S, S, 3)`` uint8 and nothing on it."""
        size = background.shape[0]
        return cls(background, np.zeros((size, size), np.uint8), np.zeros((size, size), np.uint8))

    @property
    def size(self) -> int:
        """Side of the image, px."""
        return self.image.shape[0]

    @property
    def full(self) -> bool:
        """Whether the 8-bit ids are nearly used up."""
        return len(self.object_names) >= 240 or len(self.part_names) >= 230

    def add(
        self,
        rng: np.random.Generator,
        name: str,
        layers: list[Layer],
        *,
        center: tuple[float, float],
        scale: tuple[float, float],
        angle: float = 0.0,
    ) -> None:
        """Paint a thing over what is there: ``center`` and ``scale`` in px, ``angle`` in rad."""
        self.object_names.append(name)
        owner = len(self.object_names)
        for layer in layers:
            outlines = [shapes.place(o, center=center, scale=scale, angle=angle) for o in layer.outlines]
            self._paint(rng, layer, outlines, owner)

    def _paint(self, rng: np.random.Generator, layer: Layer, outlines: list[np.ndarray], owner: int) -> None:
        drawn = shapes.rasterize(outlines, self.size)
        if drawn is None:
            return
        cover, (x0, y0, x1, y1) = drawn
        objects, parts = self.objects[y0:y1, x0:x1], self.parts[y0:y1, x0:x1]
        if layer.clip:
            cover[objects != owner] = 0
        blend(self.image[y0:y1, x0:x1], layer.material.fill(rng, y1 - y0, x1 - x0), cover)
        inside = cover > 127
        parts[inside & (objects != owner)] = 0  # what lay there was a part of something now hidden
        objects[inside] = owner
        if layer.label is None:
            parts[inside] = 0
        elif layer.label != DECOR:
            self.part_names.append(layer.label)
            self.part_owner.append(owner)
            parts[inside] = len(self.part_names)


def blend(below: np.ndarray, above: np.ndarray, cover: np.ndarray) -> None:
    """Lay ``above`` over ``below``, in place, with opacity ``cover``; ``(h, w, 3)`` twice and ``(h, w)``, uint8."""
    weight = cover.astype(np.float32) / 255
    below[...] = cv2.blendLinear(np.ascontiguousarray(above), np.ascontiguousarray(below), weight, 1 - weight)
