"""Predict objects with adapters, as `samtailor.label`."""

from __future__ import annotations

from typing import Any

from samtailor.distributed.tasks import Task
from samtailor.distributed.tasks._stream import COLUMNS, ObjectStream, tiling_of
from samtailor.labelling.api import prepare

TABLE, READS = "objects", True
_PREPARE = ("base", "detector_classes", "threshold", "prompt_type", "refine", "device")


def open_task(options: dict[str, Any]) -> Task:
    """Load base model and adapters.

    Args:
        options: those of `labelling.api.prepare`, "adapters" (name to folder or hub id), "tile" and "overlap", and
            "places": name of an adapter, or "detector", to its copy on this machine.
    """
    places = options["places"]
    adapters = {name: places.get(name, folder) for name, folder in options["adapters"].items()}
    ready = prepare(
        adapters or None,
        detector=places.get("detector", options.get("detector")),
        **{key: options[key] for key in _PREPARE if options.get(key) is not None},
    )
    stream = ObjectStream(ready, tiling_of(options))
    settings = {
        "task": "label",
        "base": ready.predictor.base.fingerprint,
        **ready.settings,
        "detector": options.get("detector"),
        "tiling": [options.get("tile"), options.get("overlap")] if options.get("tile") else None,
    }
    return Task(stream, settings, ready.classes)


__all__ = ["COLUMNS", "READS", "TABLE", "open_task"]
