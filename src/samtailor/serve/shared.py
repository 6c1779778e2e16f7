"""The folder that the processes of one service share: images by id, and which adapters are loaded.

The processes may run on one machine (`samtailor serve --workers`) or on several with a network drive (`--share`).
Images are files of a `CacheFolder`, so that they are bounded and never half-written. The list of adapters is one JSON
file that is replaced atomically; a lock is held only while it is changed. A process notices a change by the file's time
stamp.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from uuid import uuid4

from filelock import FileLock

from samtailor.cache.folder import CacheFolder, touch
from samtailor.cache.room import limit_bytes
from samtailor.data.writing import check_seal, sealed, write_json
from samtailor.errors import DataError, InputError
from samtailor.limits import MALFORMED
from samtailor.serve.refusals import NotKept

_IMAGE_SHARE = 4
"""Images take at most this part of the limit of the cache, in addition to it."""


@dataclass(frozen=True)
class ListedAdapter:
    """An adapter that all processes load.

    Args:
        source: folder, or hub id.
        sha256: of its weights; None: whatever the source holds.
        version: differs for each addition, so that a replaced adapter is loaded again.
    """

    source: str
    sha256: str | None = None
    version: str = field(default_factory=lambda: uuid4().hex)


class SharedFolder:
    """See the module docstring.

    Args:
        root: created if it does not exist.
        max_bytes: largest size of the images; None: a quarter of the limit of the cache (`cache.room.limit_bytes`).

    Raises:
        InputError: the folder cannot be created.
    """

    def __init__(self, root: Path, max_bytes: int | None = None) -> None:
        self.root = Path(root).absolute()
        self._max_bytes = limit_bytes() // _IMAGE_SHARE if max_bytes is None else max_bytes
        self._images = CacheFolder(self.root / "images", self._max_bytes)
        self._list = self.root / "adapters.json"
        try:
            (self.root / "locks").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"The shared folder {root} cannot be created: {error.strerror or error}.") from error

    @property
    def embeddings(self) -> Path:
        """Folder for embeddings, if the service has no other."""
        return self.root / "embeddings"

    # -- images

    def keep(self, id: str, data: bytes) -> None:
        """Keep the content of an image file, so that every process knows the id.

        Raises:
            NotKept: the folder cannot be written to.
        """
        path = self._images.place(id, ".image")
        self._images.write(path, lambda temporary: temporary.write_bytes(data))
        if not path.is_file():
            self._images = CacheFolder(self.root / "images", self._max_bytes)  # the disk may have room again later
            raise NotKept(f"The image cannot be kept: the folder {self.root} is full or not writable.")

    def has(self, id: str) -> bool:
        """Whether an image is kept; counts as a use."""
        path = self._images.place(id, ".image")
        exists = path.is_file()
        if exists:
            touch(path)
        return exists

    def image(self, id: str) -> bytes | None:
        """Content of the image file; None if there is none."""
        try:
            return self._images.place(id, ".image").read_bytes()
        except OSError:
            return None

    def drop(self, id: str) -> None:
        """Remove an image, if there is one."""
        self._images.place(id, ".image").unlink(missing_ok=True)

    def encoding(self, id: str) -> FileLock:
        """A lock for encoding an image, so that several processes do not encode the same one."""
        return FileLock(self.root / "locks" / f"{id[:2]}.lock")

    # -- adapters

    @property
    def stamp(self) -> tuple[int, int, int] | None:
        """Differs after every change of the list of adapters; None before the first."""
        try:
            stat = self._list.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_ino, stat.st_size

    def adapters(self) -> dict[str, ListedAdapter]:
        """The adapters that every process loads, by name.

        Raises:
            InputError: the list is damaged.
        """
        try:
            content = json.loads(self._list.read_text(encoding="utf-8"))
            check_seal(content, self._list)
            return {name: ListedAdapter(**entry) for name, entry in content["adapters"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, DataError, *MALFORMED) as error:
            raise InputError(
                f"The list of adapters {self._list} is damaged ({error}). Stop the service, delete the file and start "
                "it again."
            ) from error

    @contextmanager
    def changing(self) -> Iterator[dict[str, ListedAdapter]]:
        """The list of adapters, which is saved at the end; one process changes it at a time."""
        with FileLock(self.root / "locks" / "adapters.lock"):
            listed = self.adapters()
            before = dict(listed)
            yield listed
            if listed != before or not self._list.exists():
                write_json(self._list, sealed({"adapters": {name: asdict(entry) for name, entry in listed.items()}}))

    def begin(self, named: Mapping[str, str]) -> None:
        """Add the adapters that a service starts with; those that other services have added stay.

        Args:
            named: folder or hub id by name.
        """
        with self.changing() as listed:
            for name, given in named.items():
                source = str(Path(given).absolute()) if Path(given).is_dir() else given
                known = listed.get(name)
                same = known is not None and known.source == source
                listed[name] = ListedAdapter(source, None, known.version) if known and same else ListedAdapter(source)


__all__ = ["ListedAdapter", "SharedFolder"]
