"""Counts the images without detections, in which a source prompts with the full frame instead."""

from __future__ import annotations

from typing import Any


class Fallbacks:
    """Base class of sources that read the image.

    Attributes:
        of_image: True; the source needs masks of the image frame.
    """

    of_image = True

    def __init__(self) -> None:
        self._nonempty: dict[str, bool] = {}

    @property
    def fallbacks(self) -> int:
        """Number of images so far in which nothing was detected."""
        return sum(not nonempty for nonempty in self._nonempty.values())

    def report(self) -> dict[str, Any]:
        """Figures to report with results: number of `images`, number of `fallbacks` to the full frame and their ids."""
        ids = [id for id, nonempty in self._nonempty.items() if not nonempty]
        return {"images": len(self._nonempty), "fallbacks": len(ids), "fallback_ids": ids}


__all__ = ["Fallbacks"]
