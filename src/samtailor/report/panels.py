"""Sheets of images of a report. Images are chosen by rank, never by hand."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
from PIL import Image

from samtailor.errors import counted
from samtailor.evaluation.instances import InstanceEvaluation
from samtailor.evaluation.scores import Evaluation
from samtailor.masks.average_precision import ImageResult
from samtailor.masks.disagreement import Disagreement
from samtailor.masks.disagreement import panel as disagreement_panel
from samtailor.masks.overlay import around, fit, overlay
from samtailor.report.page import Section, data_uri
from samtailor.structures import Sample

_SHARES = (("worst", 0.0), ("lower quarter", 0.25), ("median", 0.5), ("upper quarter", 0.75), ("best", 1.0))
_SIDE = 420  # pixels of an image of the sheet of instances


def cases(evaluation: Evaluation, shares: Sequence[tuple[str, float]] = _SHARES) -> list[tuple[str, int]]:
    """(name of the rank, index of the row) at the given ranks of IoU, each row once.

    Args:
        evaluation: whose rows are ranked.
        shares: names and ranks, 0 for the worst and 1 for the best row.
    """
    order = np.argsort(evaluation.values("miou"), kind="stable")
    rows: dict[int, str] = {}
    for name, share in shares:
        rows.setdefault(int(order[round(share * (len(order) - 1))]), name)
    return [(name, row) for row, name in rows.items()]


def overlays(
    evaluations: Mapping[str, Evaluation],
    samples: Sequence[Sample],
    classes: Sequence[str] | None,
    masks_of: Callable[[str, Sample, int], tuple[np.ndarray, Sequence[tuple[float, float, int]]]],
    shares: Sequence[tuple[str, float]] = _SHARES,
) -> Section:
    """Sheet of images at fixed ranks of the last evaluation: the truth with the prompt, then each prediction.

    Args:
        evaluations: name to evaluation, all of the same masks.
        samples: images that were evaluated.
        classes: classes that were evaluated; None for all.
        masks_of: (name of the evaluation, sample, index of the mask) to (predicted mask, clicks (x, y, label)).
        shares: names and ranks of the images, 0 for the worst and 1 for the best.
    """
    last = list(evaluations)[-1]
    by_id = {sample.id: sample for sample in samples}
    rows = []
    for rank, row in cases(evaluations[last], shares):
        score = evaluations[last].rows[row]
        sample = by_id[score.id]
        target, image = sample.of(classes)[score.index], sample.image
        view = around(target.box, *image.shape[:2])
        panels: list[dict[str, str]] = []
        for name, evaluation in evaluations.items():
            mask, points = masks_of(name, sample, score.index)
            if not panels:
                truth = overlay(image, [], outlines=[target.mask], points=points)
                panels.append(panel(truth[view], "truth and prompt", f"{sample.id}: true outline"))
            drawn = overlay(image, [mask], outlines=[target.mask])
            iou = 100 * evaluation.rows[row].iou
            panels.append(panel(drawn[view], f"{name}: IoU {iou:.0f}", f"{sample.id}: mask of {name}"))
        rows.append({"rank": rank, "name": f"{sample.id} · {target.label}", "panels": panels})
    text = (
        f"Images are chosen by the rank of their IoU with {last}: the worst, the quartiles and the best of "
        f"{counted(len(evaluations[last].rows), 'held-out mask')}. Green: true outline. Blue: predicted mask."
    )
    return {"kind": "sheet", "title": "Images", "text": text, "cases": rows}


def sheet(title: str, text: str, rows: Sequence[tuple[str, str, Sequence[tuple[np.ndarray, str]]]]) -> Section:
    """A sheet of images; each row is (rank, name, [(uint8 RGB image, caption), ...])."""
    listed = [
        {"rank": rank, "name": name, "panels": [panel(image, caption, caption) for image, caption in panels]}
        for rank, name, panels in rows
    ]
    return {"kind": "sheet", "title": title, "text": text, "cases": listed}


def instance_sheet(evaluation: InstanceEvaluation, samples: Sequence[Sample], count: int = 8) -> Section:
    """Images at even ranks of F1, the worst first: true objects, and the objects that were found."""
    by_id = {sample.id: sample for sample in samples}
    rows = []
    for name, score, result in ranked(evaluation, count):
        truth, predicted = instance_panels(by_id[result.id].image, result)
        caption = f"{counted(len(result.truths), 'true object')}"
        accepted = sum(one.accepted for one in result.predictions)
        panels = [(truth, caption), (predicted, f"{accepted} found")]
        rows.append((name, f"{result.id} · F1 {100 * score:.0f}", panels))
    text = (
        "Images are chosen by the rank of their F1 (IoU of at least 0.5). Left: true objects. Right: predictions of "
        "predict --prompt auto; green: true outlines."
    )
    return sheet("Images", text, rows)


def doubtful_sheet(disagreements: Sequence[Disagreement], samples: Sequence[Sample], count: int = 12) -> Section | None:
    """Annotations that strongly disagree with the predictions; None without any."""
    if not disagreements:
        return None
    images = {sample.id: sample for sample in samples}
    rows = []
    for one in disagreements[:count]:
        shown = disagreement_panel(one, images[one.answer.id].image, _SIDE)
        rows.append((one.kind, f"{one.answer.id} · {one.answer.label}", [(shown, one.reason)]))
    text = (
        f"{counted(len(disagreements), 'annotation')} with which the predictions strongly disagree, most doubtful "
        "first. Green: annotation. Orange: prediction. Either may be wrong."
    )
    return sheet("Annotations to check", text, rows)


def ranked(evaluation: InstanceEvaluation, count: int) -> list[tuple[str, float, ImageResult]]:
    """(rank in words, F1, image) at even ranks, the worst first; images without an object are left out."""
    scored = []
    for image in evaluation.images:
        if image.truths:
            scored.append((InstanceEvaluation((image,), evaluation.classes).accepted_f1(), image))
    scored.sort(key=lambda pair: pair[0])
    places = sorted({round(i * (len(scored) - 1) / max(count - 1, 1)) for i in range(count)})
    return [(f"{place + 1} of {len(scored)}", *scored[place]) for place in places]


def instance_panels(image: np.ndarray, result: ImageResult) -> tuple[np.ndarray, np.ndarray]:
    """The image with its true objects, and with the predicted ones; uint8 RGB of the same size."""
    small = fit(image, _SIDE)
    size = small.shape[1], small.shape[0]
    truths = [_resized(one.mask, size) for one in result.truths]
    predicted = [_resized(one.mask, size) for one in result.predictions if one.accepted]
    return overlay(small, truths), overlay(small, predicted, outlines=truths, alpha=0.35)


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0


def panel(image: np.ndarray, caption: str, alt: str) -> dict[str, str]:
    """An image (uint8 RGB) with its caption and alternative text, as the template reads it."""
    stream = io.BytesIO()
    Image.fromarray(fit(image, 440)).save(stream, format="JPEG", quality=84)
    return {"image": data_uri(stream.getvalue(), "jpeg"), "caption": caption, "alt": alt}


__all__ = ["cases", "doubtful_sheet", "instance_panels", "instance_sheet", "overlays", "panel", "ranked", "sheet"]
