"""What a fit decides by the machine it runs on: the batch size, and the images that it trains on at a time.

Both change the order of the masks, so they are kept in OUT/resources.json and a resumed fit takes them from there, also
on a machine with more memory or a larger cache.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from samtailor.errors import ArtefactError, InputError, counted
from samtailor.limits import MALFORMED
from samtailor.train.config import FitConfig

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.cache.room import Room
    from samtailor.train.feed import Feed

FILE, OLD_FILE = "resources.json", "plan.json"
"""Its name, and that in versions before 0.3, which is still read."""
PASSES = 4
"""Largest number of passes over the resident images, by default."""
_PART = 0.8  # share of the room that a part takes: the one before is removed a tenth of the cache at a time
_log = logging.getLogger("samtailor.fitting")


@dataclass(frozen=True)
class Plan:
    """Decisions of a fit.

    Args:
        batch_size: masks per batch and process.
        resident: images that each feed trains on at a time; None: all.
        passes: passes over these images.
    """

    batch_size: int
    resident: int | None = None
    passes: int = 1


def read_plan(out: Path) -> Plan | None:
    """The plan of a fit that was started; None if nothing had to be decided.

    Raises:
        ArtefactError: the file is damaged.
    """
    file = out / FILE if (out / FILE).exists() else out / OLD_FILE
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if "method" in values:  # plan.json of a contest
            return None
        resident = None if values["resident"] is None else int(values["resident"])
        plan = Plan(int(values["batch_size"]), resident, int(values["passes"]))
        if min(plan.batch_size, plan.passes) < 1 or (resident is not None and resident < 1):
            raise ValueError("a number below 1")
        return plan
    except FileNotFoundError:
        return None
    except (OSError, *MALFORMED) as error:
        raise ArtefactError(f"{file} is damaged ({error!r:.100}). Start again with --overwrite.") from error


def write_plan(out: Path, config: FitConfig, plan: Plan) -> None:
    """Write the plan, if it holds more than the settings do."""
    from samtailor.data.image import write_json

    if plan.resident is not None or plan.batch_size != config.batch_size:
        write_json(out / FILE, asdict(plan))


def passes(config: FitConfig, epochs: float) -> int:
    """Passes over the resident images: at most `PASSES`, and so few that a fit of `epochs` has two rounds."""
    return config.resident_passes or max(1, min(PASSES, int(epochs / 2)))


def resident_images(
    config: FitConfig, feeds: Sequence[Feed], room: Room, validated: int, store: EmbeddingCache, passes: int
) -> int | None:
    """Images that each feed can train on at a time so that none is encoded twice meanwhile; None: all of them.

    Args:
        config: resolved settings.
        feeds: of the training.
        room: for all embeddings that the fit needs.
        validated: embeddings of held-out images that validations need.
        store: the cache.
        passes: over these images.

    Raises:
        InputError: the cache has no room for the images of one step.
    """
    if config.resident is not None:
        if config.resident * _each(feeds[0], passes) * room.each * len(feeds) > room.capacity:
            _log.warning("%s resident=%d does not fit either.", room.problem(), config.resident)
        return config.resident
    if room.fits:
        return None
    embeddings = int(_PART * room.capacity / room.each)
    embeddings -= min(validated, embeddings // 4)  # more would be encoded again at each validation
    images = min(embeddings // len(feeds) // _each(feed, passes) for feed in feeds)
    needed = max(feed.masks_per_step for feed in feeds)
    if images < needed:
        raise InputError(
            f"{room.problem()} That is too little for a fit, which needs {counted(needed, 'image')} at a time "
            f"(a smaller batch_size needs fewer). {room.advice(store.precision)}"
        )
    if all(images >= feed.image_count for feed in feeds):
        return None
    _log.warning(
        "%s The fit trains on %d of %d images at a time, %d passes each (blocked shuffling, see "
        "docs/guides/large-data.md). %s",
        room.problem(), images, max(feed.image_count for feed in feeds), passes,
        room.advice(store.precision),
    )  # fmt: skip
    return images


def _each(feed: Feed, passes: int) -> int:
    """Embeddings of an image that its passes may need."""
    draws = -(-len(feed) * passes // feed.image_count)
    return min(feed.embeddings_per_image, draws)


__all__ = ["FILE", "PASSES", "Plan", "passes", "read_plan", "resident_images", "write_plan"]
