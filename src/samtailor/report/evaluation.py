"""The pages of `samtailor evaluate`: with one prompt for each mask, and in automatic mode."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samtailor.data.regions import regions
from samtailor.errors import counted
from samtailor.evaluation.api import Subject
from samtailor.evaluation.counting import count_text
from samtailor.evaluation.instances import InstanceEvaluation
from samtailor.evaluation.scores import TOO_FEW, Evaluation, percent
from samtailor.masks.confusion import Confusion
from samtailor.report.page import settings, versions, write_page
from samtailor.report.panels import doubtful_sheet, instance_sheet
from samtailor.report.plots import curves
from samtailor.report.predictions import Predictions, history_of
from samtailor.report.tables import class_table, confusion_table, headline, instance_classes, instance_table


def write_evaluation(
    path: Path,
    subject: Subject,
    evaluations: Mapping[str, Evaluation],
    content: Mapping[str, Any],
    prompt: str | None = None,
    confusion: Confusion | None = None,
) -> None:
    """Write the page of an evaluation with prompts.

    Args:
        path: HTML file to write.
        subject: base model, adapter and images.
        evaluations: "base", "adapter" and refined results by name.
        content: what the JSON file of the evaluation holds.
        prompt: prompt source; None uses the one of the last evaluation.
        confusion: of the adapter's region with the other classes of the data.
    """
    segmenters = subject.segmenters
    last = list(segmenters)[-1]
    samples = subject.samples
    if subject.adapter is not None and subject.adapter.meta.inference.regions:
        samples = tuple(regions(samples, subject.classes))  # the truth of the evaluation
    show = Predictions(
        subject.base,
        segmenters,
        samples,
        subject.classes,
        prompt or evaluations[last].prompt,
        content["protocol"]["seed"],
        subject.store,
    )
    meta = content["adapter_meta"] or {}
    pairs = {
        "data": content["data"],
        "adapter": content["adapter_folder"],
        "method": meta.get("method"),
        "options": meta.get("options") or None,
        "classes": subject.classes,
        "images": content["part"]["about"],
        "base model": subject.base.name,
        "fingerprint of the base model": subject.base.fingerprint,
        "steps and seed of the fit": f"{meta['steps']}, {meta['seed']}" if meta else None,
        "versions": content["versions"],
    }
    sections = [
        headline(evaluations),
        class_table(evaluations),
        None if confusion is None else confusion_table(confusion),
        show.overlays(evaluations),
        show.iou_map(evaluations[last], list(segmenters)),
        show.refinement(evaluations[last], last),
        None if subject.adapter is None else curves({"fit": history_of(subject.adapter.folder)}),
        settings("Settings", pairs, {"images": content["ids"], "left out": content["left_out_ids"]}),
    ]
    write_page(path, f"Evaluation on {Path(content['data']).name}", _lead(content), sections)


def write_instances(
    path: Path, subject: Subject, evaluations: Mapping[str, InstanceEvaluation], content: Mapping[str, Any]
) -> None:
    """Write the page of an evaluation in automatic mode; arguments as in `write_evaluation`."""
    last = list(evaluations)[-1]
    summaries = {name: content[name] for name in evaluations}
    ids = {"images": [image.id for image in evaluations[last].images], "left out": content["left_out_ids"]}
    pairs = {
        "data": content["data"],
        "adapter": content["adapter_folder"],
        "classes": content["classes"],
        "images": content["part"]["about"],
        **content["automatic"],
        "versions": versions(),
    }
    sections = [
        instance_table(summaries),
        instance_classes(summaries[last]) if len(content["classes"]) > 1 else None,
        confusion_table(evaluations[last].confusion) if len(content["classes"]) > 1 else None,
        instance_sheet(evaluations[last], subject.samples),
        None if subject.part == "training" else doubtful_sheet(evaluations[last].disagreements(), subject.samples),
        settings("Settings", pairs, ids),
    ]
    one = summaries[last]
    score = TOO_FEW if one["too_few"] else f"mask AP50 {percent(one['ap50'], one['ap50_interval'])}"
    counting = "" if one["too_few"] else f", count error {count_text(one)} objects per image"
    lead = f"Objects found without a prompt: {score}{counting} (n = {one['objects']}). {content['part']['about']}"
    write_page(path, f"Automatic mode on {Path(content['data']).name}", lead, sections)


def _lead(content: Mapping[str, Any]) -> str:
    base, adapter = content["base"], content["adapter"]
    masks, about = counted(base["masks"], "mask"), content["part"]["about"]
    if base["too_few"]:
        return f"Too few masks to say how good the predictions are (n = {base['masks']}). {about}"
    of_base, end = percent(base["miou"], base["miou_interval"]), f"on {masks}. {about}"
    if adapter is None:
        return f"Base model: mIoU {of_base} {end}"
    of_adapter = percent(adapter["miou"], adapter["miou_interval"])
    return f"mIoU {of_base} with the base model, {of_adapter} with the adapter {end}"


__all__ = ["write_evaluation", "write_instances"]
