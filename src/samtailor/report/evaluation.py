"""The pages of `samtailor evaluate`: with one prompt for each mask, and in automatic mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from samtailor.data.regions import regions
from samtailor.errors import counted
from samtailor.evaluation.api import Subject
from samtailor.evaluation.counting import count_text
from samtailor.evaluation.instances import InstanceEvaluation
from samtailor.evaluation.prompted import ScopeEvaluation, joined
from samtailor.evaluation.scores import TOO_FEW, percent
from samtailor.masks.confusion import Confusion
from samtailor.report.page import Section, settings, versions, write_page
from samtailor.report.panels import doubtful_sheet, instance_sheet
from samtailor.report.plots import curves
from samtailor.report.predictions import Predictions, history_of
from samtailor.report.tables import class_table, confusion_table, headline, instance_classes, instance_table


def write_evaluation(
    path: Path,
    subject: Subject,
    parts: Sequence[ScopeEvaluation],
    content: Mapping[str, Any],
    prompt: str | None = None,
    confusion: Confusion | None = None,
) -> None:
    """Write the page of an evaluation with prompts.

    Args:
        path: HTML file to write.
        subject: base model, adapters and images.
        parts: "base", "adapter" and refined results by name, of each adapter.
        content: what the JSON file of the evaluation holds.
        prompt: prompt source; None uses the one of the last evaluation.
        confusion: of the adapters' regions with the other classes of the data.
    """
    evaluations = joined(parts)
    meta = content["adapter_meta"] if isinstance(content["adapter_meta"], dict) else {}
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
        *(section for part in parts for section in _images(subject, part, prompt, content["protocol"]["seed"])),
        settings("Settings", pairs, {"images": content["ids"], "left out": content["left_out_ids"]}),
    ]
    write_page(path, f"Evaluation on {Path(content['data']).name}", _lead(content), sections)


def _images(subject: Subject, part: ScopeEvaluation, prompt: str | None, seed: int) -> list[Section]:
    """Sections with images and the course of the fit, of one adapter; with its classes in the titles if there are
    several.
    """
    scope, evaluations, samples = part.scope, part.evaluations, subject.samples
    last = list(scope.segmenters)[-1]
    if subject.regions:
        samples = tuple(regions(samples, scope.classes))  # the truth of the evaluation
    show = Predictions(
        subject.base, scope.segmenters, samples, scope.classes, prompt or evaluations[last].prompt, seed, subject.store
    )
    sections = [
        show.overlays(evaluations),
        show.iou_map(evaluations[last], list(scope.segmenters)),
        show.refinement(evaluations[last], last),
        None if scope.adapter is None else curves({"fit": history_of(scope.adapter.folder)}),
    ]
    shown = [section for section in sections if section is not None]
    if len(subject.adapters) < 2:
        return shown
    return [section | {"title": f"{section['title']}: {', '.join(scope.classes or ())}"} for section in shown]


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
