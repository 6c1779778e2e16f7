"""Write the objects of a result in the format of an annotation tool or data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from samtailor.data.folder_lock import NAME
from samtailor.data.writers import Destination, LabelledImage, LabelledObject, WriteReport, write_dataset
from samtailor.distributed import tables
from samtailor.distributed.items import is_remote
from samtailor.distributed.manifest import MANIFEST
from samtailor.distributed.results import DONE
from samtailor.distributed.store import Store
from samtailor.errors import DataError, InputError


def convert(
    folder: str,
    out: str | Path,
    format: str = "coco",
    *,
    vertices: int | None = None,
    put: str = "copy",
    options: Mapping[str, Any] | None = None,
) -> WriteReport:
    """Write a data set from a result of `label` or `find`.

    Args:
        folder: of the result, finished.
        out: folder of the data set; new.
        format: name of a file in `samtailor.data.writers`.
        vertices: maximum number of vertices of an object; None: no limit.
        put: "copy", "link" or "none": whether the images become part of the data set; images of object stores are not
            downloaded, so that they need "none".
        options: of the format.

    Raises:
        DataError: the result is not finished, has no objects table, or is damaged.
        InputError: an unknown format or option, `out` exists, or images are not on this machine.
    """
    store, out = Store(folder), Path(out)
    if not store.exists(MANIFEST):
        raise DataError(f"{folder} has no {MANIFEST}: it is no finished result of samtailor batch.")
    manifest = store.read_json(MANIFEST)
    if manifest["table"] != "objects":
        raise DataError(f"{folder} holds {manifest['table']}, no objects. Data sets are written from label or find.")
    if out.exists() and any(path.name != NAME for path in out.iterdir()):
        raise InputError(f"{out} exists already. Choose another folder.")
    images, classes = list(_images(store, manifest, put)), dict.fromkeys(manifest["classes"])
    classes |= dict.fromkeys(sorted({one.label for image in images for one in image.objects}))
    return write_dataset(format, Destination(out, vertices, put), images, list(classes), options)


def _images(store: Store, manifest: Mapping[str, Any], put: str) -> Iterator[LabelledImage]:
    """The images that were processed, a block at a time."""
    for images, objects in _blocks(manifest):
        rows: dict[str, list[Mapping[str, Any]]] = {}
        for row in tables.decode(store.read(objects), objects):
            rows.setdefault(row["image"], []).append(row)
        for row in tables.decode(store.read(images), images):
            if row["status"] == DONE:
                yield _image(row, rows.get(row["image"], []), put)


def _blocks(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names of the tables of each block."""
    by_key: dict[str, dict[str, str]] = {}
    for file in manifest["files"]:
        table, _, name = file["name"].partition("/")
        by_key.setdefault(name.split("-")[1], {})[table] = file["name"]
    for _, names in sorted(by_key.items()):
        yield names[tables.IMAGES], names[manifest["table"]]


def _image(row: Mapping[str, Any], rows: list[Mapping[str, Any]], put: str) -> LabelledImage:
    uri = row["uri"]
    if is_remote(uri) and put != "none":
        raise InputError(f"{uri} is not on this machine. Use --images none, which writes the names of the images only.")
    source = Path(PurePosixPath(uri.partition("://")[2])) if is_remote(uri) else Path(uri)
    objects = tuple(
        LabelledObject(
            one["class"],
            {"size": [one["height"], one["width"]], "counts": one["rle"].encode("ascii")},
            one["score"],
            one["adapter"],
        )
        for one in sorted(rows, key=lambda one: int(one["number"]))
    )
    return LabelledImage(row["image"], source, row["height"], row["width"], objects, row["empty"])


__all__ = ["convert"]
