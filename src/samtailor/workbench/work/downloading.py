"""Progress of a download from the hub: the size of the files in the cache, compared with what the hub states."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_FILES = re.compile(r"[\w.]*config\.json|model[\w.-]*\.safetensors")
_MEGABYTE = 1_000_000
_TIMEOUT = 10.0  # seconds, for the sizes of the files


@contextmanager
def download_progress(source: str, report: Callable[[int, int], object], every: float = 0.5) -> Iterator[None]:
    """Report how much of a model is in the cache of the hub, as long as the block runs.

    Nothing is reported for a folder or a file, for a model that is in the cache already, and if the hub does not state
    the sizes of its files.

    Args:
        source: base model, as for `load_base`.
        report: called with megabytes done and in total, in a thread.
        every: seconds between two calls.
    """
    total = _total(source)
    if total is None or _cached(source) >= total:
        yield
        return
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(every):
            done = min(_cached(source), total)
            report(round(done / _MEGABYTE), max(1, round(total / _MEGABYTE)))
            if done == total:
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _total(source: str) -> int | None:
    """Bytes of the files that are downloaded; None if unknown."""
    if Path(source).exists() or not _HUB_ID.fullmatch(_repository(source)):
        return None
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        files = HfApi().model_info(_repository(source), files_metadata=True, timeout=_TIMEOUT).siblings or ()
    except (OSError, HfHubHTTPError, HFValidationError, OfflineModeIsEnabled):  # loading reports it, if it matters
        return None
    return sum(one.size or 0 for one in files if _FILES.fullmatch(one.rfilename)) or None


def _cached(source: str) -> int:
    """Bytes of the model in the cache, also of files that are not complete."""
    from huggingface_hub import constants

    blobs = Path(constants.HF_HUB_CACHE) / f"models--{_repository(source).replace('/', '--')}" / "blobs"
    return sum(_size(file) for file in blobs.glob("*")) if blobs.is_dir() else 0


def _repository(source: str) -> str:
    return source.rpartition("@")[0] or source


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # an incomplete file has just become a complete one
        return 0


__all__ = ["download_progress"]
