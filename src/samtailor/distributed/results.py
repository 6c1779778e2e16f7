"""The result of one image."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from samtailor.distributed.items import Item

DONE, UNREADABLE, FAILED = "done", "unreadable", "failed"
"""Values of `status`: predicted; the file cannot be read; given up after several tries."""


@dataclass(frozen=True)
class Result:
    """The result of one image.

    Args:
        id: of the image.
        row: of the table of images.
        rows: of the table of the task, for example one for each object.
        retry: the image was not processed for this reason, which may pass; None: this is the result.
    """

    id: str
    row: dict[str, Any]
    rows: tuple[dict[str, Any], ...] = ()
    retry: str | None = None

    def to_json(self) -> str:
        """As text, for other processes."""
        return json.dumps([self.id, self.row, self.rows, self.retry], allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Result:
        """From text."""
        name, row, rows, retry = json.loads(text)
        return cls(name, row, tuple(rows), retry)

    def with_tries(self, tries: int) -> Result:
        """With the number of tries."""
        return replace(self, row={**self.row, "tries": tries})


def done(item: Item, rows: tuple[dict[str, Any], ...], *, height: int, width: int, empty: int = 0) -> Result:
    """The result of an image that was processed.

    Args:
        item: the image.
        rows: of the table of the task.
        height, width: of the image, pixels.
        empty: number of predictions without a pixel.
    """
    row = _row(item, DONE, None) | {"height": height, "width": width, "rows": len(rows), "empty": empty}
    return Result(item.id, row, rows)


def unreadable(item: Item, error: str) -> Result:
    """The result of an image whose file cannot be read."""
    return Result(item.id, _row(item, UNREADABLE, error))


def failed(item: Item, error: str) -> Result:
    """The result of an image that was given up."""
    return Result(item.id, _row(item, FAILED, error))


def postponed(item: Item, reason: str) -> Result:
    """No result for a reason that may pass."""
    return Result(item.id, {}, retry=reason)


def _row(item: Item, status: str, error: str | None) -> dict[str, Any]:
    return {
        "image": item.id,
        "uri": item.uri,
        "height": 0,
        "width": 0,
        "rows": 0,
        "empty": 0,
        "status": status,
        "error": error,
        "tries": 1,
    }


__all__ = ["DONE", "FAILED", "UNREADABLE", "Result", "done", "failed", "postponed", "unreadable"]
