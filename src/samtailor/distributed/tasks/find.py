"""Find objects like those of a few references, as `samtailor.find`."""

from __future__ import annotations

from typing import Any

from samtailor.distributed.tasks import Task
from samtailor.distributed.tasks._stream import COLUMNS, ObjectStream, tiling_of
from samtailor.labelling.find import prepare
from samtailor.predict.references import Reference

TABLE, READS = "objects", True
_PREPARE = ("name", "base", "matcher", "matcher_options", "threshold", "device")


def open_task(options: dict[str, Any]) -> Task:
    """Load the base model and encode the references.

    Args:
        options: those of `labelling.find.prepare`; references as {"image", "mask", "box", "clicks"} with names in
            "places" in place of paths; "tile" and "overlap".
    """
    places = options["places"]

    def references(key: str) -> list[Reference]:
        return [
            Reference(
                places[one["image"]],
                mask=None if one.get("mask") is None else places[one["mask"]],
                box=one.get("box"),
                clicks=[tuple(click) for click in one.get("clicks") or ()],
            )
            for one in options.get(key) or ()
        ]

    ready = prepare(
        references("like"),
        references("not_like"),
        **{key: options[key] for key in _PREPARE if options.get(key) is not None},
    )
    settings = {
        "task": "find",
        "base": ready.predictor.base.fingerprint,
        **ready.settings,
        "tiling": [options.get("tile"), options.get("overlap")] if options.get("tile") else None,
    }
    return Task(ObjectStream(ready, tiling_of(options)), settings, ready.classes)


__all__ = ["COLUMNS", "READS", "TABLE", "open_task"]
