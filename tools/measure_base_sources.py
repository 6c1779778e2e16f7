"""The bundled base trained on all data sources and on all but one; results/base-sources.json.

    python -m bundled_base.cache CACHE --trunk LITE2 $SOURCES --seed 21 --views 6400 --size 192
    python tools/measure_base_sources.py CACHE RUNS --trunk LITE2 --data DATA --data-open DATA_OPEN [--seeds 0,1]

Each run trains neck and decoder from scratch on the frozen trunk (stage 1 of tools/bundled_base/README.md). All runs of
a seed start from the same weights and see as many views, of as many different ones. A view that contains anything of
the source that is left out, as background too, is not used; what remains is drawn from the cache in the same order.

A finished run is a file in RUNS and a new row of the result. A second call makes only the runs that are missing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import torch

import results
from bundled_base.evaluation import FIGURES, TITLES
from bundled_base.leave_one_out import CURVE, GROUPS, Evaluation, View, cached_views, chosen, contains, train
from bundled_base.losses import MaskLoss
from bundled_base.trainer import Trainer
from results import Cell, Column, Figure, Table
from train_bundled_base import options as training_options


def main() -> None:
    """Make the runs that are missing, and write the result after each."""
    options = _options()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    MaskLoss.compiled = options.compile
    views, arguments = cached_views(options.cache), _arguments(options)
    settings = _settings(options, arguments, views)
    options.runs.mkdir(parents=True, exist_ok=True)
    missing = [(name, seed) for name, seed in plan(options.seeds) if not _file(options.runs, name, seed).exists()]
    write(options, settings, views)  # stops where a finished run has other settings
    evaluation: Evaluation | None = None
    steps, begin = options.views // options.batch, time.monotonic()
    for name, seed in missing:
        if options.minutes is not None and time.monotonic() - begin >= 60 * options.minutes:
            print(f"--minutes {options.minutes:g} are over; another call makes the rest.", file=sys.stderr)
            break
        evaluation = evaluation or Evaluation(options.data, options.data_open, Trainer(arguments))
        kept = chosen(views, name, options.different, seed)
        at = {round(share * steps) for share in CURVE} if name == "all" else set()
        run = train(_arguments(options, seed), kept, steps, at, evaluation)
        print(name, seed, json.dumps(run), file=sys.stderr, flush=True)
        _put(_file(options.runs, name, seed), {"settings": settings, "sizes": evaluation.sizes()} | run)
        write(options, settings, views)


def plan(seeds: list[int]) -> Iterator[tuple[str, int]]:
    """Runs in an order that gives the spread of the seeds first: `all` of two seeds before what is left out."""
    order = [("all", seed) for seed in seeds[:2]]
    for place, seed in enumerate(seeds):
        order += [(name, seed) for name in GROUPS] + [("all", later) for later in seeds[place + 2 : place + 3]]
    return iter(order)


def write(options: argparse.Namespace, settings: dict, views: list[View]) -> None:
    """results/base-sources.json of all finished runs."""
    runs: dict[str, dict[int, dict]] = {}
    for name, seed in plan(options.seeds):
        if (file := _file(options.runs, name, seed)).exists():
            run = json.loads(file.read_text(encoding="utf-8"))
            if run["settings"] != settings:
                sys.exit(f"{file} was made with other settings: {run['settings']}, not {settings}. Use another folder.")
            if absent := [
                title for key, title in TITLES.items() if any(key not in row for row in run["held_out"].values())
            ]:
                sys.exit(
                    f"{file} was not measured on: {', '.join(absent)}. An earlier version made it. Use another folder."
                )
            runs.setdefault(name, {})[seed] = run
    if "all" not in runs:
        return
    last = str(options.views // options.batch * options.batch)
    share = {n: results.percent(sum(contains(v, n) for v in views) / len(views)) for n in GROUPS}
    tables = {}
    for key, (title, figure) in FIGURES.items():
        rows: dict[str, dict[str, Cell]] = {}
        for name in ("all", *GROUPS):
            if name in runs:
                own = [run["held_out"][last] for run in runs[name].values()]
                rows[name] = {"sources": _title(name), "share": share.get(name)} | _cells(own, figure)
        tables[key] = Table(title=title, columns=_columns("Trained on", "share"), rows=rows)
    first = next(iter(runs["all"].values()))
    tables["views"] = Table(
        title="All sources, by views seen: center click, best of three masks",
        columns=_columns("Views"),
        rows={
            count: {"sources": f"{int(count):,}"}
            | _cells([run["held_out"][count] for run in runs["all"].values()], "center_oracle")
            for count in first["held_out"]
        },
        note="The learning rate falls to 0 at the last row.",
    )
    results.save(
        "base-sources",
        tables,
        title="The bundled base trained on all data sources, and on all but one",
        units="mean IoU in percent: mean over the seeds (each seed)",
        base=None,
        seeds=sorted({seed for own in runs.values() for seed in own}),
        notes=_notes(settings, first["sizes"], runs),
        file=options.results,
    )


def _title(name: str) -> str:
    return "all sources" if name == "all" else f"without {GROUPS[name][0]}"


def _cells(runs: list[dict], figure: str) -> dict[str, Cell]:
    cells: dict[str, Cell] = {}
    for name in TITLES:
        values = tuple(results.percent(run[name][figure]) for run in runs)
        cells[name.replace("_", "-")] = Figure(value=round(sum(values) / len(values), 2), seeds=values)
    return cells


def _columns(label: str, *more: str) -> tuple[Column, ...]:
    extra = [Column(key="share", label="Views with it, %", digits=0)] if "share" in more else []
    sets = [Column(key=name.replace("_", "-"), label=title) for name, title in TITLES.items()]
    return (Column(key="sources", label=label), *extra, *sets)


def _notes(settings: dict, sizes: dict[str, list[int]], runs: dict[str, dict[int, dict]]) -> list[str]:
    counted = ", ".join(f"{TITLES[name].lower()} {images} ({masks})" for name, (images, masks) in sizes.items())
    seconds = [run["cpu_seconds"] for own in runs.values() for run in own.values()]
    return [
        f"{settings['views']:,} views of {settings['different']:,} different ones at {settings['size']} px, batches of "
        f"{settings['batch']}, neck and decoder from scratch, no corrective clicks; measured at 384 px.",
        f"Held-out images (masks): {counted}.",
        f"Processor time of a run: {min(seconds)} to {max(seconds)} s.",
        *_made(runs),
    ]


def _made(runs: dict[str, dict[int, dict]]) -> list[str]:
    """Which runs were made with which seeds, and which were not made."""
    by_seeds: dict[tuple[int, ...], list[str]] = {}
    for name in ("all", *GROUPS):
        by_seeds.setdefault(tuple(sorted(runs.get(name, {}))), []).append(_title(name))
    missing = by_seeds.pop((), [])
    lines = [
        f"Seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}: {', '.join(titles)}."
        for seeds, titles in by_seeds.items()
    ]
    return [*lines, *([f"Not run: {', '.join(missing)}."] if missing else [])]


def _settings(options: argparse.Namespace, arguments: argparse.Namespace, views: list[View]) -> dict:
    """What has to be the same in all runs."""
    names = ("size", "batch", "clicks", "others", "lr", "warm_up", "early", "corrections")
    own = {"views": options.views, "different": options.different, "cached": len(views)}
    return own | {name: getattr(arguments, name) for name in names}


def _arguments(options: argparse.Namespace, seed: int = 0) -> argparse.Namespace:
    """Options of the training tool."""
    words = ["--run", options.runs / "training", "--trunk", options.trunk, "--size", options.size, "--batch"]
    words += [options.batch, "--warm-up", options.warm_up, "--early", options.early, "--seed", seed, "--finish"]
    return training_options([str(word) for word in words])


def _file(runs: Path, name: str, seed: int) -> Path:
    return runs / f"{name}-{seed}.json"


def _put(file: Path, value: dict) -> None:
    unfinished = file.with_suffix(".tmp")
    unfinished.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    os.replace(unfinished, file)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path, help="folder of cached views of all sources")
    parser.add_argument("runs", type=Path, help="folder of the finished runs")
    parser.add_argument("--trunk", type=Path, required=True, help="ImageNet weights of the trunk")
    parser.add_argument("--data", type=Path, required=True, help="folder with the evaluation sets")
    parser.add_argument("--data-open", type=Path, required=True, help="folder with the openly licensed sets")
    parser.add_argument("--seeds", type=_integers, default=[0, 1], help="separated by commas")
    parser.add_argument("--views", type=int, default=6000, help="of a run")
    parser.add_argument("--different", type=int, default=4000, help="different views of a run")
    parser.add_argument("--size", type=int, default=192, help="side of the cached views")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--warm-up", type=int, default=40, help="steps")
    parser.add_argument("--early", type=int, default=190, help="steps in which balanced cross-entropy fades out")
    parser.add_argument("--minutes", type=float, help="start no further run after these minutes of wall clock")
    parser.add_argument("--compile", action="store_true", help="compile the mask loss; needs a C++ compiler")
    results.add_option(parser, "base-sources")
    return parser.parse_args()


def _integers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


if __name__ == "__main__":
    main()
