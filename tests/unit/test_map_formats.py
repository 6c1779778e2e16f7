"""Details of layouts that store masks as maps: colors, void regions, missing names, parts, hostile files."""

import numpy as np
import pytest
from PIL import Image

from layouts import MAPS, SIZE, box, masks_of, mismatch, photo, save, text
from layouts.maps import (
    CAT,
    DOG,
    write_cellpose,
    write_cityscapes,
    write_color_map,
    write_cvat_masks,
    write_davis,
    write_dsb2018,
    write_mmseg,
    write_roboflow_masks,
)  # fmt: skip
from layouts.shapes import IDS, colored
from samtailor.data.color_maps import read_palette
from samtailor.data.dataset import detect, open_dataset
from samtailor.errors import DataError, InputError

# pycocotools' decode under NumPy 2; nothing of ours
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def parts(samples):
    return {sample.id: sample.part for sample in samples}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "name,r,g,b\ncat,250,50,83\ndog,51,221,255\n"),
        ("a.csv", "class;red;green;blue\ncat;250;50;83\ndog;51;221;255\n"),
        ("a.csv", 'class_name,class_color\ncat,250 50 83\ndog,"51 221 255"\n'),
        ("a.csv", "label,hex\ncat,#fa3253\ndog,#33DDFF\n"),
        ("a.json", '{"cat": [250, 50, 83], "dog": [51, 221, 255]}'),
        ("a.json", '{"classes": [{"title": "cat", "color": "#fa3253"}, {"title": "dog", "color": "#33ddff"}]}'),
        ("a.json", '[{"name": "cat", "color": [250, 50, 83]}, {"name": "dog", "color": [51, 221, 255]}]'),
        ("a.json", '{"(250, 50, 83)": "cat", "51,221,255": "dog"}'),
        ("a.txt", "250 50 83\tcat\n51 221 255\tdog\n"),
        ("a.txt", "# label:color_rgb:parts:actions\ncat:250,50,83::\ndog:51,221,255::\n"),
        ("a.txt", "cat:250,50,83\ndog:51,221,255\n"),
    ],
)
def test_palettes(tmp_path, name, content):
    text(tmp_path / name, content)
    assert read_palette(tmp_path / name) == {0xFA3253: "cat", 0x33DDFF: "dog"}


def test_a_label_map_without_colors_has_those_of_voc(tmp_path):
    text(tmp_path / "labelmap.txt", "# label:color_rgb:parts:actions\nbackground:::\ncat:::\ndog:::\n")
    assert read_palette(tmp_path / "labelmap.txt") == {0: "background", 0x800000: "cat", 0x008000: "dog"}


@pytest.mark.parametrize(
    "content", ["name,r,g,b\ncat,256,0,0\n", "name,r,g,b\ncat,a,0,0\n", "id,group\n1,2\n", "\n", "{}"]
)
def test_what_is_no_palette(tmp_path, content):
    text(tmp_path / "a.csv", content)
    with pytest.raises(DataError, match=r"a\.csv"):
        read_palette(tmp_path / "a.csv")


def test_two_classes_of_one_color_are_refused(tmp_path):
    text(tmp_path / "a.csv", "name,r,g,b\ncat,1,2,3\ndog,1,2,3\n")
    with pytest.raises(DataError, match=r"'cat' and 'dog'.*\(1, 2, 3\)"):
        read_palette(tmp_path / "a.csv")


@pytest.mark.parametrize("layout", ["color-map", "cvat-masks"])
def test_colors_without_a_class_are_refused(layout, tmp_path):
    MAPS[layout](tmp_path)
    file = next(tmp_path.glob("masks/2.png"), None) or tmp_path / "SegmentationClass/2.png"
    with Image.open(file) as image:
        values = np.asarray(image).copy()
    values[-1, -1] = (7, 8, 9)
    save(file, values)
    with pytest.raises(DataError, match=r"2\.png.*\(7, 8, 9\)"):
        masks_of(open_dataset(tmp_path))


def test_maps_with_a_palette_are_read_by_their_colors(tmp_path):
    expected = write_color_map(tmp_path)
    for i in IDS:
        file = tmp_path / f"masks/{i}.png"
        with Image.open(file) as image:
            save(file, image.quantize(8))
    assert not mismatch(open_dataset(tmp_path), expected)


def test_color_maps_in_folders_with_endings(tmp_path):
    text(tmp_path / "class_dict.csv", "name,r,g,b\ncat,250,50,83\nVoid,0,0,0\n")
    for part, name in (("train", "a"), ("val", "b"), ("test", "c")):
        photo(tmp_path / part / f"{name}.png")
        save(tmp_path / f"{part}_labels/{name}_L.png", colored([((250, 50, 83), CAT)]))
    assert detect(tmp_path) == "color-map"
    samples = open_dataset(tmp_path)
    assert not mismatch(
        samples, {f"{part}/{n}": [("cat", CAT)] for part, n in (("test", "c"), ("train", "a"), ("val", "b"))}
    )
    assert parts(samples) == {"train/a": "train", "val/b": "val", "test/c": "test"}


def test_binary_masks_of_classes_beside_a_palette_stay_binary(tmp_path):
    photo(tmp_path / "images/1.png")
    save(tmp_path / "masks/hair/1.png", CAT.astype(np.uint8) * 255)
    text(tmp_path / "class_dict.csv", "name,r,g,b\nhair,250,50,83\n")
    assert detect(tmp_path) == "folder"


def test_cvat_masks_without_objects_and_with_parts(tmp_path):
    write_cvat_masks(tmp_path)
    for file in (tmp_path / "SegmentationObject").iterdir():
        file.unlink()
    (tmp_path / "ImageSets/Segmentation/default.txt").unlink()
    text(tmp_path / "ImageSets/Segmentation/train.txt", "1\n2\n")
    text(tmp_path / "ImageSets/Segmentation/val.txt", "10\n")
    samples = open_dataset(tmp_path)
    assert not mismatch(samples, {str(i): [("dog", DOG), ("cat", CAT)] for i in IDS})
    assert parts(samples) == {"1": "train", "2": "train", "10": "val"}


def test_cvat_masks_without_images_say_what_to_do(tmp_path):
    write_cvat_masks(tmp_path)
    for file in (tmp_path / "JPEGImages").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="Export the task with images"):
        open_dataset(tmp_path)


def test_an_object_of_no_class_and_a_class_of_no_object_are_counted(tmp_path):
    write_cvat_masks(tmp_path)
    objects = [((9, 9, 9), box(0, 22, 5, 24)), ((1, 2, 3), DOG)]
    save(tmp_path / "SegmentationObject/2.png", colored(objects))
    account = open_dataset(tmp_path).account()
    assert account.agrees
    assert {e.kind: e.count for e in account.annotations.left_out} == {
        "object without class": 1,
        "class without object": 1,
    }


def test_cityscapes_truth_and_crowds(tmp_path):
    write_cityscapes(tmp_path)
    by_id = open_dataset(tmp_path)
    crowds = [a.label for a in by_id[0].annotations if a.crowd]
    assert crowds == ["car"]
    labels = open_dataset(tmp_path, truth="labelIds")
    assert [a.label for a in labels[0].annotations] == ["road", "person", "car"]
    assert {s.part for s in by_id} == {"train", "val"}
    with pytest.raises(InputError, match="truth"):
        open_dataset(tmp_path, truth="x")


def test_cityscapes_of_cvat(tmp_path):
    photo(tmp_path / "imgsFine/leftImg8bit/default/a_leftImg8bit.png")
    index = np.zeros(SIZE, np.uint16)
    index[CAT], index[DOG] = 1000, 2000
    save(tmp_path / "gtFine/default/a_gtFine_instanceIds.png", index)
    text(tmp_path / "label_colors.txt", "0 0 0 background\n250 50 83 cat\n51 221 255 big dog\n")
    assert not mismatch(open_dataset(tmp_path), {"default/a": [("cat", CAT & ~DOG), ("big dog", DOG)]})


def test_mmseg_without_names(tmp_path):
    write_mmseg(tmp_path)
    (tmp_path / "classes.txt").unlink()
    assert not mismatch(open_dataset(tmp_path), {id: [("1", DOG)] for id in ("train/1", "train/2", "val/10")})
    both = open_dataset(tmp_path, zero="class")
    assert {a.label for s in both for a in s.annotations} == {"0", "1"}


def test_mmseg_zero_and_lists(tmp_path):
    write_mmseg(tmp_path)
    background = open_dataset(tmp_path, zero="background")
    assert {a.label for s in background for a in s.annotations} == {"cat"}
    text(tmp_path / "classes.txt", "background\ndog\n")
    assert {a.label for s in open_dataset(tmp_path) for a in s.annotations} == {"dog"}
    assert parts(background) == {"train/1": "train", "train/2": "train", "val/10": "val"}
    text(tmp_path / "classes.txt", "cat\n")
    with pytest.raises(DataError, match="has no class name"):
        masks_of(open_dataset(tmp_path))


def test_pickles_of_cellpose_are_not_opened(tmp_path):
    write_cellpose(tmp_path)
    for i in IDS:
        (tmp_path / f"{i}_masks.png").unlink()
    assert detect(tmp_path) == "cellpose"
    with pytest.raises(DataError, match="pickles, which can run code"):
        open_dataset(tmp_path)


def test_cellpose_tiff(tmp_path):
    expected = write_cellpose(tmp_path)
    for i in IDS:
        with Image.open(tmp_path / f"{i}_masks.png") as image:
            values = np.asarray(image).astype(np.uint16)
        (tmp_path / f"{i}_masks.png").unlink()
        save(tmp_path / f"{i}_masks.tif", values)
    assert not mismatch(open_dataset(tmp_path), expected)


def test_a_part_without_images_does_not_hide_the_others(tmp_path):
    expected = write_roboflow_masks(tmp_path, ids=(1, 2))
    assert (tmp_path / "valid/_classes.csv").exists()
    assert not mismatch(open_dataset(tmp_path), expected)
    for file in (tmp_path / "train").glob("*.jpg"):
        file.unlink()
    with pytest.raises(DataError, match="No image has a mask"):
        open_dataset(tmp_path)


def test_dsb2018_from_inside_and_with_two_images(tmp_path):
    expected = write_dsb2018(tmp_path)
    inside = {id.removeprefix("stage1_train/"): masks for id, masks in expected.items()}
    assert detect(tmp_path / "stage1_train") == "dsb2018"
    assert not mismatch(open_dataset(tmp_path / "stage1_train"), inside)
    photo(tmp_path / "stage1_train/2/images/other.png")
    with pytest.raises(DataError, match="exactly one image"):
        open_dataset(tmp_path)


def test_folders_of_parts_are_not_images_of_dsb2018(tmp_path):
    for part in ("train", "val"):
        photo(tmp_path / part / "images/1.png")
        save(tmp_path / part / "masks/1.png", CAT.astype(np.uint8) * 255)
    from samtailor.data.formats import dsb2018

    assert not dsb2018.matches(tmp_path)


def test_roboflow_masks_with_a_value_that_is_not_listed(tmp_path):
    write_roboflow_masks(tmp_path)
    save(tmp_path / "train/2_mask.png", np.full(SIZE, 9, np.uint8))
    with pytest.raises(DataError, match=r"2_mask\.png: the value 9"):
        masks_of(open_dataset(tmp_path))


def test_davis_groups_parts_and_resolutions(tmp_path):
    write_davis(tmp_path)
    samples = open_dataset(tmp_path)
    assert {s.id: (s.group, s.part) for s in samples} == {
        "bear/00010": ("bear", "val"),
        "dog/00001": ("dog", "train"),
        "dog/00002": ("dog", "train"),
    }
    with pytest.raises(InputError, match="1080p"):
        open_dataset(tmp_path, resolution="1080p")
    with pytest.raises(InputError, match="2016"):
        open_dataset(tmp_path, year="2016")


def test_davis_void_and_youtube_vos(tmp_path):
    photo(tmp_path / "JPEGImages/seq/1.jpg")
    index = np.zeros(SIZE, np.uint8)
    index[CAT], index[0] = 1, 255
    save(tmp_path / "Annotations/seq/1.png", index)
    assert detect(tmp_path) == "davis"
    assert not mismatch(open_dataset(tmp_path), {"seq/1": [("object", CAT)]})
    save(tmp_path / "Annotations/seq/1.png", CAT.astype(np.uint8) * 255)  # DAVIS 2016
    assert not mismatch(open_dataset(tmp_path), {"seq/1": [("object", CAT)]})
