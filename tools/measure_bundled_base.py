"""The bundled base on held-out images, through the package's own predictor; writes results/bundled-base.json.

    python tools/measure_bundled_base.py DATA [--data-open DATA_OPEN] [--share 0.3] [--base lite]

DATA holds humans, face_parts, lesions, nuclei, street_fashion and facades, DATA_OPEN the openly licensed sets of
docs/research/bundled-base-training.md; sets that are not there are left out and named. No image is trained on.
`--share` takes a part of each set; 0.3 takes about five minutes on one core.

For each mask: a click at its center, then a second and third click at the center of the largest error, each with the
logits of the mask before, and a box. Oracle is the best of the three masks, default the one of the highest predicted
IoU. How well predicted IoU ranks is measured on the center clicks. The object score is read from the head of the mask
decoder, for clicks on masks and for clicks on places without any mask. Times are of the processor and are compared with
another base in the same run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

import results
from bundled_base import cost, evaluation
from bundled_base.prompting import center
from results import Cell, Column, Table
from samtailor.bases import load_base
from samtailor.data.synth.scenes import scene
from samtailor.predict import Predictor
from samtailor.registry import BUNDLED_BASE
from samtailor.structures import Prompts

SIDE, LIMIT = 640, 8
"""Longest side of the images, pixels, and masks of an image."""
SETS = {
    "scenes": ("Procedural scenes", 150),
    "humans": ("People", 30),
    "faces": ("Face parts", 15),
    "lesions": ("Skin lesions", 30),
    "nuclei": ("Cell nuclei (held out)", 15),
    "fashion": ("People and clothes (held out)", 24),
    "open": ("Open sets (held out)", 6),
    "facades": ("Facades, boxes as masks (held out)", 20),
}
"""Title, and images; of the open sets, images of each."""
FIGURES = {
    "center-oracle": "Center click, oracle",
    "center-default": "Center click, default",
    "click2": "2nd click",
    "click3": "3rd click",
    "box-oracle": "Box, oracle",
    "box-default": "Box, default",
}
CLOSE = 0.05


@dataclass
class Case:
    """An image, uint8 RGB (H, W, 3), and its masks, bool (M, H, W)."""

    image: np.ndarray
    masks: np.ndarray


@dataclass
class Measured:
    """Figures of one set, a value for each prompt.

    Args:
        iou: IoU by name of `FIGURES`.
        predicted, true: predicted and true IoU of the three masks of each center click.
        present, absent: object scores, logits, of clicks on masks and of clicks on nothing.
        images: number of images.
    """

    iou: dict[str, list[float]] = field(default_factory=dict)
    predicted: list[np.ndarray] = field(default_factory=list)
    true: list[np.ndarray] = field(default_factory=list)
    present: list[float] = field(default_factory=list)
    absent: list[float] = field(default_factory=list)
    images: int = 0


def main() -> None:
    """Measure and write."""
    options = _options()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    base, predictor = load_base(options.base), Predictor(load_base(options.base))
    rows, trust = dict[str, dict[str, Cell]](), dict[str, dict[str, Cell]]()
    left_out: list[str] = []
    for name, (title, _) in SETS.items():
        cases = list(cases_of(name, options))
        if not cases:
            left_out.append(title)
            continue
        measured = measure(predictor, cases)
        label = f"{title} ({measured.images} images, {len(measured.true)} masks)"
        rows[name] = {"set": label} | {k: results.percent(float(np.mean(v))) for k, v in measured.iou.items()}
        trust[name] = {"set": label} | reliability(measured)
        print(label, rows[name], trust[name], file=sys.stderr, flush=True)
    if not rows:
        sys.exit(f"{options.data} holds none of the sets. Give the folder that contains humans, face_parts or nuclei.")
    tables = {"quality": _quality(rows), "reliability": _reliability(trust)}
    tables["cost"] = cost.table(base, load_base(options.earlier), options.repeats)
    results.save(
        "bundled-base",
        tables,
        title="The bundled base model on its own",
        units="mean IoU in percent; the other columns as named",
        base=base,
        seeds=(0,),
        notes=(
            f"Images at a longest side of at most {SIDE} px, at most {LIMIT} masks of each, one prompt at a time; "
            f"share of the sets: {options.share:g}.",
            *((f"Left out, since their images are not there: {', '.join(left_out)}.",) if left_out else ()),
        ),
        file=options.results,
    )


def cases_of(name: str, options: argparse.Namespace) -> Iterator[Case]:
    """The images of a set of `SETS`; none where their folder is missing."""
    count, data = max(2, round(options.share * SETS[name][1])), options.data
    if name == "scenes":
        yield from scene_cases(count)
        return
    readers: dict[str, tuple[Callable[..., Iterator[Any]], str]] = {
        "humans": (evaluation.one_mask, "humans"),
        "faces": (evaluation.face_items, "face_parts"),
        "lesions": (evaluation.one_mask, "lesions"),
        "nuclei": (evaluation.instance_items, "nuclei"),
        "fashion": (evaluation.fashion_items, "street_fashion"),
        "facades": (evaluation.facade_items, "facades"),
    }
    if name in readers:
        read, folder = readers[name]
        folders = [data / folder]
    else:
        read = evaluation.instance_items
        folders = sorted(f for f in options.data_open.iterdir() if (f / "labels").is_dir()) if options.data_open else []
    for folder in folders:
        if folder.is_dir():
            yield from read(folder, count, case)


def case(path: Path, masks: list[np.ndarray]) -> Case | None:
    """An image and some of its masks; None if no mask is left."""
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    size = evaluation.reduced_size(image, SIDE)
    small = evaluation.reduced(masks, size, LIMIT)
    return Case(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.stack(small)) if small else None


def scene_cases(count: int) -> Iterator[Case]:
    """Procedural scenes whose seeds are never trained on."""
    for seed in range(evaluation.HELD_OUT, evaluation.HELD_OUT + count):
        drawn = scene(seed)
        masks = [mask for mask in drawn.masks if mask.sum() >= evaluation.LEAST][:LIMIT]
        if masks:
            yield Case(drawn.image, np.stack(masks))


def measure(predictor: Predictor, cases: list[Case], clicks: int = 3) -> Measured:
    """All prompts of all masks."""
    found = Measured(images=len(cases))
    for one in cases:
        predictor.set_image(one.image)
        for mask in one.masks:
            for name, value in _prompts(predictor, mask, found, clicks).items():
                found.iou.setdefault(name, []).append(value)
        places = [center(mask) for mask in one.masks]
        found.present += [object_score(predictor, place[:2]) for place in places]
        nothing = center(~one.masks.any(axis=0))  # the place that is farthest from every mask and the border
        if nothing[2].max() >= 8:
            found.absent.append(object_score(predictor, nothing[:2]))
    return found


def _prompts(predictor: Predictor, mask: np.ndarray, found: Measured, clicks: int) -> dict[str, float]:
    """IoU of each kind of prompt for one mask."""
    rows, columns = np.nonzero(mask)
    masks, scores, _ = predictor.predict(box=[columns.min(), rows.min(), columns.max(), rows.max()])
    ious = overlaps(masks, mask)
    values = {"box-oracle": float(ious.max()), "box-default": float(ious[scores.argmax()])}
    points, labels = [center(mask)[:2]], [1]
    masks, scores, low = predictor.predict(points, labels)
    ious = overlaps(masks, mask)
    values |= {"center-oracle": float(ious.max()), "center-default": float(ious[scores.argmax()])}
    found.predicted.append(scores)
    found.true.append(ious)
    for count in range(2, clicks + 1):
        best = scores.argmax()
        point, label = evaluation.correction(masks[best], mask)
        points, labels = [*points, point], [*labels, label]
        masks, scores, low = predictor.predict(points, labels, mask_input=low[best])
        values[f"click{count}"] = float(overlaps(masks, mask)[scores.argmax()])
    return values


def overlaps(masks: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """IoU of masks (M, H, W) with one mask."""
    return (masks & mask).sum((1, 2)) / np.maximum((masks | mask).sum((1, 2)), 1)


@torch.no_grad()
def object_score(predictor: Predictor, point: tuple[int, int]) -> float:
    """The logit that an object is at a click, from the head of SAM 2's mask decoder."""
    captured: list[torch.Tensor] = []
    head = predictor.base.model.mask_decoder.pred_obj_score_head
    hook = head.register_forward_hook(lambda module, inputs, output: captured.append(output))
    try:
        frame = predictor.frame
        points = torch.tensor([[[list(map(float, point))]]])
        predictor.decode(Prompts((frame.height, frame.width), points=points, labels=torch.ones(1, 1, 1).long()))
    finally:
        hook.remove()
    return float(captured[-1].flatten()[0])


def reliability(found: Measured) -> dict[str, Cell]:
    """How far predicted IoU and object score can be trusted.

    Returns:
        `close`: share of prompts whose default mask is within .05 of the oracle; `auc`: chance that of two masks, one
        with an IoU of at least .5 and one below, the better one has the higher predicted IoU; `correlation` of
        predicted and true IoU; `bias`: mean of predicted minus true IoU of the default masks, points; `object-auc`: the
        same chance for the object score of clicks on masks and on nothing. None where one of the two kinds is missing.
    """
    predicted, true = np.stack(found.predicted), np.stack(found.true)
    rows, best = np.arange(len(true)), predicted.argmax(1)
    flat, reached = predicted.ravel(), true.ravel()
    spread = flat.std() > 0 and reached.std() > 0
    return {
        "close": results.percent(float((true[rows, best] >= true.max(1) - CLOSE).mean())),
        "auc": area(flat[reached >= 0.5], flat[reached < 0.5]),
        "correlation": round(float(np.corrcoef(flat, reached)[0, 1]), 3) if spread else None,
        "bias": results.percent(float((predicted[rows, best] - true[rows, best]).mean())),
        "object-auc": area(np.array(found.present), np.array(found.absent)),
        "absent": len(found.absent),
    }


def area(positive: np.ndarray, negative: np.ndarray) -> float | None:
    """Area under the ROC curve, ties count half; None if one of both is empty."""
    if not len(positive) or not len(negative):
        return None
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right")
    return round(float(below.mean() / (2 * len(negative))), 3)


def _quality(rows: dict[str, dict[str, Cell]]) -> Table:
    columns = [Column(key="set", label=""), *(Column(key=key, label=label) for key, label in FIGURES.items())]
    return Table(title="Held-out images, without a fit", columns=tuple(columns), rows=rows)


def _reliability(rows: dict[str, dict[str, Cell]]) -> Table:
    columns = (
        Column(key="set", label=""),
        Column(key="close", label="Default within 5 points of the oracle, % of clicks"),
        Column(key="auc", label="Predicted IoU: AUC for an IoU of at least .5", digits=3),
        Column(key="correlation", label="Correlation of predicted and true IoU", digits=3),
        Column(key="bias", label="Predicted minus true IoU, points", signed=True),
        Column(key="object-auc", label="Object score: AUC, on a mask or on nothing", digits=3),
        Column(key="absent", label="Clicks on nothing", digits=0),
    )
    return Table(title="How far its scores can be trusted", columns=columns, rows=rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--data-open", type=Path, help="folder of the openly licensed sets")
    parser.add_argument("--base", default=BUNDLED_BASE)
    parser.add_argument("--earlier", type=Path, default=cost.EARLIER, help="base to compare times with")
    parser.add_argument("--share", type=float, default=0.3, help="part of each set")
    parser.add_argument("--repeats", type=int, default=15, help="of each timed call")
    results.add_option(parser, "bundled-base")
    return parser.parse_args()


if __name__ == "__main__":
    main()
