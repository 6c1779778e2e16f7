"""Requests and responses of the service, as JSON."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from samtailor.errors import InputError
from samtailor.predict.prompt import ObjectPrompt

Number = Annotated[float, Field(allow_inf_nan=False)]


class Prompt(BaseModel):
    """Prompt for one object, in pixels of the image after its EXIF rotation (x to the right, y down)."""

    model_config = ConfigDict(extra="forbid")

    points: list[tuple[Number, Number]] = Field([], description="Clicks, (x, y).")
    labels: list[Literal[0, 1]] | None = Field(
        None, description="One per click: 1 for the object, 0 for the background. Default: all 1."
    )
    box: tuple[Number, Number, Number, Number] | None = Field(None, description="x0, y0, x1, y1.")
    label: str | None = Field(None, max_length=200, description="Returned with the mask.")

    def to_object_prompt(self, max_points: int) -> ObjectPrompt:
        """As the engine uses it; without points and box it is promptless.

        Raises:
            InputError: more than `max_points` points, or another number of labels than points.
        """
        labels = [1] * len(self.points) if self.labels is None else self.labels
        if len(self.points) > max_points:
            raise InputError(f"A prompt has at most {max_points} points, got {len(self.points)}.")
        if len(labels) != len(self.points):
            raise InputError(f"labels needs one value per point, got {len(labels)} for {len(self.points)} points.")
        clicks = tuple((x, y, label) for (x, y), label in zip(self.points, labels, strict=True))
        return ObjectPrompt(clicks, self.box, self.label, promptless=not clicks and self.box is None)


class PromptBatch(BaseModel):
    """Request for masks of an image."""

    model_config = ConfigDict(extra="forbid")

    embedding: str | None = Field(None, max_length=64, description="Id; omitted if the image is sent.")
    adapter: str | None = Field(None, max_length=64, description="Name of an adapter. Default: the base model.")
    prompts: list[Prompt] = Field([], description="Each is predicted separately.")
    auto: bool = Field(False, description="Automatic mode: the adapter proposes the prompts.")
    threshold: float | None = Field(None, ge=0, le=1, description="Lowest score of a proposal.")
    masks: Literal["best", "all"] = Field("best", description="The mask of highest predicted IoU, or all candidates.")
    format: Literal["rle", "png", "polygons"] = Field("rle", description="Format of the masks.")
    tolerance: float = Field(
        1.0, ge=0, le=100, description="Largest distance of polygons from the outline of the mask, pixels."
    )

    def object_prompts(self, max_prompts: int, max_points: int) -> list[ObjectPrompt]:
        """As the engine uses them.

        Raises:
            InputError: no prompts or too many, or prompts together with auto.
        """
        if self.auto and self.prompts:
            raise InputError("Give prompts, or auto, not both.")
        if not self.auto and not 1 <= len(self.prompts) <= max_prompts:
            raise InputError(f"Expected 1 to {max_prompts} prompts, or auto, got {len(self.prompts)}.")
        return [prompt.to_object_prompt(max_points) for prompt in self.prompts]


class EncodedImage(BaseModel):
    """An encoded image."""

    id: str = Field(description="Id of the embedding; equal pixels have the same id.")
    width: int
    height: int


class Mask(BaseModel):
    """One mask, in the requested format: rle, png or polygons."""

    prompt: int = Field(description="Index of the prompt; with auto the rank.")
    label: str | None
    score: float = Field(description="With auto the score of the proposal, else the predicted IoU.")
    predicted_iou: float
    area: int = Field(description="Pixels.")
    box: tuple[int, int, int, int] | None = Field(description="Tight, x0, y0, x1, y1; null for an empty mask.")
    empty: bool = Field(description="No object was found for the prompt: the mask has no pixel.")
    rle: dict[str, Any] | None = Field(None, description="COCO's compressed run lengths.")
    png: str | None = Field(None, description="Base64 of a gray PNG, 255 on the object.")
    polygons: list[dict[str, Any]] | None = Field(
        None, description="One per connected part: outer and holes, points on the edges of pixels."
    )


class Masks(BaseModel):
    """Masks of an image."""

    embedding: EncodedImage
    adapter: str | None
    masks: list[Mask]
    notes: list[str] = Field([], description="What differs from the request, as sentences; omitted without any.")


class Adapter(BaseModel):
    """A loaded adapter."""

    name: str
    method: str
    classes: list[str]
    auto: bool = Field(description="Whether it supports auto.")
    promptless: bool = Field(description="Whether a prompt may be empty.")
    own_encoder: bool = Field(description="Whether it has its own image encoder, and so its own embeddings.")
    parameters: int


class Adapters(BaseModel):
    """The base model and the loaded adapters."""

    base: str
    adapters: list[Adapter]


class Place(BaseModel):
    """Location of an adapter."""

    model_config = ConfigDict(extra="forbid")

    folder: str = Field(max_length=1000, description="Relative to the folder for adapters.")


class Wrong(BaseModel):
    """Why a request failed."""

    error: str


__all__ = ["Adapter", "Adapters", "EncodedImage", "Mask", "Masks", "Place", "Prompt", "PromptBatch", "Wrong"]
