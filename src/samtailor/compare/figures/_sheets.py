"""Sheets that several figures share."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np

from samtailor.compare.predicted import Target, drawn, panels_by_method
from samtailor.compare.run_folder import RunFolder
from samtailor.errors import InputError, counted
from samtailor.report.grid import contact_sheet


def targets_of(run: RunFolder, objects: int, seed: int) -> list[Target]:
    """A draw of held-out objects of a run.

    Raises:
        InputError: the run has none.
    """
    predictions = run.predictions([])
    # masks are read from files: of thousands of images, some in the order of the draw are enough
    samples = sorted(run.samples, key=lambda sample: crc32(f"{seed}:{sample.id}".encode()))
    targets = drawn(predictions.targets(samples[: 32 + 8 * objects]), objects, seed)
    if not targets:
        raise InputError(f"The run in {run.folder} has no held-out object of {', '.join(run.classes)}.")
    return targets


def methods_sheet(run: RunFolder, titles: Sequence[str], targets: Sequence[Target], how: str) -> np.ndarray:
    """Image, truth and the mask of each row, one object a line.

    Args:
        run: the run.
        titles: of the rows.
        targets: the objects.
        how: how they were chosen, for the last line.
    """
    head, rows = panels_by_method(run.predictions(titles), targets, titles)
    return contact_sheet(head, rows, f"{run.name}: {counted(len(targets), 'held-out object')}, {how}. {LEGEND}")


def draw_note(seed: int) -> str:
    """How `targets_of` chose."""
    return f"drawn with seed {seed}"


LEGEND = "Blue: predicted mask. Green outline: truth."

__all__ = ["LEGEND", "draw_note", "methods_sheet", "targets_of"]
