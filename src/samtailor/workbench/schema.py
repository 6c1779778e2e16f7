"""What the page sends, checked."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from samtailor.predict.prompt import ObjectPrompt
from samtailor.serve.schema import Number, Prompt
from samtailor.workbench.records import Object, Runs, Share
from samtailor.workbench.settings import Class


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Classes(_Strict):
    """The list of classes, and which of the old ones are called otherwise in it."""

    classes: list[Class] = Field(max_length=500)
    renamed: dict[str, str] = {}


class Annotations(_Strict):
    """What a human made of an image, on top of a revision."""

    revision: int = Field(ge=0)
    state: Literal["open", "accepted"]
    objects: list[Object]


class Segment(_Strict):
    """A prompt, and who answers; None the base."""

    adapter: str | None = None
    points: list[tuple[Number, Number]] = []
    labels: list[Literal[0, 1]] | None = None
    box: tuple[Number, Number, Number, Number] | None = None
    closer: bool | None = Field(None, description="Also a closer look at a small object: first, or second.")
    previous: Any = None  # may be sent, and is ignored

    def ask(self, most: int) -> ObjectPrompt:
        """As the decoder takes it. InputError: more points than `most`, or another number of labels."""
        return Prompt(points=self.points, labels=self.labels, box=self.box).ask(most)


class Compare(Segment):
    """A prompt for several."""

    adapters: list[str | None] = Field(min_length=1, max_length=16)


class Auto(_Strict):
    """Who is to find objects by itself."""

    adapter: str | None
    threshold: Share | None = None


class Outline(_Strict):
    """A mask that is wanted as polygons."""

    rle: Runs
    tolerance: float = Field(1.0, ge=0, le=100)


class Polygon(_Strict):
    """One connected part: its outline and its holes."""

    outer: list[tuple[Number, Number]]
    holes: list[list[tuple[Number, Number]]] = []

    def rings(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """As `masks.rasterise` takes it."""
        return _ring(self.outer), [_ring(hole) for hole in self.holes]


class Polygons(_Strict):
    """Polygons that are wanted as a mask."""

    polygons: list[Polygon] = Field(max_length=10_000)


class Fit(_Strict):
    """A fit; everything may be left out."""

    name: str | None = None
    classes: list[str] | None = Field(None, min_length=1)
    method: str | None = Field(None, max_length=64)
    steps: int | None = Field(None, ge=1, le=1_000_000)
    seed: int | None = Field(None, ge=0)
    proposals: bool = True
    proposal_steps: int | None = Field(None, ge=20, le=100_000)


class Label(_Strict):
    """A labelling."""

    adapter: str
    threshold: Share | None = None
    only: list[str] | None = None


class Export(_Strict):
    """An export."""

    format: str = Field(max_length=64)
    states: list[Literal["accepted", "proposed"]] = Field(["accepted"], min_length=1)
    images: Literal["link", "copy", "none"] = "link"


def _ring(points: list[tuple[float, float]]) -> np.ndarray:
    return np.array(points, float).reshape(-1, 2)


__all__ = ["Annotations", "Auto", "Classes", "Compare", "Export", "Fit", "Label", "Outline", "Polygons", "Segment"]
