"""Every layout, written here and read back: the masks come out exactly; what is wrong is refused in words."""

import base64
import io
import json
import pickle
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from samtailor import registry
from samtailor.data.dataset import class_names, detect, open_dataset
from samtailor.data.notices import collected
from samtailor.errors import DataError, InputError

# pycocotools' decode under NumPy 2; nothing of ours
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

SIZE = (24, 36)


def blob(seed, size=SIZE):
    """A ragged mask in several pieces."""
    mask = np.random.default_rng(seed).random(size) > 0.8
    mask[4:15, 5 + seed % 7 : 25] = True
    return mask


def box(x0, y0, x1, y1, size=SIZE):
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def save(path, values, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    image.save(path, **options)


def photo(path, size=SIZE, seed=0, **options):
    save(path, np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8), **options)


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def masks_of(samples):
    return {s.id: [(a.label, a.mask) for a in s.annotations] for s in samples}


def mismatch(samples, expected):
    """The first difference in ids, labels or masks (and their order), in words; empty when there is none."""
    got = masks_of(samples)
    if list(got) != list(expected):
        return f"ids {list(got)}, not {list(expected)}"
    for id, wanted in expected.items():
        labels, hoped = [label for label, _ in got[id]], [label for label, _ in wanted]
        if labels != hoped:
            return f"{id}: labels {labels}, not {hoped}"
        for (label, mask), (_, want) in zip(got[id], wanted, strict=True):
            if not np.array_equal(mask, want):
                return f"{id}: {label!r} has a mask {mask.shape} of {mask.sum()} px, not {want.shape} of {want.sum()}"
    return ""


# ---------------------------------------------------------------------------------------------------- writers


def write_folder(root):
    for i in (1, 2, 10):
        photo(root / f"images/{i}.jpg")
        save(root / f"masks/{i}.png", blob(i).astype(np.uint8) * 255)
    return {str(i): [("object", blob(i))] for i in (1, 2, 10)}


def write_class_folders(root):
    expected = {}
    for i in (1, 2, 10):
        photo(root / f"images/{i}.png")
        expected[str(i)] = []
        for k, name in enumerate(("hair", "skin")):
            if (i, name) != (2, "hair"):  # a part may be absent
                save(root / f"masks/{name}/{i}.png", blob(i + k).astype(np.uint8))
                expected[str(i)].append((name, blob(i + k)))
    return expected


def write_labelmap(root):
    expected = {}
    text(root / "labels.json", ["null", "roof", "door", "window"])
    for i in (1, 2, 10):
        index = np.random.default_rng(i).integers(0, 4, SIZE, dtype=np.uint8)
        index[index == 1 + i % 2] = 0  # not every class is in every picture
        index[:2] = 255
        photo(root / f"images/{i}.png")
        save(root / f"labels/{i}.png", index)
        names = [(1, "roof"), (2, "door"), (3, "window")]
        expected[str(i)] = [(name, index == value) for value, name in names if (index == value).any()]
    return expected


def write_instances(root):
    expected = {}
    for i in (1, 2, 10):
        index = np.zeros(SIZE, np.uint16)
        ids = [1, 7, 300, 65535]
        for k, value in enumerate(ids):
            index[2 + i : 9 + i, 1 + 9 * k : 8 + 9 * k] = value
        photo(root / f"images/{i}.png")
        save(root / f"labels/{i}.png", index)
        expected[str(i)] = [("object", index == value) for value in ids]
    return expected


def uncompressed(mask):
    flat = mask.ravel(order="F").astype(int)
    edges = np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1, [flat.size]])
    return ([0] if flat[0] else []) + np.diff(edges).tolist()


def write_coco(root):
    from pycocotools import mask as coco

    images, annotations, expected = [], [], {}
    for i in (1, 2, 10):
        photo(root / f"images/{i}.png")
        images.append({"id": 100 + i, "file_name": f"{i}.png", "height": SIZE[0], "width": SIZE[1]})
        packed = coco.encode(np.asfortranarray(blob(i + 2).astype(np.uint8)))["counts"].decode()
        shapes = [
            (1, [[4, 3, 20, 3, 20, 9, 4, 9], [22, 12, 30, 12, 30, 20, 22, 20]], 0),
            (3, {"size": list(SIZE), "counts": uncompressed(blob(i))}, 1),
            (3, {"size": list(SIZE), "counts": packed}, 0),
        ]
        for category, shape, crowd in shapes:
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": 100 + i,
                    "category_id": category,
                    "iscrowd": crowd,
                    "segmentation": shape,
                }
            )
        two = box(4, 3, 20, 9) | box(22, 12, 30, 20)
        expected[str(i)] = [("cat", two), ("dog", blob(i)), ("dog", blob(i + 2))]
    categories = [{"id": 1, "name": "cat"}, {"id": 3, "name": "dog"}]
    text(root / "annotations/instances.json", {"images": images, "annotations": annotations, "categories": categories})
    return expected


def write_yolo(root):
    expected = {}
    text(root / "data.yaml", "path: .\nnames:\n  0: door\n  1: sign\n")
    for i in (1, 2, 10):
        photo(root / f"images/{i}.png")
        w, h = SIZE[1], SIZE[0]
        lines = [f"1 {10 / w} {8 / h} {12 / w} {6 / h}"]
        lines.append("0 " + " ".join(str(v) for v in (4 / w, 3 / h, 20 / w, 3 / h, 20 / w, 9 / h, 4 / w, 9 / h)))
        text(root / f"labels/{i}.txt", "\n".join(lines) + "\n")
        expected[str(i)] = [("sign", box(4, 5, 16, 11)), ("door", box(4, 3, 20, 9))]
    return expected


def voc_xml(objects, size=SIZE):
    boxes = "".join(
        f"<object><name>{n}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox>"
        "</object>"
        for n, (x0, y0, x1, y1) in objects
    )
    size_tag = f"<size><width>{size[1]}</width><height>{size[0]}</height></size>" if size else ""
    return f"<annotation>{size_tag}{boxes}</annotation>"


def write_voc(root):
    expected = {}
    for i in (1, 2, 10):
        photo(root / f"images/{i}.png")
        text(root / f"annotations/{i}.xml", voc_xml([("plate", (4, 3, 20, 9)), ("car", (1.0, 2.0, 30.4, 20.2))]))
        expected[str(i)] = [("plate", box(4, 3, 20, 9)), ("car", box(1, 2, 30, 20))]
    return expected


def write_voc_segmentation(root):
    expected = {}
    for i in (1, 2, 10):
        photo(root / f"JPEGImages/{i}.png")
        text(root / f"Annotations/{i}.xml", voc_xml([("cat", (0, 0, 5, 5))]))
        classes, objects = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
        shapes = [("cat", 8, box(1, 1, 9, 9)), ("cat", 8, box(12, 1, 20, 9)), ("dog", 12, box(5, 12, 25, 20))]
        for k, (_, value, mask) in enumerate(shapes, 1):
            classes[mask], objects[mask] = value, k
        for name, values in (("SegmentationClass", classes), ("SegmentationObject", objects)):
            values[23] = 255
            image = Image.fromarray(values)
            image.putpalette(list(np.random.default_rng(0).integers(0, 256, 768)))
            save(root / name / f"{i}.png", image)
        expected[str(i)] = [(name, mask) for name, _, mask in shapes]
    return expected


def write_labelme(root):
    expected = {}
    part = blob(3, (10, 12))
    stream = io.BytesIO()
    Image.fromarray(part).save(stream, "PNG")
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    bitmap = np.zeros(SIZE, bool)
    bitmap[5:15, 8:20] = part
    for i in (1, 2, 10):
        photo(root / f"{i}.jpg")
        shapes = [
            {"label": "a", "shape_type": "polygon", "points": [[4, 3], [20, 3], [20, 9], [4, 9]], "group_id": None},
            {"label": "b", "shape_type": "rectangle", "points": [[30, 20], [22, 12]]},
            {"label": "c", "shape_type": "circle", "points": [[12.5, 10.5], [12.5, 16.5]]},
            {
                "label": "d",
                "shape_type": "mask",
                "points": [[8, 5], [19, 14]],
                "mask": base64.b64encode(stream.getvalue()).decode(),
            },
            {"label": "e", "shape_type": "rectangle", "points": [[0, 0], [3, 3]], "group_id": 4},
            {"label": "e", "shape_type": "rectangle", "points": [[9, 0], [12, 3]], "group_id": 4},
            {"label": "e", "shape_type": "point", "points": [[9, 0]]},
        ]
        sheet = {"version": "5", "shapes": shapes, "imagePath": f"{i}.jpg", "imageHeight": 24, "imageWidth": 36}
        text(root / f"{i}.json", sheet)
        disc = (columns - 12.5) ** 2 + (rows - 10.5) ** 2 <= 36
        expected[str(i)] = [
            ("a", box(4, 3, 20, 9)),
            ("b", box(22, 12, 30, 20)),
            ("c", disc),
            ("d", bitmap),
            ("e", box(0, 0, 3, 3) | box(9, 0, 12, 3)),
        ]
    return expected


WRITERS = {
    "folder": write_folder,
    "class folders": write_class_folders,
    "labelmap": write_labelmap,
    "instances": write_instances,
    "coco": write_coco,
    "yolo": write_yolo,
    "voc": write_voc,
    "voc segmentation": write_voc_segmentation,
    "labelme": write_labelme,
}
FORMATS = {"class folders": "folder", "voc segmentation": "voc"}


@pytest.fixture(params=WRITERS)
def written(request, tmp_path):
    return request.param, tmp_path, WRITERS[request.param](tmp_path)


# ------------------------------------------------------------------------------------- properties of every layout


def test_every_format_of_the_registry_is_tested():
    assert {FORMATS.get(name, name) for name in WRITERS} == set(registry.names("data.formats"))


def test_read_back_exactly_and_found_by_itself(written):
    name, root, expected = written
    assert detect(root) == FORMATS.get(name, name)
    samples = open_dataset(root)
    assert not mismatch(samples, expected)
    for sample in samples:
        assert sample.image.shape == (*SIZE, 3)
        assert sample.source.is_file()
    assert class_names(samples) == sorted({label for masks in expected.values() for label, _ in masks})


def test_only_the_classes_asked_for(written):
    name, root, expected = written
    label = expected["1"][-1][0]
    assert not mismatch(
        open_dataset(root, classes=[label]), {k: [m for m in v if m[0] == label] for k, v in expected.items()}
    )
    if name not in ("folder", "instances"):  # layouts with names of their own
        with pytest.raises(InputError, match=rf"no class '{label}x'.*{label}"):
            open_dataset(root, classes=[label + "x"])


def test_nothing_is_read_before_it_is_asked_for_and_workers_can_have_it(written):
    name, root, expected = written
    samples = pickle.loads(pickle.dumps(open_dataset(root)))
    assert not mismatch(samples, expected)
    if name == "instances":
        return
    for sample in samples:
        sample.source.write_bytes(b"broken")
    for sample in open_dataset(root):
        with pytest.raises(DataError, match=sample.source.name):
            _ = sample.image


def test_layouts_survive_junk_that_systems_leave(written):
    _, root, expected = written
    for folder in [root, *(f for f in root.rglob("*") if f.is_dir())]:
        (folder / ".DS_Store").write_bytes(b"\0\1")
        (folder / "._1.png").write_bytes(b"\0\1")
        (folder / "Thumbs.db").write_bytes(b"\0\1")
    assert not mismatch(open_dataset(root), expected)


def test_exif_rotated_pictures_take_their_masks_along(written):
    """Masks drawn on the picture as stored are turned with it, in every layout."""
    name, root, expected = written
    exif = Image.Exif()
    exif[0x0112] = 6
    for sample in open_dataset(root):
        with Image.open(sample.source) as image:
            image.load()
        image.save(sample.source, exif=exif)
    if name.startswith("yolo"):
        return  # shares of the size belong to the picture as it is shown
    with collected() as notices:
        got = masks_of(open_dataset(root))
    assert {n.kind for n in notices} >= {"mask turned"}
    for id, masks in expected.items():
        for (_, mask), (_, want) in zip(got[id], masks, strict=True):
            np.testing.assert_array_equal(mask, np.rot90(want, -1))


@pytest.mark.parametrize("layout", ["folder", "class folders", "labelmap", "instances", "voc segmentation"])
def test_small_maps_are_resized_with_a_notice_and_another_aspect_is_refused(layout, tmp_path):
    expected = WRITERS[layout](tmp_path)
    for sample in open_dataset(tmp_path):
        photo(sample.source, (SIZE[0] * 3, SIZE[1] * 3))
    with collected() as notices:
        assert not mismatch(
            open_dataset(tmp_path),
            {k: [(n, np.kron(m, np.ones((3, 3))) > 0) for n, m in v] for k, v in expected.items()},
        )
    assert {n.kind for n in notices} >= {"mask resized"}
    photo(open_dataset(tmp_path)[0].source, (SIZE[0] * 3, SIZE[1] * 2))
    with pytest.raises(DataError, match="another aspect"):
        masks_of(open_dataset(tmp_path))


@pytest.mark.parametrize("layout", ["coco", "voc", "labelme"])
def test_shapes_for_another_size_are_brought_along(layout, tmp_path):
    expected = WRITERS[layout](tmp_path)
    for sample in open_dataset(tmp_path):
        photo(sample.source, (SIZE[0] * 2, SIZE[1] * 2))
    assert not mismatch(
        open_dataset(tmp_path), {k: [(n, np.kron(m, np.ones((2, 2))) > 0) for n, m in v] for k, v in expected.items()}
    )


# ------------------------------------------------------------------------------------------------ opening


def test_no_layout_says_what_was_looked_for(tmp_path):
    photo(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"(?s)none of the known layouts.*coco:.*folder:.*yolo:.*celebamask-hq"):
        open_dataset(tmp_path)
    with pytest.raises(DataError, match="no folder"):
        open_dataset(tmp_path / "nowhere")


def test_a_folder_above_the_data_set(tmp_path):
    write_folder(tmp_path / "train")
    with pytest.raises(DataError, match=r"train is folder\. Give that folder"):
        open_dataset(tmp_path)


def test_two_layouts_are_ambiguous(tmp_path):
    write_folder(tmp_path)
    write_coco(tmp_path)
    with pytest.raises(DataError, match=r"coco or folder.*format="):
        open_dataset(tmp_path)
    assert len(open_dataset(tmp_path, format="coco")) == 3


def test_unknown_words_are_refused_with_the_known_ones(tmp_path):
    write_class_folders(tmp_path)
    with pytest.raises(InputError, match=r"Did you mean 'hair'"):
        open_dataset(tmp_path, classes=["hiar"])
    with pytest.raises(InputError, match="list of names"):
        open_dataset(tmp_path, classes="hair")
    with pytest.raises(InputError, match=r"no option 'mask'.*masks"):
        open_dataset(tmp_path, mask="x")
    with pytest.raises(InputError, match="folder"):
        open_dataset(tmp_path, format="foldr")


def test_natural_order_not_that_of_text(tmp_path):
    """Vikram Shenoy's "last 100" differs by 79 pictures between the two orders."""
    for i in (1, 2, 9, 10, 100, 21):
        photo(tmp_path / f"images/{i}.png")
        save(tmp_path / f"masks/{i}.png", blob(i))
    assert [s.id for s in open_dataset(tmp_path)] == ["1", "2", "9", "10", "21", "100"]


@pytest.mark.parametrize(
    ("rule", "groups"),
    [
        ("prefix:2", ["p1", "p1", "p2"]),
        (r"regex:p(\d)", ["1", "1", "2"]),
        (r"regex:p1", ["p1", "p1", None]),
        ("folder", ["", "", ""]),
        ("csv:my.csv", ["x", "y", "x"]),
        (None, ["u", "u", "v"]),
    ],
)
def test_groups(tmp_path, rule, groups):
    ids = ["p1_a", "p1_b", "p2_a"]
    for id in ids:
        photo(tmp_path / f"images/{id}.png")
        save(tmp_path / f"masks/{id}.png", blob(1))
    text(tmp_path / "my.csv", "id,group\n" + "".join(f"{i},{g}\n" for i, g in zip(ids, "xyx", strict=True)))
    text(tmp_path / "groups.csv", "group,id\n" + "".join(f"{g},{i}\n" for i, g in zip(ids, "uuv", strict=True)))
    assert [s.group for s in open_dataset(tmp_path, group=rule)] == groups


@pytest.mark.parametrize(
    ("rule", "error", "words"),
    [
        ("prefix:x", InputError, "number of characters"),
        ("regex:(", InputError, "regular expression"),
        ("regex:nothing", InputError, "fits no picture"),
        ("person", InputError, "Unknown group rule"),
        ("csv:none.csv", DataError, "cannot be read"),
        ("csv:short.csv", DataError, "no group for the picture '2'"),
        ("csv:bad.csv", DataError, "columns id and group"),
    ],
)
def test_wrong_groups(tmp_path, rule, error, words):
    write_folder(tmp_path)
    text(tmp_path / "short.csv", "id,group\n1,a\n")
    text(tmp_path / "bad.csv", "name,group\n1,a\n")
    with pytest.raises(error, match=words):
        open_dataset(tmp_path, group=rule)


# ------------------------------------------------------------------------------------------------ one layout each


def test_folder_partners(tmp_path):
    write_folder(tmp_path)
    photo(tmp_path / "images/alone.jpg")
    save(tmp_path / "masks/lost.png", blob(1))
    with collected() as notices:
        assert [s.id for s in open_dataset(tmp_path)] == ["1", "2", "10"]
    assert sorted(n.kind for n in notices if n.kind != "class") == [
        "annotation without picture",
        "picture without partner",
    ]


def test_folder_twins_are_refused(tmp_path):
    write_folder(tmp_path)
    photo(tmp_path / "images/2.png")
    with pytest.raises(DataError, match=r"2\.(jpg|png).*same name but for the ending"):
        open_dataset(tmp_path)


def test_folder_without_a_pair_shows_both_sides(tmp_path):
    photo(tmp_path / "images/a.jpg")
    save(tmp_path / "masks/b.png", blob(1))
    with pytest.raises(DataError, match=r"Pictures: a\. Masks: b\."):
        open_dataset(tmp_path)


def test_folder_empty_mask_is_left_out_with_a_notice(tmp_path):
    write_folder(tmp_path)
    save(tmp_path / "masks/2.png", np.zeros(SIZE, np.uint8))
    with collected() as notices:
        assert [len(s.annotations) for s in open_dataset(tmp_path)] == [1, 0, 1]
    assert "empty mask" in {n.kind for n in notices}


@pytest.mark.parametrize("ending", ["_mask", "_segmentation"])
def test_folder_mask_names_with_an_ending(tmp_path, ending):
    for i in (1, 2):
        photo(tmp_path / f"Images/ISIC_{i}.jpg")
        save(tmp_path / f"Masks/ISIC_{i}{ending}.png", blob(i))
    assert not mismatch(open_dataset(tmp_path), {f"ISIC_{i}": [("object", blob(i))] for i in (1, 2)})


def test_folder_flat_pair_by_options_and_a_name_for_the_class(tmp_path):
    for i in (1, 2):
        photo(tmp_path / f"photos/{i}.jpg")
        save(tmp_path / f"truth/{i}_gt.png", blob(i))
    samples = open_dataset(
        tmp_path, format="folder", images="photos", masks="truth", mask_suffix="_gt", classes=["lesion"]
    )
    assert not mismatch(samples, {str(i): [("lesion", blob(i))] for i in (1, 2)})
    with pytest.raises(InputError, match="no folder 'nope'"):
        open_dataset(tmp_path, format="folder", images="nope")
    with pytest.raises(DataError, match="no folder 'images'"):
        open_dataset(tmp_path, format="folder")
    with pytest.raises(InputError, match="one name"):
        open_dataset(tmp_path, format="folder", images="photos", masks="truth", mask_suffix="_gt", classes=["a", "b"])


def test_folder_parts_in_subfolders(tmp_path):
    for part in ("train", "val"):
        photo(tmp_path / f"images/{part}/1.jpg")
        save(tmp_path / f"masks/{part}/1.png", blob(1))
    assert [s.id for s in open_dataset(tmp_path)] == ["train/1", "val/1"]


def test_folder_that_mixes_layouts_is_refused(tmp_path):
    write_class_folders(tmp_path)
    save(tmp_path / "masks/1.png", blob(1))
    with pytest.raises(DataError, match="both mask files and folders"):
        open_dataset(tmp_path)


def test_folder_of_masks_per_picture_is_not_read_as_classes(tmp_path):
    for i in (1, 2):
        photo(tmp_path / f"images/{i}.jpg")
        save(tmp_path / f"masks/{i}/first.png", blob(i))
    with pytest.raises(DataError, match="one folder per picture"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ["null", "roof", "door", "window"],
        {"0": "null", "1": "roof", "2": "door", "3": "window"},
        {"background": 0, "roof": 1, "door": 2, "window": 3},
        [None, "roof", "door", "window"],
    ],
)
def test_labelmap_names(tmp_path, names):
    expected = write_labelmap(tmp_path)
    text(tmp_path / "labels.json", names)
    assert not mismatch(open_dataset(tmp_path), expected)


@pytest.mark.parametrize("names", ["[1, 2]", "{}", "[]", '"x"', '{"a": 1, "b": 1}', "{", '[["a"]]', '{"a": "b"}'])
def test_labelmap_wrong_names(tmp_path, names):
    write_labelmap(tmp_path)
    text(tmp_path / "labels.json", names)
    with pytest.raises(DataError, match=r"labels\.json"):
        open_dataset(tmp_path)


def test_labelmap_index_without_a_name(tmp_path):
    write_labelmap(tmp_path)
    text(tmp_path / "labels.json", ["null", "roof"])
    with pytest.raises(DataError, match="has no name"):
        masks_of(open_dataset(tmp_path))


def test_instances_in_eight_bits(tmp_path):
    write_instances(tmp_path)
    index = np.zeros(SIZE, np.uint8)
    index[2:9, 2:9], index[2:9, 12:19] = 1, 2
    for i in (1, 2, 10):
        save(tmp_path / f"labels/{i}.png", index)
    assert [len(s.annotations) for s in open_dataset(tmp_path)] == [2, 2, 2]


def test_class_maps_without_names_are_not_read_as_instances(tmp_path):
    write_labelmap(tmp_path)
    (tmp_path / "labels.json").unlink()
    with pytest.raises(DataError, match=r"in several pieces.*labels\.json"):
        open_dataset(tmp_path)
    assert len(open_dataset(tmp_path, format="instances", sure=True)) == 3


def coco_json(root, change):
    file = root / "annotations/instances.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.pop("images"), "is an object with the lists"),
        (lambda c: c["annotations"][0].update(category_id=9), "category 9"),
        (lambda c: c["annotations"][0].pop("image_id"), "image_id"),
        (lambda c: c["images"].append(c["images"][0]), "again"),
        (lambda c: c["annotations"][1]["segmentation"].update(counts=[3, 4]), "add up to 7"),
        (lambda c: c["annotations"][1]["segmentation"].update(size=[36, 24]), r"run lengths for \[36, 24\]"),
        (lambda c: c["annotations"][0].update(segmentation=None), "neither polygons"),
        (lambda c: c["annotations"][0].update(segmentation=[["a"] * 8]), "neither polygons"),
        (lambda c: [i.update(file_name="gone.png") for i in c["images"]], "is on disk"),
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


def test_coco_boxes_two_points_and_missing_pictures(tmp_path):
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
    assert {n.kind for n in notices} >= {"box as mask", "empty mask", "annotation without picture"}


@pytest.mark.parametrize("place", ["train2017", "images/train2017", "images"])
def test_coco_finds_pictures_where_coco_puts_them(tmp_path, place):
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
    with pytest.raises(DataError, match=r"Several COCO files: a\.json, b\.json"):
        open_dataset(tmp_path / "other")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 0.5 0.5 0.1", "got 4 numbers"),
        ("0 0.5 0.5 0.1 0.1 0.9", "got 6 numbers"),
        ("0 100 100 50 50", "shares"),
        ("x 0.5 0.5 0.1 0.1", "expected numbers"),
        ("0.5 0.5 0.5 0.1 0.1", "whole number"),
        ("7 0.5 0.5 0.1 0.1", "class 7 has no name"),
        ("0 nan 0.5 0.1 0.1", "shares"),
    ],
)
def test_yolo_wrong_lines_are_named(tmp_path, line, words):
    write_yolo(tmp_path)
    text(tmp_path / "labels/2.txt", f"0 0.5 0.5 0.1 0.1\n\n{line}\n")
    with pytest.raises(DataError, match=rf"2\.txt.*{words}"):
        masks_of(open_dataset(tmp_path))


def test_yolo_background_pictures_and_label_less_ones(tmp_path):
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
        ({"points": [[1, 2, 3]]}, "as labelme writes it"),
        ({"points": [["a", "b"]]}, "as labelme writes it"),
        ({"shape_type": "circle", "points": [[1, 2]]}, "as labelme writes it"),
        ({"shape_type": "mask", "mask": "%%%"}, "as labelme writes it"),
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


def test_labelme_missing_picture(tmp_path):
    write_labelme(tmp_path)
    (tmp_path / "2.jpg").unlink()
    assert [s.id for s in open_dataset(tmp_path)] == ["1", "10"]
    for i in (1, 10):
        (tmp_path / f"{i}.jpg").unlink()
    with pytest.raises(DataError, match="None of the pictures of 3"):
        open_dataset(tmp_path)


def test_the_format_of_the_documentation_works(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs/adding-a-format.md").read_text("utf-8")
    module = ModuleType("my_layout")
    monkeypatch.setitem(sys.modules, "my_layout", module)
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], module.__dict__)
    for i in (1, 2):
        photo(tmp_path / f"pictures/{i}.jpg")
        save(tmp_path / f"truth/{i}.png", blob(i))
    assert module.matches(tmp_path)
    assert not mismatch(module.build(tmp_path), {str(i): [("object", blob(i))] for i in (1, 2)})


def test_a_notice_is_told_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("samtailor.data.notices._told", set())
    write_folder(tmp_path)
    for i in (1, 2, 10):
        photo(tmp_path / f"images/{i}.jpg", (48, 72))
    with caplog.at_level("WARNING", logger="samtailor.data"):
        masks_of(open_dataset(tmp_path))
    assert [r.message for r in caplog.records if r.levelname == "WARNING" and "resized" in r.message][1:] == []
    assert "samtailor check" in caplog.text
