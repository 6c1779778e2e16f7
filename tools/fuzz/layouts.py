"""Readers of all layouts on the small data sets that the tests make. One entry of `LAYOUTS` for each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import layouts

KINDS = {".json": "json", ".npy": "binary", ".png": "image", ".jpg": "image", ".tif": "image"}
"""Kind of mutation by suffix; other files are `text`."""


@dataclass(frozen=True)
class Reader:
    """A reader.

    Args:
        label: what it reads, for the table.
        make: writes valid files to a folder.
        files: those that are damaged, with the kind of mutation.
        read: reads the folder. May raise errors of samtailor.
    """

    label: str
    make: Callable[[Path], object]
    files: dict[str, str]
    read: Callable[[Path], object]


LAYOUTS = {
    "cvat": ("CVAT for images", "annotations.xml"),
    "cvat-masks": ("CVAT masks", "labelmap.txt", "SegmentationClass/1.png", "SegmentationObject/1.png"),
    "cvat-yolo": ("CVAT YOLO", "obj.names", "obj.data", "train.txt", "obj_train_data/1.txt"),
    "label-studio": ("Label Studio JSON", "project-3-at-2026-01-01.json"),
    "label studio min": ("Label Studio JSON-MIN", "project-min.json"),
    "label-studio-brush": (
        "Label Studio brush", "project-1.csv", "task-71-annotation-1-by-me@example.org-tag-cat-0.png",
    ),
    "supervisely": ("Supervisely", "meta.json", "ds1/ann/1.png.json"),
    "darwin": ("V7 Darwin", "annotations/1.json"),
    "datumaro": ("Datumaro", "annotations/default.json"),
    "via": ("VIA 2", "via_project.json"),
    "via 1": ("VIA 1", "via_region_data.json"),
    "via 3": ("VIA 3", "via_project.json"),
    "via csv": ("VIA CSV", "via_export_csv.csv"),
    "sa-1b": ("SA-1B", "1.json"),
    "voc segmentation": (
        "Pascal VOC masks", "SegmentationClass/1.png", "SegmentationObject/1.png", "JPEGImages/1.png",
    ),
    "voc-beside": ("Pascal VOC beside images", "train/1.xml"),
    "yolo-beside": ("YOLO beside images", "train/1.txt", "train/_darknet.labels"),
    "folder": ("masks in a folder", "masks/1.png", "images/1.jpg"),
    "class folders": ("masks in folders of classes", "masks/hair/1.png", "masks/skin/1.png"),
    "labelmap": ("class maps", "labels.json", "labels/1.png"),
    "instances": ("instance maps", "labels/1.png"),
    "color-map": ("colored class maps", "class_dict.csv", "masks/1.png"),
    "cityscapes": (
        "Cityscapes", "gtFine/train/aachen/aachen_000001_000019_gtFine_instanceIds.png",
        "gtFine/train/aachen/aachen_000001_000019_gtFine_polygons.json",
    ),
    "mmseg": ("mmsegmentation", "classes.txt", "ann_dir/train/1.png"),
    "cellpose": ("Cellpose", "1_masks.png", "1_seg.npy"),
    "cellpose saved": ("Cellpose, saved masks", "1_img_cp_masks.tif"),
    "dsb2018": ("Data Science Bowl 2018", "stage1_train/1/masks/0f3a.png", "stage1_train_labels.csv"),
    "roboflow-masks": ("Roboflow masks", "train/_classes.csv", "train/1_mask.png"),
    "davis": ("DAVIS", "Annotations/480p/dog/00001.png", "ImageSets/2017/train.txt"),
    "pairs": ("images and masks of any name", "photo_1_GT.png", "photo_1.jpg"),
}  # fmt: skip
"""For each data set of the tests: label, and the files that are damaged."""


def layout_readers() -> dict[str, Reader]:
    """A reader for each entry of `LAYOUTS`, by a name without spaces."""
    return {name.replace(" ", "-"): _reader(name, *entry) for name, entry in LAYOUTS.items()}


def read_samples(layout: str) -> Callable[[Path], None]:
    """A function that reads all annotations of a folder in a layout. Every fourth time it detects the layout too."""
    calls = count()

    def read(folder: Path) -> None:
        from samtailor.data.dataset import detect, open_dataset
        from samtailor.errors import SamtailorError

        if next(calls) % 4 == 0:
            with suppress(SamtailorError):  # of a damaged file the layout may be another, or none
                detect(folder)
        refused = None
        for sample in open_dataset(folder, format=layout):
            try:
                for annotation in sample.annotations:
                    if annotation.mask.shape != tuple(sample.size) or annotation.area < 0:
                        raise RuntimeError("a mask of another size")
            except SamtailorError as error:
                refused = error  # the other images are still read
        if refused is not None:
            raise refused

    return read


def _reader(name: str, label: str, *files: str) -> Reader:
    def make(folder: Path) -> None:
        layouts.ALL[name](folder, ids=(1,))

    kinds = {file: KINDS.get(Path(file).suffix, "text") for file in files}
    return Reader(label, make, kinds, read_samples(layouts.FORMATS.get(name, name)))
