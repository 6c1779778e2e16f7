"""`samtailor evaluate --prompt auto`: objects found without a human prompt; mask AP and alarms on empty images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor.errors import InputError

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.evaluation.instances import InstanceEvaluation
    from samtailor.structures import Sample


def evaluate_auto(
    base: Base,
    samples: list[Sample],
    classes: list[str],
    about: dict[str, Any],
    *,
    adapter: str | None,
    own: Any,
    store: EmbeddingCache,
    seed: int,
    detector: str | None,
    detector_classes: list[str] | None,
    threshold: float | None,
    give: str | None,
    json: Path | None,
    html: Path | None,
) -> None:
    """Find the objects of all samples, print the table, write JSON and page.

    Args:
        base: loaded.
        samples: images, those without an object among them.
        classes: to find.
        about: what the JSON tells besides the figures.
        adapter, own: folder or hub id, and the loaded adapter; None: the base alone.
        detector, detector_classes, threshold, give: as `predict --prompt auto` has them.
        json, html: files to write.
    """
    from samtailor.artefact import folder_of
    from samtailor.cli.screen import counting, say, table
    from samtailor.data.writing import write_json
    from samtailor.evaluation.instances import LOWEST, evaluate_instances
    from samtailor.predict.predictor import Predictor
    from samtailor.predict.source import AdapterSource
    from samtailor.proposals import disk as proposals
    from samtailor.report import versions
    from samtailor.report.instance_tables import cells, note

    if own is not None and own.meta.inference.regions:
        raise InputError(
            "The adapter answers one region an image, not single objects: evaluate it without --prompt auto."
        )
    predictor = Predictor(base, {} if own is None else {"adapter": own.segmenter}, store=store)
    how = {"detector": detector, "detector_classes": detector_classes, "threshold": threshold, "give": give}
    who = {"base": None, "adapter": "adapter"}
    if own is None:
        del who["adapter"]
    elif detector is None and not proposals.exists(folder_of(adapter)):  # the adapter finds them by itself
        del who["base"]
        say("Without learnt proposals or a detector the base cannot be asked: only the adapter is judged.")
    sources = {
        name: AdapterSource.of(
            predictor, one, adapter, detector=detector, classes=detector_classes, threshold=threshold, lowest=LOWEST,
            prompt_type=give,
        )
        for name, one in who.items()
    }  # fmt: skip
    with counting("images") as progress:
        found = evaluate_instances(predictor, sources, samples, classes, store=store, seed=seed, progress=progress)
    summaries = {name: one.summary() for name, one in found.items()}
    table(about["data"], *cells(summaries), note(summaries))
    if len(classes) > 1:
        by_class = {label: one for label, one in list(summaries.values())[-1]["classes"].items()}
        table("By class", *cells(by_class))
    if json is not None:
        write_json(json, {**summaries, **about, "classes": classes, "asked": how, "versions": versions()})
    if html is not None:
        _page(html, found, summaries, samples, about, classes, how)
        say(f"The report is in {html}.")


def _page(
    path: Path,
    found: dict[str, InstanceEvaluation],
    summaries: dict[str, Any],
    samples: list[Sample],
    about: dict[str, Any],
    classes: list[str],
    how: dict[str, Any],
) -> None:
    from samtailor import report
    from samtailor.report.instance_tables import instance_classes, instance_sheet, instance_table

    last = list(found)[-1]
    ids = {"images": [image.id for image in found[last].images], "left out": about["left_out_ids"]}
    pairs = {"data": about["data"], "adapter": about["adapter_folder"], "classes": classes, **how}
    sections = [
        instance_table(summaries),
        instance_classes(summaries[last]) if len(classes) > 1 else None,
        instance_sheet(found[last], samples),
        report.settings("Settings", {**pairs, "versions": report.versions()}, ids),
    ]
    lead = f"Found without a human prompt: mask AP50 {100 * summaries[last]['ap50']:.1f}."
    report.write_page(path, f"Automatic instances on {Path(about['data']).name}", lead, sections)


__all__ = ["evaluate_auto"]
