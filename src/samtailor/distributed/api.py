"""Start a task with its options on an engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from samtailor.distributed import tasks
from samtailor.distributed.cost import Price
from samtailor.distributed.engines.cluster import Resources
from samtailor.distributed.engines.processes import Processes
from samtailor.distributed.engines.ray_data import RayData
from samtailor.distributed.extras import library
from samtailor.distributed.items import Item, list_items
from samtailor.distributed.job import Job, Shipment
from samtailor.distributed.ledger import Layout
from samtailor.distributed.passes import Engine
from samtailor.distributed.run import Summary, run
from samtailor.registry import choose

ENGINES = ("ray", "processes")


@dataclass(frozen=True)
class Machines:
    """Where workers run.

    Args:
        engine: "ray" or "processes" (of this machine, without Ray).
        resources: of the cluster; of the processes only the largest number of workers counts.
        timeout: seconds for one image before its worker is ended.
        max_pixels: largest number of pixels of an image; None: the default.
        price_per_hour: of one worker, in any currency; None: no cost is computed.

    Raises:
        InputError: an unknown engine, or a price below 0.
    """

    engine: str = "ray"
    resources: Resources = field(default_factory=Resources)
    timeout: float = 120.0
    max_pixels: int | None = None
    price_per_hour: float | None = None

    def __post_init__(self) -> None:
        choose("engine", self.engine, ENGINES)
        self.price  # noqa: B018 - a wrong price is an error

    @property
    def price(self) -> Price | None:
        """Price of the largest number of workers."""
        return None if self.price_per_hour is None else Price(self.price_per_hour, self.resources.workers[1])

    def start(self, job: Job) -> Engine:
        """Start workers."""
        job = replace(job, timeout=self.timeout, max_pixels=self.max_pixels)
        if self.engine == "ray":
            return RayData(job, self.resources)
        workers = self.resources.workers[1]
        return Processes(replace(job, threads=max((os.cpu_count() or 1) // workers, 1)), workers)

    def check(self) -> None:
        """Raise MissingExtraError if a library is missing, before any model is loaded."""
        library("pyarrow", why="Writing Parquet files")
        if self.engine == "ray":
            library("ray", why="The engine ray")


def label(
    images: Sequence[str], adapters: Mapping[str, str], out: str, machines: Machines, *, detector: str | None = None,
    **options: Any,
) -> Summary:  # fmt: skip
    """Label images with adapters into Parquet files.

    Args:
        images: see `items.list_items`.
        adapters: name to folder or hub id; empty for the base model alone, which needs a detector.
        out: folder or address of the result.
        machines: where workers run.
        detector: as of `samtailor.label`.
        options: others of `samtailor.label` (base, detector_classes, threshold, prompt_type, refine, tile, overlap,
            device), and those of `run.run` (sizes, overwrite, retry_failed, progress).
    """
    places: dict[str, str] = {name: folder for name, folder in adapters.items() if Path(folder).is_dir()}
    if detector is not None and Path(detector).exists():
        places["detector"] = detector
    return start("label", {"adapters": dict(adapters), "detector": detector}, places, images, out, machines, options)


def find(
    images: Sequence[str], like: Sequence[Mapping[str, Any]], out: str, machines: Machines, *,
    not_like: Sequence[Mapping[str, Any]] = (), **options: Any,
) -> Summary:  # fmt: skip
    """Find objects like those of references into Parquet files.

    Args:
        images: see `items.list_items`.
        like, not_like: references, each {"image": path, and "mask": path, "box": [...] or "clicks": [[...], ...]}.
        out: folder or address of the result.
        machines: where workers run.
        options: others of `samtailor.find` (name, base, matcher, matcher_options, threshold, tile, overlap, device),
            and those of `run.run`.
    """
    given = {"like": [dict(one) for one in like], "not_like": [dict(one) for one in not_like]}
    files = {str(one[key]) for side in given.values() for one in side for key in ("image", "mask") if one.get(key)}
    return start("find", given, {file: file for file in files}, images, out, machines, options)


def embed(images: Sequence[str], out: str, machines: Machines, **options: Any) -> Summary:
    """Compute one vector for each image into Parquet files.

    Args:
        images: see `items.list_items`.
        out: folder or address of the result.
        machines: where workers run.
        options: base, device, and those of `run.run`.
    """
    return start("embed", {}, {}, images, out, machines, options)


_RUN = ("sizes", "overwrite", "retry_failed", "progress")


def start(
    task: str,
    given: Mapping[str, Any],
    places: Mapping[str, str],
    images: Sequence[str] | Callable[[], Sequence[Item]],
    out: str,
    machines: Machines,
    options: Mapping[str, Any],
) -> Summary:
    """Run a task.

    Args:
        task: name of a module in `tasks`.
        given: options of the task.
        places: files and folders that workers need, by the name that the options use.
        images: sources, see `items.list_items`; or a function that returns the images.
        out: folder or address of the result.
        machines: where workers run.
        options: further options of the task, and those of `run.run`.
    """
    machines.check()
    module = tasks.task_module(task)
    options = dict(options)
    running = {key: options.pop(key) for key in _RUN if options.get(key) is not None}
    job = Job(task, {**given, **options}, Shipment.of(places))
    # the model is loaded here once, so that wrong options are reported before any worker starts
    opened = module.open_task({**job.options, "places": {name: str(place) for name, place in places.items()}})
    settings, classes = opened.settings, opened.classes
    del opened
    items = images() if callable(images) else list_items(images)
    layout = Layout(module.TABLE, module.COLUMNS)
    return run(
        items, out, layout, settings, lambda: machines.start(job), classes=classes, price=machines.price, **running
    )


__all__ = ["ENGINES", "Machines", "embed", "find", "label", "start"]
