"""The images of a folder: found, measured, served to the page. Nothing outside the folder is ever opened.

An image's id is a hash of its path relative to the folder, so that it outlives a move of the folder, and a request
can name no file. What a header says is kept in an index on disk, by size and time of the file: thousands of images
are listed without opening one. An image that cannot be read is listed with the reason.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from samtailor.data.image import SUFFIXES, header
from samtailor.data.listing import natural_key
from samtailor.data.writing import replacing
from samtailor.errors import DataError
from samtailor.serve import images as reading
from samtailor.serve.limits import Limits
from samtailor.serve.refusals import Refused, TooLarge, Unknown, Unreadable

THUMBNAIL = 160
"""Longest side of a thumbnail, pixels."""
_AS_IT_IS = {"JPEG": "image/jpeg", "PNG": "image/png"}


@dataclass(frozen=True)
class ImageFile:
    """An image file.

    Args:
        id: 20 hexadecimal digits.
        name: path relative to the folder, with "/".
        stamp: size and time of the file, as text; another stamp is another image.
        height, width: pixels after the EXIF rotation; 0 where it cannot be read.
        kind: media type when a browser may be given the file as it is, else "".
        error: why it cannot be read.
    """

    id: str
    name: str
    stamp: str
    height: int = 0
    width: int = 0
    kind: str = ""
    error: str | None = None


class ImageFolder:
    """See the head of the file.

    Args:
        folder: of the images, at any depth; hidden folders and files are left out.
        cache: folder of the index and the thumbnails.
        limits: largest file and image.

    Raises:
        DataError: there is no such folder.
    """

    def __init__(self, folder: Path, cache: Path, limits: Limits) -> None:
        if not folder.is_dir():
            raise DataError(f"There is no folder {folder} with images.")
        self.folder, self.limits = folder.resolve(), limits
        self._index, self._small = cache / "images.json", cache / "thumbnails"
        self._lock = threading.Lock()
        self._known = self._read_index()
        self.refresh()

    def refresh(self) -> dict[str, ImageFile]:
        """Look at the folder again; images by id, in natural order of their names."""
        with self._lock:
            found: dict[str, ImageFile] = {}
            for name in sorted(_names(self.folder), key=natural_key):
                one = self._looked_at(name)
                found[one.id] = one
            if found != self._known:
                self._known = found
                self._write_index()
            return dict(found)

    def __len__(self) -> int:
        return len(self._known)

    def all(self) -> dict[str, ImageFile]:
        """As of the last `refresh`."""
        return self._known

    def get(self, id: str) -> ImageFile:
        """An image by its id.

        Raises:
            Unknown: no such image.
        """
        if (one := self._known.get(id)) is None:
            raise Unknown("There is no such image in this project.")
        return one

    def data(self, id: str) -> tuple[ImageFile, bytes]:
        """An image and the bytes of its file.

        Raises:
            Unknown: no such image. Unreadable, TooLarge: it cannot be read, and is listed so from now on.
        """
        one = self.get(id)
        try:
            return one, self._bytes(one.name)
        except Refused as error:
            self.fail(id, str(error))
            raise

    def fail(self, id: str, reason: str) -> None:
        """List an image as one that cannot be read, until its file changes."""
        with self._lock:
            if id in self._known:
                self._known = {**self._known, id: replace(self._known[id], error=reason)}
                self._write_index()

    def pixels(self, id: str) -> np.ndarray:
        """uint8 RGB (height, width, 3), EXIF rotation applied. Errors as of `data`."""
        one, data = self.data(id)
        try:
            return reading.read(data, self.limits, one.name)
        except Refused as error:
            self.fail(id, str(error))
            raise

    def upright(self, id: str) -> tuple[bytes, str]:
        """The image for a browser: (bytes, media type). The file as it is where a browser shows the same pixels."""
        one, data = self.data(id)
        if one.kind:
            return data, one.kind
        stream = io.BytesIO()
        Image.fromarray(self.pixels(id)).save(stream, "JPEG", quality=95, subsampling=0)
        return stream.getvalue(), "image/jpeg"

    def thumbnail(self, id: str) -> bytes:
        """A small JPEG, made once."""
        one = self.get(id)
        file = self._small / f"{id}-{hashlib.sha256(one.stamp.encode()).hexdigest()[:8]}.jpg"
        try:
            return file.read_bytes()
        except FileNotFoundError:
            made = self._made_small(id)
            with replacing(file) as temporary:
                temporary.write_bytes(made)
            return made

    def _made_small(self, id: str) -> bytes:
        one, data = self.data(id)
        if one.kind == "image/jpeg":  # decoded at an eighth of its size: ten times as fast
            try:
                with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
                    image.draft("RGB", (2 * THUMBNAIL, 2 * THUMBNAIL))
                    small = image.convert("RGB")
            except Exception as error:  # a hostile file may make a decoder raise anything
                self.fail(id, f"{one.name}: broken or cut off.")
                raise Unreadable(f"{one.name}: broken or cut off.") from error
        else:
            small = Image.fromarray(self.pixels(id))
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        stream = io.BytesIO()
        small.save(stream, "JPEG", quality=80)
        return stream.getvalue()

    def _bytes(self, name: str) -> bytes:
        path = self.path(name)
        try:
            with path.open("rb") as file:
                data = file.read(self.limits.bytes + 1)
        except OSError as error:
            raise Unreadable(f"{name}: cannot be opened ({error.strerror}).") from error
        if len(data) > self.limits.bytes:
            raise TooLarge(f"{name}: more than {self.limits.bytes:,} bytes.")
        return data

    def path(self, name: str) -> Path:
        """The file of an image's name.

        Raises:
            Unreadable: a link to somewhere else, or no ordinary file.
        """
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder):
            raise Unreadable(f"{name}: a link to a file outside of the folder is not followed.")
        if not path.is_file():
            raise Unreadable(f"{name}: not a file.")
        return path

    def _looked_at(self, name: str) -> ImageFile:
        id = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:20]
        if (shown := name.encode("utf-8", "replace").decode()) != name:
            return ImageFile(id, shown, "", error=f"{shown}: the name of the file is not UTF-8. Rename it.")
        try:
            stat = (self.folder / name).stat()
            stamp = f"{stat.st_size}-{stat.st_mtime_ns}"
        except OSError as error:
            return ImageFile(id, name, "", error=f"{name}: cannot be opened ({error.strerror}).")
        if (known := self._known.get(id)) is not None and known.stamp == stamp and known.name == name:
            return known
        try:
            return self._measured(ImageFile(id, name, stamp))
        except (Refused, DataError) as error:
            return ImageFile(id, name, stamp, error=str(error))

    def _measured(self, one: ImageFile) -> ImageFile:
        path, limits = self.path(one.name), self.limits
        if path.stat().st_size > limits.bytes:
            raise TooLarge(f"{one.name}: {path.stat().st_size:,} bytes; at most {limits.bytes:,} are taken.")
        (height, width), kind = _size(path, one.name, limits.pixels)
        return replace(one, height=height, width=width, kind=kind)

    def _read_index(self) -> dict[str, ImageFile]:
        """What was known of the files; an index that cannot be read is made anew from them."""
        try:
            rows = json.loads(self._index.read_text(encoding="utf-8"))
            return {row["id"]: ImageFile(**row) for row in rows}
        except (OSError, ValueError, TypeError, KeyError):
            return {}

    def _write_index(self) -> None:
        with replacing(self._index) as temporary:
            temporary.write_text(json.dumps([asdict(one) for one in self._known.values()]), encoding="utf-8")


def _names(folder: Path) -> list[str]:
    """Relative paths of the files that by their ending are images."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = Path(os.path.relpath(parent, folder))
        found += [
            (inside / name).as_posix()
            for name in files
            if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")
        ]
    return found


def _size(path: Path, name: str, pixels: int) -> tuple[tuple[int, int], str]:
    """(height, width) after the EXIF rotation, and the media type if a browser may be shown the file as it is.

    Raises:
        Unreadable, TooLarge: told from the header alone.
    """
    try:
        with Image.open(path, formats=reading.FORMATS) as image:
            width, height = image.size
            plain = image.mode in ("RGB", "L") and "transparency" not in image.info
            kind = _AS_IT_IS.get(image.format or "", "") if plain else ""
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge(f"{name}: far more pixels than the {pixels:,} that are taken.") from error
    except Exception as error:  # a hostile file may make a decoder raise anything
        raise Unreadable(f"{name}: not an image that can be read, broken or cut off.") from error
    if width * height > pixels:
        raise TooLarge(f"{name}: {width}x{height} px are more than the {pixels:,} pixels that are taken.")
    known = header(path)
    return known.size, kind if known.orientation == 1 else ""


def by_name(images: Mapping[str, ImageFile]) -> dict[str, ImageFile]:
    """Images by the names that a result can have: without ending, unless two differ in nothing else."""
    parts = {id: os.path.splitext(one.name) for id, one in images.items()}
    count = Counter(stem for stem, _ in parts.values())
    return {stem if count[stem] == 1 else f"{stem}_{ending[1:]}": images[id] for id, (stem, ending) in parts.items()}


__all__ = ["THUMBNAIL", "ImageFile", "ImageFolder", "by_name"]
