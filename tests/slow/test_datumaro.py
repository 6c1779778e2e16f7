"""Datumaro, with which CVAT reads and writes its formats: it loads what is written, and what it writes is read.

Tried with datumaro 1.13.12. `tests/sdks.py` says how to run these tests.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco

from samtailor.data.dataset import detect, open_dataset
from sdks import needs
from written import SIZE, box, ring, usual, write

pytestmark = needs(datumaro="datumaro")
EVERY = {"a": {"ring": ring(), "box": box()}, "trip/b": {}, "c": {"box": box()}}


def mask_of(annotation) -> np.ndarray:
    if hasattr(annotation, "image"):
        return np.asarray(annotation.image, bool)
    return coco.decode(coco.merge(coco.frPyObjects([annotation.points], *SIZE))).astype(bool)


def theirs(source: Path, kind: str, named: bool = True) -> dict[str, dict[str, np.ndarray]]:
    """Masks by image and class as datumaro reads them; parts of a class are joined, boxes are left out."""
    import datumaro

    dataset = datumaro.Dataset.import_from(str(source), kind)
    labels = dataset.categories().get(datumaro.AnnotationType.label)
    read: dict[str, dict[str, np.ndarray]] = {}
    for item in dataset:
        masks = read.setdefault(item.id, {})
        for annotation in item.annotations:
            if annotation.type.name in ("mask", "polygon"):
                name = labels[annotation.label].name if named else str(len(masks))
                masks[name] = masks.get(name, np.zeros(SIZE, bool)) | mask_of(annotation)
    return read


def ours(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Masks by image and class as samtailor reads them."""
    read: dict[str, dict[str, np.ndarray]] = {}
    for sample in open_dataset(folder):
        masks = read.setdefault(sample.id.removeprefix("default/").replace("trip_b", "trip/b"), {})
        for one in sample.annotations:
            masks[one.label] = masks.get(one.label, np.zeros(SIZE, bool)) | one.mask
    return read


def assert_equal(read: dict[str, dict[str, np.ndarray]], expected: dict[str, dict[str, np.ndarray]], least: float = 1):
    assert read.keys() == expected.keys()
    for name, masks in expected.items():
        assert read[name].keys() == masks.keys()
        for label, mask in masks.items():
            union = (read[name][label] | mask).sum()
            assert (read[name][label] & mask).sum() / union >= least, (name, label)


@pytest.mark.parametrize("rle", [False, True], ids=["polygons", "masks"])
@pytest.mark.parametrize(
    ("format", "file", "kind"), [("coco", "annotations/instances.json", "coco_instances"), ("cvat", "", "cvat")]
)
def test_datumaro_reads_coco_and_cvat(format, file, kind, rle, tmp_path):
    write(format, usual(tmp_path / "from"), tmp_path / "out", rle=rle)
    assert_equal(theirs(tmp_path / "out" / file, kind), EVERY, 1 if rle else 0.95)


def test_datumaro_reads_voc_and_sa_1b(tmp_path):
    images = usual(tmp_path / "from")
    write("voc", images, tmp_path / "voc")
    assert_equal(theirs(tmp_path / "voc", "voc"), EVERY)
    write("sa-1b", images, tmp_path / "sa-1b")
    read = theirs(tmp_path / "sa-1b", "segment_anything", named=False)
    assert {name: len(masks) for name, masks in read.items()} == {"a": 2, "trip_b": 0, "c": 1}
    assert np.array_equal(read["c"]["0"], box())


@pytest.fixture
def dataset(tmp_path):
    """The masks as a data set of datumaro."""
    import datumaro

    write("coco", usual(tmp_path / "from"), tmp_path / "coco", rle=True)
    return datumaro.Dataset.import_from(str(tmp_path / "coco" / "annotations" / "instances.json"), "coco_instances")


@pytest.mark.parametrize(
    ("kind", "layout", "options"),
    [
        ("coco_instances", "coco", {"segmentation_mode": "mask"}),
        ("coco", "coco", {"segmentation_mode": "mask"}),
        ("voc_segmentation", "cvat-masks", {"label_map": "source"}),
        ("voc_instance_segmentation", "cvat-masks", {"label_map": "source"}),
    ],
)
def test_masks_that_datumaro_writes_are_read(kind, layout, options, dataset, tmp_path):
    dataset.export(str(tmp_path / "out"), kind, save_media=True, **options)
    assert detect(tmp_path / "out") == layout
    read = ours(tmp_path / "out")
    assert_equal({**read, "trip/b": read.get("trip/b", {})}, EVERY)


@pytest.mark.parametrize(("kind", "layout"), [("cvat", "cvat"), ("datumaro", "datumaro"), ("coco_instances", "coco")])
def test_polygons_that_datumaro_writes_are_read(kind, layout, dataset, tmp_path):
    dataset.transform("masks_to_polygons")
    dataset.export(str(tmp_path / "out"), kind, save_media=True)
    assert detect(tmp_path / "out") == layout
    read = ours(tmp_path / "out")
    assert_equal({"c": {"box": read["c"]["box"]}}, {"c": {"box": box()}}, 0.85)  # polygons of pixel centers
    assert read["a"].keys() == {"ring", "box"}
    assert read["trip/b"] == {}


def test_boxes_that_datumaro_writes_for_yolo_are_read(dataset, tmp_path):
    dataset.export(str(tmp_path / "out"), "yolo", save_media=True)
    read = ours(tmp_path / "out")
    assert np.array_equal(read["c"]["box"], box())
    assert read["a"]["ring"].sum() > ring().sum(), "the frame of the ring"
