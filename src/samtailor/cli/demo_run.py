"""Run the scenarios of `samtailor demo` and write one report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from samtailor import report
from samtailor.bases import load_on
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.cli import demo_banners
from samtailor.cli.demo_leaves import leaves
from samtailor.cli.demo_scenario import Scenario, Setup
from samtailor.data.writing import write_json
from samtailor.errors import InputError
from samtailor.train.progress import Progress

SCENARIOS = ("leaves", "banners")


@dataclass(frozen=True)
class Demo:
    """Result of the demo: `figures` is the content of report.json, `page` the HTML report."""

    figures: dict[str, Any]
    page: Path


def demo(
    out: Path,
    *,
    base: str,
    only: str | None = None,
    seed: int = 0,
    steps: int | None = None,
    train: int = demo_banners.TRAIN,
    test: int = demo_banners.TEST,
    device: str | None = None,
    workers: int = 1,
    watch: Callable[[str, Progress], None] | None = None,
) -> Demo:
    """Run one scenario or both, and write OUT/report.html and OUT/report.json.

    Started again with the same settings, it continues where it was stopped.

    Args:
        out: folder of images, adapters and report.
        base: base model.
        only: "leaves" or "banners"; None runs both.
        seed: seed of splits, initialization, order, clicks and drawn images.
        steps: training steps of each fit; None takes the numbers of the scenarios.
        train, test: number of images of the banners.
        device: None uses a GPU if there is one.
        workers: processes that draw, encode and fit.
        watch: called with (name of the task, progress).

    Raises:
        InputError: no such scenario, or the folder contains a demo with other images or settings.
    """
    if only not in (None, *SCENARIOS):
        raise InputError(f"--only must be {' or '.join(SCENARIOS)}, got {only!r}.")
    runs: dict[str, Callable[[Setup], Scenario]] = {
        "leaves": leaves,
        "banners": partial(demo_banners.banners, train=train, test=test),
    }
    out = Path(out)
    if only != "leaves":
        demo_banners.refuse_other_images(out, seed, train, test)  # before the minutes of the other scenario
    loaded = load_on(base, device)
    setup = Setup(out, loaded, EmbeddingCache(out / "embeddings"), seed, steps, workers, watch)
    made = {name: run(setup) for name, run in runs.items() if only in (None, name)}
    about = {
        "base": {"name": loaded.name, "fingerprint": loaded.fingerprint},
        "seed": seed,
        "versions": report.versions(),
    }
    figures = {name: scenario.figures for name, scenario in made.items()} | about
    write_json(out / "report.json", figures)
    model = f"{loaded.name}, fingerprint {loaded.fingerprint}, model frame {loaded.size} px"
    sections = [section for scenario in made.values() for section in scenario.sections]
    sections.append(report.settings("Settings", {**about, "base": model}))
    lead = " ".join(scenario.lead for scenario in made.values())
    report.write_page(out / "report.html", "samtailor demo", lead, sections)
    return Demo(figures, out / "report.html")


__all__ = ["SCENARIOS", "Demo", "demo"]
