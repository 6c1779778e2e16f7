"""A canvas: an image and the id maps of its objects and parts."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from samtailor.data.synth import shapes
from samtailor.data.synth.textures import Material

DECOR = "*"  # label of a layer that is no part


@dataclass
class Layer:
    """One surface of an object.

    Args:
        outlines: polygons in the unit frame, painted as one mask.
        material: its surface.
        label: name of the part; None if it belongs to the object without being a part; `DECOR` for decoration that
            does not change parts.
        clip: paint only on existing pixels of the object.
    """

    outlines: list[np.ndarray]
    material: Material
    label: str | None = None
    clip: bool = False


@dataclass
class Canvas:
    """An image and its id maps.

    Args:
        image: uint8 RGB (S, S, 3).
        objects, parts: uint8 (S, S) ids, 0 for none.
        object_names, part_names: names; id i has the name at index i - 1.
        part_owner: object id of each part.
        groups: object id to the id of its carrier.
        nested: part id to the id of the part that contains it; `parts` has the innermost one.
    """

    image: np.ndarray
    objects: np.ndarray
    parts: np.ndarray
    object_names: list[str] = field(default_factory=list)
    part_names: list[str] = field(default_factory=list)
    part_owner: list[int] = field(default_factory=list)
    groups: dict[int, int] = field(default_factory=dict)
    nested: dict[int, int] = field(default_factory=dict)

    @classmethod
    def on(cls, background: np.ndarray) -> Canvas:
        """A canvas with a background, uint8 (S, S, 3), and no objects."""
        size = background.shape[0]
        return cls(background, np.zeros((size, size), np.uint8), np.zeros((size, size), np.uint8))

    @property
    def size(self) -> int:
        """Side of the image, in pixels."""
        return self.image.shape[0]

    @property
    def full(self) -> bool:
        """Whether the 8-bit ids are nearly exhausted."""
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
        """Paint an object on top; `center` and `scale` in pixels, `angle` in radians."""
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
        parts[inside & (objects != owner)] = 0  # parts of objects that are now hidden
        objects[inside] = owner
        if layer.label is None:
            parts[inside] = 0
        elif layer.label != DECOR:
            self.part_names.append(layer.label)
            self.part_owner.append(owner)
            parts[inside] = len(self.part_names)


def blend(below: np.ndarray, above: np.ndarray, cover: np.ndarray) -> None:
    """Blend `above` onto `below`, in place, with opacity `cover`: uint8 (h, w, 3), (h, w, 3) and (h, w)."""
    weight = cover.astype(np.float32) / 255
    below[...] = cv2.blendLinear(np.ascontiguousarray(above), np.ascontiguousarray(below), weight, 1 - weight)
