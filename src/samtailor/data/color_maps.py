"""Class names by color: the palette files that come with color class maps, and maps by color."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from samtailor.data.listing import read_text
from samtailor.data.voc_palette import packed_palette
from samtailor.errors import DataError

NOTHING = frozenset(
    ("null", "background", "__background__", "_background_", "ignore", "unlabeled", "unlabelled", "void", "none", "")
)
"""Names that mean no class, in lower case."""
_MAX_BYTES = 1 << 18  # of a palette file
_MAX_FILES = 32
_NAME = ("name", "class", "label", "class_name", "label_name", "classname", "category", "title", "readable")
_COLOR = ("color", "class_color", "rgb", "color_rgb", "hex")
_CHANNELS = (("r", "red"), ("g", "green"), ("b", "blue"))
_TEXT = re.compile(r"^\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\S.*?)\s*$")


def palette_file(*places: Path | None) -> Path | None:
    """The first file of the folders or files that lists classes with their colors; None if there is none.

    Reads only small files.
    """
    for place in places:
        if place is None or not place.exists():
            continue
        files = [place / name for name in sorted(os.listdir(place))] if place.is_dir() else [place]
        files = [f for f in files if f.suffix.lower() in (".csv", ".json", ".txt") and f.name[0] != "."]
        for file in files[:_MAX_FILES]:
            try:
                if file.is_file() and file.stat().st_size <= _MAX_BYTES and _parsed(file):
                    return file
            except (DataError, OSError):
                continue
    return None


def read_palette(file: Path) -> dict[int, str]:
    """Class names by color (65536 * red + 256 * green + blue) of a palette file.

    CSV with the columns name, r, g, b (or name, color); JSON with {name: [r, g, b]} or a list of objects with name and
    color; text with lines `r g b name`, or CVAT's labelmap.txt (`name:r,g,b:parts:actions`; without any
    color, `name:::`, the colors are those of VOC in the order of the lines).

    Raises:
        DataError: the file has none of these forms, a color is not valid, or two classes have one color.
    """
    pairs = _parsed(file)
    if not pairs:
        raise DataError(f"{file}: no classes with colors. Expected, for example, lines of name,r,g,b with a header.")
    table: dict[int, str] = {}
    for name, color in pairs:
        if table.setdefault(color, name) != name:
            raise DataError(f"{file}: the classes {table[color]!r} and {name!r} have the same color {shown(color)}.")
    return table


def by_color(colors: np.ndarray, names: Mapping[int, str], file: Path) -> tuple[np.ndarray, dict[int, str]]:
    """An index map (height, width) from 1 and its class names, from a map of colors. Names of `NOTHING` become 0.

    Black without a name is background.

    Raises:
        DataError: a color without a name.
    """
    known = np.array(sorted(names), np.int32)
    place = np.minimum(np.searchsorted(known, colors), len(known) - 1)
    listed = known[place] == colors
    unknown = np.unique(colors[~listed & (colors != 0)])
    if len(unknown):
        share = float((~listed & (colors != 0)).mean())
        raise DataError(
            f"{file}: {len(unknown)} colors have no class ({share:.2%} of the pixels), for example "
            f"{shown(int(unknown[0]))}. Add them to the palette file, or save the map without smoothed edges."
        )
    index = np.where(listed, place + 1, 0).astype(np.uint16)
    labels = {i + 1: names[int(color)] for i, color in enumerate(known)}
    for value, name in labels.items():
        if name.lower() in NOTHING:
            index[index == value] = 0
    return index, {value: name for value, name in labels.items() if name.lower() not in NOTHING}


def shown(color: int) -> str:
    """A color as text: "(255, 0, 16)"."""
    return str((color >> 16, color >> 8 & 255, color & 255))


def _parsed(file: Path) -> list[tuple[str, int]]:
    """(name, color) of a palette file; empty if it is none."""
    text = read_text(file)
    try:
        if file.suffix.lower() == ".json":
            return list(_from_json(json.loads(text)))
        if file.suffix.lower() == ".csv":
            return list(_from_csv(text))
        return list(_from_text(text))
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError, csv.Error):
        return []


def _from_csv(text: str) -> Iterator[tuple[str, int]]:
    lines = [line for line in text.splitlines() if line.strip()]
    dialect = ";" if lines and lines[0].count(";") > lines[0].count(",") else ","
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=dialect)]
    head = [cell.lower().lstrip("#").strip() for cell in rows[0]]
    column = next((head.index(name) for name in _NAME if name in head), None)
    if column is None:
        return
    channels = [next((head.index(name) for name in names if name in head), None) for names in _CHANNELS]
    single = next((head.index(name) for name in _COLOR if name in head), None)
    for row in rows[1:]:
        if None not in channels:
            yield row[column], _packed([int(row[c]) for c in channels if c is not None])
        elif single is not None:
            yield row[column], _color(row[single])


def _from_json(value: Any) -> Iterator[tuple[str, int]]:
    for key in ("labels", "classes", "categories", "palette", "colors"):
        if isinstance(value, dict) and isinstance(value.get(key), list | dict):
            value = value[key]
            break
    if isinstance(value, list):
        for entry in value:
            name = next(entry[key] for key in _NAME if isinstance(entry.get(key), str))
            yield name, _color(next(entry[key] for key in _COLOR if key in entry))
    elif isinstance(value, dict):
        for name, color in value.items():
            if isinstance(color, str) and re.fullmatch(r"[\s\[(]*\d+\s*,\s*\d+\s*,\s*\d+[\s\])]*", name):
                yield color, _color(name.strip("[]() "))  # {"255, 0, 0": "name"}
            else:
                yield name, _color(color)


def _from_text(text: str) -> Iterator[tuple[str, int]]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if lines and all(line.strip().endswith(":::") for line in lines):  # datumaro: no colors, those of VOC in this order
        yield from zip((line.strip()[:-3] for line in lines), packed_palette(), strict=False)
        return
    for line in lines:
        match = _TEXT.match(line)
        if match:
            yield match[4], _packed([int(match[i]) for i in (1, 2, 3)])
        else:
            name, colors, *_ = line.strip().rsplit(":", 3) if line.count(":") >= 3 else line.strip().split(":")
            yield name, _color(colors)


def _color(value: Any) -> int:
    if isinstance(value, dict):
        value = [value[key] for key in ("r", "g", "b")]
    if isinstance(value, str):
        text = value.strip()
        if re.fullmatch(r"#?[0-9a-fA-F]{6}", text) and not text.isdecimal():
            return int(text.lstrip("#"), 16)
        value = [int(part) for part in re.split(r"[\s,;]+", text) if part]
    return _packed(value)


def _packed(channels: Any) -> int:
    red, green, blue = (int(v) for v in channels[:3])
    if not all(0 <= v <= 255 for v in (red, green, blue)) or len(channels) > 4:
        raise ValueError(f"not a color: {channels}")
    return red << 16 | green << 8 | blue


__all__ = ["NOTHING", "by_color", "palette_file", "read_palette", "shown"]
