"""The bundled tiny base: weights trained by this project (README.md beside this file is its model card)."""

from __future__ import annotations

from pathlib import Path

from samtailor.bases import _vendor
from samtailor.bases.sam2 import Sam2


def matches(source: str, model_type: str | None) -> bool:
    """Whether this base loads `source`: only the name "nano"."""
    return source == "nano"


def build(source: str = "nano") -> Sam2:
    """Load the bundled base; needs no network."""
    from transformers import Sam2Model

    return Sam2(_vendor.load_pretrained(Sam2Model, str(Path(__file__).parent), bundled=True), "nano")
