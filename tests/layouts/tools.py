"""Small data sets as annotation tools export them: writers, and the expected samples."""

import base64
import math
import zlib

import numpy as np

from layouts.basic import voc_xml
from layouts.shapes import (
    HOLE,
    IDS,
    PART,
    RING,
    SIZE,
    H,
    W,
    blob,
    box,
    ellipse,
    packed,
    part,
    photo,
    png,
    ring,
    run_lengths,
    text,
)  # fmt: skip


def write_cvat(root, ids=IDS):
    expected, images = {}, []
    points = ";".join(f"{x:.2f},{y:.2f}" for x, y in RING)
    for i in ids:
        photo(root / f"images/{i}.png")
        runs = ", ".join(map(str, run_lengths(PART.ravel())))
        images.append(
            f'<image id="{i}" name="{i}.png" subset="default" task_id="3" width="{W}" height="{H}">'
            f'<polygon label="cat" source="manual" occluded="0" points="{points}" z_order="0"><attribute name="a">b'
            "</attribute></polygon>"
            '<box label="dog" occluded="0" xtl="22.00" ytl="12.00" xbr="30.00" ybr="20.00" z_order="0"/>'
            '<box label="dog" occluded="0" xtl="10.00" ytl="4.00" xbr="20.00" ybr="8.00" rotation="90.00" z_order="0"/>'
            '<ellipse label="cat" occluded="0" cx="15.50" cy="10.50" rx="9.00" ry="4.00" rotation="30.0" z_order="0"/>'
            f'<mask label="dog" source="semi-auto" occluded="0" rle="{runs}" left="8" top="5" width="12" height="10" '
            'z_order="0"/>'
            '<polygon label="cat" occluded="0" points="0,0;3,0;3,3;0,3" z_order="0" group_id="7"/>'
            '<polygon label="cat" occluded="0" points="9,0;12,0;12,3;9,3" z_order="0" group_id="7"/>'
            '<points label="dog" occluded="0" points="3.00,4.00" z_order="0"/>'
            '<polyline label="dog" occluded="0" points="3.00,4.00;9,9" z_order="0"/><tag label="sunny"/></image>'
        )
        expected[str(i)] = [
            ("cat", box(4, 3, 20, 13)),
            ("dog", box(22, 12, 30, 20)),
            ("dog", box(13, 1, 17, 11)),
            ("cat", ellipse(15.5, 10.5, 9, 4, 30)),
            ("dog", part),
            ("cat", box(0, 0, 3, 3) | box(9, 0, 12, 3)),
        ]
    labels = "".join(f"<label><name>{n}</name><color>#fa3253</color></label>" for n in ("cat", "dog"))
    meta = f"<meta><task><id>3</id><mode>annotation</mode><labels>{labels}</labels></task></meta>"
    xml = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{meta}{"".join(images)}'
    text(root / "annotations.xml", xml + "</annotations>\n")
    return expected


def write_sa1b(root, ids=IDS):
    expected = {}
    for i in ids:
        photo(root / f"{i}.png")
        rows = [
            {
                "id": 100 + k,
                "segmentation": {"size": list(SIZE), "counts": packed(mask)},
                "bbox": [0, 0, 1, 1],
                "area": int(mask.sum()),
                "predicted_iou": 0.9,
                "stability_score": 0.95,
                "crop_box": [0, 0, W, H],
                "point_coords": [[1, 1]],
            }
            for k, mask in enumerate((blob(i), blob(i + 1)))
        ]
        image = {"image_id": i, "width": W, "height": H, "file_name": f"{i}.png"}
        text(root / f"{i}.json", {"image": image, "annotations": rows})
        expected[str(i)] = [("object", blob(i)), ("object", blob(i + 1))]
    return expected


def write_darwin(root, ids=IDS):
    expected = {}

    def path(points):
        return [{"x": float(x), "y": float(y)} for x, y in points]

    for i in ids:
        photo(root / f"images/{i}.png")
        layer = np.zeros(SIZE, np.uint8)
        layer[blob(i)], layer[18:22, 30:34] = 1, 2
        runs = [n for value, length in zip(*_value_runs(layer.ravel()), strict=True) for n in (int(value), int(length))]
        slot = {"slot_name": "0", "type": "image", "width": W, "height": H, "source_files": [{"file_name": f"{i}.png"}]}
        mapping = {"m1": 1, "m2": 2}
        rows = [
            {
                "id": "a",
                "name": "cat",
                "polygon": {"paths": [path(RING), path(HOLE)]},
                "bounding_box": {"x": 4.0, "y": 3.0, "w": 16.0, "h": 10.0},
                "slot_names": ["0"],
                "properties": [],
            },
            {"id": "b", "name": "dog", "bounding_box": {"x": 22.0, "y": 12.0, "w": 8.0, "h": 8.0}},
            {
                "id": "c",
                "name": "cat",
                "ellipse": {
                    "angle": math.radians(30),
                    "center": {"x": 15.5, "y": 10.5},
                    "radius": {"x": 9.0, "y": 4.0},
                },
            },
            {"id": "m1", "name": "dog", "mask": {}},
            {"id": "m2", "name": "cat", "mask": {}},
            {
                "id": "l",
                "name": "__raster_layer__",
                "raster_layer": {"dense_rle": runs, "mask_annotation_ids_mapping": mapping, "total_pixels": H * W},
            },
            {"id": "t", "name": "sunny", "tag": {}},
            {"id": "k", "name": "nose", "keypoint": {"x": 1.0, "y": 2.0}},
            {"id": "n", "name": "wire", "line": {"path": path(RING)}},
        ]
        item = {"name": f"{i}.png", "path": "/", "source_info": {"item_id": "x"}, "slots": [slot]}
        text(root / f"annotations/{i}.json", {"version": "2.0", "schema_ref": "x", "item": item, "annotations": rows})
        expected[str(i)] = [
            ("cat", ring),
            ("dog", box(22, 12, 30, 20)),
            ("cat", ellipse(15.5, 10.5, 9, 4, 30)),
            ("dog", layer == 1),
            ("cat", layer == 2),
        ]
    return expected


def _value_runs(flat):
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    return flat[starts], np.diff(starts, append=flat.size)


def write_datumaro(root, ids=IDS):
    expected, items = {}, []
    common = {"attributes": {}, "group": 0, "z_order": 0}
    for i in ids:
        photo(root / f"images/default/{i}.png")
        rle = {"counts": packed(blob(i)), "size": list(SIZE)}
        grouped = common | {"group": 7}
        rows = [
            {"id": 0, "type": "polygon", "label_id": 0, "points": [v for p in RING for v in p], **common},
            {"id": 0, "type": "bbox", "label_id": 1, "bbox": [22.0, 12.0, 8.0, 8.0], **common},
            {"id": 0, "type": "mask", "label_id": 1, "rle": rle, **common},
            {"id": 0, "type": "ellipse", "label_id": 0, "points": [6.5, 6.5, 24.5, 14.5], **common},
            {"id": 0, "type": "polygon", "label_id": 0, "points": [0, 0, 3, 0, 3, 3, 0, 3], **grouped},
            {"id": 0, "type": "polygon", "label_id": 0, "points": [9, 0, 12, 0, 12, 3, 9, 3], **grouped},
            {"id": 0, "type": "points", "label_id": 1, "points": [1.0, 2.0], "visibility": [2], **common},
            {"id": 0, "type": "label", "label_id": 1, "attributes": {}, "group": 0},
        ]
        media = {"path": f"{i}.png", "size": list(SIZE)}
        items.append({"id": str(i), "annotations": rows, "attr": {"frame": i}, "image": media})
        expected[f"default/{i}"] = [
            ("cat", box(4, 3, 20, 13)),
            ("dog", box(22, 12, 30, 20)),
            ("dog", blob(i)),
            ("cat", ellipse(15.5, 10.5, 9, 4)),
            ("cat", box(0, 0, 3, 3) | box(9, 0, 12, 3)),
        ]
    labels = [{"name": name, "parent": "", "attributes": []} for name in ("cat", "dog")]
    categories = {"label": {"labels": labels, "attributes": ["occluded"]}, "points": {"items": []}}
    text(root / "annotations/default.json", {"info": {}, "categories": categories, "items": items})
    return expected


def write_supervisely(root, ids=IDS):
    expected = {}
    classes = [{"title": t, "shape": "any", "color": "#AA0000", "id": k} for k, t in enumerate(("cat", "dog"))]
    text(root / "meta.json", {"classes": classes, "tags": [], "projectType": "images"})
    data = base64.b64encode(zlib.compress(png(PART))).decode()
    for i in ids:
        photo(root / f"ds1/img/{i}.png")
        empty = {"exterior": [], "interior": []}
        rows = [
            {"classTitle": "cat", "geometryType": "polygon", "points": {"exterior": RING, "interior": [HOLE]}},
            {
                "classTitle": "dog",
                "geometryType": "bitmap",
                "points": empty,
                "bitmap": {"data": data, "origin": [8, 5]},
            },
            {
                "classTitle": "dog",
                "geometryType": "rectangle",
                "points": {"exterior": [[22, 12], [30, 20]], "interior": []},
            },
            {"classTitle": "dog", "geometryType": "point", "points": {"exterior": [[3, 3]], "interior": []}},
        ]
        rows = [{"id": k, "classId": 1, "labelerLogin": "x", "tags": [], **row} for k, row in enumerate(rows)]
        sheet = {"description": "", "tags": [], "size": {"height": H, "width": W}, "objects": rows}
        text(root / f"ds1/ann/{i}.png.json", sheet)
        expected[str(i)] = [("cat", ring), ("dog", part), ("dog", box(22, 12, 30, 20))]
    return expected


def write_cvat_yolo(root, ids=IDS):
    expected = {}
    for i in ids:
        photo(root / f"obj_train_data/{i}.png")
        lines = [f"1 {10 / W} {8 / H} {12 / W} {6 / H}", f"0 {26 / W} {16 / H} {8 / W} {8 / H}"]
        text(root / f"obj_train_data/{i}.txt", "\n".join(lines) + "\n")
        expected[str(i)] = [("sign", box(4, 5, 16, 11)), ("door", box(22, 12, 30, 20))]
    text(root / "obj.names", "door\nsign\n")
    text(root / "obj.data", "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
    text(root / "train.txt", "".join(f"data/obj_train_data/{i}.png\n" for i in ids))
    return expected


def write_voc_beside(root, ids=IDS):
    expected = {}
    for i in ids:
        part = "valid" if i == 10 else "train"
        photo(root / f"{part}/{i}.jpg")
        text(root / f"{part}/{i}.xml", voc_xml([("plate", (4, 3, 20, 9)), ("car", (1.0, 2.0, 30.4, 20.2))]))
        expected[f"{part}/{i}"] = [("plate", box(4, 3, 20, 9)), ("car", box(1, 2, 30, 20))]
    text(root / "README.dataset.txt", "Exported.")
    return expected


def write_yolo_beside(root, ids=IDS):
    expected = {}
    for i in ids:
        part = "valid" if i == 10 else "train"
        photo(root / f"{part}/{i}.jpg")
        lines = [f"1 {10 / W} {8 / H} {12 / W} {6 / H}", f"0 {26 / W} {16 / H} {8 / W} {8 / H}"]
        text(root / f"{part}/{i}.txt", "\n".join(lines) + "\n")
        expected[f"{part}/{i}"] = [("sign", box(4, 5, 16, 11)), ("door", box(22, 12, 30, 20))]
    for part in ("train", "valid"):
        text(root / part / "_darknet.labels", "door\nsign")
    text(root / "README.dataset.txt", "Exported.")
    return expected
