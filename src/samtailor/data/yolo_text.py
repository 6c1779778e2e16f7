"""Text files of YOLO, for the layouts that store them in other places than images/ and labels/."""

from __future__ import annotations

from samtailor.data.formats.yolo import _annotations as read_annotations
from samtailor.data.formats.yolo import _lines as read_lines

__all__ = ["read_annotations", "read_lines"]
