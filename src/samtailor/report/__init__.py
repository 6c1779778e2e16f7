"""Reports: evaluations as one self-contained HTML page.

A page is a title and a list of sections. The functions of `tables`, `panels` and `plots` make one section each, and so
does `settings`. `evaluation` writes the page of `samtailor evaluate`.
"""

from __future__ import annotations

from samtailor.report.grid import contact_sheet, grid
from samtailor.report.page import Section, settings, versions, write_page
from samtailor.report.panels import cases, overlays, sheet
from samtailor.report.plots import curves, figure, learning_curve, sweep
from samtailor.report.tables import (
    class_table,
    comparison,
    figures,
    headline,
    matrix,
    parameter_table,
    seed_table,
)

__all__ = [
    "Section",
    "cases",
    "class_table",
    "comparison",
    "contact_sheet",
    "curves",
    "figure",
    "figures",
    "grid",
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
