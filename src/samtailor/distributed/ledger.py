"""What is done: blocks of images, committed one by one.

A block is committed by a small JSON file in `commits/`, which is written after its tables and names them with their
checksums. The names of the tables contain their checksum, so that a table never replaces another one. Tables that no
commit names were left by a driver that was killed, and are deleted.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from samtailor.distributed import tables
from samtailor.distributed.items import IdSet, Item, digest
from samtailor.distributed.results import FAILED, Result
from samtailor.distributed.store import Store
from samtailor.errors import DataError, InputError

COMMITS, SETTINGS = "commits", "settings.json"
Encode = Callable[[Sequence[Mapping[str, Any]], Mapping[str, str]], bytes]
Decode = Callable[[bytes, str], list[dict[str, Any]]]


@dataclass(frozen=True)
class Layout:
    """The tables of a task.

    Args:
        table: folder of the task's table, for example "objects".
        columns: of the task's table, name to type.
        encode: rows to the content of a file.
        decode: content and name of a file to rows.
        suffix: of the files.
    """

    table: str
    columns: Mapping[str, str]
    encode: Encode = tables.encode
    decode: Decode = tables.decode
    suffix: str = ".parquet"


class Ledger:
    """The state of a run in its output folder.

    Args:
        store: output folder.
        layout: tables of the task.
        settings: everything that the results depend on.
        overwrite: delete an earlier result.

    Raises:
        InputError: the folder contains something else, or a run with other settings.
    """

    def __init__(self, store: Store, layout: Layout, settings: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.store, self.layout = store, layout
        plain = json.loads(json.dumps(settings))
        if store.exists(SETTINGS):
            earlier = {key: value for key, value in store.read_json(SETTINGS).items() if key != "crc32"}
            if overwrite:
                self._delete_all()
            else:
                _compare(store.folder, earlier, plain)
        elif not store.empty():
            raise InputError(f"{store.folder} exists already and contains no earlier result. Choose another folder.")
        store.write_json(SETTINGS, plain)
        self.commits: dict[str, dict[str, Any]] = {}
        """Key of a block to its commit, without the names of its images."""
        self._load()

    def _load(self) -> None:
        replaced: set[str] = set()
        for name in self.store.files(COMMITS):
            try:
                commit = self.store.read_json(name)
                self.commits[commit["key"]] = _short(commit)
                replaced |= {commit["replaces"]} - {None}
            except (DataError, KeyError):  # damaged: its images are done again
                self.store.delete(name)
        for key in replaced & self.commits.keys():  # a driver was killed between the two
            self._withdraw(key)
        self._sweep()

    def done(self) -> IdSet:
        """Ids of the images that are done, those that were given up included."""
        return IdSet(name for key in self.commits for name, _ in self._images(key))

    def drop_failed(self) -> int:
        """Remove the images that were given up from their blocks, so that they are tried again; returns the number."""
        dropped = 0
        for key in [key for key, commit in self.commits.items() if commit["counts"].get(FAILED)]:
            images = self._images(key)
            kept = {name for name, status in images if status != FAILED}
            dropped += len(images) - len(kept)
            if kept:
                self.commit(self._results(key, kept), replaces=key)
            self._withdraw(key)
        self._sweep()
        return dropped

    def commit(self, results: Sequence[Result], *, replaces: str | None = None) -> None:
        """Write the tables of a block, and then its commit.

        Args:
            results: of all images of the block.
            replaces: key of the block that holds these images so far.
        """
        results = sorted(results, key=lambda one: one.id)
        key = hashlib.blake2b(b"".join(digest(one.id) for one in results), digest_size=10).hexdigest()
        rows = [row for one in results for row in one.rows]
        files = [self._table(tables.IMAGES, key, [one.row for one in results], tables.IMAGE_COLUMNS)]
        files += [self._table(self.layout.table, key, rows, self.layout.columns)]
        commit = {
            "key": key,
            "images": [[one.id, one.row["status"]] for one in results],
            "counts": dict(Counter(one.row["status"] for one in results)),
            "rows": len(rows),
            "files": files,
            "replaces": replaces,
        }
        self.store.write_json(f"{COMMITS}/{key}.json", commit)
        self.commits[key] = _short(commit)

    def _table(
        self, folder: str, key: str, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]
    ) -> dict[str, Any]:
        content = self.layout.encode(rows, columns)
        sha = hashlib.sha256(content).hexdigest()
        name = f"{folder}/part-{key}-{sha[:8]}{self.layout.suffix}"
        self.store.write(name, content)
        return {"name": name, "rows": len(rows), "bytes": len(content), "sha256": sha}

    def _images(self, key: str) -> list[tuple[str, str]]:
        """Id and status of the images of a block."""
        return [(name, status) for name, status in self.store.read_json(f"{COMMITS}/{key}.json")["images"]]

    def _results(self, key: str, ids: Collection[str]) -> list[Result]:
        """Results of some images of a block, read from its tables."""
        names = [file["name"] for file in self.commits[key]["files"]]
        images, rows = (self.layout.decode(self.store.read(name), name) for name in names)
        by_image: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            by_image.setdefault(row["image"], []).append(row)
        return [
            Result(row["image"], row, tuple(by_image.get(row["image"], ()))) for row in images if row["image"] in ids
        ]

    def _withdraw(self, key: str) -> None:
        self.store.delete(f"{COMMITS}/{key}.json")
        del self.commits[key]

    def _sweep(self) -> None:
        """Delete tables that no commit names."""
        known = {file["name"] for commit in self.commits.values() for file in commit["files"]}
        for folder in (tables.IMAGES, self.layout.table):
            for name in self.store.files(folder):
                if name not in known:
                    self.store.delete(name)

    def _delete_all(self) -> None:
        for folder in (COMMITS, tables.IMAGES, self.layout.table):
            for name in self.store.files(folder):
                self.store.delete(name)
        self.store.delete("manifest.json")


@dataclass
class Assembler:
    """Collect results until blocks are complete.

    Args:
        ledger: commits complete blocks.
    """

    ledger: Ledger
    _open: dict[int, dict[str, Result | None]] = field(default_factory=dict)
    _block_of: dict[str, int] = field(default_factory=dict)
    _items: dict[str, Item] = field(default_factory=dict)
    _next: int = 0

    def expect(self, block: Sequence[Item]) -> None:
        """Begin a block."""
        self._open[self._next] = {item.id: None for item in block}
        self._block_of |= {item.id: self._next for item in block}
        self._items |= {item.id: item for item in block}
        self._next += 1

    def add(self, result: Result) -> bool:
        """Take a result; False if the image has one already or belongs to no block, and the result is ignored."""
        number = self._block_of.get(result.id)
        if number is None or self._open[number][result.id] is not None:
            return False
        block = self._open[number]
        block[result.id] = result
        if all(one is not None for one in block.values()):
            self.ledger.commit([one for one in block.values() if one is not None])
            del self._open[number]
            for name in block:
                del self._block_of[name], self._items[name]
        return True

    def missing(self) -> list[Item]:
        """Images of the open blocks without a result."""
        return [self._items[name] for block in self._open.values() for name, one in block.items() if one is None]


def _short(commit: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in commit.items() if key != "images"}


def count(commits: Mapping[str, Mapping[str, Any]]) -> Counter[str]:
    """Number of images by status."""
    total: Counter[str] = Counter()
    for commit in commits.values():
        total.update(commit["counts"])
    return total


def _compare(folder: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    if changed:
        raise InputError(
            f"{folder} contains a run with other settings: {changed[0]} was {old.get(changed[0])!r}, now it is "
            f"{new.get(changed[0])!r}. Use the same settings to continue, another --out, or --overwrite to start again."
        )


__all__ = ["COMMITS", "SETTINGS", "Assembler", "Layout", "Ledger", "count"]
