"""Words as coverage masks, in the fonts of Pillow and matplotlib. Nothing is downloaded."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Rng = np.random.Generator

_SIZE = 72  # font size in pixels; `fit` resizes the words
_FACES = (
    "DejaVuSans-Bold",
    "DejaVuSans",
    "DejaVuSans-BoldOblique",
    "DejaVuSerif-Bold",
    "DejaVuSerif-BoldItalic",
    "DejaVuSansMono-Bold",
    "STIXGeneralBol",
    "STIXGeneralBolIta",
    "",  # Pillow's default font
)
_LATIN_ONLY = ("",)  # Pillow's font has neither Cyrillic nor Greek letters
_WORDS = """
SALE OPEN NEW FREE HELLO GRAND OPENING FESTIVAL SUMMER WINTER SPRING AUTUMN MUSIC COFFEE BAKERY PIZZA MARKET
WELCOME CONCERT BOOKS BIKES FLOWERS JAZZ ART CITY RUN FILM DANCE SCHOOL FAIR GARDEN HOTEL TOURS ROOMS VOTE JOBS
Gallery Museum Tickets Saturday Sunday Friday tonight today only best fresh organic local since from per week
Entry Stage Dinner Lunch Tea Wine Sport Fitness Yoga Repair Phones Optics Shoes Fashion Kids Toys Theatre Opera
""".split()  # noqa: SIM905
_ALPHABETS = (
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "abcdefghijklmnopqrstuvwxyz",
    "0123456789",
    "АБВГДЕЖЗИКЛМНОПРСТУФХЦЧШЭЮЯ",
    "ΑΒΓΔΕΖΗΘΚΛΜΝΞΠΡΣΤΦΨΩ",
)


def words(rng: Rng, count: int, typeface: str) -> str:
    """A line of `count` words: real words, prices, dates, telephone numbers, and random letters."""
    return " ".join(_word(rng, foreign=typeface not in _LATIN_ONLY) for _ in range(count))


def face(rng: Rng) -> str:
    """Name of a typeface, for `line`."""
    return str(rng.choice(_FACES))


def line(text: str, typeface: str) -> np.ndarray:
    """Coverage of one line of text, uint8 (h, w), without margins; a single pixel for blank text."""
    font = _font(typeface)
    x0, y0, x1, y1 = font.getbbox(text)
    page = Image.new("L", (max(int(x1 - x0), 1), max(int(y1 - y0), 1)))
    ImageDraw.Draw(page).text((-x0, -y0), text, fill=255, font=font)
    return np.asarray(page)


def fit(mask: np.ndarray, width: float, height: float, stretch: float = 1.5) -> np.ndarray:
    """Resize a line to fill `width` x `height` pixels, with its aspect ratio changed by at most `stretch`."""
    rows, columns = mask.shape
    across, down = width / columns, height / rows
    across, down = min(across, down * stretch), min(down, across * stretch)
    size = (max(int(columns * across), 1), max(int(rows * down), 1))
    return cv2.resize(mask, size, interpolation=cv2.INTER_AREA if across * down < 1 else cv2.INTER_LINEAR)


def _word(rng: Rng, *, foreign: bool) -> str:
    kind = rng.choice(5, p=[0.5, 0.22, 0.12, 0.1, 0.06])
    if kind == 0:
        return str(rng.choice(_WORDS))
    if kind == 1:
        alphabet = str(rng.choice(_ALPHABETS, p=[0.4, 0.2, 0.1, 0.2, 0.1] if foreign else [0.6, 0.3, 0.1, 0, 0]))
        return "".join(rng.choice(list(alphabet), int(rng.integers(2, 9))))
    if kind == 2:
        return str(rng.choice(["-{}%", "{} EUR", "${}.99", "No. {}", "{}+"])).format(rng.integers(1, 99))
    if kind == 3:
        return f"{rng.integers(1, 29)}.{rng.integers(1, 13)}." if rng.uniform() < 0.5 else str(rng.integers(1950, 2040))
    return f"{rng.integers(100, 999)}-{rng.integers(1000, 9999)}"


@lru_cache(maxsize=len(_FACES))
def _font(typeface: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    path = _matplotlib_fonts() / f"{typeface}.ttf"
    if typeface and path.is_file():
        # the basic layout engine, since results of raqm differ slightly where it is installed
        return ImageFont.truetype(path, _SIZE, layout_engine=ImageFont.Layout.BASIC)
    return ImageFont.load_default(_SIZE)


@lru_cache(maxsize=1)
def _matplotlib_fonts() -> Path:
    """Folder of matplotlib's fonts, without importing matplotlib, which takes half a second."""
    spec = importlib.util.find_spec("matplotlib")
    roots = list(spec.submodule_search_locations or ()) if spec else []
    return Path(roots[0] if roots else ".") / "mpl-data" / "fonts" / "ttf"


__all__ = ["face", "fit", "line", "words"]
