"""The page of a report: one self-contained HTML file without scripts or external resources."""

from __future__ import annotations

import base64
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from samtailor import __version__
from samtailor.data.writing import replacing

Section = dict[str, Any]
"""One section of a page, as `templates/report.html` reads it."""


def write_page(path: Path, title: str, lead: str, sections: Sequence[Section | None]) -> None:
    """Write the page atomically. Sections that are None are left out."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,
        trim_blocks=True,
    )
    template = environment.get_template("report.html")
    html = template.render(title=title, lead=lead, sections=[s for s in sections if s], version=__version__)
    with replacing(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def settings(title: str, pairs: Mapping[str, Any], long: Mapping[str, Any] | None = None, note: str = "") -> Section:
    """A list of names and values; the values of `long` (for example the ids of a split) are folded."""
    shown = [(str(k), _plain(v)) for k, v in pairs.items() if v is not None]
    folded = [(str(k), _plain(v)) for k, v in (long or {}).items() if v]
    return {"kind": "settings", "title": title, "pairs": shown, "long": folded, "note": note}


def versions() -> dict[str, str]:
    """Versions of samtailor, Python and the libraries that affect results."""
    installed = {"samtailor": __version__, "python": platform.python_version()}
    for name in ("torch", "transformers", "numpy", "opencv-python-headless"):
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed


def data_uri(content: bytes, kind: str) -> str:
    """An image file as the address of an `img` element; `kind` is "png" or "jpeg"."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


__all__ = ["Section", "data_uri", "settings", "versions", "write_page"]
