"""Pascal VOC XML beside the images: NAME.jpg + NAME.xml in one folder, or in train/, valid/, test/ (Roboflow)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from samtailor.data.beside import files_of, folders_with_pairs
from samtailor.data.formats.voc import boxed
from samtailor.data.xml_files import xml_root
from samtailor.errors import DataError
from samtailor.structures import Sample

_INSPECTED = 3


def matches(path: Path) -> bool:
    """Whether XML files with the root `annotation` lie beside images of the same name."""
    return any(_is_voc(sheets) for _, sheets in folders_with_pairs(path, ".xml"))


def build(path: Path, *, classes: Sequence[str] | None = None, one_based: bool = False) -> Iterable[Sample]:
    """Samples of images with VOC's XML files beside them. Shapes are read as in the format `voc`.

    Args:
        path: folder of the data set.
        classes: class names to read; None for all.
        one_based: see the format `voc`.

    Raises:
        DataError: no image has an XML file beside it, invalid XML, or an object without name or box.
        InputError: an unknown class.
    """
    folders = [folder for folder, sheets in folders_with_pairs(path, ".xml") if _is_voc(sheets)]
    if not folders:
        raise DataError(f"{path} has no XML files of Pascal VOC beside images of the same name.")
    return boxed(*files_of(path, folders, ".xml"), classes, one_based)


def _is_voc(sheets: Sequence[Path]) -> bool:
    return all(xml_root(sheet)[0] == "annotation" for sheet in sheets[:_INSPECTED])


__all__ = ["build", "matches"]
