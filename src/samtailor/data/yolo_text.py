"""Text files of YOLO, for the layouts that store them in other places than images/ and labels/."""

from __future__ import annotations

from samtailor.data.formats.yolo import _annotations as annotations
from samtailor.data.formats.yolo import _lines as lines

__all__ = ["annotations", "lines"]
