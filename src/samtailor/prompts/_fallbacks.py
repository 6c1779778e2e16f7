"""How often a source that looks for objects itself found none, and so asked for the full frame."""

from __future__ import annotations

from typing import Any


class Fallbacks:
    """Counts them; what sources that look at the image are.

    Attributes:
        of_image: it looks at the image, not at the masks: ask it with masks of the image frame.
    """

    of_image = True

    def __init__(self) -> None:
        self._found: dict[str, bool] = {}

    @property
    def fallbacks(self) -> int:
        """Images asked for so far in which nothing was found."""
        return sum(not found for found in self._found.values())

    def report(self) -> dict[str, Any]:
        """What to put beside results: `images` asked for, `fallbacks` to the full frame, their `fallback_ids`."""
        ids = [id for id, found in self._found.items() if not found]
        return {"images": len(self._found), "fallbacks": len(ids), "fallback_ids": ids}


__all__ = ["Fallbacks"]
