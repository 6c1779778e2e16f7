"""Written data sets are read back by the readers of samtailor, and COCO by pycocotools."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from PIL import Image

from samtailor.data.dataset import detect, open_dataset
from samtailor.data.voc_palette import palette
from samtailor.data.writers import Destination, LabelledImage, check_options, writer_options
from samtailor.errors import InputError
from samtailor.masks import brush
from samtailor.masks.box_runs import pack
from samtailor.masks.metrics import iou
from samtailor.masks.shapes import from_row_runs
from samtailor.registry import names
from written import CLASSES, SIZE, box, labeled, rectangle, ring, usual, write

FORMATS = ["coco", "cvat", "instances", "label-studio", "labelmap", "labelme", "masks", "sa-1b", "voc", "yolo"]
EXACT = ["masks", "labelmap", "instances", "voc"]


@pytest.fixture
def images(tmp_path):
    return usual(tmp_path / "from")


def written(format, labeled, folder, **options):
    write(format, labeled, folder, **options)
    return folder


def test_every_format_is_there():
    assert names("writers") == FORMATS


@pytest.mark.parametrize(
    ("format", "layout"),
    [("coco",) * 2, ("yolo",) * 2, ("labelme",) * 2, ("masks", "folder"), ("labelmap",) * 2, ("instances",) * 2,
     ("voc",) * 2],
)  # fmt: skip
def test_masks_are_read_back(format, layout, images, tmp_path):
    folder = written(format, images, tmp_path / "out")
    assert detect(folder) == layout
    samples = {sample.id: sample for sample in open_dataset(folder)}
    assert len(samples) == 3
    (first,) = (sample for id, sample in samples.items() if id.split("/")[-1].split(".")[0] == "a")
    back = {one.label: one.mask for one in first.annotations}
    assert set(back) == {"ring", "box"}
    assert len(first.annotations) == 2
    assert np.array_equal(back["box"], box())
    assert iou(back["ring"], ring()) > (0.999 if format in EXACT else 0.96)
    assert not back["ring"][28, 30]  # the hole
    assert back["ring"][50, 75]  # the second part
    assert sum(len(sample.of(None)) for sample in samples.values()) == 3


def test_boxes_are_read_back(images, tmp_path):
    samples = open_dataset(written("voc", images, tmp_path / "out"), masks="boxes")
    first = next(sample for sample in samples if sample.id == "a")
    assert {one.label: one.box for one in first.annotations} == {"ring": (11, 9, 81, 54), "box": (60, 5, 85, 20)}


@pytest.mark.parametrize("rle", [False, True])
def test_pycocotools_reads_the_file(images, tmp_path, rle):
    from pycocotools.coco import COCO

    folder = written("coco", images, tmp_path / "out", vertices=20, rle=rle)
    opened = COCO(str(folder / "annotations" / "instances.json"))
    assert len(opened.imgs) == 3
    opened.info()  # fails without the key `info`
    for number, expected in ((1, ring()), (2, box())):
        entry = opened.anns[number]
        back = opened.annToMask(entry).astype(bool)
        assert np.array_equal(back, expected) if rle else iou(back, expected) > 0.85
        assert rle or sum(len(part) for part in entry["segmentation"]) <= 40
        assert entry["area"] == expected.sum()
        assert entry["score"] == pytest.approx(0.9 - 0.1 * (number - 1))
    for row in opened.imgs.values():
        assert (folder / "images" / row["file_name"]).is_file()
    assert [c["name"] for c in opened.loadCats([1, 2])] == CLASSES
    assert isinstance(json.loads((folder / "annotations" / "instances.json").read_text())["info"], dict)
    results = [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "score": 1.0}]
    assert len(opened.loadRes(results).anns) == 1


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


def test_label_studio_brush_regions_are_exact(images, tmp_path):
    folder = written("label-studio", images, tmp_path / "out", rle=True)
    tasks = json.loads((folder / "tasks.json").read_text())
    config = ElementTree.parse(folder / "label_config.xml").getroot()
    first, second = tasks[0]["predictions"][0]["result"]
    assert first["from_name"] == config.find("BrushLabels").get("name")
    assert (first["type"], first["value"]["format"], first["value"]["brushlabels"]) == ("brushlabels", "rle", ["ring"])
    assert np.array_equal(brush.decode(first["value"]["rle"], *SIZE), ring())
    assert np.array_equal(brush.decode(second["value"]["rle"], *SIZE), box())


def test_cvat_groups_the_parts_of_an_object(images, tmp_path):
    root = ElementTree.parse(written("cvat", images, tmp_path / "out") / "annotations.xml").getroot()
    assert root.findtext("version") == "1.1"
    images = root.findall("image")
    assert [one.get("name") for one in images] == ["a.png", "trip/b.png", "c.png"]
    shapes = images[0].findall("polygon")
    assert [one.get("group_id") for one in shapes] == ["1", "1", None]
    corners = {tuple(map(float, pair.split(","))) for pair in shapes[2].get("points").split(";")}
    assert corners == {(60, 5), (85, 5), (85, 20), (60, 20)}


def test_cvat_masks_are_exact(images, tmp_path):
    root = ElementTree.parse(written("cvat", images, tmp_path / "out", rle=True) / "annotations.xml").getroot()
    shapes = root.findall("image")[0].findall("mask")
    assert [one.get("label") for one in shapes] == ["ring", "box"]
    for one, mask in zip(shapes, (ring(), box()), strict=True):
        place = tuple(int(one.get(key)) for key in ("left", "top", "width", "height"))
        runs = [int(word) for word in one.get("rle").split(",")]
        assert np.array_equal(decoded(from_row_runs(runs, place, SIZE, "test")), mask)


def test_run_lengths_in_a_box_are_those_of_cvat():
    mask = np.zeros((4, 5), bool)
    mask[1, 2:4] = mask[2, 1] = True  # rows of the box: .XX and X..
    assert pack(mask) == ([1, 3, 2], (1, 1, 3, 2))
    full = np.ones((2, 2), bool)
    assert pack(full) == ([0, 4], (0, 0, 2, 2))  # background first, though there is none


def decoded(rle):
    from pycocotools import mask as coco

    return coco.decode(rle).astype(bool)


def test_sa_1b_has_the_keys_of_the_published_files(images, tmp_path):
    folder = written("sa-1b", images, tmp_path / "out")
    content = json.loads((folder / "a.json").read_text())
    assert content["image"] == {"image_id": 1, "width": 90, "height": 60, "file_name": "a.png"}
    assert (folder / "a.png").is_file()
    assert (folder / "trip_b.json").is_file()
    first = content["annotations"][0]
    assert {"id", "segmentation", "bbox", "area", "predicted_iou", "crop_box"} <= set(first)
    assert np.array_equal(decoded(first["segmentation"]), ring())
    ids = [
        one["id"]
        for name in ("a", "trip_b", "c")
        for one in json.loads((folder / f"{name}.json").read_text())["annotations"]
    ]
    assert ids == [1, 2, 3]


def test_instance_maps_have_16_bits_and_a_table_of_classes(images, tmp_path):
    folder = written("instances", images, tmp_path / "out")
    with Image.open(folder / "labels" / "a.png") as image:
        assert image.mode.startswith("I;16")
        values = np.asarray(image)
    assert np.array_equal(values == 1, ring())
    assert np.array_equal(values == 2, box())
    rows = (folder / "objects.csv").read_text().splitlines()
    assert rows[:2] == ["image,number,class,score,adapter", "a,1,ring,0.900000,x"]
    samples = open_dataset(folder, classes=["box"])
    assert [one.label for sample in samples for one in sample.annotations] == ["box", "box"]


def test_class_maps_never_use_255(tmp_path):
    classes = [f"c{i}" for i in range(300)]
    image = labeled(tmp_path / "from", "a", ("c253", rectangle(0, 0, 9, 9)), ("c254", rectangle(20, 20, 30, 30)))
    for format, folder in (("labelmap", "labels"), ("voc", "SegmentationClass")):
        write(format, [image], tmp_path / format, classes)
        with Image.open(tmp_path / format / folder / "a.png") as written_map:
            assert set(np.unique(np.asarray(written_map))) == {0, 254, 256}
        back = {one.label: one.mask for one in open_dataset(tmp_path / format)[0].annotations}
        assert np.array_equal(back["c254"], rectangle(20, 20, 30, 30))
        assert set(back) == {"c253", "c254"}
    lines = (tmp_path / "labelmap" / "classes.txt").read_text().splitlines()
    assert (lines[0], lines[1], lines[254], lines[255], lines[256]) == ("background", "c0", "c253", "void", "c254")


def test_voc_has_the_palette_of_voc_and_numbers_objects_as_the_boxes(images, tmp_path):
    assert palette()[[0, 1, 2, 3, 8, 255]].tolist() == [
        [0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [64, 0, 0], [224, 224, 192]
    ]  # fmt: skip
    folder = written("voc", images, tmp_path / "out")
    with Image.open(folder / "SegmentationObject" / "a.png") as image:
        assert image.mode == "P"
        assert image.getpalette()[3:6] == [128, 0, 0]
        assert np.array_equal(np.asarray(image) == 1, ring())
    sheet = ElementTree.parse(folder / "Annotations" / "a.xml").getroot()
    assert [one.findtext("name") for one in sheet.iter("object")] == ["ring", "box"]
    assert (folder / "ImageSets" / "Segmentation" / "default.txt").read_text().split() == ["a", "trip/b", "c"]
    assert "ring:128,0,0::" in (folder / "labelmap.txt").read_text()


def test_more_objects_than_a_palette_has_colors(tmp_path):
    spots = [("box", rectangle(2 * (i // 30), 3 * (i % 30), 2 * (i // 30) + 1, 3 * (i % 30) + 2)) for i in range(300)]
    report = write("voc", [labeled(tmp_path / "from", "a", *spots)], tmp_path / "out")
    assert "16 bits" in report.notes[0]
    assert len(open_dataset(tmp_path / "out")[0].annotations) == 300


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


@pytest.mark.parametrize("format", FORMATS)
def test_images_may_stay_where_they_are(format, images, tmp_path):
    folder = written(format, images, tmp_path / "out", images="none")
    assert not [file for file in folder.rglob("*.png") if file.read_bytes() == images[0].source.read_bytes()]


def test_masks_of_an_earlier_run_are_removed(images, tmp_path):
    written("masks", images, tmp_path / "out")
    without = [LabelledImage(p.name, p.source, p.height, p.width, ()) for p in images]
    written("masks", without, tmp_path / "out")
    assert {sample.id: len(sample.of(None)) for sample in open_dataset(tmp_path / "out")} == {
        "a": 0, "c": 0, "trip/b": 0
    }  # fmt: skip


def many(folder: Path, count: int) -> list[LabelledImage]:
    return [labeled(folder, f"{'trip/' if i % 2 else ''}i{i:02d}", ("box", box())) for i in range(count)]


def yolo_files(folder: Path, part: str) -> tuple[set[str], set[str]]:
    def stems(what: str) -> set[str]:
        root = folder / what / part
        return {file.relative_to(root).with_suffix("").as_posix() for file in root.rglob("*") if file.is_file()}

    return stems("images"), stems("labels")


def test_yolo_has_a_split_and_paths_relative_to_data_yaml(tmp_path):
    folder = written("yolo", many(tmp_path / "from", 10), tmp_path / "out")
    sheet = yaml.safe_load((folder / "data.yaml").read_text())
    assert sheet == {"train": "images/train", "val": "images/val", "names": {0: "ring", 1: "box"}}
    (train, labels), (val, val_labels) = yolo_files(folder, "train"), yolo_files(folder, "val")
    assert (train, val) == (labels, val_labels)
    assert (len(train), len(val)) == (8, 2)
    assert not train & val
    written("yolo", many(tmp_path / "from", 10), folder, val=0.5)  # again, with another split: nothing is left twice
    (train, labels), (val, val_labels) = yolo_files(folder, "train"), yolo_files(folder, "val")
    assert (len(train), len(val), train & val) == (5, 5, set())
    assert (train, val) == (labels, val_labels)


def test_near_duplicates_are_on_one_side_of_the_split(tmp_path):
    images = many(tmp_path / "from", 10)
    for one in images[1:5]:
        one.source.write_bytes(images[0].source.read_bytes())
    folder = written("yolo", images, tmp_path / "out", val=0.5)
    copies = {one.name for one in images[:5]}
    assert len({copies <= yolo_files(folder, part)[0] for part in ("train", "val")}) == 2
    for one in images:
        one.source.write_bytes(images[0].source.read_bytes())
    report = write("yolo", images, tmp_path / "same")
    assert "near-duplicates" in report.notes[0]
    assert len(yolo_files(tmp_path / "same", "val")[0]) == 2


def test_a_single_image_is_for_training_and_validation(tmp_path):
    report = write("yolo", many(tmp_path / "from", 1), tmp_path / "out")
    sheet = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())
    assert sheet["train"] == sheet["val"] == "images/train"
    assert report.notes


def test_options_are_checked():
    assert writer_options("coco") == {"rle": False}
    for format, options in (
        ("coco", {"rel": True}),
        ("voc", {"rle": True}),
        ("coco", {"rle": "no"}),
        ("nothing", {}),
    ):
        with pytest.raises(InputError):
            check_options(format, options)
    with pytest.raises(InputError, match="coco, cvat, label-studio"):
        check_options("voc", {"rle": True})


@pytest.mark.parametrize("val", [-0.1, 1.5, "x"])
def test_a_share_that_cannot_be_is_refused(val, images, tmp_path):
    with pytest.raises(InputError):
        write("yolo", images, tmp_path / "out", val=val)


def test_the_destination_checks_how_images_are_put(tmp_path):
    with pytest.raises(InputError):
        Destination(tmp_path, images="move")
