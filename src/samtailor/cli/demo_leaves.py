"""The leaves of `samtailor demo`: photographs, eight labeled images, and masks of the others without a click."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from samtailor import artefact, report
from samtailor.cli.demo_scenario import Scenario, Setup
from samtailor.compare.entries import Entry, make_entry
from samtailor.compare.entry_fit import fit_entry
from samtailor.data import coffee_leaves
from samtailor.data.dataset import open_dataset
from samtailor.data.split import Split, pick_shots
from samtailor.data.writing import replacing
from samtailor.errors import counted
from samtailor.evaluation.scores import interval, percent
from samtailor.masks import interior, metrics
from samtailor.masks.contours import connected
from samtailor.masks.overlay import overlay
from samtailor.predict.predictor import BASE, Predictor
from samtailor.prompts.mask_center import clicks
from samtailor.report.grid import Row
from samtailor.structures import Sample
from samtailor.train.config import FitConfig, resolve
from samtailor.train.progress import Progress

CLASSES = ("leaf", "lesion")
SHOTS = 8
BUDGET = "40s"
"""Of the contest of each class, with two processes."""
ONE_CLICK, EACH_CLICK, ADAPTER = "base model, one click", "base model, a click on each", "adapter, no click"
HEAD = ("Photograph and clicks", "True masks", "Base model, one click on each", "Adapters, no click")
_LESION = (255, 45, 120)

Masks = dict[str, dict[str, dict[str, np.ndarray]]]
"""Row of the table, class and image to mask, bool (height, width)."""


def leaves(setup: Setup) -> Scenario:
    """Fit one adapter for leaves and one for lesions to eight images, and predict the other images without a click.

    The images are in OUT/leaves, the adapters in OUT/adapters, all test images with their masks in OUT/leaves.jpg.

    Args:
        setup: where and how it runs.

    Raises:
        InputError: OUT/adapters contains fits to other images or with other settings.
    """
    samples = open_dataset(coffee_leaves.write(setup.out / "leaves"))
    chosen = {sample.id for sample in pick_shots(samples, SHOTS, setup.seed, classes=["lesion"])}
    train, test = ([s for s in samples if (s.id in chosen) is wanted] for wanted in (True, False))
    entries = {name: _entry(setup, name) for name in CLASSES}
    split = Split(train=tuple(s.id for s in train), test=tuple(s.id for s in test), seed=setup.seed)
    _fit(setup, entries, samples, split)
    adapters = {name: artefact.load(row.output, setup.base).segmenter for name, row in entries.items()}
    predictor = Predictor(setup.base, adapters, store=setup.store)
    masks = predict(predictor, test, setup.watch)
    figures = {
        "classes": {name: _scores(test, name, masks, setup.seed) for name in CLASSES},
        "diseased": _diseased(test, masks[ADAPTER]),
        "images": {"train": list(split.train), "test": list(split.test)},
        "settings": {name: row.config.to_dict() for name, row in entries.items()},
    }
    return Scenario(figures, _lead(figures), _sections(setup, entries, train, test, masks, figures))


def table(figures: dict[str, Any]) -> tuple[list[str], list[list[str]], str]:
    """Head, rows and note of the table of results, as text.

    Args:
        figures: of the scenario.
    """
    rows = []
    for name, by_row in figures["classes"].items():
        for row, one in by_row.items():
            cells = [percent(one[key], one[f"{key}_interval"]) for key in ("iou", "dice")]
            rows.append([f"{name}: {row}", f"{one['clicks']:.1f}".removesuffix(".0"), *cells, str(one["images"])])
    diseased = figures["diseased"]
    note = (
        f"Percent, one region per image and class. {counted(len(figures['images']['train']), 'labeled image')}, "
        f"{counted(len(figures['images']['test']), 'test image')}. Brackets: 95 %, bootstrap over images. The clicks "
        "on the base model are at the center of the true mask, or of each of its parts. Diseased share of the leaf by "
        f"the adapters, without a click: {100 * diseased['difference']:.1f} points off on average "
        f"(true mean {100 * diseased['true']:.1f} %)."
    )
    if diseased["healthy"]:
        note += f" Healthy leaves without a false lesion: {diseased['healthy_right']} of {diseased['healthy']}."
    return ["", "clicks per image", "IoU", "Dice", "images"], rows, note


def _entry(setup: Setup, name: str) -> Entry:
    config = FitConfig(
        method="auto",
        base=setup.base.name,
        classes=(name,),
        out=setup.out / "adapters" / name,
        val=0,
        budget=BUDGET,
        seed=setup.seed,
        trackers=(),
        options={"workers": setup.workers},
    )
    config = config if setup.steps is None else config.model_copy(update={"steps": setup.steps})
    return make_entry(resolve(config), setup.base, [name])


def _fit(setup: Setup, entries: dict[str, Entry], samples: Sequence[Sample], split: Split) -> None:
    """Fit the adapters that are not finished; each contest uses all workers."""
    for name, row in entries.items():  # also checks that a finished fit is one to these images
        report_progress = None if setup.watch is None else partial(setup.watch, name)
        fit_entry(row, samples, split, setup.base, setup.store, progress=report_progress)


def predict(
    predictor: Predictor, samples: Sequence[Sample], watch: Callable[[str, Progress], None] | None = None
) -> Masks:
    """Predict leaf and lesions in each image: the base model with clicks on the true masks, the adapters without.

    Args:
        predictor: with the adapters "leaf" and "lesion".
        samples: images with true masks.
        watch: called with (name of the task, progress).
    """
    masks: Masks = {row: {name: {} for name in CLASSES} for row in (ONE_CLICK, EACH_CLICK, ADAPTER)}
    for done, sample in enumerate(samples):
        predictor.set_sample(sample)
        for name in CLASSES:
            truth = _truth(sample, name)
            parts = list(connected(truth))
            for row, objects in ((ONE_CLICK, [truth] if parts else []), (EACH_CLICK, parts)):
                masks[row][name][sample.id] = _clicked(predictor, objects) if objects else np.zeros_like(truth)
            predicted, scores, _ = predictor.predict(adapter=name)
            masks[ADAPTER][name][sample.id] = predicted[int(np.argmax(scores))]
        if watch is not None:
            watch("Leaves", Progress("evaluate", done + 1, len(samples)))
    return masks


def _clicked(predictor: Predictor, objects: Sequence[np.ndarray]) -> np.ndarray:
    """Union of the base model's masks for a click at the center of each object."""
    frame = predictor.frame
    prompts = clicks([interior.center(one) for one in objects], (frame.height, frame.width))
    _, logits = predictor.decode(prompts, BASE).best_masks()
    return (frame.logits(logits) > 0).any(dim=1)[0].cpu().numpy()


def _truth(sample: Sample, name: str) -> np.ndarray:
    """The true mask of a class; empty if the image has none."""
    masks = [annotation.mask for annotation in sample.of([name])]
    return np.logical_or.reduce(masks) if masks else np.zeros(sample.size, bool)


def _scores(test: Sequence[Sample], name: str, masks: Masks, seed: int) -> dict[str, dict[str, Any]]:
    """Scores of each row on the images with an object of the class."""
    truths = {sample.id: _truth(sample, name) for sample in test if sample.of([name])}
    parts = [len(list(connected(truth))) for truth in truths.values()]
    counts = {ONE_CLICK: 1.0, EACH_CLICK: float(np.mean(parts)), ADAPTER: 0.0}
    if max(parts) == 1:
        del counts[EACH_CLICK]  # it is the row above
    scores: dict[str, dict[str, Any]] = {}
    for row, count in counts.items():
        one: dict[str, Any] = {"clicks": count, "images": len(truths)}
        for key, metric in (("iou", metrics.iou), ("dice", metrics.dice)):
            values = np.array([metric(masks[row][name][id], truth) for id, truth in truths.items()])
            one[key], one[f"{key}_interval"] = interval(values, list(truths), seed)
        scores[row] = one
    return scores


def _diseased(test: Sequence[Sample], masks: dict[str, dict[str, np.ndarray]]) -> dict[str, Any]:
    """Lesions as a share of the leaf, in [0, 1]: true mean, and mean absolute difference of the adapters to it."""
    true = np.array([_share(_truth(s, "lesion"), _truth(s, "leaf")) for s in test])
    predicted = np.array([_share(masks["lesion"][s.id], masks["leaf"][s.id]) for s in test])
    healthy = [s.id for s in test if not s.of(["lesion"])]
    return {
        "true": float(true.mean()),
        "predicted": float(predicted.mean()),
        "difference": float(np.abs(predicted - true).mean()),
        "healthy": len(healthy),
        "healthy_right": sum(not masks["lesion"][id].any() for id in healthy),
    }


def _share(lesion: np.ndarray, leaf: np.ndarray) -> float:
    """Share of the leaf that is diseased, in [0, 1]; lesions beside the leaf's mask count as leaf."""
    whole = int(np.count_nonzero(leaf | lesion))
    return int(np.count_nonzero(lesion)) / whole if whole else 0.0


def _lead(figures: dict[str, Any]) -> str:
    leaf, lesion = (figures["classes"][name] for name in CLASSES)
    train, test = (len(figures["images"][part]) for part in ("train", "test"))
    changes = [
        f"{100 * one[ONE_CLICK]['iou']:.1f} to {100 * one[ADAPTER]['iou']:.1f} for {what}"
        for one, what in ((leaf, "leaves"), (lesion, "lesions"))
    ]
    return (
        f"Photographs of coffee leaves, {train} labeled images, {counted(test, 'test image')}: mIoU goes from "
        f"{' and from '.join(changes)}, from one click on the base model to no click with the adapters."
    )


def _sections(
    setup: Setup,
    entries: dict[str, Entry],
    train: Sequence[Sample],
    test: Sequence[Sample],
    masks: Masks,
    figures: dict[str, Any],
) -> list[report.Section | None]:
    rows = [panels(sample, masks) for sample in test]
    with replacing(setup.out / "leaves.jpg") as temporary:
        Image.fromarray(report.contact_sheet(HEAD, rows, coffee_leaves.CREDIT)).save(temporary, quality=88)
    labeled = [(_cut_out(s, {name: _truth(s, name) for name in CLASSES}), "") for s in train]
    titles, lines, note = table(figures)
    cells = [{"cells": [{"text": text} for text in line], "strong": ADAPTER in line[0]} for line in lines]
    return [
        report.grid(
            "Coffee leaves: the test images",
            "All of them, by name. What is not leaf is faded out; lesions are pink. The base model gets a click at the "
            "center of the true leaf and one at the center of the largest lesion. The adapters get the image alone.",
            HEAD,
            rows,
            coffee_leaves.CREDIT,
        ),
        {"kind": "table", "title": "Coffee leaves: before and after", "head": titles, "rows": cells, "note": note},
        report.grid(
            f"The {counted(len(train), 'labeled image')}",
            "The adapters were fitted to these masks, and to nothing else.",
            [],
            [labeled[start : start + 4] for start in range(0, len(labeled), 4)],
        ),
        report.settings(
            "Settings of the leaves", figures["images"], {name: values for name, values in figures["settings"].items()}
        ),
    ]


def panels(sample: Sample, masks: Masks) -> Row:
    """Four images of a test image, as in `HEAD`, with captions."""
    truth = {name: _truth(sample, name) for name in CLASSES}
    points = [(*interior.center(mask), 1) for mask in truth.values() if mask.any()]
    shown = [(overlay(sample.image, [], points=points), sample.id), (_cut_out(sample, truth), _diseased_text(truth))]
    for row in (ONE_CLICK, ADAPTER):
        predicted = {name: masks[row][name][sample.id] for name in CLASSES}
        scores = [
            f"{name} {100 * metrics.iou(predicted[name], truth[name]):.0f}" for name in CLASSES if truth[name].any()
        ]
        shown.append((_cut_out(sample, predicted), f"IoU: {', '.join(scores)} · {_diseased_text(predicted)}"))
    return shown


def _diseased_text(masks: dict[str, np.ndarray]) -> str:
    return f"diseased {100 * _share(masks['lesion'], masks['leaf']):.1f} %"


def _cut_out(sample: Sample, masks: dict[str, np.ndarray]) -> np.ndarray:
    """The image with everything outside of the leaf faded out and its lesions filled; uint8 RGB."""
    image = sample.image.copy()
    outside = ~(masks["leaf"] | masks["lesion"])
    image[outside] = (0.12 * image[outside] + 0.88 * 244).astype(np.uint8)
    return overlay(image, [masks["lesion"]], colors=[_LESION], alpha=0.55)


__all__ = ["HEAD", "Masks", "leaves", "panels", "predict", "table"]
