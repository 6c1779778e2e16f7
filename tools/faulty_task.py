"""The tasks `label` and `embed` with faults that depend on the name of an image, to try how large runs bear them.

crash_read, hang_read: the process ends, or waits for ever, while the image is read; crash, hang, error: while it is
predicted. `kind` chooses the task in the options; "none" computes nothing.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from samtailor.distributed import fetch, results
from samtailor.distributed.tasks import Task, task_module

TABLE, READS = "objects", True
COLUMNS = {"image": "string", "pid": "int64"}
_read = fetch._read


def _fail(name: str, suffix: str = "") -> None:
    fault = Path(name).name.partition("-")[0]
    if fault == f"crash{suffix}":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == f"hang{suffix}":
        time.sleep(10**6)
    if fault == f"error{suffix}":
        raise RuntimeError("this image raises an error")


def _is_faulty(name):
    return Path(name).name.startswith(("crash", "hang", "error"))


def _read_or_fail(item):
    _fail(item.id, "_read")
    return _read(item)


fetch._read = _read_or_fail


def open_task(options):
    if options["kind"] == "none":
        inner = Task(lambda images: [_nothing(one) for one in images], {})
    else:
        inner = task_module(options["kind"]).open_task(options)

    def predict(images):
        if not any(_is_faulty(one.item.id) for one in images):
            yield from inner.predict(images)
            return
        for one in images:
            _fail(one.item.id)
            yield from inner.predict([one])

    return Task(predict, {**inner.settings, "task": "faulty", "kind": options["kind"]}, inner.classes)


def _nothing(one):
    time.sleep(0.001)
    row = {"image": one.item.id, "pid": os.getpid()}
    return results.done(one.item, (row,), height=one.pixels.shape[0], width=one.pixels.shape[1])
