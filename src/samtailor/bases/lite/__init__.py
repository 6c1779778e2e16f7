"""The bundled base: EfficientNet-Lite2 under SAM 2's mask decoder (README.md beside this file is its model card)."""

from __future__ import annotations

from pathlib import Path

from samtailor.bases import sam2

NAME = "lite"


def matches(source: str, model_type: str | None) -> bool:
    """Whether this base loads `source`: only its own name."""
    return source == NAME


def build(source: str = NAME) -> sam2.Sam2:
    """Load the bundled base; needs no network."""
    return sam2.load(str(Path(__file__).parent), NAME, bundled=True)
