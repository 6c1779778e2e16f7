"""Questions and answers of the service, as JSON."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from samtailor.errors import InputError
from samtailor.predict.prompt import ObjectPrompt

Number = Annotated[float, Field(allow_inf_nan=False)]


class Prompt(BaseModel):
    """One object that is asked for. Coordinates are pixels of the image after its EXIF rotation, x to the right."""

    model_config = ConfigDict(extra="forbid")

    points: list[tuple[Number, Number]] = Field([], description="Clicks, (x, y).")
    labels: list[Literal[0, 1]] | None = Field(
        None, description="One a click: 1 object, 0 not the object. Left out: all 1."
    )
    box: tuple[Number, Number, Number, Number] | None = Field(None, description="x0, y0, x1, y1.")
    label: str | None = Field(None, max_length=200, description="Comes back with the answer.")

    def ask(self, most: int) -> ObjectPrompt:
        """As the engine takes it; without points and box it asks for the whole image.

        Raises:
            InputError: more points than `most`, or another number of labels.
        """
        labels = [1] * len(self.points) if self.labels is None else self.labels
        if len(self.points) > most:
            raise InputError(f"A prompt has at most {most} points, got {len(self.points)}.")
        if len(labels) != len(self.points):
            raise InputError(f"labels must be one a point, got {len(labels)} for {len(self.points)} points.")
        clicks = tuple((x, y, label) for (x, y), label in zip(self.points, labels, strict=True))
        return ObjectPrompt(clicks, self.box, self.label, promptless=not clicks and self.box is None)


class PromptBatch(BaseModel):
    """What is asked of an image."""

    model_config = ConfigDict(extra="forbid")

    embedding: str | None = Field(None, max_length=64, description="Id; left out where the image comes along.")
    adapter: str | None = Field(None, max_length=64, description="Who answers; left out: the untouched base.")
    prompts: list[Prompt] = Field([], description="Each is answered by itself.")
    auto: bool = Field(False, description="No prompts: the adapter's proposals say where to look.")
    threshold: float | None = Field(None, ge=0, le=1, description="Lowest score of a proposal.")
    masks: Literal["best", "all"] = Field("best", description="The mask of highest predicted IoU, or all candidates.")
    format: Literal["rle", "png", "polygons"] = Field("rle", description="How masks come back.")
    tolerance: float = Field(1.0, ge=0, le=100, description="Of polygons: largest distance from the outline, pixels.")

    def asks(self, prompts: int, points: int) -> list[ObjectPrompt]:
        """As the engine takes them, within the limits.

        Raises:
            InputError: none or too many, or prompts together with auto.
        """
        if self.auto and self.prompts:
            raise InputError("Give prompts, or auto, not both.")
        if not self.auto and not 1 <= len(self.prompts) <= prompts:
            raise InputError(f"Expected 1 to {prompts} prompts, or auto, got {len(self.prompts)}.")
        return [prompt.ask(points) for prompt in self.prompts]


class EncodedImage(BaseModel):
    """An image that is encoded."""

    id: str = Field(description="Names the embedding: the same pixels have the same id.")
    width: int
    height: int


class Mask(BaseModel):
    """One answer; which of rle, png and polygons it has was asked for."""

    prompt: int = Field(description="Which of the prompts, from 0; with auto the rank.")
    label: str | None
    score: float = Field(description="The proposal's with auto, else the predicted IoU.")
    predicted_iou: float
    area: int = Field(description="Pixels.")
    box: tuple[int, int, int, int] | None = Field(description="Tight, x0, y0, x1, y1; null for an empty mask.")
    rle: dict[str, Any] | None = Field(None, description="COCO's compressed run lengths.")
    png: str | None = Field(None, description="Base64 of a grey PNG, 255 on the object.")
    polygons: list[dict[str, Any]] | None = Field(
        None, description="One a connected part: outer and holes, points on the edges of pixels."
    )


class Masks(BaseModel):
    """Answers to a question."""

    embedding: EncodedImage
    adapter: str | None
    masks: list[Mask]


class Adapter(BaseModel):
    """An adapter that is loaded."""

    name: str
    method: str
    classes: list[str]
    auto: bool = Field(description="Whether it can be asked with auto.")
    promptless: bool = Field(description="Whether a prompt may be empty.")
    own_encoder: bool = Field(description="Whether it has an embedding of its own.")
    parameters: int


class Adapters(BaseModel):
    """Who can be asked."""

    base: str
    adapters: list[Adapter]


class Place(BaseModel):
    """Where an adapter is."""

    model_config = ConfigDict(extra="forbid")

    folder: str = Field(max_length=1000, description="Relative to the folder that adapters are taken from.")


class Wrong(BaseModel):
    """Why a request was not answered."""

    error: str


__all__ = ["Adapter", "Adapters", "EncodedImage", "Mask", "Masks", "Place", "Prompt", "PromptBatch", "Wrong"]
