"""Small data sets in every layout: `ALL` holds a writer for each, which returns the expected samples.

A writer takes a folder and the numbers of the images.
"""

from layouts.basic import WRITERS, voc_xml
from layouts.label_studio import write_label_studio, write_label_studio_brush, write_label_studio_min
from layouts.maps import MAPS
from layouts.shapes import SIZE, blob, box, masks_of, mismatch, photo, save, text
from layouts.tools import (
    write_cvat,
    write_cvat_yolo,
    write_darwin,
    write_datumaro,
    write_sa1b,
    write_supervisely,
    write_voc_beside,
    write_yolo_beside,
)
from layouts.via import write_via, write_via_csv, write_via_one, write_via_three

TOOLS = {
    "cvat": write_cvat,
    "sa-1b": write_sa1b,
    "darwin": write_darwin,
    "datumaro": write_datumaro,
    "supervisely": write_supervisely,
    "via": write_via,
    "via 1": write_via_one,
    "via 3": write_via_three,
    "via csv": write_via_csv,
    "label-studio": write_label_studio,
    "label studio min": write_label_studio_min,
    "label-studio-brush": write_label_studio_brush,
    "cvat-yolo": write_cvat_yolo,
    "voc-beside": write_voc_beside,
    "yolo-beside": write_yolo_beside,
}
ALL = {**WRITERS, **TOOLS, **MAPS}
FORMATS = {
    "class folders": "folder", "voc segmentation": "voc", "via 1": "via", "via 3": "via", "via csv": "via",
    "label studio min": "label-studio", "cellpose train": "cellpose", "cellpose saved": "cellpose",
}  # fmt: skip
"""Layout of the data sets that are not named after theirs."""
RELATIVE = ("yolo", "via", "via 1", "via 3", "via csv", "cvat-yolo", "yolo-beside")
"""Data sets whose coordinates belong to the image as it is shown."""

__all__ = [
    "ALL", "FORMATS", "MAPS", "RELATIVE", "SIZE", "TOOLS", "WRITERS", "blob", "box", "masks_of", "mismatch", "photo",
    "save", "text", "voc_xml",
]  # fmt: skip
