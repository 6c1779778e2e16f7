"""Read a data set for import. Each image is sent when it is read, so that a stop loses nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from samtailor.workbench.importing import DatasetReader

if TYPE_CHECKING:
    from samtailor.workbench.worker import Channel


def run(job: Mapping[str, Any], channel: Channel) -> None:
    """Send one message per image with its objects, and at the end the account of the data set.

    Raises:
        DataError, InputError: the data set cannot be read. Stop: on request.
    """
    channel.progress(stage="start", done=0, total=1)
    reader = DatasetReader(job["data"], job["format"], job["options"])
    for done, image in enumerate(reader, 1):
        channel.check_stop()
        channel.send(read=asdict(image))
        channel.progress(stage="import", done=done, total=len(reader))
    other = [str(file) for file in reader.other_files()]
    channel.send(done={"format": reader.dataset.format, "account": reader.account().to_json(), "other": other})


__all__ = ["run"]
