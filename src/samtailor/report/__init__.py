"""Evaluations to one self-contained HTML page (no script, nothing from elsewhere) and one JSON.

The page is a title and a list of sections; each function of `tables` and `drawings` makes one, and so does
`settings` here.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from samtailor import __version__
from samtailor.data.writing import replacing
from samtailor.report.panels import cases, curves, figure, learning_curve, overlays, sheet, sweep
from samtailor.report.tables import (
    Section,
    class_table,
    comparison,
    figures,
    headline,
    matrix,
    parameter_table,
    seed_table,
)


def versions() -> dict[str, str]:
    """Versions of what the figures depend on."""
    found = {"samtailor": __version__, "python": platform.python_version()}
    for name in ("torch", "transformers", "numpy", "opencv-python-headless"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def write_page(path: Path, title: str, lead: str, sections: Sequence[Section | None]) -> None:
    """Write the page, at once (never half a file); sections that are None are left out."""
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
    """A list of names and values; long values (ids of a split) fold away."""
    shown = [(str(k), _plain(v)) for k, v in pairs.items() if v is not None]
    folded = [(str(k), _plain(v)) for k, v in (long or {}).items() if v]
    return {"kind": "settings", "title": title, "pairs": shown, "long": folded, "note": note}


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


__all__ = [
    "Section",
    "cases",
    "class_table",
    "comparison",
    "curves",
    "figure",
    "figures",
    "headline",
    "learning_curve",
    "matrix",
    "overlays",
    "parameter_table",
    "seed_table",
    "settings",
    "sheet",
    "sweep",
    "versions",
    "write_page",
]
