"""The list of the files of a result with their checksums, and the check of the files against it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from samtailor import __version__
from samtailor.distributed import tables
from samtailor.distributed.cost import Price
from samtailor.distributed.items import IdSet, digest
from samtailor.distributed.ledger import SETTINGS, Decode, Ledger, count
from samtailor.distributed.results import DONE, FAILED, UNREADABLE
from samtailor.distributed.store import Store
from samtailor.errors import DataError, counted

MANIFEST = "manifest.json"
NAMED = 1000
"""Images without a result that are listed by name; all are in the table of images."""


@dataclass(frozen=True)
class Effort:
    """What one command took.

    Args:
        images: that it processed.
        seconds: until its end.
        price: of the workers; None: not given.
    """

    images: int
    seconds: float
    price: Price | None = None

    def to_json(self) -> dict[str, Any]:
        """As in the manifest."""
        content: dict[str, Any] = {"images": self.images, "seconds": round(self.seconds, 1)}
        if self.price is not None:
            content |= {"workers": self.price.workers, "price_per_hour": self.price.per_hour}
            content["cost"] = round(self.price.of(self.seconds), 6)
        return content


def write_manifest(ledger: Ledger, classes: list[str], effort: Effort | None = None) -> dict[str, Any]:
    """Write the manifest of all committed blocks.

    Args:
        ledger: of the run.
        classes: in their order.
        effort: of the command, which is added to those of earlier commands if it processed images. Commands that were
            killed have none.
    """
    commands: list[dict[str, Any]] = []
    if ledger.store.exists(MANIFEST):
        with suppress(DataError):  # a damaged manifest is replaced
            commands = ledger.store.read_json(MANIFEST).get("commands", [])
    if effort is not None and effort.images:
        commands.append(effort.to_json())
    total = count(ledger.commits)
    bad = list(_bad(ledger))
    content = {
        "samtailor": __version__,
        "settings": {key: value for key, value in ledger.store.read_json(SETTINGS).items() if key != "crc32"},
        "table": ledger.layout.table,
        "classes": classes,
        "images": sum(total.values()),
        "status": dict(sorted(total.items())),
        "rows": sum(commit["rows"] for commit in ledger.commits.values()),
        "commands": commands,
        "not_processed": bad[:NAMED],
        "files": sorted((file for c in ledger.commits.values() for file in c["files"]), key=lambda file: file["name"]),
    }
    ledger.store.write_json(MANIFEST, content)
    return content


def _bad(ledger: Ledger) -> Iterator[dict[str, Any]]:
    """Images that were not read or given up, from the blocks that have some."""
    left = NAMED
    for _, commit in sorted(ledger.commits.items()):
        if left <= 0 or not (commit["counts"].get(FAILED) or commit["counts"].get(UNREADABLE)):
            continue
        name = commit["files"][0]["name"]
        for row in ledger.layout.decode(ledger.store.read(name), name):
            if row["status"] != DONE:
                left -= 1
                yield {key: row[key] for key in ("image", "uri", "status", "error", "tries")}


@dataclass
class Verification:
    """What `verify` has checked.

    Args:
        images, rows, files: numbers that are as the manifest says.
        problems: what is not, one sentence each.
    """

    images: int = 0
    rows: int = 0
    files: int = 0
    problems: list[str] = field(default_factory=list)


def verify(
    folder: str, *, decode: Decode = tables.decode, progress: Callable[[int, int], None] | None = None
) -> Verification:
    """Check the files of a result against its manifest: every file, its checksum, and every image once.

    Args:
        folder: of the result.
        decode: content and name of a file to rows.
        progress: called with (files done, files in total).

    Raises:
        DataError: there is no manifest, or it is damaged.
    """
    store = Store(folder)
    if not store.exists(MANIFEST):
        unfinished = " The run is not finished: run its command again." if store.exists(SETTINGS) else ""
        raise DataError(f"{folder} has no {MANIFEST}.{unfinished}")
    manifest = store.read_json(MANIFEST)
    result, ids, status = Verification(), [], Counter[str]()
    owners: list[tuple[str, IdSet]] = []
    listed = {file["name"]: file for file in manifest["files"]}
    for number, file in enumerate(listed.values(), 1):
        rows = _checked(store, file, decode, result)
        if rows is not None and file["name"].startswith(f"{tables.IMAGES}/"):
            ids += [digest(row["image"]) for row in rows]
            status.update(row["status"] for row in rows)
            result.images += len(rows)
        elif rows is not None:
            owners.append((file["name"], IdSet(row["image"] for row in rows)))
            result.rows += len(rows)
        if progress:
            progress(number, len(listed))
    for name in [*store.files(tables.IMAGES), *store.files(manifest["table"])]:
        if name not in listed:
            result.problems.append(f"{name} is not in the manifest. Run the command again, which updates it.")
    _totals(result, manifest, ids, status)
    known = IdSet.of_digests(ids)
    for name, owner in owners:
        if not owner.within(known):
            result.problems.append(f"{name} has rows of images that are not in the table of images.")
    return result


def _checked(
    store: Store, file: Mapping[str, Any], decode: Decode, result: Verification
) -> list[dict[str, Any]] | None:
    """Rows of a file that is as the manifest says."""
    try:
        content = store.read(file["name"])
        if len(content) != file["bytes"] or hashlib.sha256(content).hexdigest() != file["sha256"]:
            raise DataError(f"{file['name']} has changed since it was written: its checksum differs.")
        rows = decode(content, file["name"])
        if len(rows) != file["rows"]:
            raise DataError(f"{file['name']} has {len(rows)} rows, expected {file['rows']}.")
    except DataError as error:
        result.problems.append(str(error))
        return None
    result.files += 1
    return rows


def _totals(result: Verification, manifest: Mapping[str, Any], ids: list[bytes], status: Counter[str]) -> None:
    if doubled := len(ids) - len(set(ids)):
        result.problems.append(f"{counted(doubled, 'image')} more than once in the table of images.")
    if len(ids) != manifest["images"]:
        result.problems.append(f"{len(ids)} images, expected {manifest['images']}.")
    if dict(status) != manifest["status"]:
        result.problems.append(f"Status of the images: {dict(status)}, expected {manifest['status']}.")


__all__ = ["MANIFEST", "Effort", "Verification", "verify", "write_manifest"]
