"""Bodies of the page's requests."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from samtailor.predict.prompt import ObjectPrompt
from samtailor.serve.schema import Number, Prompt
from samtailor.workbench.finding import ReferenceMarks
from samtailor.workbench.records import Object, Runs, UnitInterval
from samtailor.workbench.settings import Class


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Classes(_Strict):
    """A new list of classes."""

    classes: list[Class] = Field(max_length=500)
    renamed: dict[str, str] = Field(default={}, description="Old name to new name.")
    moved: dict[str, str] = Field(default={}, description="Removed class to the class that its objects get.")


class Annotations(_Strict):
    """Annotations of an image, based on a revision."""

    revision: int = Field(ge=0)
    state: Literal["open", "accepted"]
    objects: list[Object]


ViewBox = tuple[Number, Number, Number, Number]


class Encode(_Strict):
    """What to encode before the first prompt."""

    adapter: str | None = None
    view: ViewBox | None = Field(default=None, description="Visible part of the image: x0, y0, x1, y1 in pixels.")


class Segment(_Strict):
    """A prompt for one object."""

    adapter: str | None = Field(default=None, description="Name of the adapter; null for the base model.")
    class_: str | None = Field(
        default=None,
        alias="class",
        max_length=64,
        description="Class of the object, for an adapter of several classes.",
    )
    points: list[tuple[Number, Number]] = []
    labels: list[Literal[0, 1]] | None = None
    box: tuple[Number, Number, Number, Number] | None = None
    zoom: bool | None = Field(
        default=None,
        description="Add the mask of a zoomed crop for a small object: true puts it first, false second.",
    )
    view: ViewBox | None = Field(default=None, description="Visible part of the image: x0, y0, x1, y1 in pixels.")
    refine: Runs | None = Field(default=None, description="The present mask of the object, which the prompt refines.")
    answer: str | None = Field(default=None, max_length=32, description="`answer` of the candidate that `refine` is.")
    previous: Any = Field(default=None, description="Ignored.")

    def prompt(self, max_points: int) -> ObjectPrompt:
        """The prompt for the decoder.

        Raises:
            InputError: more points than `max_points`, or labels and points differ in number.
        """
        prompt = {"points": self.points, "labels": self.labels, "box": self.box, "label": self.class_}
        return Prompt.model_validate(prompt).to_object_prompt(max_points)


class Compare(Segment):
    """A prompt for several adapters."""

    adapters: list[str | None] = Field(min_length=1, max_length=16)


class Auto(_Strict):
    """Automatic segmentation of an image."""

    adapter: str | None
    threshold: UnitInterval | None = Field(default=None, description="Lowest score of a proposal.")


class Clean(_Strict):
    """A mask to clean up."""

    rle: Runs
    operation: Literal["fill", "crumbs", "smooth", "split"]


class BaseName(_Strict):
    """A base model."""

    name: str = Field(min_length=1, max_length=1024, description="Hub id, folder, or name.")


class AcceptMany(_Strict):
    """Proposed images to accept."""

    ids: list[str] = Field(min_length=1, max_length=100_000)


class MaskToPolygons(_Strict):
    """A mask to convert to polygons."""

    rle: Runs
    tolerance: float = Field(default=1.0, ge=0, le=100, description="Largest distance from the outline, pixels.")


class Polygon(_Strict):
    """One connected part: outer ring and holes."""

    outer: list[tuple[Number, Number]]
    holes: list[list[tuple[Number, Number]]] = []

    def rings(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """The rings as arrays (n, 2), the form that `masks.rasterize` takes."""
        return _ring(self.outer), [_ring(hole) for hole in self.holes]


class Polygons(_Strict):
    """Polygons to convert to a mask."""

    polygons: list[Polygon] = Field(max_length=10_000)


class Fit(_Strict):
    """Settings of a fit; all are optional."""

    name: str | None = None
    classes: list[str] | None = Field(default=None, min_length=1)
    method: str | None = Field(default=None, max_length=64)
    budget: str | None = Field(default=None, max_length=16, description="Time of the fit: 30s, 2m, 10m, 1h.")
    steps: int | None = Field(default=None, ge=1, le=1_000_000)
    seed: int | None = Field(default=None, ge=0)
    proposals: bool = True
    proposal_steps: int | None = Field(default=None, ge=20, le=100_000)


class Label(_Strict):
    """Settings of a labeling job."""

    adapter: str
    threshold: UnitInterval | None = Field(default=None, description="Lowest score of a proposal.")
    only: list[str] | None = Field(default=None, description="Ids of images; default: all that are not annotated.")


class FindReference(_Strict):
    """An image that shows what to find, or what not to find."""

    image: str = Field(description="Id of the image.")
    rle: Runs | None = Field(default=None, description="Mask of one object; default: the objects of the image.")
    alike: bool = True

    def marks(self) -> ReferenceMarks:
        """The reference as `Finding.start` takes it."""
        return ReferenceMarks(self.image, self.rle, self.alike)


class Find(_Strict):
    """A search for objects like those of references."""

    class_: str = Field(alias="class", min_length=1, max_length=64, description="Class of what is found.")
    references: list[FindReference] = Field(min_length=1, max_length=512)
    threshold: UnitInterval | None = Field(default=None, description="Lowest score; default: calibrated.")
    here: str | None = Field(default=None, description="Search this image alone; its objects are not saved.")


class Import(_Strict):
    """Annotations to import."""

    data: str = Field(min_length=1, max_length=4096, description="Folder of the data set on this machine.")
    format: str | None = Field(default=None, max_length=64, description="Layout; default: detected.")
    options: dict[str, bool | float | str] = Field(default={}, description="Options of the layout.")
    replace: bool = Field(default=False, description="Replace annotations that were made by hand, too.")
    dry: bool = Field(default=False, description="Read and report only.")


class Export(_Strict):
    """Settings of an export."""

    format: str = Field(max_length=64)
    states: list[Literal["accepted", "proposed", "open"]] = Field(default=["accepted"], min_length=1)
    classes: list[str] | None = Field(default=None, min_length=1, description="Classes to export; default: all.")
    val: float = Field(default=0.0, ge=0, le=0.9, description="Share of the images for validation.")
    images: Literal["link", "copy", "none"] = "link"
    options: dict[str, bool | float | str] = Field(default={}, description="Options of the format, such as rle: true.")


def _ring(points: list[tuple[float, float]]) -> np.ndarray:
    return np.array(points, float).reshape(-1, 2)


__all__ = [
    "AcceptMany",
    "Annotations",
    "Auto",
    "BaseName",
    "Classes",
    "Clean",
    "Compare",
    "Encode",
    "Export",
    "Find",
    "FindReference",
    "Fit",
    "Import",
    "Label",
    "MaskToPolygons",
    "Polygon",
    "Polygons",
    "Segment",
]
