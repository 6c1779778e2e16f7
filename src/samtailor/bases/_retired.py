"""Bundled bases of earlier versions: they are refused by name, in words that say what to do."""

from __future__ import annotations

from samtailor.registry import BUNDLED_BASE

NAMES = ("nano",)
"""Names of bundled bases that are no longer part of the package."""
FINGERPRINTS = {"b58ddbf980be3bad": "nano", "cacc862df32f0a73": "nano"}
"""Fingerprints of their weights, to the name."""


def is_retired(name: str) -> bool:
    """Whether this is the name of a bundled base of an earlier version."""
    return name in NAMES


def retired_base(name: str, fingerprint: str = "") -> str | None:
    """What to do about a model that refers to a retired base; None if it refers to another base.

    Args:
        name: of the base, as an adapter, a project or a command names it.
        fingerprint: of the base, where it is known.
    """
    retired = FINGERPRINTS.get(fingerprint, name)
    if not is_retired(retired):
        return None
    return (
        f"{retired!r} was the bundled base of earlier versions and is no longer part of samtailor; the bundled base is "
        f"now {BUNDLED_BASE!r}. Fit the adapter again on it, or use the old weights: --base FOLDER, where FOLDER is "
        f"samtailor/bases/{retired} of version 0.2 (config.json, model.safetensors and preprocessor_config.json)."
    )


__all__ = ["is_retired", "retired_base"]
