"""List the images of a run: folders, files, glob patterns, Parquet lists and addresses of object stores."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

from samtailor.cache.store import open_address
from samtailor.data.image import SUFFIXES
from samtailor.data.listing import natural_key
from samtailor.distributed.extras import library
from samtailor.errors import DataError
from samtailor.predict.files import find_images

ADDRESS = ("uri", "url", "path", "image")
"""Columns of a Parquet list that may hold the address, in order of preference."""
_MAGIC = re.compile(r"[*?\[]")
_ROWS = 4096


@dataclass(frozen=True)
class Item:
    """An image.

    Args:
        id: unique in a run.
        uri: local path, or address that fsspec understands (s3://, gs://, https://, ...).
    """

    id: str
    uri: str


def list_items(sources: Sequence[str]) -> Iterator[Item]:
    """List images.

    Args:
        sources: each an image file, a folder, a glob pattern ("photos/**/*.jpg"), or a Parquet file with one row for
            each image: columns `uri` (or `url`, `path`, `image`) and optionally `id`. All may be local or addresses
            such as s3://bucket/folder.

    Yields:
        images. The id in a folder is the path below it without suffix, for a pattern the path below the part without
        wildcards, for a file its name, in a list the column `id`, else the address.

    Raises:
        DataError: a source does not exist, contains no image, or is no list.
    """
    for source in sources:
        if source.lower().endswith((".parquet", ".pq")):
            yield from _from_lists(source)
        elif _MAGIC.search(source) and not Path(source).exists():
            yield from _from_pattern(source)
        elif is_remote(source):
            yield from _from_address(source)
        else:
            yield from (Item(name, str(path.absolute())) for name, path in find_images([source]).items())


def is_remote(uri: str) -> bool:
    """Whether an address is not a path of this machine."""
    return "://" in uri and not uri.startswith("file://")


def digest(text: str) -> bytes:
    """16 bytes that identify an id."""
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest()


class IdSet:
    """A set of ids in 17 bytes each, so that 10^8 ids take 1.7 GB."""

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self._sorted = np.unique(_fixed(map(digest, ids)))

    @classmethod
    def of_digests(cls, digests: Iterable[bytes]) -> IdSet:
        """From the digests of ids."""
        new = cls()
        new._sorted = np.unique(_fixed(digests))
        return new

    def __len__(self) -> int:
        return len(self._sorted)

    def having(self, ids: Sequence[str]) -> np.ndarray:
        """Whether each id is in the set: bool (n,)."""
        if not len(self._sorted) or not ids:
            return np.zeros(len(ids), bool)
        digests = _fixed(map(digest, ids))
        place = np.minimum(np.searchsorted(self._sorted, digests), len(self._sorted) - 1)
        return self._sorted[place] == digests

    def within(self, other: IdSet) -> bool:
        """Whether all ids are in another set."""
        return bool(np.isin(self._sorted, other._sorted).all())


def _fixed(digests: Iterable[bytes]) -> np.ndarray:
    # NumPy ignores trailing zeros of bytes when it compares, which a last byte of 1 prevents
    return np.frombuffer(b"".join(one + b"\1" for one in digests), "S17")


@dataclass
class Spool:
    """The images that are still to be done, in a temporary file that goes when the block ends.

    Args:
        file: one line for each image.
        total: number of images that were listed.
        missing: number of images in the file.
    """

    file: IO[str]
    total: int = 0
    missing: int = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def blocks(self, size: int) -> Iterator[list[Item]]:
        """The images in their order, in lists of `size`."""
        self.file.seek(0)
        block: list[Item] = []
        for line in self.file:
            block.append(Item(*json.loads(line)))
            if len(block) == size:
                yield block
                block = []
        if block:
            yield block


def spool(items: Iterable[Item], done: IdSet, part: tuple[int, int] = (1, 1)) -> Spool:
    """Write the images that are not done to a temporary file, and check that every id occurs once.

    Args:
        items: images.
        done: ids of the images that are done.
        part: (I, N): only the I-th of N parts, by a hash of the id.

    Raises:
        DataError: an id occurs twice, or there is no image.
    """
    result = Spool(tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogateescape"))  # noqa: SIM115
    try:
        _fill(result, items, done, part)
    except BaseException:
        result.file.close()
        raise
    return result


def _fill(result: Spool, items: Iterable[Item], done: IdSet, part: tuple[int, int]) -> None:
    digests: list[bytes] = []
    for chunk in _chunks(_of_part(items, part)):
        digests += [digest(item.id) for item in chunk]
        result.total += len(chunk)
        for item, known in zip(chunk, done.having([item.id for item in chunk]), strict=True):
            if not known:
                result.missing += 1
                result.file.write(json.dumps([item.id, item.uri]) + "\n")
    if not result.total:
        raise DataError("There are no images to process.")
    if len(IdSet.of_digests(digests)) < result.total:
        raise DataError(
            f"Several images have the same id{_example(result, digests)}. Give every image its own id: a Parquet list "
            "with the columns id and uri, or one folder in which paths tell the images apart."
        )


def _example(spooled: Spool, digests: Sequence[bytes]) -> str:
    """A doubled id with its addresses, if it is among the images that are not done."""
    doubled = {one for one, number in Counter(digests).items() if number > 1}
    same: dict[str, list[str]] = {}
    for block in spooled.blocks(_ROWS):
        for item in block:
            if digest(item.id) in doubled:
                same.setdefault(item.id, []).append(item.uri)
            if len(same.get(item.id, ())) > 1:
                return f" {item.id!r}: {' and '.join(same[item.id])}"
    return ""


def _of_part(items: Iterable[Item], part: tuple[int, int]) -> Iterator[Item]:
    index, count = part
    for item in items:
        if count == 1 or int.from_bytes(digest(item.id)[:8], "big") % count == index - 1:
            yield item


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    chunk: list[Item] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == _ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _from_pattern(pattern: str) -> Iterator[Item]:
    system, path = open_address(pattern)
    files = sorted((file for file in system.glob(path) if _is_image(file)), key=natural_key)
    if not files:
        raise DataError(f"No image matches the pattern {pattern}.")
    root = path[: _MAGIC.search(path).start()].rpartition("/")[0]  # type: ignore[union-attr]
    yield from _below(system, root, files)


def _from_address(uri: str) -> Iterator[Item]:
    system, path = open_address(uri)
    if _is_image(path):
        yield Item(PurePosixPath(path).stem, uri)
        return
    files = sorted((file for file in system.find(path) if _is_image(file)), key=natural_key)
    if not files:
        raise DataError(f"{uri} contains no image, or does not exist.")
    yield from _below(system, path.rstrip("/"), files)


def _below(system: Any, root: str, files: Sequence[str]) -> Iterator[Item]:
    for file in files:
        inside = file[len(root) :].lstrip("/") if file.startswith(root) else file
        name = str(PurePosixPath(inside).with_suffix(""))
        uri = file if _is_local(system) else system.unstrip_protocol(file)
        yield Item(name, uri)


def _from_lists(source: str) -> Iterator[Item]:
    parquet = library("pyarrow.parquet", why="Reading Parquet lists")
    system, path = open_address(source)
    files = sorted(system.glob(path)) if _MAGIC.search(path) else [path]
    if not files or not all(system.exists(file) for file in files):
        raise DataError(f"There is no Parquet list {source}.")
    for file in files:
        with system.open(file, "rb") as stream:
            yield from _rows_of(parquet, stream, source)


def _rows_of(parquet: Any, stream: Any, source: str) -> Iterator[Item]:
    try:
        table = parquet.ParquetFile(stream)
    except (OSError, ValueError) as error:
        raise DataError(f"{source} is no Parquet file: {error}.") from error
    names = table.schema_arrow.names
    address = next((name for name in ADDRESS if name in names), None)
    if address is None:
        raise DataError(f"{source} needs a column uri (or {', '.join(ADDRESS[1:])}), it has {', '.join(names)}.")
    columns = [address, "id"] if "id" in names else [address]
    for batch in table.iter_batches(batch_size=_ROWS, columns=columns):
        rows = batch.to_pydict()
        for uri, name in zip(rows[address], rows.get("id", rows[address]), strict=True):
            if not isinstance(uri, str) or not uri or name is None or name == "":
                raise DataError(f"{source} has a row without id or address: {name!r}, {uri!r}.")
            yield Item(str(name), uri)


def _is_image(path: str) -> bool:
    name = PurePosixPath(path.partition("?")[0])
    return name.suffix.lower() in SUFFIXES and not name.name.startswith(".")


def _is_local(system: Any) -> bool:
    protocols = system.protocol if isinstance(system.protocol, tuple) else (system.protocol,)
    return "file" in protocols


__all__ = ["IdSet", "Item", "Spool", "digest", "is_remote", "list_items", "spool"]
