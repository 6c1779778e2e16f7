"""Annotations of one image: objects with their masks, a state and a revision; one JSON file per image.

A file is replaced as a whole, and it is flushed to disk before a save is confirmed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from samtailor.data.writing import SEAL, check_seal, replacing, sealed
from samtailor.errors import DataError, InputError, counted
from samtailor.limits import MALFORMED, parse_json, read_bytes
from samtailor.masks.rle import to_json as rle_to_json
from samtailor.masks.rle import validated

State = Literal["open", "proposed", "accepted"]
UnitInterval = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]
MAX_OBJECTS = 5000
"""Largest number of objects in one image."""


class SavedPrompt(BaseModel):
    """The prompt that an object was made with, in pixels of the image."""

    model_config = ConfigDict(extra="forbid")

    points: list[tuple[Number, Number]] = Field(default=[], max_length=256)
    labels: list[Literal[0, 1]] = Field(default=[], max_length=256)
    box: tuple[Number, Number, Number, Number] | None = None


class Runs(BaseModel):
    """COCO's compressed run lengths; size is (height, width)."""

    model_config = ConfigDict(extra="forbid")

    size: tuple[int, int]
    counts: str

    @property
    def packed(self) -> dict[str, Any]:
        """The run lengths in the form that pycocotools takes."""
        return {"size": list(self.size), "counts": self.counts.encode("ascii")}


class Object(BaseModel):
    """One object of an image.

    Args:
        id: unique within the image.
        class_: name of the class; "class" in JSON.
        rle: mask, image frame.
        source: how the object was made.
        adapter: adapter that predicted the mask; None for the base model and for masks drawn by hand.
        score: in [0, 1]: score of the proposal, or predicted IoU.
        uncertainty: in [0, 1], see `proposing`.
        clicks: number of clicks.
        prompts: the prompt.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    id: str = Field(min_length=1, max_length=64)
    class_: str = Field(validation_alias="class", serialization_alias="class", min_length=1, max_length=64)
    rle: Runs
    source: Literal["click", "box", "brush", "polygon", "auto", "find", "import"] = "click"
    adapter: str | None = Field(default=None, max_length=64)
    score: UnitInterval | None = None
    uncertainty: UnitInterval | None = None
    clicks: int = Field(default=0, ge=0, le=100_000)
    prompts: SavedPrompt | None = None

    @property
    def predicted(self) -> bool:
        """Whether it was predicted without a prompt of the user."""
        return self.source in ("auto", "find")

    def checked(self, size: tuple[int, int]) -> Object:
        """The same object with valid run lengths in canonical form.

        Args:
            size: (height, width) of the image.

        Raises:
            InputError: the mask has another size than the image, cannot be decoded, or is empty.
        """
        if tuple(self.rle.size) != size:
            raise InputError(f"The mask of object {self.id!r} has size {self.rle.size}, expected {size} (its image).")
        try:
            packed = validated(self.rle.model_dump(), f"object {self.id!r}")
        except DataError as error:
            raise InputError(str(error)) from error
        if not area(packed):
            raise InputError(f"The mask of object {self.id!r} is empty.")
        return self.model_copy(update={"rle": Runs(**rle_to_json(packed))})


class Record(BaseModel):
    """Annotations of one image.

    Args:
        revision: increases by one with each change; 0: never saved.
        state: "open" (objects are a draft), "proposed" by an adapter, or "accepted" by the user.
        size: (height, width) of the image that the masks belong to.
        image: name of the image, for readers of the file.
        objects: in the order they were made.
        uncertainty: of a proposed image, in [0, 1].
        by: digest of the adapter and threshold that proposed the objects. A labeling job that was stopped continues
            with the images that lack it.
    """

    model_config = ConfigDict(extra="forbid")

    revision: int = Field(default=0, ge=0)
    state: State = "open"
    size: tuple[int, int] = (0, 0)
    # "picture": files of version 0.1
    image: str = Field(default="", validation_alias=AliasChoices("image", "picture"))
    objects: list[Object] = []
    uncertainty: UnitInterval | None = None
    by: str | None = None

    @property
    def untouched(self) -> bool:
        """Whether the record holds no work of the user, so that an adapter may replace it."""
        return self.state == "proposed" or (self.state == "open" and not self.objects)


def read(file: Path) -> Record:
    """Read a record.

    Raises:
        DataError: the file is damaged. It is never overwritten then.
    """
    try:
        values = parse_json(read_bytes(file, "annotation_bytes"), str(file))
        record = Record.model_validate({key: value for key, value in values.items() if key != SEAL})
        check_seal(values, file)
        return record
    except (DataError, *MALFORMED) as error:
        reason = counted(error.error_count(), "error") if isinstance(error, ValidationError) else str(error)[:300]
        raise DataError(f"{file} cannot be read ({reason}). Repair it, or move it away to start over.") from None


def checked(record: Record, file: Path) -> Record:
    """The same record. A file from elsewhere may declare masks of any size, which must not be allocated.

    Raises:
        DataError: a mask of another size than the record, or run lengths that cannot be decoded.
    """
    for one in record.objects:
        if one.rle.size != record.size != (0, 0):  # (0, 0): a record without a size
            raise DataError(f"{file}: object {one.id!r} has a mask of size {one.rle.size}, expected {record.size}.")
        validated(one.rle.model_dump(), f"{file}, object {one.id!r}")
    return record


def checked_objects(objects: Sequence[Object], size: tuple[int, int], classes: Sequence[str]) -> list[Object]:
    """The objects of an image with valid run lengths in canonical form.

    Args:
        objects: all objects of the image.
        size: (height, width) of the image.
        classes: names of the classes of the project.

    Raises:
        InputError: too many objects, two with the same id, an unknown class, or an invalid mask.
    """
    if len(objects) > MAX_OBJECTS:
        raise InputError(f"An image has at most {MAX_OBJECTS} objects, got {len(objects)}.")
    if len({o.id for o in objects}) != len(objects):
        raise InputError("Two objects have the same id.")
    if unknown := [o.class_ for o in objects if o.class_ not in classes]:
        raise InputError(f"There is no class {unknown[0]!r}. Classes: {', '.join(classes) or 'none'}.")
    return [o.checked(size) for o in objects]


def write(file: Path, record: Record) -> None:
    """Write a record; it is on disk when this returns."""
    write_through(file, sealed(record.model_dump(mode="json", by_alias=True)))


def write_through(file: Path, content: Any) -> None:
    """Write JSON atomically and flush it to disk, so that it survives a power failure."""
    with replacing(file) as temporary, temporary.open("w", encoding="utf-8") as stream:
        json.dump(content, stream, ensure_ascii=False, allow_nan=False)
        stream.flush()
        os.fsync(stream.fileno())
    if hasattr(os, "O_DIRECTORY"):  # the directory entry too; Windows flushes it by itself
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def area(packed: dict[str, Any]) -> int:
    """Area of a run-length encoded mask in pixels."""
    from pycocotools import mask as coco

    return int(coco.area(packed))


__all__ = [
    "MAX_OBJECTS",
    "Object",
    "Record",
    "Runs",
    "SavedPrompt",
    "State",
    "area",
    "checked",
    "checked_objects",
    "read",
    "write",
    "write_through",
]
