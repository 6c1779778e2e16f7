"""Layouts with polygons, boxes and run lengths: coco, yolo, voc, labelme."""

import base64
import json

import numpy as np
import pytest
from PIL import Image

from layouts import box, masks_of, mismatch, photo, text, voc_xml
from layouts.basic import write_coco, write_labelme, write_voc, write_voc_segmentation, write_yolo
from samtailor.data.dataset import class_names, open_dataset
from samtailor.data.image import read_index
from samtailor.data.notices import collected
from samtailor.data.voc_palette import palette
from samtailor.errors import DataError, InputError

# pycocotools' decode under NumPy 2; nothing of ours
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def coco_json(root, change):
    file = root / "annotations/instances.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.pop("images"), "must be an object with the lists"),
        (lambda c: c["annotations"][0].update(category_id=9), "category 9"),
        (lambda c: c["annotations"][0].pop("image_id"), "image_id"),
        (lambda c: c["images"][0].update(height="tall"), "height 'tall'"),
        (lambda c: c["annotations"][0].update(iscrowd="perhaps"), "iscrowd must be 0 or 1"),
        (lambda c: c["annotations"][1]["segmentation"].update(counts=[3, 4]), "add up to 7"),
        (lambda c: c["annotations"][1]["segmentation"].update(size=[36, 24]), "declares an image of 24x36 px"),
        (lambda c: c["annotations"][0].update(segmentation=None), "no valid polygons, run lengths or box"),
        (lambda c: c["annotations"][0].update(segmentation=[["a"] * 8]), "no valid polygons, run lengths or box"),
        (lambda c: [i.update(file_name="gone.png") for i in c["images"]], "None of the images of .* exists"),
    ],
)
def test_coco_refusals(tmp_path, change, words):
    write_coco(tmp_path)
    coco_json(tmp_path, change)
    with pytest.raises(DataError, match=words):
        masks_of(open_dataset(tmp_path, format="coco"))


def test_coco_crowd_is_no_target(tmp_path):
    write_coco(tmp_path)
    sample = open_dataset(tmp_path)[0]
    assert [a.crowd for a in sample.annotations] == [False, True, False]
    assert [a.label for a in sample.of(["dog"])] == ["dog"]


def test_coco_boxes_two_points_and_missing_images(tmp_path):
    write_coco(tmp_path)

    def change(content):
        content["annotations"][0].update(segmentation=[], bbox=[4, 3, 16, 6])
        content["annotations"][3].update(segmentation=[[1, 1, 5, 5]])  # not the box it has the length of
        content["images"].append({"id": 5, "file_name": "gone.png", "height": 3, "width": 3})

    coco_json(tmp_path, change)
    with collected() as notices:
        samples = open_dataset(tmp_path)
        got = masks_of(samples)
    np.testing.assert_array_equal(got["1"][0][1], box(4, 3, 20, 9))
    assert len(got["2"]) == 2
    assert {n.kind for n in notices} >= {"box as mask", "empty mask", "annotation without image"}


@pytest.mark.parametrize("place", ["train2017", "images/train2017", "images"])
def test_coco_images_in_the_usual_folders(tmp_path, place):
    expected = write_coco(tmp_path)
    (tmp_path / "images").rename(tmp_path / "moved")
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / "moved").rename(tmp_path / place)
    (tmp_path / "annotations/instances.json").rename(tmp_path / "annotations/instances_train2017.json")
    assert not mismatch(open_dataset(tmp_path), expected)


def test_coco_roboflow_and_several_files(tmp_path):
    expected = write_coco(tmp_path / "train")
    (tmp_path / "train/annotations/instances.json").rename(tmp_path / "train/_annotations.coco.json")
    for i in expected:
        (tmp_path / f"train/images/{i}.png").rename(tmp_path / f"train/{i}.png")
    assert not mismatch(open_dataset(tmp_path), expected)
    content = (tmp_path / "train/_annotations.coco.json").read_text()
    for name in ("a.json", "b.json"):
        text(tmp_path / "other/annotations" / name, content)
    for i in expected:
        photo(tmp_path / f"other/images/{i}.png")
    with pytest.raises(DataError, match=r"a\.json and .*b\.json both list the image '1.png'"):
        open_dataset(tmp_path / "other")


def test_coco_masks_with_the_names_of_their_images_are_not_taken_for_them(tmp_path):
    expected = write_coco(tmp_path)
    for i in expected:  # as datumaro writes the masks of a panoptic file
        photo(tmp_path / f"annotations/panoptic_default/{i}.png")
    assert not mismatch(open_dataset(tmp_path), expected)
    (tmp_path / "images").rename(tmp_path / "first")
    with pytest.raises(DataError, match="could be"):
        open_dataset(tmp_path)


def test_coco_with_addresses_of_label_studio(tmp_path):
    expected = write_coco(tmp_path)
    coco_json(
        tmp_path,
        lambda c: [i.update(file_name=f"data/local-files/?d=images/{i['file_name']}") for i in c["images"]],
    )
    assert not mismatch(open_dataset(tmp_path), expected)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 0.5 0.5 0.1", "got 4 numbers"),
        ("0 0.5 0.5 0.1 0.1 0.9", "got 6 numbers"),
        ("0 100 100 50 50", "relative to the image size"),
        ("x 0.5 0.5 0.1 0.1", "expected numbers"),
        ("0.5 0.5 0.5 0.1 0.1", "an integer of at least 0"),
        ("7 0.5 0.5 0.1 0.1", "class 7 has no name"),
        ("0 nan 0.5 0.1 0.1", "relative to the image size"),
    ],
)
def test_yolo_errors_name_the_line(tmp_path, line, words):
    write_yolo(tmp_path)
    text(tmp_path / "labels/2.txt", f"0 0.5 0.5 0.1 0.1\n\n{line}\n")
    with pytest.raises(DataError, match=rf"2\.txt.*{words}"):
        masks_of(open_dataset(tmp_path))


def test_yolo_background_images_and_label_less_ones(tmp_path):
    write_yolo(tmp_path)
    text(tmp_path / "labels/2.txt", "")
    photo(tmp_path / "images/alone.png")
    assert [(s.id, len(s.annotations)) for s in open_dataset(tmp_path)] == [("1", 2), ("2", 0), ("10", 2)]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("data.yaml", "names: [door, sign]\nnc: 2\n"),
        ("things.yml", "names: {0: door, 1: sign}\n"),
        ("classes.txt", "door\nsign\n"),
        ("labels/classes.txt", "door\nsign\n"),
    ],
)
def test_yolo_names(tmp_path, file, content):
    expected = write_yolo(tmp_path)
    (tmp_path / "data.yaml").unlink()
    text(tmp_path / file, content)
    assert not mismatch(open_dataset(tmp_path), expected)


@pytest.mark.parametrize("content", ["names: [", "names: {a: b}", "\tx"])
def test_yolo_wrong_names(tmp_path, content):
    write_yolo(tmp_path)
    text(tmp_path / "data.yaml", content)
    with pytest.raises(DataError, match=r"data\.yaml"):
        open_dataset(tmp_path)


def test_yolo_without_names(tmp_path):
    write_yolo(tmp_path)
    (tmp_path / "data.yaml").unlink()
    assert class_names(open_dataset(tmp_path)) == ["0", "1"]
    assert class_names(open_dataset(tmp_path, classes=["1"])) == ["1"]


@pytest.mark.parametrize("arrangement", ["{part}/{kind}", "{kind}/{part}"])
def test_yolo_parts(tmp_path, arrangement):
    expected = write_yolo(tmp_path / "whole")
    for part in ("train", "val"):
        for kind in ("images", "labels"):
            target = tmp_path / "data" / arrangement.format(part=part, kind=kind)
            target.mkdir(parents=True)
            for file in (tmp_path / "whole" / kind).iterdir():
                (target / file.name).write_bytes(file.read_bytes())
    text(tmp_path / "data/data.yaml", "names: [door, sign]\n")
    samples = open_dataset(tmp_path / "data")
    assert not mismatch(samples, {f"{part}/{id}": masks for part in ("train", "val") for id, masks in expected.items()})
    assert len(open_dataset(tmp_path / "data", part="val")) == 3
    with pytest.raises(DataError, match="part 'test'"):
        open_dataset(tmp_path / "data", part="test")


def test_voc_refusals_and_options(tmp_path):
    write_voc(tmp_path)
    text(tmp_path / "annotations/2.xml", voc_xml([("plate", (4, 3, 4, 9)), ("plate", (400, 3, 500, 9))], None))
    with collected() as notices:
        assert [len(s.annotations) for s in open_dataset(tmp_path)] == [2, 0, 2]
    assert sum(n.kind == "empty mask" for n in notices) == 2
    text(tmp_path / "annotations/2.xml", voc_xml([("plate", (5, 4, 20, 9))]))
    got = masks_of(open_dataset(tmp_path, one_based=True))["2"][0][1]
    np.testing.assert_array_equal(got, box(4, 3, 20, 9))
    with pytest.raises(InputError, match="masks must be"):
        open_dataset(tmp_path, masks="x")
    with pytest.raises(DataError, match="SegmentationClass"):
        open_dataset(tmp_path, masks="segmentation")
    text(tmp_path / "annotations/2.xml", "<annotation><object><name>a</name></object></annotation>")
    with pytest.raises(DataError, match=r"2\.xml.*bndbox"):
        open_dataset(tmp_path)
    text(tmp_path / "annotations/2.xml", "<annotation>")
    with pytest.raises(DataError, match=r"2\.xml.*XML"):
        open_dataset(tmp_path)


def test_voc_boxes_although_there_are_masks(tmp_path):
    write_voc_segmentation(tmp_path)
    assert not mismatch(
        open_dataset(tmp_path, masks="boxes"), {i: [("cat", box(0, 0, 5, 5))] for i in ("1", "2", "10")}
    )


def test_voc_maps_that_were_saved_by_color(tmp_path):
    expected = write_voc_segmentation(tmp_path)
    for file in (*(tmp_path / "SegmentationClass").iterdir(), *(tmp_path / "SegmentationObject").iterdir()):
        index = read_index(file)
        Image.fromarray(palette()[index]).save(file)
    assert not mismatch(open_dataset(tmp_path), expected)
    Image.fromarray(np.full((*index.shape, 3), (1, 2, 3), np.uint8)).save(file)
    with pytest.raises(DataError, match="color image"):
        masks_of(open_dataset(tmp_path))


def test_voc_classes_without_objects(tmp_path):
    expected = write_voc_segmentation(tmp_path)
    for file in (tmp_path / "SegmentationObject").iterdir():
        file.unlink()
    merged = {i: [("cat", m[0][1] | m[1][1]), ("dog", m[2][1])] for i, m in expected.items()}
    assert not mismatch(open_dataset(tmp_path), merged)


@pytest.mark.parametrize("folder", ["annotations", "labels", "images"])
def test_labelme_in_folders(tmp_path, folder):
    expected = write_labelme(tmp_path)
    for i in expected:
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / f"{i}.jpg").rename(tmp_path / f"images/{i}.jpg")
        (tmp_path / f"{i}.json").rename(tmp_path / f"{folder}/{i}.json")
    assert not mismatch(open_dataset(tmp_path), expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"points": [[1, 2, 3]]}, "not a valid (polygon|circle|mask)"),
        ({"points": [["a", "b"]]}, "not a valid (polygon|circle|mask)"),
        ({"shape_type": "circle", "points": [[1, 2]]}, "not a valid (polygon|circle|mask)"),
        ({"shape_type": "mask", "mask": "%%%"}, "not a valid (polygon|circle|mask)"),
        ({"shape_type": "mask", "mask": base64.b64encode(b"x").decode()}, "shape 0"),
        ({"label": 3}, "imagePath"),
    ],
)
def test_labelme_refusals(tmp_path, change, words):
    write_labelme(tmp_path)
    content = json.loads((tmp_path / "2.json").read_text())
    content["shapes"][0].update(change)
    text(tmp_path / "2.json", content)
    with pytest.raises(DataError, match=rf"2\.json.*{words}"):
        masks_of(open_dataset(tmp_path))


def test_labelme_missing_image(tmp_path):
    write_labelme(tmp_path)
    (tmp_path / "2.jpg").unlink()
    assert [s.id for s in open_dataset(tmp_path)] == ["1", "10"]
    for i in (1, 10):
        (tmp_path / f"{i}.jpg").unlink()
    with pytest.raises(DataError, match="None of the images of 3"):
        open_dataset(tmp_path)
