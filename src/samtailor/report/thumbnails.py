"""The page of `samtailor check --html`: images of a data set with their masks, the account, and the findings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from samtailor.data.check import Report
from samtailor.errors import DataError, counted
from samtailor.masks.overlay import PALETTE, fit, overlay
from samtailor.report.page import Section, settings, write_page
from samtailor.report.panels import sheet
from samtailor.structures import Annotation, Sample

MOST = 48
"""Largest number of images on the page; of more images, every n-th is shown."""
_ROW = 4
_SIDE = 300  # pixels


def write_contact_sheet(path: Path, report: Report, samples: Sequence[Sample]) -> None:
    """Write the page.

    Args:
        path: HTML file to write.
        report: result of the check.
        samples: images of the data set; those that cannot be read are not shown.
    """
    classes = list(report.classes)
    lead = f"{report.path}: {report.format or 'unknown layout'}, {counted(report.images, 'image')}"
    sections = [_images(samples, classes), _account(report), _findings(report)]
    write_page(path, "Data set", lead, sections)


def _images(samples: Sequence[Sample], classes: Sequence[str]) -> Section | None:
    step = max(1, -(-len(samples) // MOST))
    panels = [panel for sample in samples[::step] if (panel := _panel(sample, classes)) is not None]
    if not panels:
        return None
    colors = ", ".join(f"{name} {_name(k)}" for k, name in enumerate(classes[: len(PALETTE)]))
    which = "All images" if step == 1 else f"One image of every {step}"
    meaning = f"Colors by class: {colors}." if len(classes) > 1 else "Each object has its own color."
    text = f"{which} in natural order, with masks as they are read. {meaning}"
    rows = [("", "", panels[i : i + _ROW]) for i in range(0, len(panels), _ROW)]
    return sheet("Images and masks", text, rows)


def _panel(sample: Sample, classes: Sequence[str]) -> tuple[np.ndarray, str] | None:
    try:
        image, annotations = sample.image, sample.annotations
    except DataError:
        return None
    masks = [a.mask for a in annotations]
    drawn = overlay(image, masks, colors=_colors(annotations, classes) or PALETTE)
    number = counted(sum(not a.crowd for a in annotations), "object")
    return fit(drawn, _SIDE), f"{sample.id}: {number}"


def _colors(annotations: Sequence[Annotation], classes: Sequence[str]) -> list[tuple[int, int, int]]:
    """By class; of a single class, by object, so that touching objects can be distinguished."""
    if len(classes) < 2:
        return [PALETTE[k % len(PALETTE)] for k in range(len(annotations))]
    return [PALETTE[classes.index(a.label) % len(PALETTE)] if a.label in classes else PALETTE[0] for a in annotations]


def _account(report: Report) -> Section:
    account = report.account
    pairs = {f"{sentence.partition(':')[0]} ({k})": sentence for k, sentence in enumerate(account.layout, 1)}
    for noun, tally in (("images", account.images), ("annotations", account.annotations)):
        pairs[noun] = f"{tally.total} found, {tally.read} read, {tally.missing} left out"
        pairs |= {f"{noun} left out: {e.kind}": f"{e.count}, for example: {e.example}" for e in tally.left_out}
    pairs |= {f"shapes ({k})": line for k, line in enumerate(report.shapes.lines() if report.shapes else (), 1)}
    return settings("What is read", pairs)


def _findings(report: Report) -> Section | None:
    if not report.findings:
        return None
    pairs = {f"{f.severity}: {f.kind}": " ".join([f.message, *f.examples]) for f in report.findings}
    return settings("Findings", pairs)


def _name(index: int) -> str:
    return ("blue", "orange", "purple", "green", "red", "light blue", "yellow", "pink")[index]


__all__ = ["MOST", "write_contact_sheet"]
