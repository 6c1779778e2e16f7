"""Messages for paths that are no data set: files, archives, empty folders, images without annotations."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from samtailor.data.image import SUFFIXES
from samtailor.data.listing import walk
from samtailor.errors import DataError, counted

_LOOKED_AT = 10_000  # files
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")


def refuse_no_folder(path: Path) -> None:
    """Raise DataError with what to do unless the path is a folder."""
    if path.is_file():
        advice = "Give the folder that contains it and the images; the option annotations chooses one of several files."
        if path.name.lower().endswith(_ARCHIVES):
            advice = "Unpack it and give that folder."
        raise DataError(f"{path} is a file, but a data set is a folder with images and masks. {advice}")
    if not path.is_dir():
        raise DataError(f"There is no folder {path}. A data set is a folder with images and masks.")


def beneath(known: Sequence[tuple[Path, str]]) -> str:
    """The end of a message about a folder whose folders are data sets: (folder, name of its layout)."""
    folder, name = known[0]
    if len(known) > 1:
        others = ", ".join(other.name for other, _ in known[1:6])
        return f"{folder} has the layout {name}, and there are others beside it ({others}). Use one of these folders."
    if not any(file.suffix.lower() in SUFFIXES for file in islice(walk(folder), _LOOKED_AT)):
        return f"{folder} has the layout {name}, without images. Copy the images into it, and use that folder."
    return f"{folder} has the layout {name}. Use that folder."


def without_annotations(path: Path) -> str | None:
    """A message for a folder that is empty, or in which only images of one suffix are found; None for others."""
    found = list(islice(walk(path), _LOOKED_AT))
    if not found:
        return f"{path} contains no file that can be read. A data set is a folder with images and masks."
    suffixes = {file.suffix.lower() for file in found}
    if len(suffixes) > 1 or not suffixes <= set(SUFFIXES):
        return None
    return (
        f"{path} contains {counted(len(found), 'image')}, and neither masks nor annotation files in a known layout. To "
        "annotate images, run samtailor ui. docs/reference/formats.md lists the layouts; if the masks are images too, "
        "name both with format=pairs and the option pair, as in pair=photos/{}.jpg:truth/{}_GT.png."
    )


__all__ = ["beneath", "refuse_no_folder", "without_annotations"]
