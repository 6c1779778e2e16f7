"""Small HTML tables, for results that show themselves in notebooks (`_repr_html_`)."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def table_html(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """A table as HTML; all text is escaped."""
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    top = f"<thead><tr>{cells}</tr></thead>" if any(head) else ""
    return f"<table>{title}{top}<tbody>{body}</tbody></table>"


__all__ = ["table_html"]
