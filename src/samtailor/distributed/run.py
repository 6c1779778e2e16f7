"""Run a task over images: list them, process what is missing, commit blocks, write the manifest."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, TypeVar

from samtailor.distributed import passes
from samtailor.distributed.cost import Price
from samtailor.distributed.items import Item, spool
from samtailor.distributed.ledger import Layout, Ledger
from samtailor.distributed.manifest import Effort, write_manifest
from samtailor.distributed.passes import Engine
from samtailor.distributed.store import Store
from samtailor.errors import InputError

_WAVE = 4096
"""Blocks that are processed until all of them are complete, before the next ones."""
Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Sizes:
    """How images are divided.

    Args:
        block: images of a block, which becomes one Parquet file of each table.
        group: images that a worker processes in one call.
        tries: tries of an image alone, after which it is listed as failed.
        part: (I, N): only the I-th of N parts of the images, by a hash of the id.

    Raises:
        InputError: a number below 1.
    """

    block: int = 256
    group: int = 8
    tries: int = 2
    part: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        for name in ("block", "group", "tries"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}.")
        index, number = self.part
        if not 1 <= index <= number:
            raise InputError(f"A part is I/N with 1 <= I <= N, for example 1/4; got {index}/{number}.")


@dataclass
class Summary:
    """Result of a run.

    Args:
        images: number of images in the result.
        earlier: of these, done by an earlier run.
        rows: number of rows of the task's table, for example objects.
        status: number of images by status.
        not_processed: images that were not read or given up, with the error; at most `manifest.NAMED`.
        seconds: of this run.
        cost: of this run; None without a price.
    """

    images: int = 0
    earlier: int = 0
    rows: int = 0
    status: Counter[str] = field(default_factory=Counter)
    not_processed: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    cost: float | None = None

    @property
    def rate(self) -> float:
        """Images per second of this run."""
        return (self.images - self.earlier) / self.seconds if self.seconds else 0.0


def run(
    items: Iterable[Item],
    out: str,
    layout: Layout,
    settings: Mapping[str, Any],
    engine: Callable[[], Engine],
    *,
    sizes: Sizes | None = None,
    classes: Iterable[str] = (),
    overwrite: bool = False,
    retry_failed: bool = False,
    price: Price | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Process the images that `out` does not contain yet.

    Args:
        items: all images.
        out: folder or address of the result; new, or of a run with the same `settings`.
        layout: tables of the task.
        settings: everything that the results depend on.
        engine: starts an engine; called only if something is missing.
        sizes: how images are divided.
        classes: in their order.
        overwrite: delete an earlier result and start again.
        retry_failed: try again what an earlier run gave up.
        price: of the workers, for the cost of the run.
        progress: called with (images done, images in total).

    Raises:
        InputError: `out` holds something else, or workers cannot run.
        DataError: no image, or two of the same id.
    """
    sizes, store, start = sizes or Sizes(), Store(out), time.monotonic()
    with store.lock():
        ledger = Ledger(store, layout, {**settings, "part": list(sizes.part)}, overwrite=overwrite)
        if retry_failed:
            ledger.drop_failed()
        known = ledger.done()
        summary = Summary(earlier=len(known))
        with spool(items, known, sizes.part) as waiting:
            if waiting.missing:
                _process(waiting.blocks(sizes.block), engine, ledger, sizes, len(known), waiting.missing, progress)
        seconds = time.monotonic() - start
        done = Effort(waiting.missing, seconds, price)
        content = write_manifest(ledger, list(classes), done)
    return replace(
        summary,
        images=content["images"],
        rows=content["rows"],
        status=Counter(content["status"]),
        not_processed=content["not_processed"],
        seconds=seconds,
        cost=None if price is None else price.of(seconds),
    )


def _process(
    blocks: Iterator[list[Item]],
    new_engine: Callable[[], Engine],
    ledger: Ledger,
    sizes: Sizes,
    earlier: int,
    missing: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    done = earlier

    def advance(number: int) -> None:
        nonlocal done
        done += number
        if progress:
            progress(done, earlier + missing)

    engine = new_engine()
    try:
        for wave in _waves(blocks, _WAVE):
            passes.process(wave, engine, ledger, group=sizes.group, tries=sizes.tries, advance=advance)
    finally:
        engine.close()


def _waves(things: Iterator[Thing], size: int) -> Iterator[list[Thing]]:
    while wave := list(islice(things, size)):
        yield wave


__all__ = ["Sizes", "Summary", "run"]
