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
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from samtailor.data.image import HEIC
from samtailor.data.listing import natural_key
from samtailor.data.writing import replacing
from samtailor.errors import DataError
from samtailor.serve import images as reading
from samtailor.serve.limits import Limits
from samtailor.serve.refusals import Refused, TooLarge, Unknown, Unreadable
from samtailor.workbench.image_files import ImageFile, by_name, file_names, inspect, regular_file

THUMBNAIL = 160
"""Longest side of a thumbnail, pixels."""
_log = logging.getLogger("samtailor.workbench")


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
            names = [name for name in file_names(self.folder) if name not in self._hidden]
            known: dict[str, list[ImageFile]] = {}
            for image in self._images.values():
                known.setdefault(image.file, []).append(image)
            files = (inspect(self.folder, name, self.limits, known) for name in sorted(names, key=natural_key))
            images = {image.id: image for pages in files for image in pages}
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
        """An image and the bytes of its file; PNG for other pages than the first and for HEIC and AVIF files.

        Raises:
            Unknown: no such image. Unreadable, TooLarge: it cannot be read, and is listed as failed from now on.
        """
        image = self.get(id)
        if _converted(image):
            return image, _encoded(self.pixels(id), "PNG", compress_level=1)
        with self._failing(image):
            return image, self._bytes(image.file)

    def fail(self, id: str, reason: str) -> None:
        """List an image as failed, with the reason, until its file changes."""
        with self._lock:
            if id in self._images:
                self._images = {**self._images, id: replace(self._images[id], error=reason)}
                self._write_index()

    def pixels(self, id: str) -> np.ndarray:
        """uint8 RGB (height, width, 3), EXIF rotation applied. Raises the errors of `data`."""
        image = self.get(id)
        with self._failing(image):
            return read_page(self._bytes(image.file), self.limits, image.file, image.frame)

    def source(self, id: str) -> Path:
        """A file with nothing but the image, for exports: its own file, or a PNG file of the page of a stack.

        Raises:
            Unknown: no such image. Unreadable, TooLarge: it cannot be read.
        """
        image = self.get(id)
        if image.pages == 1:
            return self.path(image.file)
        file = self.cache / "pages" / f"{id}-{_digest(image.stamp)}.png"
        if not file.exists():
            with replacing(file) as temporary:
                temporary.write_bytes(_encoded(self.pixels(id), "PNG"))
        return file

    def upright(self, id: str) -> tuple[bytes, str]:
        """The image for a browser: (bytes, media type). The file is sent unchanged if browsers can show it."""
        if media_type := self.get(id).media_type:
            return self.data(id)[1], media_type
        return _encoded(self.pixels(id), "JPEG", quality=95, subsampling=0), "image/jpeg"

    def thumbnail(self, id: str) -> bytes:
        """A JPEG of at most `THUMBNAIL` pixels per side, cached on disk."""
        image = self.get(id)
        file = self._thumbnails / f"{id}-{_digest(image.stamp)}.jpg"
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
        if self.get(id).media_type == "image/jpeg":  # the JPEG decoder can scale down: ten times as fast
            image, data = self.data(id)
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
        return _encoded(np.asarray(small), "JPEG", quality=80)

    @contextmanager
    def _failing(self, image: ImageFile) -> Iterator[None]:
        """List the image as failed if it cannot be read."""
        try:
            yield
        except Refused as error:
            self.fail(image.id, str(error))
            raise

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
        """Path of an image's file, see `regular_file`."""
        return regular_file(self.folder, name)

    def _read_index(self) -> dict[str, ImageFile]:
        """Images of the index file; empty if it cannot be read, or was written by another version."""
        try:
            rows = json.loads(self._index.read_text(encoding="utf-8"))
            return {row["id"]: ImageFile(**row) for row in rows if _is_current(row)}
        except (OSError, ValueError, TypeError, KeyError):
            return {}

    def _write_index(self) -> None:
        try:
            with replacing(self._index) as temporary:
                temporary.write_text(json.dumps([asdict(image) for image in self._images.values()]), encoding="utf-8")
        except OSError as error:  # the index only saves time
            _log.warning("The index of the images cannot be saved in %s (%s).", self._index.parent, error.strerror)


def read_page(data: bytes, limits: Limits, name: str, frame: int = 0) -> np.ndarray:
    """Decode an image of the folder: uint8 RGB (height, width, 3), EXIF rotation applied.

    Args:
        data: content of its file.
        limits: largest file and image.
        name: of the file.
        frame: see `ImageFile`.

    Raises:
        Unreadable, TooLarge: it cannot be read.
    """
    return reading.read(data, limits, name, frame=frame, formats=reading.FILE_FORMATS)


def image_of_row(folder: Path, row: Mapping[str, Any], limits: Limits) -> np.ndarray:
    """Decode an image in a job, see `snapshot.image_row`. Raises Unreadable, TooLarge.

    Args:
        folder: of the images.
        row: name, file and frame of the image. Jobs of earlier versions have the file alone.
        limits: largest file and image.
    """
    try:
        data = (folder / row["file"]).read_bytes()
    except OSError as error:
        name = row.get("name", row["file"])
        raise Unreadable(f"{name}: cannot be opened ({error.strerror}).") from error
    return read_page(data, limits, row["file"], row.get("frame", 0))


def _is_current(row: Mapping[str, Any]) -> bool:
    """Whether a row of the index is used: pillow-heif may have been installed since."""
    return bool(row["pages"]) and not (row["error"] and Path(row["name"]).suffix.lower() in HEIC)


def _converted(image: ImageFile) -> bool:
    """Whether requests get another file than the image's own."""
    return image.page > 1 or Path(image.file).suffix.lower() in (*HEIC, ".avif")


def _encoded(pixels: np.ndarray, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format, **options)
    return stream.getvalue()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


__all__ = ["THUMBNAIL", "ImageFile", "ImageFolder", "by_name", "image_of_row", "read_page"]
