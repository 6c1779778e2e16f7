"""How often a source that looks for objects itself found none, and so asked for the full frame."""

from __future__ import annotations

from typing import Any


class Fallbacks:
    """Counts them; what sources that look at the picture are.

    Attributes:
        of_picture: it looks at the picture, not at the masks: ask it with masks of the picture frame.
    """

    of_picture = True

    def __init__(self) -> None:
        self._found: dict[str, bool] = {}

    @property
    def fallbacks(self) -> int:
        """Pictures asked for so far in which nothing was found."""
        return sum(not found for found in self._found.values())

    def report(self) -> dict[str, Any]:
        """What to put beside results: `pictures` asked for, `fallbacks` to the full frame, their `fallback_ids`."""
        ids = [id for id, found in self._found.items() if not found]
        return {"pictures": len(self._found), "fallbacks": len(ids), "fallback_ids": ids}


__all__ = ["Fallbacks"]
