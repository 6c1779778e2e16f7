"""What is known of one image: objects with their masks, a state and a revision; one JSON file an image.

A file appears whole or not at all and is on disk before anybody is told that it was saved.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from samtailor.data.writing import replacing
from samtailor.errors import DataError, InputError
from samtailor.masks.rle import to_json as rle_to_json
from samtailor.masks.rle import validated

State = Literal["open", "proposed", "accepted"]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]
MOST = 5000
"""Objects of one image."""


class Asked(BaseModel):
    """What an object was asked for with, pixels of the image."""

    model_config = ConfigDict(extra="forbid")

    points: list[tuple[Number, Number]] = Field([], max_length=256)
    labels: list[Literal[0, 1]] = Field([], max_length=256)
    box: tuple[Number, Number, Number, Number] | None = None


class Runs(BaseModel):
    """COCO's compressed run lengths; size is (height, width)."""

    model_config = ConfigDict(extra="forbid")

    size: tuple[int, int]
    counts: str

    @property
    def packed(self) -> dict[str, Any]:
        """As pycocotools takes it."""
        return {"size": list(self.size), "counts": self.counts.encode("ascii")}


class Object(BaseModel):
    """One object of an image.

    Args:
        id: unique in its image.
        class_: name of its class; "class" in JSON.
        rle: mask, image frame.
        source: what made it.
        adapter: who answered; None: the base, or nobody.
        score: in [0, 1]; of the proposal, or predicted IoU.
        uncertainty: in [0, 1], see `proposing`.
        clicks: how many it took.
        prompts: what it was asked for with.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    id: str = Field(min_length=1, max_length=64)
    class_: str = Field(alias="class", min_length=1, max_length=64)
    rle: Runs
    source: Literal["click", "box", "brush", "polygon", "auto"] = "click"
    adapter: str | None = Field(None, max_length=64)
    score: Share | None = None
    uncertainty: Share | None = None
    clicks: int = Field(0, ge=0, le=100_000)
    prompts: Asked | None = None

    def checked(self, size: tuple[int, int]) -> Object:
        """The same with run lengths that are sound and in their usual form.

        Raises:
            InputError: run lengths of another size than the image's, broken, or of nothing.
        """
        if tuple(self.rle.size) != size:
            raise InputError(f"The mask of object {self.id!r} has size {self.rle.size}, its image {size}.")
        try:
            packed = validated(self.rle.model_dump(), f"object {self.id!r}")
        except DataError as error:
            raise InputError(str(error)) from error
        if not area(packed):
            raise InputError(f"The mask of object {self.id!r} is empty.")
        return self.model_copy(update={"rle": Runs(**rle_to_json(packed))})


class Record(BaseModel):
    """What is known of one image.

    Args:
        revision: rises by one with each change; 0: never saved.
        state: "open" (objects, if any, are a draft), "proposed" by an adapter, or "accepted" by a human.
        size: (height, width) of the image that the masks belong to.
        image: its name, for whoever reads the file.
        objects: in the order they were made.
        uncertainty: of a proposed image.
        by: what proposed it, so that a stopped job goes on and does nothing twice.
    """

    model_config = ConfigDict(extra="forbid")

    revision: int = Field(0, ge=0)
    state: State = "open"
    size: tuple[int, int] = (0, 0)
    image: str = Field("", validation_alias=AliasChoices("image", "picture"))  # "picture": files of version 0.1
    objects: list[Object] = []
    uncertainty: Share | None = None
    by: str | None = None

    @property
    def untouched(self) -> bool:
        """Whether no human has anything in it: an adapter may fill it, or fill it anew."""
        return self.state == "proposed" or (self.state == "open" and not self.objects)


def read(file: Path) -> Record:
    """A record from its file.

    Raises:
        DataError: not as `write` writes it. It is never written over then.
    """
    try:
        return Record.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"{error.error_count()} things are wrong in it"
        raise DataError(f"{file} cannot be read ({reason}). Mend it, or move it away to begin anew.") from None


def write(file: Path, record: Record) -> None:
    """Write a record; it is on disk when this returns."""
    write_through(file, record.model_dump(mode="json", by_alias=True))


def write_through(file: Path, content: Any) -> None:
    """JSON to a file, whole or not at all, past the caches of the system: it outlives a power cut."""
    with replacing(file) as temporary, temporary.open("w", encoding="utf-8") as stream:
        json.dump(content, stream, ensure_ascii=False, allow_nan=False)
        stream.flush()
        os.fsync(stream.fileno())
    if hasattr(os, "O_DIRECTORY"):  # the name in the folder too; Windows does that by itself
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def area(packed: dict[str, Any]) -> int:
    """Pixels of a mask."""
    from pycocotools import mask as coco

    return int(coco.area(packed))


__all__ = ["MOST", "Asked", "Object", "Record", "Runs", "area", "read", "write", "write_through"]
