"""Text files of YOLO, for the layouts that store them in other places than images/ and labels/."""

from __future__ import annotations

from samtailor.data.formats import yolo

lines, of_file = yolo.lines, yolo.of_file

__all__ = ["lines", "of_file"]
