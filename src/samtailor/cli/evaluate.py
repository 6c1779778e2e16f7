"""`samtailor evaluate`: base against adapter on the same clicks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samtailor.cli import options
from samtailor.errors import InputError, counted

if TYPE_CHECKING:
    from samtailor.evaluation.scores import Evaluation


def evaluate_command(
    data: options.Data,
    adapter: Annotated[
        str | None, typer.Option(metavar="DIR", help="Adapter folder or hub id; none: the base alone.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(metavar="BASE", help="Base model; default: the adapter's own, else nano.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Classes to ask for; default: the adapter's.")
    ] = None,
    prompt: options.Prompt = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also the images that the adapter was fitted on (same DATA).")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the first N images.")] = None,
    part: Annotated[
        str | None,
        typer.Option(metavar="val|test", help="Only this part of the split that the adapter was fitted with."),
    ] = None,
    detector: Annotated[
        str | None, typer.Option(metavar="FILE", help="Detector for --prompt auto, as predict has it.")
    ] = None,
    detector_classes: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Only these classes of the detector.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, metavar="T", help="With auto: lowest score that counts as found.")
    ] = None,
    give: Annotated[str | None, typer.Option(metavar="points|boxes", help="With auto: what is asked with.")] = None,
    refine: Annotated[bool, typer.Option("--refine", help="Also PMM's test-time refinement, as its own row.")] = False,
    seed: options.Seed = 0,
    format: options.Format = None,
    group: options.GroupRule = None,
    json: options.Json = None,
    rows: Annotated[bool, typer.Option("--rows", help="Put a row for every mask into the JSON.")] = False,
    html: options.Html = None,
    device: options.Device = None,
) -> None:
    """Single-click protocol: mIoU, oracle and Dice of base and adapter, per class, with 95 % intervals.

    Images that the adapter was fitted on are left out when DATA, or a copy of it, is what it was fitted on. With
    --prompt auto objects are found without a prompt: mask AP, and false positives on images without the object.
    """
    from samtailor import artefact
    from samtailor.bases import load_on
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.cli.screen import counting, percent, say, summaries, table
    from samtailor.data.dataset import open_dataset
    from samtailor.data.writing import write_json
    from samtailor.evaluation.masks import evaluate_many, without_training_images
    from samtailor.evaluation.scores import difference

    samples = open_dataset(data, format=format, group=group)
    loaded = load_on(base or (artefact.base_of(adapter) if adapter else "nano"), device)
    own = artefact.load(adapter, loaded) if adapter else None
    wanted = _classes(options.names(classes), own.meta.classes if own else None, samples)
    left_out: list[str] = []
    if own and not everything:
        samples, left_out = without_training_images(samples, Path(adapter), data)
        if left_out:
            why = "the fit used them, or others of their names"
            say(f"{counted(len(left_out), 'image')} left out: {why} (--all takes all in).")
    if part is not None:
        samples = _part(part, samples, adapter, data)
    if prompt == "auto":
        from samtailor.cli.evaluate_auto import evaluate_auto
        from samtailor.data.dataset import class_names

        about = {"data": str(data), "adapter_folder": adapter, "left_out_ids": left_out, "seed": seed}
        return evaluate_auto(
            loaded, samples[:limit], wanted or class_names(samples), about, adapter=adapter, own=own,
            store=EmbeddingCache(), seed=seed, detector=detector, detector_classes=options.names(detector_classes),
            threshold=threshold, give=give, json=json, html=html,
        )  # fmt: skip
    if detector or detector_classes or give or threshold is not None:
        raise InputError("--detector, --detector-classes, --threshold and --give go with --prompt auto.")
    segmenters = {"base": loaded, **({"adapter": own.segmenter} if own else {})}
    asked = {"classes": wanted, "prompt": prompt, "seed": seed, "store": EmbeddingCache()}
    with counting("images") as progress:
        found = evaluate_many(segmenters, samples[:limit], refine=refine, progress=progress, **asked)
    summary = {name: evaluation.summary() for name, evaluation in found.items()}
    groups = counted(summary["base"]["groups"], "group")
    note = f"Percent. {_asked_with(found)}, one prompt a mask; intervals: bootstrap over {groups}."
    summaries(str(data), summary, note)
    if len(summary["base"]["classes"]) > 1:
        table("mIoU by class", *_class_rows(summary))
    change = {name: difference(found[name], found["base"]) for name in found if name != "base"}
    for name, one in change.items():
        say(f"{name} minus base: mIoU {percent(one['miou'], one['miou_interval'], signed=True)} points, paired.")
    content = _content(summary, change, found, data, adapter, own, wanted, asked, left_out, rows)
    if json is not None:
        write_json(json, content)
    if html is not None:
        _page(html, found, segmenters, samples[:limit], content, asked, Path(adapter) if adapter else None)
        say(f"The report is in {html}.")


def _part(part: str, samples: list[Any], adapter: str | None, data: Path) -> list[Any]:
    """Images of one part of an adapter's split."""
    from samtailor.artefact import SPLIT
    from samtailor.data.split import Split

    file = None if adapter is None else Path(adapter, SPLIT)
    if file is None or not file.is_file() or part not in ("val", "test"):
        raise InputError(f"--part takes val or test and an --adapter with a {SPLIT}; got {part!r} and {adapter}.")
    ids = set(getattr(Split.read(file), part))
    chosen = [sample for sample in samples if sample.id in ids]
    if not chosen:
        raise InputError(f"The split of {adapter} has no {part} image that is in {data}.")
    return chosen


def _classes(asked: list[str] | None, fitted: tuple[str, ...] | None, samples: list[Any]) -> list[str] | None:
    """Classes to ask for: those that were given, else the adapter's where the data have them."""
    if asked is None and fitted is None:
        return None
    from samtailor.data.dataset import class_names

    known = class_names(samples)
    wanted = list(asked or fitted or ())
    missing = [name for name in wanted if name not in known]
    if missing and (asked is not None or len(missing) == len(wanted)):
        hint = "" if asked else " Say with --classes what the adapter is to be asked for."
        raise InputError(f"The data have no class {missing[0]!r}; they have {', '.join(known) or 'none'}.{hint}")
    return [name for name in wanted if name in known]


def _class_rows(summary: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    from samtailor.cli.screen import percent

    rows = []
    for label, first in summary["base"]["classes"].items():
        cells = [
            cell
            for s in summary.values()
            for cell in (
                percent(s["classes"][label]["miou"], s["classes"][label]["miou_interval"]),
                percent(s["classes"][label]["oracle_miou"]),
            )
        ]
        rows.append([label, *cells, str(first["masks"])])
    macro = [c for s in summary.values() for c in (percent(s["macro_miou"]), percent(s["macro_oracle_miou"]))]
    rows.append(["mean over classes", *macro, ""])
    return ["class", *(h for name in summary for h in (name, "oracle")), "masks"], rows


def _content(
    summary: dict[str, Any],
    change: dict[str, Any],
    found: dict[str, Evaluation],
    data: Path,
    adapter: str | None,
    own: Any,
    classes: list[str] | None,
    asked: dict[str, Any],
    left_out: list[str],
    rows: bool,
) -> dict[str, Any]:
    """What `--json` holds: `base` and `adapter` with their figures, then what they were measured on."""
    from samtailor.report import versions

    ids = list(dict.fromkeys(row.id for row in found["base"].rows))
    return {
        **summary,
        **({} if "adapter" in summary else {"adapter": None}),
        "difference": change,
        "protocol": {
            "prompt": _asked_with(found),
            "seed": asked["seed"],
            "classes": classes,
            "mask": "highest predicted IoU of the candidates; oracle: best of the same by the truth",
            "interval": "95 %, cluster bootstrap over groups of images, 1000 draws",
        },
        "data": str(data),
        "adapter_folder": adapter,
        "adapter_meta": None if own is None else own.meta.model_dump(mode="json"),
        "images": len(ids),
        "ids": ids,
        "left_out_ids": left_out,
        "versions": versions(),
        **({"rows": {name: evaluation.table() for name, evaluation in found.items()}} if rows else {}),
    }


def _asked_with(found: dict[str, Evaluation]) -> str:
    return ", ".join(dict.fromkeys(evaluation.prompt for evaluation in found.values()))


def _page(
    path: Path,
    found: dict[str, Evaluation],
    segmenters: dict[str, Any],
    samples: list[Any],
    content: dict[str, Any],
    asked: dict[str, Any],
    folder: Path | None,
) -> None:
    from samtailor import report
    from samtailor.data.regions import regions
    from samtailor.report.page import Show, history_of

    last = list(segmenters)[-1]
    if any(getattr(segmenter, "regions", False) for segmenter in segmenters.values()):
        samples = regions(samples, asked["classes"])  # what was evaluated
    prompt = asked["prompt"] or found[last].prompt
    show = Show(segmenters["base"], segmenters, samples, asked["classes"], prompt, asked["seed"], asked["store"])
    meta = content["adapter_meta"] or {}
    pairs = {
        "data": content["data"],
        "adapter": content["adapter_folder"],
        "method": meta.get("method"),
        "options": meta.get("options") or None,
        "classes": asked["classes"],
        "base": segmenters["base"].name,
        "base's fingerprint": segmenters["base"].fingerprint,
        "steps and seed of the fit": f"{meta['steps']}, {meta['seed']}" if meta else None,
        "versions": content["versions"],
    }
    sections = [
        report.headline(found),
        report.class_table(found),
        show.overlays(found),
        show.iou_map(found[last], list(segmenters)),
        show.refinement(found[last], last),
        report.curves({"fit": history_of(folder)}) if folder else None,
        report.settings("Settings", pairs, {"images": content["ids"], "left out": content["left_out_ids"]}),
    ]
    report.write_page(path, f"Evaluation on {Path(content['data']).name}", _lead(content), sections)


def _lead(content: dict[str, Any]) -> str:
    base, adapter = content["base"], content["adapter"]
    if adapter is None:
        return f"The base alone: mIoU {100 * base['miou']:.1f} on {counted(base['masks'], 'mask')}."
    change = adapter["miou"]
    return f"mIoU {100 * base['miou']:.1f} without, {100 * change:.1f} with the adapter."
