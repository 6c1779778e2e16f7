"""A Ray cluster, with Ray Data: images are read by tasks, and predicted by actors that hold one model each.

Ray Data limits how many images are read ahead (back pressure) and adapts the number of actors to the work. What dies is
retried by Ray only in the first pass; after that `passes` isolates images.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from samtailor.distributed.engines import cluster
from samtailor.distributed.engines.cluster import Resources
from samtailor.distributed.extras import library
from samtailor.distributed.fetch import Decoded
from samtailor.distributed.items import Item
from samtailor.distributed.job import Job
from samtailor.distributed.results import Result
from samtailor.distributed.worker import Worker, prepare, read
from samtailor.errors import InputError, SamtailorError


class RayData:
    """Workers on a Ray cluster.

    Args:
        job: what the workers do.
        resources: cluster and size of the workers.

    Raises:
        MissingExtraError: Ray is not installed.
        InputError: the cluster does not answer.
    """

    def __init__(self, job: Job, resources: Resources) -> None:
        self._ray = library("ray", why="The engine ray")
        library("ray.data", why="The engine ray")
        self._resources = resources
        # CPUs are only a count for Ray: the readers get their own beside the workers
        cpus = resources.workers[1] * resources.cpus + (resources.readers or 1)
        self._started = cluster.connect(self._ray, resources.address, cpus, "Use --engine processes.")
        self._job = self._ray.put(job)

    def run(self, blocks: Sequence[Sequence[Item]], group: int) -> Iterator[Result]:
        """Process images; see `passes.Engine`."""
        self._configure()
        warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")  # max_restarts has no other place yet
        warnings.filterwarnings("ignore", "The minimum number of concurrent actors")  # of few images
        rows = [{"ids": [item.id for item in block], "uris": [item.uri for item in block]} for block in blocks]
        for row in self._pipeline(rows, group).iter_rows():
            if row["result"] is None:
                raise InputError(row["error"])
            yield Result.from_json(row["result"])

    def close(self) -> None:
        """Disconnect, and stop a cluster that was started here."""
        if self._started:
            self._ray.shutdown()

    def _configure(self) -> None:
        context = self._ray.data.DataContext.get_current()
        context.max_errored_blocks = -1  # images without a result are tried again by `passes`
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.wait_for_min_actors_s = -1
        for name in ("ray.data", "ray"):
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def _pipeline(self, rows: list[dict[str, Any]], group: int) -> Any:
        data, wanted, first = self._ray.data, self._resources, group > 1
        readers = data.TaskPoolStrategy(size=wanted.readers) if wanted.readers else None
        few, many = min(wanted.workers[0], len(rows)), min(wanted.workers[1], len(rows))
        actors = data.ActorPoolStrategy(min_size=few, max_size=many, max_tasks_in_flight_per_actor=2 if first else 1)
        return (
            data.from_items(rows, override_num_blocks=len(rows))
            .flat_map(
                _read_block, fn_args=(self._job, group), compute=readers, num_cpus=1, max_retries=1 if first else 0
            )
            .flat_map(
                _Predictor,
                fn_constructor_args=(self._job,),
                compute=actors,
                num_cpus=wanted.cpus,
                num_gpus=wanted.gpus or None,
                max_restarts=-1,
                max_task_retries=1 if first else 0,
            )
        )


def _read_block(row: Mapping[str, Any], job: Any, group: int) -> Iterator[dict[str, Any]]:
    """Read the images of a block, a group at a time."""
    import ray

    known: Job = ray.get(job)
    prepare(Job(known.task, {}, max_pixels=known.max_pixels))
    items = [Item(*pair) for pair in zip(row["ids"], row["uris"], strict=True)]
    for first in range(0, len(items), group):
        yield packed(read(items[first : first + group], known))


class _Predictor:
    """An actor with a model."""

    def __init__(self, job: Any) -> None:
        import ray

        self._error: str | None = None
        try:
            self._worker = Worker(ray.get(job))
        except SamtailorError as error:  # an exception here would make Ray start the actor again and again
            self._error = str(error)

    def __call__(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """One row for each image."""
        if self._error is not None:
            return [{"result": None, "error": self._error}]
        return [{"result": one.to_json(), "error": None} for one in self._worker.predict(unpacked(row))]


def packed(images: Sequence[Decoded]) -> dict[str, Any]:
    """Images as columns that Arrow stores without pickling."""
    return {
        "ids": [one.item.id for one in images],
        "uris": [one.item.uri for one in images],
        "errors": [one.error or "" for one in images],
        "retries": [one.retry or "" for one in images],
        "heights": [0 if one.pixels is None else one.pixels.shape[0] for one in images],
        "pixels": [b"" if one.pixels is None else one.pixels.tobytes() for one in images],
    }


def unpacked(row: Mapping[str, Any]) -> list[Decoded]:
    """The images of `packed`."""
    images = []
    columns = (row[name] for name in ("ids", "uris", "errors", "retries", "heights", "pixels"))
    for name, uri, error, retry, height, data in zip(*columns, strict=True):
        pixels = np.frombuffer(data, np.uint8).reshape(int(height), -1, 3) if height else None
        images.append(Decoded(Item(str(name), str(uri)), pixels, str(error) or None, str(retry) or None))
    return images


__all__ = ["RayData", "Resources", "packed", "unpacked"]
