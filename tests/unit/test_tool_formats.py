"""Details of the exports of annotation tools: variants, what is left out, damaged and hostile files."""

import copy
import json
import random
import re
from collections import Counter
from datetime import datetime, timedelta

import numpy as np
import pytest

from layouts import FORMATS, SIZE, TOOLS, blob, box, masks_of, mismatch, photo, save, text
from layouts.label_studio import studio_masks, studio_regions, write_label_studio
from layouts.shapes import HOLE, RING, H, W, ellipse, png, ring
from layouts.tools import write_cvat, write_darwin, write_datumaro, write_sa1b, write_supervisely
from layouts.via import via_region, write_via, write_via_csv
from samtailor import registry
from samtailor.data.dataset import detect, open_dataset
from samtailor.data.json_kinds import json_kind, keys_of
from samtailor.errors import DataError, InputError, SamtailorError

# pycocotools' decode under NumPy 2; nothing of ours
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def change(file, edit):
    content = json.loads(file.read_text())
    edit(content)
    text(file, content)


def left_out(root, **options):
    account = open_dataset(root, **options).account()
    assert account.agrees
    kinds = Counter()
    for entry in (*account.images.left_out, *account.annotations.left_out):
        kinds[entry.kind] += entry.count
    return kinds


def test_cvat_counts_shapes_without_area_and_missing_images(tmp_path):
    write_cvat(tmp_path)
    (tmp_path / "images/2.png").unlink()
    photo(tmp_path / "images/new.png")
    kinds = left_out(tmp_path)
    assert kinds["shape without area"] == 6  # points, polyline and tag of two images
    assert kinds["annotation without image"] == 1 + 10  # an image, and its ten shapes
    assert kinds["image without partner"] == 1


def test_cvat_subsets_become_parts(tmp_path):
    write_cvat(tmp_path)
    sheet = (tmp_path / "annotations.xml").read_text()
    for i, subset in ((1, "Train"), (2, "Validation"), (10, "Test")):
        sheet = sheet.replace(f'name="{i}.png" subset="default"', f'name="{i}.png" subset="{subset}"')
    text(tmp_path / "annotations.xml", sheet)
    assert [s.part for s in open_dataset(tmp_path)] == ["train", "val", "test"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("<version>1.1</version>", "<track id='0'/>", "video"),
        ('width="36" height="24"', 'width="100000" height="100000"', "declares an image of 100000x100000"),
        ('width="36" height="24"', 'width="36" height="99"', "another aspect ratio"),
        ('width="36" height="24"', 'width="x" height="24"', "integers"),
        ('left="8"', 'left="?"', "not a valid mask"),
        ('height="10" ', 'height="9999999" ', "mask of 12x9999999"),
        ('height="10" ', 'height="11" ', "add up to 120 pixels, expected 132"),
        ('points="4.00,', 'points="cat,', "not a valid polygon"),
        ("</annotations>", "", "not valid XML"),
        ("<annotations>", "<!DOCTYPE a [<!ENTITY b 'c'>]><annotations>", "document type"),
        ("<meta>", "<meta>" + "<a>" * 100 + "</a>" * 100, "nesting"),
    ],
)
def test_cvat_refusals(tmp_path, old, new, words):
    write_cvat(tmp_path)
    sheet = (tmp_path / "annotations.xml").read_text()
    assert old in sheet
    text(tmp_path / "annotations.xml", sheet.replace(old, new))
    with pytest.raises(DataError, match=words):
        masks_of(open_dataset(tmp_path, format="cvat"))


def test_entities_are_not_expanded(tmp_path):
    write_cvat(tmp_path)
    levels = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
    text(tmp_path / "annotations.xml", f'<!DOCTYPE a [<!ENTITY a0 "aa">{levels}]><annotations>&a9;</annotations>')
    with pytest.raises(DataError, match="document type"):
        open_dataset(tmp_path, format="cvat")


def test_sa1b_run_lengths_of_another_size_are_refused(tmp_path):
    write_sa1b(tmp_path)
    change(tmp_path / "2.json", lambda c: c["annotations"][0]["segmentation"].update(size=[24, 37]))
    with pytest.raises(DataError, match=r"2\.json, annotation 0.*24, 37"):
        masks_of(open_dataset(tmp_path))
    change(tmp_path / "2.json", lambda c: c["image"].update(width=3600000, height=2400000))
    with pytest.raises(DataError, match="declares an image of 3600000x2400000"):
        masks_of(open_dataset(tmp_path))


def test_darwin_version_one(tmp_path):
    def path(points):
        return [{"x": x, "y": y} for x, y in points]

    photo(tmp_path / "images/1.png")
    rows = [
        {
            "name": "cat",
            "polygon": {"path": path(RING)},
            "bounding_box": {"x": 4, "y": 3, "w": 16, "h": 10},
        },
        {"name": "dog", "complex_polygon": {"path": [path(RING), path(HOLE)]}},
    ]
    image = {"filename": "1.png", "original_filename": "1.png", "width": W, "height": H, "seq": 1}
    text(tmp_path / "annotations/1.json", {"dataset": "x", "image": image, "annotations": rows})
    assert not mismatch(open_dataset(tmp_path), {"1": [("cat", box(4, 3, 20, 13)), ("dog", ring)]})


def test_darwin_layer_faults(tmp_path):
    write_darwin(tmp_path)
    layer = 5
    change(tmp_path / "annotations/2.json", lambda c: c["annotations"][layer]["raster_layer"]["dense_rle"].append(1))
    with pytest.raises(DataError, match=r"2\.json.*pairs"):
        masks_of(open_dataset(tmp_path))
    change(tmp_path / "annotations/2.json", lambda c: c["annotations"][layer]["raster_layer"].update(dense_rle=[0, 9]))
    with pytest.raises(DataError, match="add up to 9 pixels, expected 864"):
        masks_of(open_dataset(tmp_path))


def test_darwin_masks_without_annotation_are_counted(tmp_path):
    write_darwin(tmp_path)
    change(tmp_path / "annotations/2.json", lambda c: c["annotations"].pop(4))
    assert left_out(tmp_path)["shape without class"] == 1


def test_datumaro_rotation_groups_and_missing_labels(tmp_path):
    write_datumaro(tmp_path)

    def edit(content):
        rows = content["items"][0]["annotations"]
        rows[1]["attributes"] = {"rotation": 90.0}
        rows[1]["bbox"] = [10.0, 4.0, 10.0, 4.0]
        rows[2].pop("label_id")

    change(tmp_path / "annotations/default.json", edit)
    got = masks_of(open_dataset(tmp_path))["default/1"]
    np.testing.assert_array_equal(got[1][1], box(13, 1, 17, 11))
    assert left_out(tmp_path)["shape without class"] == 1
    change(tmp_path / "annotations/default.json", lambda c: c["items"][0]["annotations"][0].update(label_id=2))
    with pytest.raises(DataError, match="no label with the number 2"):
        masks_of(open_dataset(tmp_path))


def test_datumaro_files_of_parts(tmp_path):
    expected = write_datumaro(tmp_path)
    content = json.loads((tmp_path / "annotations/default.json").read_text())
    (tmp_path / "annotations/default.json").unlink()
    for part, items in (("train", content["items"][:2]), ("val", content["items"][2:])):
        text(tmp_path / f"annotations/{part}.json", {**content, "items": items})
    samples = open_dataset(tmp_path)
    assert not mismatch(samples, expected)
    assert [s.part for s in samples] == ["train", "train", "val"]


def test_supervisely_refuses_what_does_not_fit(tmp_path):
    write_supervisely(tmp_path)
    file = tmp_path / "ds1/ann/2.png.json"
    change(file, lambda c: c["objects"][1]["bitmap"].update(data="%%%"))
    with pytest.raises(DataError, match=r"object 1.*not a valid bitmap"):
        masks_of(open_dataset(tmp_path))
    import base64
    import zlib

    bomb = base64.b64encode(zlib.compress(bytes(200 << 20))).decode()
    change(file, lambda c: c["objects"][1]["bitmap"].update(data=bomb))
    with pytest.raises(DataError, match="more than"):
        masks_of(open_dataset(tmp_path))
    large = base64.b64encode(zlib.compress(png(np.ones((90, 90), bool)))).decode()
    change(file, lambda c: c["objects"][1]["bitmap"].update(data=large))
    with pytest.raises(DataError, match="bitmap of 90x90 px in an image of 36x24"):
        masks_of(open_dataset(tmp_path))


def test_supervisely_parts_and_unknown_classes(tmp_path):
    expected = write_supervisely(tmp_path)
    (tmp_path / "ds1").rename(tmp_path / "train")
    photo(tmp_path / "test/img/7.jpg")
    sheet = {"size": {"height": H, "width": W}, "objects": [], "tags": []}
    text(tmp_path / "test/ann/7.jpg.json", sheet)
    samples = open_dataset(tmp_path)
    wanted = {"test/7": [], **{f"train/{id}": masks for id, masks in expected.items()}}
    assert not mismatch(samples, wanted)
    assert {s.part for s in samples} == {"train", "test"}
    change(tmp_path / "meta.json", lambda c: c["classes"].pop())
    with pytest.raises(DataError, match="does not list the class 'dog'"):
        open_dataset(tmp_path)


def test_via_attribute_of_the_class(tmp_path):
    write_via(tmp_path)

    def edit(content):
        for entry in content["_via_img_metadata"].values():
            for region in entry["regions"]:
                label = region["region_attributes"].pop("class")
                region["region_attributes"] |= {"animal": label, "pose": {"front": True}}

    change(tmp_path / "via_project.json", edit)
    with pytest.raises(DataError, match="animal, pose"):
        open_dataset(tmp_path)
    assert {a.label for s in open_dataset(tmp_path, attribute="animal") for a in s.annotations} == {"cat", "dog"}
    assert {a.label for s in open_dataset(tmp_path, attribute="pose") for a in s.annotations} == {"front"}
    with pytest.raises(InputError, match="'size'"):
        open_dataset(tmp_path, attribute="size")


def test_via_without_attributes_has_one_class(tmp_path):
    write_via(tmp_path)

    def edit(content):
        for entry in content["_via_img_metadata"].values():
            for region in entry["regions"]:
                region["region_attributes"] = {}

    change(tmp_path / "via_project.json", edit)
    assert {a.label for s in open_dataset(tmp_path) for a in s.annotations} == {"object"}


def test_via_keeps_images_without_regions(tmp_path):
    write_via_csv(tmp_path)
    photo(tmp_path / "20.png")
    file = tmp_path / "via_export_csv.csv"
    text(file, file.read_text() + '20.png,9,"{}",0,0,"{}","{}"\n')
    assert [len(s.annotations) for s in open_dataset(tmp_path)] == [4, 4, 4, 0]


def studio(root, edit):
    write_label_studio(root)
    change(root / "project-3-at-2026-01-01.json", edit)


def test_label_studio_reads_the_newest_annotation(tmp_path):
    early, late = (str(datetime(2026, 1, 1) + timedelta(days=n)) for n in (0, 1))

    def edit(tasks):
        old = copy.deepcopy(tasks[0]["annotations"][0])
        tasks[0]["annotations"][0] |= {"updated_at": late, "result": tasks[0]["annotations"][0]["result"][:1]}
        tasks[0]["annotations"].append(old | {"id": 99, "updated_at": early})
        tasks[1]["annotations"][0]["was_cancelled"] = True
        tasks[2] |= {"annotations": [], "predictions": [{"result": studio_regions(10)[:2]}]}

    studio(tmp_path, edit)
    samples = open_dataset(tmp_path)
    assert not mismatch(samples, {"1": [("cat", box(4, 3, 20, 13))]})
    kinds = left_out(tmp_path)
    assert kinds["other annotation"] == 7
    assert kinds["cancelled annotation"] == 7
    assert kinds["image without partner"] == 2
    assert [s.id for s in open_dataset(tmp_path, predictions=True)] == ["1", "10"]


def test_label_studio_rotation_in_the_editor_changes_no_coordinates(tmp_path):
    def edit(tasks):
        for task in tasks:
            for row in task["annotations"][0]["result"]:
                row["image_rotation"] = 90

    studio(tmp_path, edit)
    assert not mismatch(open_dataset(tmp_path), {str(i): studio_masks(i) for i in (1, 2, 10)})


def test_label_studio_labels_in_a_result_of_their_own(tmp_path):
    def edit(tasks):
        for task in tasks:
            rows = task["annotations"][0]["result"]
            for row in list(rows):
                kind = row["type"]
                if kind.endswith("labels"):
                    label = row["value"].pop(kind)
                    row["type"] = kind.removesuffix("labels")
                    value = {k: v for k, v in row["value"].items() if k != "rle"} | {"labels": label}
                    rows.append({**row, "type": "labels", "value": value})

    studio(tmp_path, edit)
    assert not mismatch(open_dataset(tmp_path), {str(i): studio_masks(i) for i in (1, 2, 10)})
    assert left_out(tmp_path)["shape without area"] == 6


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda rows: rows[4]["value"].update(rle=[0, 0, 0, 1]), "region r4.*does not fit"),
        (lambda rows: rows[4]["value"]["rle"].__setitem__(slice(40, None), []), "region r4.*truncated"),
        (lambda rows: rows[0]["value"].update(points=[["a", 1]] * 3), "region r0: not a valid polygon"),
        (lambda rows: [row.update(original_width=360000, original_height=240000) for row in rows], "declares an image"),
        (lambda rows: rows[1].update(original_width=99), "different sizes"),
    ],
)
def test_label_studio_refusals(tmp_path, edit, words):
    studio(tmp_path, lambda tasks: edit(tasks[1]["annotations"][0]["result"]))
    with pytest.raises(DataError, match=words):
        masks_of(open_dataset(tmp_path))


@pytest.mark.parametrize(
    "address",
    [
        "/data/local-files/?d=images/a%20b.png",
        "s3://bucket/images/a b.png",
        "https://host/x/a%20b.png?sig=1",
        "a b.png",
    ],
)
def test_label_studio_addresses(tmp_path, address):
    photo(tmp_path / "images/a b.png")
    annotation = {"id": 1, "result": studio_regions(1)[:1]}
    text(tmp_path / "p.json", [{"id": 1, "data": {"text": "x", "image": address}, "annotations": [annotation]}])
    assert not mismatch(open_dataset(tmp_path), {"a b": [("cat", box(4, 3, 20, 13))]})


def test_an_address_cannot_leave_the_folder(tmp_path):
    photo(tmp_path / "outside.png")
    photo(tmp_path / "data/images/1.png")
    for address in ("../outside.png", str(tmp_path / "outside.png"), "/data/local-files/?d=..%2Foutside.png"):
        annotation = {"id": 1, "result": studio_regions(1)[:1]}
        text(tmp_path / "data/p.json", [{"id": 1, "data": {"image": address}, "annotations": [annotation]}])
        with pytest.raises(DataError, match="None of the images"):
            open_dataset(tmp_path / "data")


def test_brush_pngs_need_to_know_their_images(tmp_path):
    for name in ("one", "two"):
        photo(tmp_path / f"images/{name}.png")
    for task in (3, 12):
        save(tmp_path / f"task-{task}-annotation-2-by-5-tag-cat-0.png", blob(task).astype(np.uint8) * 255)
    with pytest.raises(DataError, match="do not name their images"):
        open_dataset(tmp_path, format="label-studio-brush")
    (tmp_path / "images/one.png").rename(tmp_path / "images/task-3.png")
    (tmp_path / "images/two.png").rename(tmp_path / "images/0012.png")
    save(tmp_path / "task-3-annotation-1-by-5-tag-cat-0.png", blob(1).astype(np.uint8) * 255)
    assert detect(tmp_path) == "label-studio-brush"
    assert not mismatch(open_dataset(tmp_path), {"0012": [("cat", blob(12))], "task-3": [("cat", blob(3))]})
    assert left_out(tmp_path)["other annotation"] == 1


def test_a_json_export_is_preferred_to_brush_pngs(tmp_path):
    write_label_studio(tmp_path)
    save(tmp_path / "task-1-annotation-2-by-5-tag-cat-0.png", blob(1).astype(np.uint8) * 255)
    assert detect(tmp_path) == "label-studio"


def test_cvat_yolo_lists_and_parts(tmp_path):
    expected = TOOLS["cvat-yolo"](tmp_path)
    text(tmp_path / "train.txt", "data/obj_train_data/1.png\ndata/obj_train_data/2.png\n")
    (tmp_path / "obj_valid_data").mkdir()
    for name in ("10.png", "10.txt"):
        (tmp_path / "obj_train_data" / name).rename(tmp_path / "obj_valid_data" / name)
    text(tmp_path / "valid.txt", "data/obj_valid_data/10.png\ndata/obj_valid_data/11.png\n")
    text(tmp_path / "obj.data", "classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\n")
    photo(tmp_path / "obj_train_data/unlisted.png")
    samples = {s.id: s for s in open_dataset(tmp_path)}
    assert {id: s.part for id, s in samples.items()} == {"1": "train", "2": "train", "obj_valid_data/10": "val"}
    assert [a.label for a in samples["1"].annotations] == [label for label, _ in expected["1"]]
    assert left_out(tmp_path) == {"annotation without image": 1, "image without partner": 1}


def test_keys_are_read_behind_large_strings(tmp_path):
    big = "A" * 5_000_000
    text(tmp_path / "a.json", {"imageData": big, "version": "5", "shapes": [{"label": "a"}], "imagePath": "a.jpg"})
    assert json_kind(tmp_path / "a.json") == "labelme"
    text(tmp_path / "b.json", '{"a": "\\"shapes\\": [", "images": 3}')
    assert json_kind(tmp_path / "b.json") is None


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"categories": [{"id": 0, "name": "a"}], "info": {}}, None),  # notes.json of Label Studio
        ([{"image_id": 1, "segmentation": {}, "category_id": 1}], None),  # results of COCO
        ({"images": [], "annotations": [], "categories": []}, "coco"),
        ({"annotations": [{"image_id": 1}], "images": []}, "coco"),
        ({"image": {"image_id": 1}, "annotations": []}, "sa-1b"),
        ({"annotations": [], "item": {"name": "x"}, "version": "2.0"}, "darwin"),
        ({"items": [], "categories": {"label": {}}}, "datumaro"),
        ({"objects": [], "size": {"height": 1}}, "supervisely"),
        ({"classes": [{"title": "a"}], "tags": []}, "supervisely-meta"),
        ({"a.jpg1": {"filename": "a.jpg", "regions": []}}, "via"),
        ({"_via_settings": {}, "_via_img_metadata": {}}, "via"),
        ([{"id": 1, "data": {"image": "x"}, "annotations": []}], "label-studio"),
        ("", None),
        ("[[[[[[", None),
        ('\ufeff{"shapes": []}', "labelme"),
    ],
)
def test_json_kinds(tmp_path, content, kind):
    text(tmp_path / "x.json", content)
    assert json_kind(tmp_path / "x.json") == kind


def test_keys_of_hostile_files_are_bounded(tmp_path):
    text(tmp_path / "deep.json", "[" * 200_000)
    assert len(keys_of(tmp_path / "deep.json")) < 10
    text(tmp_path / "wide.json", {f"key{i}": i for i in range(100_000)})
    assert len(keys_of(tmp_path / "wide.json")) < 2_000


def nodes(value, path=()):
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(inside)[:12]:
        yield from nodes(inner, (*path, key))


JUNK = (
    None,
    -1,
    0,
    1e308,
    float("nan"),
    10**20,
    10**6,
    [],
    {},
    "",
    "x",
    True,
    [[]],
    [None],
    {"a": 1},
    "1",
    [["a", "b"]],
)


def mutated(value, chance):
    value = copy.deepcopy(value)
    path = chance.choice(list(nodes(value)))
    if not path:
        return copy.deepcopy(chance.choice(JUNK))
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    if chance.random() < 0.25:
        del holder[path[-1]]
    else:
        holder[path[-1]] = copy.deepcopy(chance.choice(JUNK))
    return value


@pytest.mark.parametrize(
    "layout", [name for name in TOOLS if name not in ("cvat", "cvat-yolo") and "beside" not in name]
)
def test_mutated_json_raises_only_our_errors(layout, tmp_path):
    TOOLS[layout](tmp_path)
    format, chance = FORMATS.get(layout, layout), random.Random(7)
    whole = {file: json.loads(file.read_text()) for file in sorted(tmp_path.rglob("*.json"))}
    for _ in range(40 if whole else 0):
        file = chance.choice(list(whole))
        text(file, json.dumps(mutated(whole[file], chance)))
        registry.find("formats", format).matches(tmp_path)
        message = None
        try:
            agrees = open_dataset(tmp_path, format=format).account().agrees
        except SamtailorError as error:
            agrees, message = True, str(error)
        assert agrees
        assert message is None or re.search(r"\.json|" + re.escape(str(tmp_path)), message)
        text(file, json.dumps(whole[file]))


def test_shapes_beyond_the_image_are_cut(tmp_path):
    write_via(tmp_path)

    def edit(content):
        for entry in content["_via_img_metadata"].values():
            entry["regions"] = [
                via_region("ellipse", {"cx": 0, "cy": 0, "rx": 9, "ry": 4}, "cat"),
                via_region("circle", {"cx": 1e9, "cy": 1e9, "r": 5}, "cat"),
                via_region("circle", {"cx": 5, "cy": 5, "r": 1e12}, "cat"),
            ]

    change(tmp_path / "via_project.json", edit)
    got = masks_of(open_dataset(tmp_path))["1"]
    np.testing.assert_array_equal(got[0][1], ellipse(0, 0, 9, 4))
    assert got[1][1].all()
    assert got[1][1].shape == SIZE
    assert left_out(tmp_path)["empty mask"] == 3
