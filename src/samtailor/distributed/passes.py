"""Process blocks with an engine until every image has a result; isolate the images that break workers.

A worker that dies loses the results of the images that it held, whichever of them was the cause. The images without a
result are tried again in further passes, each image alone, so that each of these passes accuses only the image that a
worker held when it died. After a bounded number of tries an image is listed as failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from samtailor.distributed.items import Item
from samtailor.distributed.ledger import Assembler, Ledger
from samtailor.distributed.results import Result, failed
from samtailor.errors import InputError

LOST = "The worker died or took too long while it processed this image."
_SYSTEMATIC = 16
"""Images that must be lost in a pass without any result, for the workers rather than the images to be at fault."""


class Engine(Protocol):
    """Computes results in other processes.

    It may return results in any order and repeatedly, and it may lose some, but it returns a result only for an image
    that was given to it, and ends when nothing is in work.
    """

    def run(self, blocks: Sequence[Sequence[Item]], group: int) -> Iterator[Result]:
        """Process images.

        Args:
            blocks: images.
            group: number of images that a worker holds at a time; 1 isolates images.

        Raises:
            SamtailorError: a worker cannot start, for example because it cannot load the model.
        """

    def close(self) -> None:
        """Stop the workers."""


def process(
    blocks: Sequence[Sequence[Item]],
    engine: Engine,
    ledger: Ledger,
    *,
    group: int,
    tries: int,
    advance: Callable[[int], None],
) -> list[Result]:
    """Process blocks and commit each of them when it is complete.

    Args:
        blocks: images that are in no committed block.
        engine: computes the results.
        ledger: of the run.
        group: images per call of a worker in the first pass.
        tries: further passes, each with single images, before an image without a result is given up.
        advance: called with the number of images that were finished.

    Returns:
        results of the images that were given up.

    Raises:
        InputError: workers die on every image.
    """
    assembler = Assembler(ledger)
    for block in blocks:
        assembler.expect(block)
    reasons = _pass(engine, blocks, group, assembler, 1, advance)
    for number in range(tries):
        missing = assembler.missing()
        if not missing:
            return []
        reasons |= _pass(engine, [[item] for item in missing], 1, assembler, number + 2, advance)
    given_up = [failed(item, reasons.get(item.id, LOST)).with_tries(tries + 1) for item in assembler.missing()]
    for result in given_up:
        assembler.add(result)
    advance(len(given_up))
    return given_up


def _pass(
    engine: Engine,
    blocks: Sequence[Sequence[Item]],
    group: int,
    assembler: Assembler,
    number: int,
    advance: Callable[[int], None],
) -> dict[str, str]:
    """Process blocks once; returns why images have no result, as far as workers say so."""
    reasons: dict[str, str] = {}
    arrived = 0
    for result in engine.run(blocks, group):
        arrived += 1
        if result.retry is not None:
            reasons[result.id] = result.retry
        elif assembler.add(result.with_tries(number)):
            advance(1)
    # later passes may hold nothing but images that break workers
    if number <= 2 and not arrived and sum(map(len, blocks)) >= _SYSTEMATIC:
        raise InputError(
            f"Workers died on each of {sum(map(len, blocks))} images, so that the images are not at fault. Check the "
            "memory of the workers and their logs. What is done is kept; run the same command to continue."
        )
    return reasons


__all__ = ["LOST", "Engine", "process"]
