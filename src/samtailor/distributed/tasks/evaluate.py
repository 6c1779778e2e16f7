"""Scores of base model and adapter on the masks of a data set, as `samtailor.evaluate`, one row for each mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from samtailor.distributed import results
from samtailor.distributed.fetch import Decoded
from samtailor.distributed.results import Result
from samtailor.distributed.tasks import Task
from samtailor.errors import InputError
from samtailor.evaluation.masks import evaluate_many
from samtailor.evaluation.subject import Subject, select

TABLE, READS = "scores", False
COLUMNS = {
    "image": "string",
    "segmenter": "string",
    "prompt": "string",
    "label": "string",
    "index": "int32",
    **dict.fromkeys(("iou", "oracle_iou", "dice", "oracle_dice", "boundary_iou", "predicted_iou"), "double"),
    "area": "int64",
    "group": "string",
    "paper_dice": "double",
    "predicted_area": "int64",
}
_SELECT = ("base", "classes", "split", "include_train", "limit", "format", "group", "data_options", "device")


def open_task(options: dict[str, Any]) -> Task:
    """Open the data and load base model and adapter.

    Args:
        options: "data" (a folder that all workers can read), "adapter", "prompt", "seed", and those of
            `evaluation.subject.select`.
    """
    subject = subject_of(options)
    if len(subject.adapters) > 1:
        raise InputError(
            "samtailor batch evaluate takes a single adapter, got one for each of several classes: give the folder of "
            "one class, or use samtailor evaluate."
        )
    (scope,) = subject.scopes
    samples = {sample.id: sample for sample in subject.samples}

    def predict(images: Sequence[Decoded]) -> Iterator[Result]:
        return map(_result, images)

    def _result(image: Decoded) -> Result:
        sample = samples[image.item.id]
        height, width = sample.size
        rows: list[dict[str, Any]] = []
        if sample.of(subject.classes):
            evaluations = evaluate_many(
                scope.segmenters, [sample], classes=scope.classes, prompt=options.get("prompt"),
                seed=options.get("seed", 0),
            )  # fmt: skip
            for name, evaluation in evaluations.items():
                rows += [_row(name, evaluation.prompt, asdict(score)) for score in evaluation.rows]
        return results.done(image.item, tuple(rows), height=height, width=width)

    settings = {
        "task": "evaluate",
        "base": subject.base.fingerprint,
        "adapter": None if scope.adapter is None else scope.adapter.meta.sha256,
        "data": options["data"],
        "classes": None if subject.classes is None else list(subject.classes),
        "part": subject.part,
        **{key: options.get(key) for key in ("prompt", "seed", "format", "group", "data_options", "limit")},
    }
    return Task(predict, settings, list(subject.classes or ()))


def subject_of(options: dict[str, Any]) -> Subject:
    """Data and models of an evaluation."""
    adapter = options.get("adapter")
    return select(
        options["data"],
        None if adapter is None else options["places"].get("adapter", adapter),
        **{key: options[key] for key in _SELECT if options.get(key) is not None},
    )


def _row(segmenter: str, prompt: str, score: dict[str, Any]) -> dict[str, Any]:
    return {"image": score.pop("id"), "segmenter": segmenter, "prompt": prompt, **score}


__all__ = ["COLUMNS", "READS", "TABLE", "open_task", "subject_of"]
