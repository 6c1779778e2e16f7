"""Evaluate on many machines, and read the scores back as the evaluation that one process would have made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from samtailor.distributed import tables
from samtailor.distributed.api import Machines, start
from samtailor.distributed.items import Item
from samtailor.distributed.manifest import MANIFEST
from samtailor.distributed.run import Summary
from samtailor.distributed.store import Store
from samtailor.distributed.tasks.evaluate import TABLE, subject_of
from samtailor.errors import InputError
from samtailor.evaluation.scores import Evaluation
from samtailor.structures import Score


def evaluate(
    data: str, adapter: str | None, out: str, machines: Machines, **options: Any
) -> tuple[Summary, dict[str, Evaluation]]:
    """Evaluate an adapter and its base model on the masks of a data set.

    Args:
        data: folder of the data set, which all workers can read at the same place.
        adapter: folder or hub id; None evaluates the base model alone.
        out: folder or address of the scores.
        machines: where workers run.
        options: others of `samtailor.evaluate` with one prompt for each mask, and those of `run.run`.

    Returns:
        summary of the run, and the evaluations "base" and "adapter" over all masks.

    Raises:
        InputError: no mask to evaluate, and as `run.run`.
    """
    places = {} if adapter is None or not Path(adapter).is_dir() else {"adapter": adapter}
    given = {"data": str(Path(data).resolve()), "adapter": adapter}
    ids: list[str] = []

    def images() -> list[Item]:
        subject = subject_of({**given, **options, "places": places})
        ids.extend(sample.id for sample in subject.samples)
        return [Item(sample.id, str(sample.source or sample.id)) for sample in subject.samples]

    summary = start("evaluate", given, places, images, out, machines, options)
    return summary, read_scores(out, ids, int(options.get("seed") or 0))


def read_scores(folder: str, ids: list[str], seed: int) -> dict[str, Evaluation]:
    """The evaluations of a result, with the masks in the order of the images.

    Args:
        folder: of the result.
        ids: images in their order.
        seed: of the bootstrap.
    """
    store = Store(folder)
    rows: list[dict[str, Any]] = []
    for file in store.read_json(MANIFEST)["files"]:
        if file["name"].startswith(f"{TABLE}/"):
            rows += tables.decode(store.read(file["name"]), file["name"])
    if not rows:
        raise InputError("There is no mask to evaluate.")
    place = {name: number for number, name in enumerate(ids)}
    rows.sort(key=lambda row: (place[row["image"]], row["index"]))
    evaluations = {}
    for name in sorted({row["segmenter"] for row in rows}, key=lambda name: name != "base"):
        own = [row for row in rows if row["segmenter"] == name]
        prompts = ", ".join(dict.fromkeys(row["prompt"] for row in own))
        evaluations[name] = Evaluation(tuple(_score(row) for row in own), prompts, seed)
    return evaluations


def _score(row: dict[str, Any]) -> Score:
    return Score(id=row["image"], **{k: v for k, v in row.items() if k not in ("image", "segmenter", "prompt")})


__all__ = ["evaluate", "read_scores"]
