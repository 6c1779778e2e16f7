"""Image files of a folder: their names, sizes and pages, without decoding pixels."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from samtailor.data.image import SUFFIXES
from samtailor.data.opened_image import Header, page_headers
from samtailor.errors import DataError
from samtailor.serve import images as reading
from samtailor.serve.limits import Limits
from samtailor.serve.refusals import Refused, TooLarge, Unreadable

_SENT_UNCHANGED = {"JPEG": "image/jpeg", "PNG": "image/png"}
_MAX_PAGES = 2000


@dataclass(frozen=True)
class ImageFile:
    """An image: a file, or a page of a file with several pages.

    Args:
        id: 20 hexadecimal digits.
        name: path relative to the folder, with "/"; from the second page on with "#" and the number of the page.
        stamp: size and time of the file as text; a new stamp means a changed image.
        height, width: pixels after the EXIF rotation; 0 if the image cannot be read.
        media_type: media type if browsers can show the file unchanged, else "".
        page, pages: number of the page, from 1, and how many the file has.
        frame: position of the page in the file, from 0; thumbnails and masks in the file are no pages.
        error: why the image cannot be read; None if it can.
    """

    id: str
    name: str
    stamp: str
    height: int = 0
    width: int = 0
    media_type: str = ""
    page: int = 1
    pages: int = 1
    frame: int = 0
    error: str | None = None

    @property
    def file(self) -> str:
        """Path of the file relative to the folder."""
        return self.name if self.page == 1 else self.name.removesuffix(f"#{self.page}")


def image_id(name: str) -> str:
    """Id of an image by its name."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:20]


def file_names(folder: Path) -> list[str]:
    """Paths of the files with an image's suffix, relative to a folder; hidden files and folders are skipped."""
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


def regular_file(folder: Path, name: str) -> Path:
    """Path of an image's file.

    Raises:
        Unreadable: a link that leaves the folder, or not a regular file.
    """
    path = (folder / name).resolve()
    if not path.is_relative_to(folder):
        raise Unreadable(f"{name}: a link to a file outside the folder; it is not followed.")
    if not path.is_file():
        raise Unreadable(f"{name}: not a file.")
    return path


def inspect(folder: Path, name: str, limits: Limits, known: Mapping[str, list[ImageFile]]) -> list[ImageFile]:
    """The images in a file, one for each page; a single one with an error if it cannot be read.

    Args:
        folder: of the images, without links.
        name: of the file, relative to the folder.
        limits: largest file and image.
        known: images by file from an earlier call, which are returned if the file has not changed.
    """
    id = image_id(name)
    if (shown := name.encode("utf-8", "replace").decode()) != name:
        return [ImageFile(id, shown, "", error=f"{shown}: the file name is not valid UTF-8. Rename the file.")]
    try:
        stat = (folder / name).stat()
        stamp = f"{stat.st_size}-{stat.st_mtime_ns}"
    except OSError as error:
        return [ImageFile(id, name, "", error=f"{name}: cannot be opened ({error.strerror}).")]
    if (before := known.get(name)) and before[0].stamp == stamp:
        return before
    try:
        return _pages(regular_file(folder, name), ImageFile(id, name, stamp), limits)
    except (Refused, DataError) as error:
        return [ImageFile(id, name, stamp, error=str(error))]


def by_name(images: Mapping[str, ImageFile]) -> dict[str, ImageFile]:
    """Images by unique names without suffix; "a.png" and "a.jpg" become "a_png" and "a_jpg", pages "a_p2"."""
    parts = {id: os.path.splitext(image.file) for id, image in images.items()}
    count = Counter(stem for (stem, _), image in zip(parts.values(), images.values(), strict=True) if image.page == 1)
    names = {}
    for id, (stem, suffix) in parts.items():
        page = f"_p{images[id].page}" if images[id].pages > 1 else ""
        names[(stem if count[stem] == 1 else f"{stem}_{suffix[1:]}") + page] = images[id]
    return names


def _pages(path: Path, image: ImageFile, limits: Limits) -> list[ImageFile]:
    size = path.stat().st_size
    if size > limits.bytes:
        raise TooLarge(f"{image.name}: {size:,} bytes, larger than the limit of {limits.bytes:,} bytes.")
    media_type = _media_type(path, image.name, limits.pixels)
    headers = page_headers(path)
    if len(headers) > _MAX_PAGES:
        raise TooLarge(f"{image.name}: {len(headers):,} pages, more than the limit of {_MAX_PAGES:,}.")
    image = replace(image, pages=len(headers), media_type=media_type)
    return [_page(image, number, frame, one, limits.pixels) for number, (frame, one) in enumerate(headers, 1)]


def _page(image: ImageFile, number: int, frame: int, one: Header, pixels: int) -> ImageFile:
    """The image of a page.

    Args:
        image: that of the file.
        number: of the page, from 1.
        frame: its position in the file.
        one: its header.
        pixels: limit.
    """
    name = image.name if number == 1 else f"{image.name}#{number}"
    page = replace(image, id=image_id(name), name=name, page=number, frame=frame)
    height, width = one.size
    if height * width > pixels:
        return replace(page, error=f"{name}: {width}x{height} px, more than the limit of {pixels:,} pixels.")
    media_type = image.media_type if one.orientation == 1 else ""
    return replace(page, height=height, width=width, media_type=media_type)


def _media_type(path: Path, name: str, pixels: int) -> str:
    """Media type if browsers can show the file unchanged, except for its rotation, else "".

    Reads only the header of the file.

    Raises:
        Unreadable: not an image. TooLarge: more pixels than `pixels`.
    """
    try:
        with reading.opened(path, name) as image:
            width, height = image.size
            plain = image.mode in ("RGB", "L") and "transparency" not in image.info
            media_type = _SENT_UNCHANGED.get(image.format or "", "") if plain else ""
    except (Refused, DataError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge(f"{name}: far more pixels than the limit of {pixels:,} pixels.") from error
    except Exception as error:  # a hostile file may make a decoder raise anything
        raise Unreadable(f"{name}: not a readable image; the file may be damaged or incomplete.") from error
    if width * height > pixels:
        raise TooLarge(f"{name}: {width}x{height} px, more than the limit of {pixels:,} pixels.")
    return media_type


__all__ = ["ImageFile", "by_name", "file_names", "image_id", "inspect", "regular_file"]
