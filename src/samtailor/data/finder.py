"""Find the image files that an annotation file names: by path, by name, by stem, in any spelling of the name.

Only files below the folder of the data set are considered, so that no name can point elsewhere.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from samtailor.data.account import count_images, leave_out_image
from samtailor.data.image import SUFFIXES
from samtailor.data.listing import natural_key, plain, walk
from samtailor.errors import DataError

_UPLOAD = re.compile(r"^[0-9a-f]{8}-(?=.)")  # Label Studio puts it in front of the names of uploaded files
_IMAGE_FOLDERS = frozenset({"images", "image", "imgs", "img", "jpegimages"})


class ImageFinder:
    """The image files of a data set.

    Args:
        root: folder of the data set.
        skip: names of folders directly in `root` that hold no images (masks).
        ending: file names (without suffix) that end so are masks, not images.

    Attributes:
        files: the image files, sorted, by their path relative to `root`.
    """

    def __init__(self, root: Path, *, skip: Iterable[str] = (), ending: str | None = None) -> None:
        self.root = root
        self.files: dict[str, Path] = {}
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        skipped = {name.lower() for name in skip}
        for file in walk(root, _skipped):
            place = os.path.relpath(file, root)
            top, separator, _ = place.partition(os.sep)
            masks = ending is not None and file.stem.endswith(ending)
            if file.suffix.lower() not in SUFFIXES or masks or (separator and top.lower() in skipped):
                continue
            name = Path(place).as_posix()
            self.files[name] = file
            self._by_name[plain(file.name)].append(name)
            self._by_stem[plain(file.stem)].append(name)

    def find(self, name: str, source: Path | str, *, within: str | None = None, stem: bool = False) -> Path | None:
        """The image file that a name or path means; None if there is none.

        Of several files of the name, the one whose folders agree best with the path is taken; of those that agree
        equally, the one in a folder images/ or the like, since masks may have the names of their images.

        Args:
            name: file name, path, or address.
            source: file that names it, for the message.
            within: a folder name that the path of the image should contain, such as the part of the data set.
            stem: whether the name may have no suffix.

        Raises:
            DataError: several files are meant equally.
        """
        for spelling in _spellings(name):
            parts = [plain(part) for part in PurePosixPath(spelling).parts if part not in ("/", "..", ".")]
            if not parts:
                continue
            places = self._by_name.get(parts[-1]) or (self._by_stem.get(parts[-1]) if stem else None)
            if places:
                return self.files[self._best(places, parts, within, name, source)]
        return None

    def _best(self, places: list[str], parts: list[str], within: str | None, name: str, source: Path | str) -> str:
        if len(places) == 1:
            return places[0]

        def agreement(place: str) -> tuple[int, bool, bool, bool]:
            own = [plain(part) for part in PurePosixPath(place).parts]
            same = 0
            for one, other in zip(reversed(own[:-1]), reversed(parts[:-1]), strict=False):
                if one != other:
                    break
                same += 1
            part = within is not None and plain(within) in own[:-1]
            return same, part, len(own) == len(parts), not _IMAGE_FOLDERS.isdisjoint(own[:-1])

        ranked = sorted(places, key=agreement, reverse=True)
        if agreement(ranked[0]) == agreement(ranked[1]):
            raise DataError(
                f"{source}: {name!r} could be {self.files[ranked[0]]} or {self.files[ranked[1]]}. "
                "Use different file names, or paths in the annotation file."
            )
        return ranked[0]

    def account(
        self, used: Mapping[Path, object] | Iterable[Path], missing: Iterable[str], what: str, embedded: int = 0
    ) -> None:
        """Report to `data.account` the images that make no sample.

        Args:
            used: image files of samples.
            missing: sentences about images that are listed but do not exist.
            what: what an image without a sample lacks, e.g. "entry in annotations.xml".
            embedded: number of images that annotation files contain.
        """
        taken, absent = set(used), list(missing)
        count_images(len(self.files) + len(absent) + embedded)
        for sentence in absent:
            leave_out_image("annotation without image", sentence)
        for place in sorted(self.files, key=natural_key):
            if self.files[place] not in taken:
                leave_out_image("image without partner", f"{self.files[place]} has no {what} and is skipped.")


def _skipped(suffix: str, kind: str, message: str) -> None:
    if suffix in SUFFIXES:
        count_images()
        leave_out_image(kind, message)


def image_id(root: Path, image: Path) -> str:
    """Id of a sample: the path of its image relative to `root`, without suffix and without a folder "images"."""
    place = PurePosixPath(image.relative_to(root).as_posix()).with_suffix("")
    parts = place.parts
    if len(parts) > 1 and parts[0].lower() in _IMAGE_FOLDERS:
        parts = parts[1:]
    return "/".join(parts)


def _spellings(name: str) -> Iterable[str]:
    """A name as it is given, URL-decoded, as the file of an address, and without the prefix of an upload."""
    plain = name.replace("\\", "/")
    yield plain
    address = plain
    if "?d=" in address:  # Label Studio's local files
        address = address.partition("?d=")[2].partition("&")[0]
    elif re.match(r"^[a-z][a-z0-9+.-]*://", address) or "?" in address:
        address = address.partition("?")[0]
    decoded = unquote(address)
    if decoded != plain:
        yield decoded
    path = PurePosixPath(decoded)
    short = _UPLOAD.sub("", path.name)
    if short != path.name:
        yield (path.parent / short).as_posix()


__all__ = ["ImageFinder", "image_id"]
