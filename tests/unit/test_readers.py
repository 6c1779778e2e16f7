"""Files as programs really write them: no mask, image or class disappears or changes without a reason."""

import base64
import io
import json
import struct
import unicodedata

import numpy as np
import pytest
from PIL import Image

from layouts import SIZE, box, masks_of, photo, save, text, voc_xml
from layouts.basic import write_labelme, write_yolo
from samtailor.data.check import check
from samtailor.data.dataset import open_dataset
from samtailor.data.image import read_image, read_index, read_mask
from samtailor.data.mask_values import inspect
from samtailor.data.pairing import pair
from samtailor.errors import DataError, InputError

# pycocotools' decode under NumPy 2; nothing of ours
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

A, B = box(4, 3, 20, 9), box(22, 12, 30, 20)
CORNERS = [4, 3, 20, 3, 20, 9, 4, 9]


def runs(mask):
    flat = mask.ravel(order="F").astype(int)
    edges = np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1, [flat.size]])
    return {"size": list(mask.shape), "counts": ([0] if flat[0] else []) + np.diff(edges).tolist()}


def coco(root, annotations, images=("p1.jpg", "p2.jpg"), size=SIZE, name="annotations/instances.json"):
    for k, file in enumerate(images):
        photo(root / "images" / file, seed=k)
    listed = [{"id": k, "file_name": f, "height": size[0], "width": size[1]} for k, f in enumerate(images, 1)]
    entries = [{"id": k, "category_id": 1, **entry} for k, entry in enumerate(annotations, 1)]
    text(root / name, {"images": listed, "annotations": entries, "categories": [{"id": 1, "name": "a"}]})


def same(root, expected, **options):
    got = masks_of(open_dataset(root, **options))
    assert list(got) == list(expected)
    for id, masks in expected.items():
        assert [label for label, _ in got[id]] == [label for label, _ in masks]
        for (_, mask), (_, want) in zip(got[id], masks, strict=True):
            np.testing.assert_array_equal(mask, want)


@pytest.mark.parametrize(
    "segmentation",
    [
        [CORNERS],
        CORNERS,
        [[[4, 3], [20, 3], [20, 9], [4, 9]]],
        [[4, 3], [20, 3], [20, 9], [4, 9]],
        [[{"x": 4, "y": 3}, {"x": 20, "y": 3}, {"x": 20, "y": 9}, {"x": 4, "y": 9}]],
        [[str(v) for v in CORNERS]],
        runs(A),
        [runs(A)],
        [runs(box(4, 3, 12, 9)), runs(box(12, 3, 20, 9))],
        [[4, 3, 20, 9]],
        [],
    ],
)
def test_shapes_of_coco(tmp_path, segmentation):
    """Polygons, points and run lengths in any nesting; a box where there is no polygon of three points."""
    coco(tmp_path, [{"image_id": 1, "segmentation": segmentation, "bbox": [4, 3, 16, 6]}])
    same(tmp_path, {"p1": [("a", A)], "p2": []})


def test_ids_of_coco_as_text(tmp_path):
    coco(tmp_path, [{"image_id": "1", "category_id": "1", "iscrowd": "0", "segmentation": [CORNERS]}])
    same(tmp_path, {"p1": [("a", A)], "p2": []})
    assert not open_dataset(tmp_path)[0].annotations[0].crowd


@pytest.mark.parametrize(
    ("entries", "crowd", "crowds"),
    [
        ([(runs(A), 1), (runs(B), 1)], "auto", [False, False]),  # every brush mask of CVAT
        ([(runs(A), 1), (runs(B), 1)], "keep", [True, True]),
        ([(runs(A), 1), (runs(B), 0)], "auto", [True, False]),  # the flag distinguishes
        ([(runs(A), 1), ([CORNERS], 0)], "auto", [False, False]),  # half of all objects are no crowds
        ([(runs(A), 1), *[([CORNERS], 0)] * 30], "auto", [True] + [False] * 30),
        ([(runs(A), 1), *[([CORNERS], 0)] * 30], "objects", [False] * 31),
    ],
)
def test_crowds_of_coco_are_decided_by_evidence(tmp_path, entries, crowd, crowds):
    coco(tmp_path, [{"image_id": 1, "segmentation": s, "iscrowd": c} for s, c in entries])
    assert [a.crowd for a in open_dataset(tmp_path, crowd=crowd)[0].annotations] == crowds
    kinds = {f.kind for f in check(tmp_path, crowd=crowd).findings}
    assert ("iscrowd without crowds" in kinds) == (crowd == "auto" and not any(crowds))
    assert ("crowd region" in kinds) == any(crowds)


def test_crowds_of_cvat_among_polygons(tmp_path):
    attributes = {"attributes": {"occluded": False}}
    entries = [{"image_id": 1, "segmentation": [CORNERS], "iscrowd": 0, **attributes} for _ in range(30)]
    coco(tmp_path, [*entries, {"image_id": 1, "segmentation": runs(B), "iscrowd": 1, **attributes}])
    assert not any(a.crowd for a in open_dataset(tmp_path)[0].annotations)


def test_annotations_of_coco_without_their_image(tmp_path):
    coco(tmp_path, [{"image_id": 1, "segmentation": [CORNERS]}, {"image_id": 99, "segmentation": [CORNERS]}])
    tally = open_dataset(tmp_path).account().annotations
    assert [(e.kind, e.count) for e in tally.left_out] == [("annotation of an unlisted image", 1)]
    assert "99" in tally.left_out[0].example


def test_images_of_coco_that_share_an_id(tmp_path):
    coco(tmp_path, [{"image_id": 1, "segmentation": [CORNERS]}])
    file = tmp_path / "annotations/instances.json"
    content = json.loads(file.read_text())
    content["images"][1]["id"] = 1
    text(file, content)
    account = open_dataset(tmp_path).account()
    assert account.agrees
    assert [(e.kind, e.count) for e in account.annotations.left_out] == [("image id listed twice", 1)]
    assert account.objects == 0


def test_images_of_coco_that_differ_in_their_suffix(tmp_path):
    coco(tmp_path, [{"image_id": 2, "segmentation": [CORNERS]}], images=("p1.jpg", "p1.png"))
    same(tmp_path, {"p1.jpg": [], "p1.png": [("a", A)]})


@pytest.mark.parametrize(
    ("listed", "disk"),
    [
        ("my%20photo.jpg", "my photo.jpg"),
        (unicodedata.normalize("NFC", "Müller.jpg"), unicodedata.normalize("NFD", "Müller.jpg")),
        (unicodedata.normalize("NFD", "Müller.jpg"), unicodedata.normalize("NFC", "Müller.jpg")),
        (r"C:\data\images\p1.jpg", "p1.jpg"),
    ],
)
def test_names_of_images_in_other_spellings(tmp_path, listed, disk):
    coco(tmp_path, [{"image_id": 1, "segmentation": [CORNERS]}], images=(listed.replace("\\", "_"),))
    (tmp_path / "images" / listed.replace("\\", "_")).rename(tmp_path / "images" / disk)
    file = tmp_path / "annotations/instances.json"
    text(file, json.loads(file.read_text()) | {"images": [{"id": 1, "file_name": listed, "height": 24, "width": 36}]})
    sample = open_dataset(tmp_path)[0]
    assert sample.source.name == disk
    assert [a.area for a in sample.annotations] == [A.sum()]


def test_one_coco_file_for_each_image(tmp_path):
    for name in ("p1", "q2"):
        coco(
            tmp_path,
            [{"image_id": 1, "segmentation": [CORNERS]}],
            images=(f"{name}.jpg",),
            name=f"annotations/{name}.json",
        )
    same(tmp_path, {"p1": [("a", A)], "q2": [("a", A)]})
    assert {sample.part for sample in open_dataset(tmp_path)} == {None}


def test_coco_files_of_parts_are_the_split(tmp_path):
    for part in ("train", "val"):
        coco(
            tmp_path,
            [{"image_id": 1, "segmentation": [CORNERS]}],
            images=(f"{part}1.jpg",),
            name=f"annotations/{part}.json",
        )
    assert {sample.id: sample.part for sample in open_dataset(tmp_path)} == {"train1": "train", "val1": "val"}


def test_sizes_of_coco_before_the_exif_rotation_and_coordinates_after_it(tmp_path):
    """The file states 36x24, the image is shown as 24x36, and the polygons reach below row 24."""
    polygon = [5, 10, 15, 10, 15, 34, 5, 34]
    coco(tmp_path, [{"image_id": 1, "segmentation": [polygon]}], images=("p1.jpg",))
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(tmp_path / "images/p1.jpg", exif=exif)
    same(tmp_path, {"p1": [("a", box(5, 10, 15, 34, (36, 24)))]})


def test_a_declared_size_is_compared_with_the_image_first(tmp_path):
    coco(tmp_path, [{"image_id": 1, "segmentation": {"size": [2400000, 3600000], "counts": [8640000000000]}}])
    with pytest.raises(DataError, match="annotation 1"):
        masks_of(open_dataset(tmp_path))


def labelme(root, shapes, **more):
    sheet = {"imagePath": "p1.jpg", "imageHeight": 24, "imageWidth": 36, "shapes": shapes, **more}
    text(root / "p1.json", sheet)


def embedded(size=SIZE, noise=0):
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)).save(stream, "PNG")
    return base64.b64encode(stream.getvalue() + bytes(noise)).decode()


SHAPE = {"label": "a", "shape_type": "polygon", "points": [[4, 3], [20, 3], [20, 9], [4, 9]]}


def test_labelme_with_a_large_embedded_image_before_the_shapes(tmp_path):
    photo(tmp_path / "p1.jpg")
    text(tmp_path / "p1.json", {"imageData": embedded(noise=2_000_000), "imagePath": "p1.jpg", "shapes": [SHAPE]})
    same(tmp_path, {"p1": [("a", A)]})


def test_labelme_with_the_embedded_image_alone(tmp_path):
    labelme(tmp_path, [SHAPE], imageData=embedded())
    sample = open_dataset(tmp_path)[0]
    assert sample.image.shape == (*SIZE, 3)
    same(tmp_path, {"p1": [("a", A)]})
    account = check(tmp_path).account
    assert account.agrees
    assert (account.images.total, account.images.read) == (1, 1)


def test_labels_of_labelme_that_mean_no_class(tmp_path):
    photo(tmp_path / "p1.jpg")
    corners = {"label": "a", "shape_type": "rotation", "points": [[22, 12], [30, 12], [30, 20], [22, 20]]}
    labelme(tmp_path, [SHAPE, corners, {**SHAPE, "label": "__ignore__"}, {**SHAPE, "label": "_background_"},
                       {**SHAPE, "shape_type": "cuboid"}])  # fmt: skip
    same(tmp_path, {"p1": [("a", A), ("a", B)]})
    tally = open_dataset(tmp_path).account().annotations
    assert {e.kind: e.count for e in tally.left_out} == {"label without class": 2, "unknown shape type": 1}


def test_labelme_reads_no_image_outside_the_data_set(tmp_path):
    photo(tmp_path / "outside.jpg")
    write_labelme(tmp_path / "data")
    text(tmp_path / "data/2.json", {"imagePath": "../outside.jpg", "shapes": [SHAPE]})
    assert [s.id for s in open_dataset(tmp_path / "data")] == ["1", "10"]


def test_polygons_rotated_boxes_and_exchanged_corners_of_voc(tmp_path):
    photo(tmp_path / "images/1.jpg")
    photo(tmp_path / "images/2.jpg", seed=1)
    roboflow = "".join(f"<{'xy'[i % 2]}{i // 2 + 1}>{v}</{'xy'[i % 2]}{i // 2 + 1}>" for i, v in enumerate(CORNERS))
    outer = "<bndbox><xmin>0</xmin><ymin>0</ymin><xmax>36</xmax><ymax>24</ymax></bndbox>"
    points = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in ((22, 12), (30, 12), (30, 20), (22, 20)))
    turned = "<robndbox><cx>12</cx><cy>6</cy><w>6</w><h>16</h><angle>1.5707963267948966</angle></robndbox>"
    shapes = [f"{outer}<polygon>{roboflow}</polygon>", f"<polygon>{points}</polygon>", turned]
    objects = "".join(f"<object><name>a</name>{shape}</object>" for shape in shapes)
    text(tmp_path / "annotations/1.xml", f"<annotation>{objects}</annotation>")
    text(tmp_path / "annotations/2.xml", voc_xml([("a", (20, 9, 4, 3))]))
    same(tmp_path, {"1": [("a", A), ("a", B), ("a", A)], "2": [("a", A)]})


@pytest.mark.parametrize(
    ("name", "lines", "names"),
    [
        ("class_names.txt", "_background_\nscrew\nnut", ["screw", "nut"]),
        ("classes.txt", "screw\nnut", ["screw", "nut"]),
        ("labels.txt", "__ignore__\n_background_\nscrew\nnut", ["screw", "nut"]),
        ("classes.txt", "1: screw\n2: nut", ["screw", "nut"]),
        ("labels.json", '["null", "screw", "nut"]', ["screw", "nut"]),
    ],
)
@pytest.mark.parametrize("folders", [("JPEGImages", "SegmentationClass"), ("images", "labels"), ("images", "masks")])
def test_class_maps_with_a_list_of_names(tmp_path, name, lines, names, folders):
    index = np.zeros(SIZE, np.uint8)
    index[A], index[B] = 1, 2
    for k in (1, 2):
        photo(tmp_path / folders[0] / f"{k}.jpg", seed=k)
        save(tmp_path / folders[1] / f"{k}.png", index)
    text(tmp_path / name, lines)
    same(tmp_path, {str(k): [(names[0], A), (names[1], B)] for k in (1, 2)})


@pytest.mark.parametrize("names", ["names: [yes, no]", "names: {0: yes, 1: no}", "names:\n- yes\n- no"])
def test_names_of_yolo_are_text(tmp_path, names):
    write_yolo(tmp_path)
    text(tmp_path / "data.yaml", names)
    assert [a.label for a in open_dataset(tmp_path)[0].annotations] == ["no", "yes"]


@pytest.mark.parametrize("bad", ["names: [a, [b]]", "names: {x: a}", "names: 3", "names: [a"])
def test_names_of_yolo_that_are_none(tmp_path, bad):
    write_yolo(tmp_path)
    text(tmp_path / "data.yaml", bad)
    with pytest.raises(DataError, match=r"data\.yaml"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("yaml", "points", "options"),
    [
        ("names: [a]\nkpt_shape: [2, 2]", "0.1 0.2 0.3 0.4", {}),
        ("names: [a]", "0.1 0.2 2 0.3 0.4 1", {}),
        ("names: [a]", "0.1 0.2 0.3 0.4", {"keypoints": "2x2"}),
    ],
)
def test_pose_files_of_yolo_are_boxes(tmp_path, yaml, points, options):
    text(tmp_path / "data.yaml", yaml)
    for k in (1, 2):
        photo(tmp_path / f"images/{k}.jpg", seed=k)
        text(tmp_path / f"labels/{k}.txt", f"0 {12 / 36} {6 / 24} {16 / 36} {6 / 24} {points}\n")
    same(tmp_path, {"1": [("a", A)], "2": [("a", A)]}, **options)
    with pytest.raises(InputError, match="17x3"):
        open_dataset(tmp_path, keypoints="many")


def test_notes_of_label_studio_are_no_coco_file(tmp_path):
    write_yolo(tmp_path)
    text(tmp_path / "notes.json", {"categories": [{"id": 0, "name": "door"}], "info": {"year": 2024}})
    assert open_dataset(tmp_path).format == "yolo"


def pairs(root, mask, images="images", masks="masks", ending="png"):
    for k in (1, 2):
        photo(root / images / f"{k}.jpg", seed=k)
        save(root / masks / f"{k}.{ending}", mask)


def numbered(dtype, *values):
    index = np.zeros(SIZE, dtype)
    for value, mask in zip(values, (A, B, box(0, 20, 6, 24)), strict=False):
        index[mask] = value
    return index


@pytest.mark.parametrize("masks", ["masks", "labels"])
@pytest.mark.parametrize(("dtype", "values"), [(np.uint16, (1, 2)), (np.uint16, (300, 7)), (np.uint8, (3, 9))])
def test_instance_maps_under_both_names(tmp_path, masks, dtype, values):
    pairs(tmp_path, numbered(dtype, *values), masks=masks)
    expected = [mask for _, mask in sorted(zip(values, (A, B), strict=True), key=lambda pair: pair[0])]
    same(tmp_path, {str(k): [("object", mask) for mask in expected] for k in (1, 2)})


def test_void_of_instance_maps(tmp_path):
    pairs(tmp_path, numbered(np.uint8, 1, 2, 255), masks="labels")
    same(tmp_path, {str(k): [("object", A), ("object", B)] for k in (1, 2)})
    tally = open_dataset(tmp_path).account().annotations
    assert [(e.kind, e.count) for e in tally.left_out] == [("void region", 2)]
    assert len(open_dataset(tmp_path, ignore=[])[0].annotations) == 3


def test_values_can_be_stated(tmp_path):
    pairs(tmp_path, numbered(np.uint8, 1, 2))
    same(tmp_path, {str(k): [("object", A | B)] for k in (1, 2)}, values="binary")
    with pytest.raises(DataError, match="class names"):
        open_dataset(tmp_path, values="classes")


def test_maps_of_scattered_values_are_not_guessed(tmp_path):
    index = np.zeros(SIZE, np.uint8)
    index[2:6, 2:6] = index[2:6, 20:26] = index[16:20, 20:26] = 1
    index[10:14, 2:6] = index[10:14, 20:26] = 2
    pairs(tmp_path, index)
    with pytest.raises(DataError, match="values=instances or values=binary"):
        open_dataset(tmp_path)


def soft(mask):
    import cv2

    return cv2.GaussianBlur(mask.astype(np.float32) * 255, (5, 5), 1.2).round().astype(np.uint8)


def test_soft_masks_are_cut_at_half(tmp_path):
    pairs(tmp_path, soft(A))
    assert abs(int(open_dataset(tmp_path)[0].annotations[0].mask.sum()) - int(A.sum())) <= 8
    assert {f.kind: f.severity for f in check(tmp_path).findings}["soft mask"] == "warning"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (A.astype(np.uint8), "binary"),
        (A * np.uint8(255), "binary"),
        (np.zeros(SIZE, np.uint8), "empty"),
        (soft(A), "soft"),
        (np.round(np.linspace(0, 255, 36)[None].repeat(24, 0)).astype(np.uint8), "soft"),
        (soft(A).astype(np.uint16) * 257, "soft"),
        ((soft(A) / 255).astype(np.float32), "soft"),
        (numbered(np.uint8, 1, 2), "numbers"),
        (numbered(np.uint8, 100, 200), "numbers"),
        (numbered(np.uint8, 128, 255), "numbers"),
        (np.kron(np.arange(1, 61, dtype=np.uint16).reshape(6, 10), np.ones((5, 5), np.uint16)), "numbers"),
    ],
)
def test_what_values_of_masks_mean(values, kind):
    assert inspect(values).kind == kind


def test_tiff_masks_whose_zero_is_white(tmp_path):
    inverted = Image.fromarray(255 - A * np.uint8(255))  # what Pillow shows of stored values with 255 on the object
    stream = io.BytesIO()
    Image.fromarray(A * np.uint8(255)).save(stream, "TIFF")
    one, zero = (struct.pack("<HHII", 262, 3, 1, value) for value in (1, 0))  # PhotometricInterpretation
    data = stream.getvalue().replace(one, zero)
    stored = np.asarray(Image.open(io.BytesIO(data)))
    assert np.array_equal(stored, np.asarray(inverted)), "Pillow inverts these files, or this test tests nothing"
    (tmp_path / "a.tif").write_bytes(data)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), A)
    np.testing.assert_array_equal(read_index(tmp_path / "a.tif"), A * 255)


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_colors_of_more_than_eight_bits_keep_their_brightness(tmp_path, bits):
    import cv2

    gray = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    gray[0, 0] = 255
    deep = (gray.astype(np.uint16) << (bits - 8)) | ((1 << (bits - 8)) - 1)
    for name in ("a.png", "a.tif"):
        assert cv2.imwrite(str(tmp_path / name), deep[..., ::-1])
        np.testing.assert_array_equal(read_image(tmp_path / name), gray)
    assert cv2.imwrite(str(tmp_path / "f.tif"), (gray[..., ::-1] / 255).astype(np.float32))
    np.testing.assert_array_equal(read_image(tmp_path / "f.tif"), gray)


def test_heic_without_its_package_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    for k in (1, 2):
        text(tmp_path / f"images/{k}.HEIC", "ftypheic")
        save(tmp_path / f"masks/{k}.png", A)
    report = check(tmp_path)
    assert (report.images, report.account.images.read) == (2, 0)
    assert "pillow-heif" in report.findings[0].examples[0]


@pytest.mark.parametrize(
    ("images", "masks", "rule", "sure"),
    [
        (["1", "2", "10"], ["1", "2", "10"], "mask name = image name", True),
        (["1", "2", "10"], ["1_GT", "2_GT", "10_GT"], "mask name = image name + '_GT'", True),
        (["21_training", "22_training"], ["21_manual1", "22_manual1"], "'{}_training' belongs to '{}_manual1'", True),
        (["p1_image", "p2_image"], ["p1", "p2"], "image name = mask name + '_image'", True),
        (["a", "b"], ["a_1", "a_2", "b_1"], "several masks of an image: image name, then a number", True),
        (["img_1", "img_2"], ["mask_001", "mask_002"], "the numbers in the names are the same", False),
        (["1", "2"], ["1_GT", "2_GT", "3_GT"], "mask name = image name + '_GT'", False),
    ],
)
def test_the_pattern_of_names_is_discovered(images, masks, rule, sure):
    pairing = pair(images, masks)
    assert (pairing.rule, pairing.sure) == (rule, sure)
    assert list(pairing.masks) == images


def test_names_without_a_pattern():
    assert pair(["x", "y"], ["u", "v"]) is None


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/{}.jpg", "groundtruth/{}.png"),
        ("photos/{}.jpg", "photos_mask/{}.png"),
        ("images/{}_training.tif", "1st_manual/{}_manual1.gif"),
        ("{}.jpg", "{}.png"),
        ("{}.jpg", "{}_GT.png"),
        ("x/{}.png", "y/{}.png"),
    ],
)
def test_images_and_masks_under_any_names(tmp_path, image, mask):
    for k in (21, 22, 23):
        photo(tmp_path / image.format(k), (60, 80), seed=k)
        save(tmp_path / mask.format(k), box(10, 10, 40, 40, (60, 80)) * np.uint8(255))
    samples = open_dataset(tmp_path)
    assert samples.format == "pairs"
    assert [a.area for sample in samples for a in sample.annotations] == [900] * 3
    layout = check(tmp_path).account.layout
    assert any("distinguished" in line or "are the masks" in line for line in layout)
    assert any(line.endswith("certain") for line in layout)
    stated = open_dataset(tmp_path, format="pairs", pair=f"{image}:{mask}")
    assert [a.area for sample in stated for a in sample.annotations] == [900] * 3


def test_two_folders_of_masks_are_not_guessed(tmp_path):
    for k in (1, 2):
        photo(tmp_path / f"images/{k}.jpg", seed=k)
        for reader in ("manual1", "manual2"):
            save(tmp_path / f"{reader}/{k}.png", A * np.uint8(255))
    with pytest.raises(DataError, match=r"manual1, manual2.*pair"):
        open_dataset(tmp_path)
    assert len(open_dataset(tmp_path, format="pairs", pair="images/{}.jpg:manual2/{}")) == 2
    with pytest.raises(InputError, match="IMAGES:MASKS"):
        open_dataset(tmp_path, format="pairs", pair="images")


def test_numbers_of_touching_objects_in_reading_order_are_no_soft_mask():
    numbers = 1 + np.repeat(np.repeat(np.arange(121, dtype=np.uint8).reshape(11, 11), 20, 0), 20, 1)
    assert inspect(numbers).kind == "numbers"
    y, x = np.mgrid[:220, :220]
    gradient = np.clip(255 - 1.2 * np.hypot(y - 110, x - 110), 0, 255).astype(np.uint8)
    assert inspect(gradient).kind == "soft"
