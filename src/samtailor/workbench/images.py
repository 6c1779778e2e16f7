"""The images of a folder: listing, sizes, thumbnails. No file outside the folder is ever opened.

The id of an image is a hash of its path relative to the folder. It stays the same when the folder is moved, and no
request can name a file. An index on disk keeps the size of each image by size and time of its file, so that thousands
of images are listed without opening them. An image that cannot be read is listed with the reason.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
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
_SENT_UNCHANGED = {"JPEG": "image/jpeg", "PNG": "image/png"}
_log = logging.getLogger("samtailor.workbench")


@dataclass(frozen=True)
class ImageFile:
    """An image file.

    Args:
        id: 20 hexadecimal digits.
        name: path relative to the folder, with "/".
        stamp: size and time of the file as text; a new stamp means a changed image.
        height, width: pixels after the EXIF rotation; 0 if the image cannot be read.
        media_type: media type if browsers can show the file unchanged, else "".
        error: why the image cannot be read; None if it can.
    """

    id: str
    name: str
    stamp: str
    height: int = 0
    width: int = 0
    media_type: str = ""
    error: str | None = None


class ImageFolder:
    """The images of a folder.

    Args:
        folder: folder of the images, searched recursively; hidden folders and files are skipped.
        cache: folder of the index and the thumbnails.
        limits: largest file and image.

    Raises:
        DataError: there is no such folder.
    """

    def __init__(self, folder: Path, cache: Path, limits: Limits) -> None:
        if not folder.is_dir():
            raise DataError(f"There is no folder {folder}.")
        self.folder, self.limits = folder.resolve(), limits
        self.cache = cache
        self._index, self._thumbnails = cache / "images.json", cache / "thumbnails"
        self._lock = threading.Lock()
        self._hidden: frozenset[str] = frozenset()
        self._images = self._read_index()
        self.refresh()

    def refresh(self) -> dict[str, ImageFile]:
        """Read the folder again. Returns the images by id, in natural order of their names."""
        with self._lock:
            names = [name for name in _names(self.folder) if name not in self._hidden]
            files = [self._inspect(name) for name in sorted(names, key=natural_key)]
            images = {image.id: image for image in files}
            if images != self._images:
                self._images = images
                self._write_index()
            return dict(images)

    def hide(self, names: Iterable[str]) -> None:
        """Do not list these files (paths relative to the folder) as images, in place of those hidden before."""
        self._hidden = frozenset(names)
        self.refresh()

    def __len__(self) -> int:
        return len(self._images)

    def all(self) -> dict[str, ImageFile]:
        """The images by id, as of the last `refresh`."""
        return self._images

    def get(self, id: str) -> ImageFile:
        """An image by its id.

        Raises:
            Unknown: no such image.
        """
        if (image := self._images.get(id)) is None:
            raise Unknown("There is no such image in this project.")
        return image

    def data(self, id: str) -> tuple[ImageFile, bytes]:
        """An image and the bytes of its file.

        Raises:
            Unknown: no such image. Unreadable, TooLarge: it cannot be read, and is listed as failed from now on.
        """
        image = self.get(id)
        try:
            return image, self._bytes(image.name)
        except Refused as error:
            self.fail(id, str(error))
            raise

    def fail(self, id: str, reason: str) -> None:
        """List an image as failed, with the reason, until its file changes."""
        with self._lock:
            if id in self._images:
                self._images = {**self._images, id: replace(self._images[id], error=reason)}
                self._write_index()

    def pixels(self, id: str) -> np.ndarray:
        """uint8 RGB (height, width, 3), EXIF rotation applied. Raises the errors of `data`."""
        image, data = self.data(id)
        try:
            return reading.read(data, self.limits, image.name)
        except Refused as error:
            self.fail(id, str(error))
            raise

    def upright(self, id: str) -> tuple[bytes, str]:
        """The image for a browser: (bytes, media type). The file is sent unchanged if browsers can show it."""
        image, data = self.data(id)
        if image.media_type:
            return data, image.media_type
        stream = io.BytesIO()
        Image.fromarray(self.pixels(id)).save(stream, "JPEG", quality=95, subsampling=0)
        return stream.getvalue(), "image/jpeg"

    def thumbnail(self, id: str) -> bytes:
        """A JPEG of at most `THUMBNAIL` pixels per side, cached on disk."""
        image = self.get(id)
        file = self._thumbnails / f"{id}-{hashlib.sha256(image.stamp.encode()).hexdigest()[:8]}.jpg"
        try:
            return file.read_bytes()
        except FileNotFoundError:
            jpeg = self._make_thumbnail(id)
            try:
                with replacing(file) as temporary:
                    temporary.write_bytes(jpeg)
            except OSError as error:  # the file only saves time
                _log.warning("A thumbnail cannot be saved in %s (%s).", self._thumbnails, error.strerror)
            return jpeg

    def _make_thumbnail(self, id: str) -> bytes:
        image, data = self.data(id)
        if image.media_type == "image/jpeg":  # the JPEG decoder can scale down: ten times as fast
            try:
                with Image.open(io.BytesIO(data), formats=["JPEG"]) as jpeg:
                    jpeg.draft("RGB", (2 * THUMBNAIL, 2 * THUMBNAIL))
                    small = jpeg.convert("RGB")
            except Exception as error:  # a hostile file may make a decoder raise anything
                self.fail(id, f"{image.name}: the file is damaged or incomplete.")
                raise Unreadable(f"{image.name}: the file is damaged or incomplete.") from error
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
            raise TooLarge(f"{name}: larger than the limit of {self.limits.bytes:,} bytes.")
        return data

    def path(self, name: str) -> Path:
        """Path of an image's file.

        Raises:
            Unreadable: a link that leaves the folder, or not a regular file.
        """
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder):
            raise Unreadable(f"{name}: a link to a file outside the folder; it is not followed.")
        if not path.is_file():
            raise Unreadable(f"{name}: not a file.")
        return path

    def _inspect(self, name: str) -> ImageFile:
        id = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:20]
        if (shown := name.encode("utf-8", "replace").decode()) != name:
            return ImageFile(id, shown, "", error=f"{shown}: the file name is not valid UTF-8. Rename the file.")
        try:
            stat = (self.folder / name).stat()
            stamp = f"{stat.st_size}-{stat.st_mtime_ns}"
        except OSError as error:
            return ImageFile(id, name, "", error=f"{name}: cannot be opened ({error.strerror}).")
        if (indexed := self._images.get(id)) is not None and indexed.stamp == stamp and indexed.name == name:
            return indexed
        try:
            return self._measure(ImageFile(id, name, stamp))
        except (Refused, DataError) as error:
            return ImageFile(id, name, stamp, error=str(error))

    def _measure(self, image: ImageFile) -> ImageFile:
        path, limits = self.path(image.name), self.limits
        size = path.stat().st_size
        if size > limits.bytes:
            raise TooLarge(f"{image.name}: {size:,} bytes, larger than the limit of {limits.bytes:,} bytes.")
        (height, width), media_type = _size(path, image.name, limits.pixels)
        return replace(image, height=height, width=width, media_type=media_type)

    def _read_index(self) -> dict[str, ImageFile]:
        """Images of the index file; empty if it cannot be read, or was written by another version."""
        try:
            rows = json.loads(self._index.read_text(encoding="utf-8"))
            return {row["id"]: ImageFile(**row) for row in rows}
        except (OSError, ValueError, TypeError, KeyError):
            return {}

    def _write_index(self) -> None:
        try:
            with replacing(self._index) as temporary:
                temporary.write_text(json.dumps([asdict(image) for image in self._images.values()]), encoding="utf-8")
        except OSError as error:  # the index only saves time
            _log.warning("The index of the images cannot be saved in %s (%s).", self._index.parent, error.strerror)


def _names(folder: Path) -> list[str]:
    """Relative paths of the files with an image's suffix."""
    paths: list[str] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = Path(os.path.relpath(parent, folder))
        paths += [
            (inside / name).as_posix()
            for name in files
            if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")
        ]
    return paths


def _size(path: Path, name: str, pixels: int) -> tuple[tuple[int, int], str]:
    """(height, width) after the EXIF rotation, and the media type if browsers can show the file unchanged, else "".

    Reads only the header of the file.

    Raises:
        Unreadable: not an image. TooLarge: more pixels than `pixels`.
    """
    try:
        with Image.open(path, formats=reading.FORMATS) as image:
            width, height = image.size
            plain = image.mode in ("RGB", "L") and "transparency" not in image.info
            media_type = _SENT_UNCHANGED.get(image.format or "", "") if plain else ""
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge(f"{name}: far more pixels than the limit of {pixels:,} pixels.") from error
    except Exception as error:  # a hostile file may make a decoder raise anything
        raise Unreadable(f"{name}: not a readable image; the file may be damaged or incomplete.") from error
    if width * height > pixels:
        raise TooLarge(f"{name}: {width}x{height} px, more than the limit of {pixels:,} pixels.")
    upright = header(path)
    return upright.size, media_type if upright.orientation == 1 else ""


def by_name(images: Mapping[str, ImageFile]) -> dict[str, ImageFile]:
    """Images by unique names without suffix; "a.png" and "a.jpg" become "a_png" and "a_jpg"."""
    parts = {id: os.path.splitext(image.name) for id, image in images.items()}
    count = Counter(stem for stem, _ in parts.values())
    return {stem if count[stem] == 1 else f"{stem}_{suffix[1:]}": images[id] for id, (stem, suffix) in parts.items()}


__all__ = ["THUMBNAIL", "ImageFile", "ImageFolder", "by_name"]
