"""Written data sets are read back by the readers of samtailor, and COCO by pycocotools."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from samtailor.data.dataset import detect, open_dataset
from samtailor.data.writers import Destination, LabelledImage, LabelledObject
from samtailor.masks.metrics import iou
from samtailor.masks.rle import encode
from samtailor.registry import find, names

CLASSES = ["ring", "box"]


def ring(height=60, width=90):
    y, x = np.mgrid[:height, :width]
    far = np.hypot(y - 28, x - 30)
    apart = (abs(y - 50) < 4) & (abs(x - 75) < 6)
    return ((far < 20) & (far > 8)) | apart  # a hole, and a second part


def box(height=60, width=90):
    mask = np.zeros((height, width), bool)
    mask[5:20, 60:85] = True
    return mask


@pytest.fixture
def images(tmp_path):
    images = []
    for name, objects in (("a", (("ring", ring()), ("box", box()))), ("trip/b", ()), ("c", (("box", box()),))):
        source = tmp_path / "from" / f"{name}.png"
        source.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((60, 90, 3), 99, np.uint8)).save(source)
        made = tuple(LabelledObject(label, encode(mask), 0.9, "x") for label, mask in objects)
        images.append(LabelledImage(name, source, 60, 90, made))
    return images


def written(format, labeled, folder, **options):
    find("writers", format).write(Destination(folder, **options), labeled, CLASSES)
    return folder


def test_every_format_is_there():
    assert names("writers") == ["coco", "cvat", "label-studio", "labelme", "masks", "voc", "yolo"]


@pytest.mark.parametrize(("format", "layout"), [("coco",) * 2, ("yolo",) * 2, ("labelme",) * 2, ("masks", "folder")])
def test_masks_are_read_back(format, layout, images, tmp_path):
    folder = written(format, images, tmp_path / "out")
    assert detect(folder) == layout
    samples = {sample.id: sample for sample in open_dataset(folder)}
    assert len(samples) == 3
    (first,) = (sample for id, sample in samples.items() if id.endswith("a") or id == "a.png")
    back = {one.label: one.mask for one in first.annotations}
    assert set(back) == {"ring", "box"}
    assert len(first.annotations) == 2
    assert np.array_equal(back["box"], box())
    assert iou(back["ring"], ring()) > (0.999 if format == "masks" else 0.96)
    assert not back["ring"][28, 30]  # the hole
    assert back["ring"][50, 75]  # the second part
    assert sum(len(sample.of(None)) for sample in samples.values()) == 3


def test_boxes_are_read_back(images, tmp_path):
    samples = open_dataset(written("voc", images, tmp_path / "out"))
    first = next(sample for sample in samples if sample.id == "a")
    assert {one.label: one.box for one in first.annotations} == {"ring": (11, 9, 81, 54), "box": (60, 5, 85, 20)}


def test_pycocotools_reads_the_file(images, tmp_path):
    from pycocotools.coco import COCO

    folder = written("coco", images, tmp_path / "out", vertices=20)
    opened = COCO(str(folder / "annotations" / "instances.json"))
    assert len(opened.imgs) == 3
    for number, expected in ((1, ring()), (2, box())):
        entry = opened.anns[number]
        assert iou(opened.annToMask(entry).astype(bool), expected) > 0.85
        assert sum(len(part) for part in entry["segmentation"]) <= 40
        assert entry["area"] == expected.sum()
        assert entry["score"] == 0.9
    for row in opened.imgs.values():
        assert (folder / "images" / row["file_name"]).is_file()
    assert [c["name"] for c in opened.loadCats([1, 2])] == CLASSES


def test_label_studio_tasks_hold_percent_and_the_configured_names(images, tmp_path):
    folder = written("label-studio", images, tmp_path / "out")
    tasks = json.loads((folder / "tasks.json").read_text())
    config = ElementTree.parse(folder / "label_config.xml").getroot()
    assert [one.get("value") for one in config.iter("Label")] == CLASSES
    regions = tasks[0]["predictions"][0]["result"]
    assert [one["value"]["polygonlabels"] for one in regions] == [["ring"], ["ring"], ["box"]]
    assert all(one["from_name"] == config.find("PolygonLabels").get("name") for one in regions)
    points = np.array(regions[2]["value"]["points"])
    assert np.allclose(points.min(axis=0), [60 / 0.9, 5 / 0.6], atol=1e-3)
    assert np.allclose(points.max(axis=0), [85 / 0.9, 20 / 0.6], atol=1e-3)
    place = tasks[1]["data"]["image"].partition("?d=")[2]
    assert (folder / place).is_file()
    assert tasks[1]["predictions"][0]["result"] == []


def test_cvat_groups_the_parts_of_an_object(images, tmp_path):
    root = ElementTree.parse(written("cvat", images, tmp_path / "out") / "annotations.xml").getroot()
    assert root.findtext("version") == "1.1"
    images = root.findall("image")
    assert [one.get("name") for one in images] == ["a.png", "trip/b.png", "c.png"]
    shapes = images[0].findall("polygon")
    assert [one.get("group_id") for one in shapes] == ["1", "1", None]
    corners = {tuple(map(float, pair.split(","))) for pair in shapes[2].get("points").split(";")}
    assert corners == {(60, 5), (85, 5), (85, 20), (60, 20)}


def test_images_are_copied_linked_or_omitted(images, tmp_path):
    copied = written("coco", images, tmp_path / "copied") / "images" / "a.png"
    linked = written("coco", images, tmp_path / "linked", images="link") / "images" / "a.png"
    source = images[0].source
    assert copied.read_bytes() == source.read_bytes()
    assert copied.stat().st_ino != source.stat().st_ino
    assert linked.stat().st_ino == source.stat().st_ino
    left = written("coco", images, tmp_path / "left", images="none")
    assert not (left / "images").exists()
    rows = json.loads((left / "annotations" / "instances.json").read_text())["images"]
    assert rows[0]["file_name"] == str(source)


def test_masks_of_an_earlier_run_are_removed(images, tmp_path):
    written("masks", images, tmp_path / "out")
    without = [LabelledImage(p.name, p.source, p.height, p.width, ()) for p in images]
    written("masks", without, tmp_path / "out")
    assert {sample.id: len(sample.of(None)) for sample in open_dataset(tmp_path / "out")} == {
        "a": 0, "c": 0, "trip/b": 0
    }  # fmt: skip
