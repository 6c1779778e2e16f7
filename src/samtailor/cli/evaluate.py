"""`samtailor evaluate`: compare an adapter with its base model on the same prompts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samtailor.cli import options
from samtailor.errors import counted

if TYPE_CHECKING:
    from samtailor.evaluation.api import Subject
    from samtailor.evaluation.instances import InstanceEvaluation
    from samtailor.evaluation.scores import Evaluation
    from samtailor.masks.confusion import Confusion


def evaluate_command(
    data: options.Data,
    adapter: options.Adapter = None,
    base: options.AdapterBase = None,
    classes: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Classes to evaluate; default: those of the adapter.")
    ] = None,
    prompt: options.Prompt = None,
    include_train: Annotated[
        bool, typer.Option("--include-train", help="Also use the images that the adapter was fitted on.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Use only the first N images.")] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="val|test|all",
            help="Part of the split that the adapter was fitted with, or all images that it was not fitted on. "
            "Default: test images if there are any.",
        ),
    ] = None,
    detector: options.Detector = None,
    detector_classes: options.DetectorClasses = None,
    threshold: options.Threshold = None,
    prompt_type: options.PromptType = None,
    refine: Annotated[
        bool, typer.Option("--refine", help="Add a row with the test-time refinement of the PMM.")
    ] = False,
    seed: options.Seed = 0,
    format: options.Format = None,
    group: options.GroupRule = None,
    setting: options.DataSetting = None,
    json: options.Json = None,
    rows: Annotated[bool, typer.Option("--rows", help="Include one row for each mask in the JSON file.")] = False,
    html: options.Html = None,
    cache_gb: options.CacheGb = None,
    device: options.Device = None,
) -> None:
    """mIoU, best-candidate mIoU and Dice of base model and adapter, per class, with 95 % intervals.

    DATA is read with the format and the options (--set) that the adapter was fitted with, unless others are given.

    One click for each mask (single-point protocol). Test images are used where there are any: the test part of the
    split that the adapter was fitted with, or of the data set. Images that the adapter was fitted on are left out if
    DATA is the data set of the fit or a copy of it.

    With --prompt auto objects are found without a prompt: mask AP, and false positives on images without an object.

    --adapter may be the folder of a fit of several classes: each adapter is evaluated on its class.
    """
    from samtailor.cli.screen import say
    from samtailor.evaluation import api

    options.limit_cache(cache_gb)
    if prompt != api.AUTO:
        api.refuse_automatic_options(detector, options.names(detector_classes), threshold, prompt_type)
    subject = api.select(
        data, adapter, base, classes=options.names(classes), split=split, include_train=include_train, limit=limit,
        format=format, group=group, data_options=options.data_options(setting), device=device,
    )  # fmt: skip
    if subject.note:
        say(subject.note)
    if subject.left_out:
        say(
            f"{counted(len(subject.left_out), 'image')} left out because the adapter was fitted on images with these "
            "names (--include-train keeps them)."
        )
    say(f"Images: {subject.about}")
    if others := subject.other_classes:
        fitted = ", ".join(subject.fitted_classes)
        say(f"The adapter segments {fitted}; it was not fitted to {', '.join(others)}, which it is evaluated on.")
    if unmarked := subject.unmarked_classes:
        say(f"Not evaluated, since the images have no object of it: {', '.join(unmarked)}.")
    for line in (*subject.account.layout, *subject.account.lines()) if subject.account is not None else ():
        say(f"Data: {line}" if not line.startswith(" ") else line)
    about = {
        "data": str(data),
        "adapter_folder": adapter,
        "left_out_ids": list(subject.left_out),
        "part": {"name": subject.part, "about": subject.about},
        "seed": seed,
        "account": None if subject.account is None else subject.account.to_json(),
    }
    if prompt == api.AUTO:
        how = {
            "detector": detector,
            "detector_classes": options.names(detector_classes),
            "threshold": threshold,
            "prompt_type": prompt_type,
        }
        _automatic(subject, about, how, json, html)
    else:
        _prompted(subject, about, prompt, refine, json, rows, html)


def _prompted(
    subject: Subject,
    about: Mapping[str, Any],
    prompt: str | None,
    refine: bool,
    json: Path | None,
    rows: bool,
    html: Path | None,
) -> None:
    """Evaluate with one prompt for each mask; print the tables, write JSON and report."""
    from samtailor.cli.progress import counting
    from samtailor.cli.screen import percent, say, summaries, table
    from samtailor.data.writing import write_json
    from samtailor.evaluation.prompted import evaluate_scopes, joined
    from samtailor.evaluation.scores import MIN_OBJECTS, TOO_FEW, difference, reported
    from samtailor.report.evaluation import write_evaluation

    with counting("Evaluating images") as progress:
        parts = evaluate_scopes(subject, prompt=prompt, seed=about["seed"], refine=refine, progress=progress)
    evaluations = joined(parts)
    summary = {name: evaluation.summary() for name, evaluation in evaluations.items()}
    groups = counted(summary["base"]["groups"], "group")
    note = f"Percent. Prompt: {_prompts(evaluations)}, one for each mask. Intervals: bootstrap over {groups}."
    summaries(about["data"], summary, note)
    if len(summary["base"]["classes"]) > 1:
        table("mIoU by class", *_class_rows(summary))
    change = {name: difference(evaluations[name], evaluations["base"]) for name in evaluations if name != "base"}
    for name, one in change.items():
        measured = f"mIoU {percent(one['miou'], one['miou_interval'], signed=True)} points"
        few = summary[name]["masks"] < MIN_OBJECTS
        say(f"{name} minus base, paired: {TOO_FEW if few else measured} (n = {summary[name]['masks']}).")
        change[name] = dict.fromkeys(one) if few else one
    for name, one in summary.items():
        if one["empty"]:
            say(f"{name}: {counted(one['empty'], 'predicted mask')} of {one['masks']} are empty (IoU 0).")
    confusion = _region_confusion(subject, evaluations)
    if confusion is not None:
        table("Pixels of each class that the answer covers", *confusion.cells(), _CONFUSION)
    reports = {name: reported(one) for name, one in summary.items()}
    content = {**reports, **({} if "adapter" in summary else {"adapter": None}), "difference": change}
    content |= _about(subject, evaluations, about)
    if confusion is not None:
        content["confusion"] = confusion.to_json()
    if rows:
        content["rows"] = {name: evaluation.table() for name, evaluation in evaluations.items()}
    if json is not None:
        write_json(json, content)
    if html is not None:
        write_evaluation(html, subject, parts, content, prompt, confusion)
        say(f"The report is in {html}.")


def _automatic(
    subject: Subject, about: Mapping[str, Any], how: dict[str, Any], json: Path | None, html: Path | None
) -> None:
    """Evaluate without a prompt; print the tables, write JSON and report."""
    from samtailor.cli.progress import counting
    from samtailor.cli.screen import say, table
    from samtailor.data.writing import write_json
    from samtailor.evaluation.api import evaluate_automatic
    from samtailor.evaluation.scores import reported
    from samtailor.report import versions
    from samtailor.report.evaluation import write_instances
    from samtailor.report.tables import instance_cells, instance_note

    with counting("Evaluating images") as progress:
        evaluations: dict[str, InstanceEvaluation] = evaluate_automatic(
            subject, seed=about["seed"], progress=progress, **how
        )
    if subject.adapters and "base" not in evaluations:
        say("Only the adapter is evaluated: the base model needs proposals or a detector (--detector) to find objects.")
    summary = {name: one.summary() for name, one in evaluations.items()}
    table(about["data"], *instance_cells(summary), instance_note(summary))
    last = list(evaluations)[-1]
    classes = evaluations[last].classes
    if len(classes) > 1:
        table("By class", *instance_cells(summary[last]["classes"]))
        table("Objects of each class, by the class that is found", *evaluations[last].confusion.cells(), _CONFUSION)
    doubtful = [] if subject.part == "training" else evaluations[last].disagreements()
    if doubtful:
        say(f"{counted(len(doubtful), 'annotation')} to check, since the predictions strongly disagree:")
        for one in doubtful[:_DOUBTFUL]:
            say(f"  {one.answer.id}: {one.reason}")
    content = {
        **{name: reported(one) for name, one in summary.items()},
        **about,
        "classes": list(classes),
        "to_check": [{"id": one.answer.id, "kind": one.kind, "reason": one.reason} for one in doubtful],
        "automatic": how,
        "versions": versions(),
    }
    if json is not None:
        write_json(json, content)
    if html is not None:
        write_instances(html, subject, evaluations, content)
        say(f"The report is in {html}.")


_CONFUSION = (
    "Percent of the objects (or pixels) of the class of the row. Last column: nothing is found there. Last row: "
    "percent of what is found of a class that lies where nothing is annotated."
)
_DOUBTFUL = 10  # annotations that are printed; the JSON file has all of them


def _region_confusion(subject: Subject, evaluations: Mapping[str, Evaluation]) -> Confusion | None:
    """Confusion of an adapter that is evaluated without a prompt, with the other classes of the data."""
    from samtailor.evaluation.regions import confusion_of_regions

    if not subject.adapters or evaluations["adapter"].prompt != "none":
        return None
    adapters = {" + ".join(one.meta.classes): name for name, one in subject.named.items()}
    return confusion_of_regions(subject.predictor(), adapters, subject.samples)


def _class_rows(summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    from samtailor.cli.screen import counts_of, percent
    from samtailor.evaluation.scores import TOO_FEW, reported

    def cells(one: Mapping[str, Any], prefix: str = "") -> list[str]:
        if one.get("too_few"):
            return [TOO_FEW, ""]
        names = (f"{prefix}miou", f"{prefix}oracle_miou")
        return [percent(one[name], one[f"{name}_interval"]) for name in names]

    summary = {name: reported(one) for name, one in summary.items()}
    rows = []
    for label, first in summary["base"]["classes"].items():
        by_name = [cell for s in summary.values() for cell in cells(s["classes"][label])]
        rows.append([label, *by_name, counts_of(first)])
    macro = [cell for s in summary.values() for cell in cells(s, "macro_")]
    rows.append(["mean over classes", *macro, counts_of(summary["base"])])
    return ["class", *(h for name in summary for h in (name, "oracle")), "masks/images/groups"], rows


def _about(subject: Subject, evaluations: Mapping[str, Evaluation], about: Mapping[str, Any]) -> dict[str, Any]:
    """What the JSON file holds besides the scores."""
    from samtailor.report import versions

    ids = list(dict.fromkeys(row.id for row in evaluations["base"].rows))
    return {
        "protocol": {
            "prompt": _prompts(evaluations),
            "seed": about["seed"],
            "classes": None if subject.classes is None else list(subject.classes),
            "mask": "candidate with the highest predicted IoU; oracle: best candidate by the true mask",
            "interval": "95 %, cluster bootstrap over groups of images, 1000 draws",
        },
        "data": about["data"],
        "adapter_folder": about["adapter_folder"],
        "adapter_meta": _meta(subject),
        "images": len(ids),
        "ids": ids,
        "left_out_ids": about["left_out_ids"],
        "part": about["part"],
        "account": about["account"],
        "versions": versions(),
    }


def _meta(subject: Subject) -> Any:
    """Metadata of the adapter, or a list of those of several; None for the base model alone."""
    meta = [one.meta.model_dump(mode="json") for one in subject.adapters]
    return meta if len(meta) > 1 else next(iter(meta), None)


def _prompts(evaluations: Mapping[str, Evaluation]) -> str:
    return ", ".join(dict.fromkeys(evaluation.prompt for evaluation in evaluations.values()))
