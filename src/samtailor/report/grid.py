"""Grids of images with column titles: as a section of a report, and as one image file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from samtailor.masks.overlay import fit
from samtailor.report.page import Section
from samtailor.report.panels import panel

Row = Sequence[tuple[np.ndarray, str]]
"""Images of one row with their captions: uint8 RGB, and text that may be empty."""
_SIDE, _GAP, _TITLE, _CAPTION = 400, 10, 36, 24


def grid(title: str, text: str, head: Sequence[str], rows: Sequence[Row], note: str = "") -> Section:
    """A grid as a section of a report.

    Args:
        title, text: of the section.
        head: titles of the columns; may be empty.
        rows: all of the same length.
        note: below the grid.
    """
    listed = [
        [
            panel(image, caption, f"{head[column]}: {caption}" if head else caption)
            for column, (image, caption) in enumerate(row)
        ]
        for row in rows
    ]
    columns = len(rows[0])
    return {
        "kind": "grid",
        "title": title,
        "text": text,
        "head": head,
        "rows": listed,
        "columns": columns,
        "note": note,
    }


def contact_sheet(head: Sequence[str], rows: Sequence[Row], note: str = "") -> np.ndarray:
    """The grid as one image, uint8 RGB (height, width, 3), black text on white.

    Args:
        head: titles of the columns.
        rows: all of the same length.
        note: last line.
    """
    fitted = [[(fit(image, _SIDE), caption) for image, caption in row] for row in rows]
    heights = [max(image.shape[0] for image, _ in row) for row in fitted]
    width = len(head) * (_SIDE + _GAP) + _GAP
    height = _TITLE + sum(heights) + len(heights) * (_CAPTION + _GAP) + (_CAPTION + _GAP if note else 0)
    sheet = Image.new("RGB", (width, height), "white")
    draw, title, small = ImageDraw.Draw(sheet), ImageFont.load_default(20), ImageFont.load_default(15)
    lefts = [_GAP + column * (_SIDE + _GAP) for column in range(len(head))]
    for left, name in zip(lefts, head, strict=True):
        draw.text((left, 8), name, fill="black", font=title)
    top = _TITLE
    for row, high in zip(fitted, heights, strict=True):
        for left, (image, caption) in zip(lefts, row, strict=True):
            sheet.paste(Image.fromarray(image), (left, top))
            draw.text((left, top + high + 3), caption, fill=(90, 90, 96), font=small)
        top += high + _CAPTION + _GAP
    if note:
        draw.text((_GAP, top + 3), note, fill=(90, 90, 96), font=small)
    return np.asarray(sheet)


__all__ = ["Row", "contact_sheet", "grid"]
