"""Small data sets as annotation tools export them: writers, and the expected samples. The files are made here."""

import base64
import io
import json
import math
import zlib

import numpy as np
from PIL import Image

from layouts import SIZE, blob, box, photo, save, text

H, W = SIZE
IDS = (1, 2, 10)


def ellipse(x, y, rx, ry, degrees=0.0, size=SIZE):
    """Pixels whose center is inside."""
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    across, down = columns - x, rows - y
    return ((across * cos + down * sin) / rx) ** 2 + ((down * cos - across * sin) / ry) ** 2 <= 1


def row_runs(mask):
    """Run lengths row by row, background first."""
    flat = mask.ravel().astype(int)
    edges = np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1, [flat.size]])
    return ([0] if flat[0] else []) + np.diff(edges).tolist()


def packed(mask):
    from pycocotools import mask as coco

    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


def png(values):
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


RING = [[4, 3], [20, 3], [20, 13], [4, 13]]
HOLE = [[8, 5], [14, 5], [14, 9], [8, 9]]
ring = box(4, 3, 20, 13) & ~box(8, 5, 14, 9)
PART = blob(3, (10, 12))
part = np.zeros(SIZE, bool)
part[5:15, 8:20] = PART


def write_cvat(root):
    expected, images = {}, []
    points = ";".join(f"{x:.2f},{y:.2f}" for x, y in RING)
    for i in IDS:
        photo(root / f"images/{i}.png")
        runs = ", ".join(map(str, row_runs(PART)))
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


def write_sa1b(root):
    expected = {}
    for i in IDS:
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


def write_darwin(root):
    expected = {}

    def path(points):
        return [{"x": float(x), "y": float(y)} for x, y in points]

    for i in IDS:
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


def write_datumaro(root):
    expected, items = {}, []
    common = {"attributes": {}, "group": 0, "z_order": 0}
    for i in IDS:
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


def write_supervisely(root):
    expected = {}
    classes = [{"title": t, "shape": "any", "color": "#AA0000", "id": k} for k, t in enumerate(("cat", "dog"))]
    text(root / "meta.json", {"classes": classes, "tags": [], "projectType": "images"})
    data = base64.b64encode(zlib.compress(png(PART))).decode()
    for i in IDS:
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


def _via_region(kind, values, label):
    return {"shape_attributes": {"name": kind, **values}, "region_attributes": {"class": label}}


def _via_regions():
    corners = [[4, 3], [20, 3], [20, 13], [4, 13]]
    return [
        _via_region(
            "polygon", {"all_points_x": [x for x, _ in corners], "all_points_y": [y for _, y in corners]}, "cat"
        ),
        _via_region("rect", {"x": 22, "y": 12, "width": 8, "height": 8}, "dog"),
        _via_region("circle", {"cx": 12.5, "cy": 10.5, "r": 6}, "cat"),
        _via_region("ellipse", {"cx": 15.5, "cy": 10.5, "rx": 9, "ry": 4, "theta": math.radians(30)}, "dog"),
        _via_region("point", {"cx": 1, "cy": 2}, "dog"),
    ]


def _via_masks():
    return [
        ("cat", box(4, 3, 20, 13)),
        ("dog", box(22, 12, 30, 20)),
        ("cat", ellipse(12.5, 10.5, 6, 6)),
        ("dog", ellipse(15.5, 10.5, 9, 4, 30)),
    ]


def write_via(root):
    entries = {}
    for i in IDS:
        photo(root / f"{i}.png")
        size = (root / f"{i}.png").stat().st_size
        entries[f"{i}.png{size}"] = {
            "filename": f"{i}.png",
            "size": size,
            "regions": _via_regions(),
            "file_attributes": {},
        }
    project = {
        "_via_settings": {"project": {"name": "x"}},
        "_via_img_metadata": entries,
        "_via_attributes": {"region": {"class": {"type": "text"}}, "file": {}},
        "_via_image_id_list": list(entries),
    }
    text(root / "via_project.json", project)
    return {str(i): _via_masks() for i in IDS}


def write_via_one(root):
    """VIA 1: regions as an object, the metadata alone."""
    entries = {}
    for i in IDS:
        photo(root / f"{i}.png")
        regions = {str(k): region for k, region in enumerate(_via_regions())}
        common = {"fileref": "", "size": 9, "base64_img_data": "", "file_attributes": {}}
        entries[f"{i}.png9"] = {"filename": f"{i}.png", "regions": regions, **common}
    text(root / "via_region_data.json", entries)
    return {str(i): _via_masks() for i in IDS}


def write_via_three(root):
    """VIA 3: files, views and regions apart."""
    files, views, metadata = {}, {}, {}
    for i in IDS:
        photo(root / f"{i}.png")
        files[str(i)] = {"fid": str(i), "fname": f"{i}.png", "type": 2, "loc": 1, "src": ""}
        views[str(i)] = {"fid_list": [str(i)]}
        rows = [([7, 4, 3, 20, 3, 20, 13, 4, 13], "0"), ([2, 22, 12, 8, 8], "1"), ([3, 12.5, 10.5, 6], "0")]
        for k, (xy, option) in enumerate([*rows, ([4, 15.5, 10.5, 9, 4], "1"), ([1, 1, 2], "1")]):
            metadata[f"{i}_{k}"] = {"vid": str(i), "flg": 0, "z": [], "xy": xy, "av": {"1": option}}
    attribute = {"1": {"aname": "class", "anchor_id": "FILE1_Z0_XY1", "type": 3, "options": {"0": "cat", "1": "dog"}}}
    common = {"project": {"pid": "x"}, "config": {}, "attribute": attribute}
    text(root / "via_project.json", {**common, "file": files, "metadata": metadata, "view": views})
    masks = [*_via_masks()[:3], ("dog", ellipse(15.5, 10.5, 9, 4))]
    return {str(i): masks for i in IDS}


def write_via_csv(root):
    lines = ["filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"]
    for i in IDS:
        photo(root / f"{i}.png")
        for k, region in enumerate(_via_regions()):
            cells = [json.dumps(region[name]).replace('"', '""') for name in ("shape_attributes", "region_attributes")]
            lines.append(f'{i}.png,9,"{{}}",5,{k},"{cells[0]}","{cells[1]}"')
    text(root / "via_export_csv.csv", "\n".join(lines) + "\n")
    return {str(i): _via_masks() for i in IDS}


def _percent(points):
    return [[100 * x / W, 100 * y / H] for x, y in points]


def studio_regions(i):
    from samtailor.masks import brush

    common = {"original_width": W, "original_height": H, "image_rotation": 0, "to_name": "image", "origin": "manual"}
    x, y, w, h = 100 * 22 / W, 100 * 12 / H, 100 * 8 / W, 100 * 8 / H
    rows = [
        ("polygonlabels", {"points": _percent(RING), "closed": True, "polygonlabels": ["cat"]}),
        ("rectanglelabels", {"x": x, "y": y, "width": w, "height": h, "rotation": 0, "rectanglelabels": ["dog"]}),
        # turned clockwise about its top-left corner (17, 1)
        (
            "rectanglelabels",
            {
                "x": 100 * 17 / W,
                "y": 100 * 1 / H,
                "width": 100 * 10 / W,
                "height": 100 * 4 / H,
                "rotation": 90,
                "rectanglelabels": ["dog"],
            },
        ),
        (
            "ellipselabels",
            {
                "x": 100 * 15.5 / W,
                "y": 100 * 10.5 / H,
                "radiusX": 100 * 9 / W,
                "radiusY": 100 * 4 / H,
                "rotation": 30,
                "ellipselabels": ["cat"],
            },
        ),
        ("brushlabels", {"format": "rle", "rle": brush.encode(blob(i)), "brushlabels": ["dog"]}),
        ("keypointlabels", {"x": 3.0, "y": 3.0, "width": 1.0, "keypointlabels": ["dog"]}),
    ]
    regions = [
        {"id": f"r{k}", "type": kind, "from_name": "tag", "value": value, **common}
        for k, (kind, value) in enumerate(rows)
    ]
    choice = {"id": "c", "type": "choices", "from_name": "choice", "to_name": "image", "value": {"choices": ["good"]}}
    return [*regions, choice]


def studio_masks(i):
    return [
        ("cat", box(4, 3, 20, 13)),
        ("dog", box(22, 12, 30, 20)),
        ("dog", box(13, 1, 17, 11)),
        ("cat", ellipse(15.5, 10.5, 9, 4, 30)),
        ("dog", blob(i)),
    ]


def write_label_studio(root):
    tasks = []
    for i in IDS:
        photo(root / f"images/{i}.png")
        annotation = {"id": 40 + i, "completed_by": 1, "result": studio_regions(i), "was_cancelled": False}
        address = f"/data/upload/3/1a2b3c4d-{i}.png"
        file = f"1a2b3c4d-{i}.png"
        tasks.append({"id": i, "annotations": [annotation], "file_upload": file, "data": {"image": address}})
    text(root / "project-3-at-2026-01-01.json", tasks)
    return {str(i): studio_masks(i) for i in IDS}


def write_label_studio_min(root):
    tasks = []
    for i in IDS:
        photo(root / f"{i}.png")
        rows = [r["value"] | {k: r[k] for k in ("original_width", "original_height")} for r in studio_regions(i)[:-1]]
        extra = {"id": i, "choice": "good", "annotator": 1, "annotation_id": 4, "created_at": "2026-01-01T00:00:00Z"}
        tasks.append({"image": f"/data/local-files/?d=photos%2F{i}.png", "tag": rows, **extra})
    text(root / "project-min.json", tasks)
    return {str(i): studio_masks(i) for i in IDS}


def write_label_studio_brush(root):
    expected, rows = {}, ["annotation_id,annotator,created_at,id,image,lead_time,tag,updated_at"]
    for i in IDS:
        photo(root / f"images/{i}.png")
        for label, mask in (("cat", blob(i)), ("big-dog", blob(i + 1))):
            name = f"task-{70 + i}-annotation-{i}-by-me@example.org-tag-{label}-0.png"
            save(root / name, mask.astype(np.uint8) * 255)
        rows.append(f'{i},1,2026-01-01,{70 + i},/data/upload/1/aaaabbbb-{i}.png,9,"{{}}",2026-01-01')
        expected[str(i)] = [("big-dog", blob(i + 1)), ("cat", blob(i))]
    text(root / "project-1.csv", "\n".join(rows) + "\n")
    return expected


def write_cvat_yolo(root):
    expected = {}
    for i in IDS:
        photo(root / f"obj_train_data/{i}.png")
        lines = [f"1 {10 / W} {8 / H} {12 / W} {6 / H}", f"0 {26 / W} {16 / H} {8 / W} {8 / H}"]
        text(root / f"obj_train_data/{i}.txt", "\n".join(lines) + "\n")
        expected[str(i)] = [("sign", box(4, 5, 16, 11)), ("door", box(22, 12, 30, 20))]
    text(root / "obj.names", "door\nsign\n")
    text(root / "obj.data", "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
    text(root / "train.txt", "".join(f"data/obj_train_data/{i}.png\n" for i in IDS))
    return expected


def write_voc_beside(root):
    from layouts import voc_xml

    expected = {}
    for i in IDS:
        part = "valid" if i == 10 else "train"
        photo(root / f"{part}/{i}.jpg")
        text(root / f"{part}/{i}.xml", voc_xml([("plate", (4, 3, 20, 9)), ("car", (1.0, 2.0, 30.4, 20.2))]))
        expected[f"{part}/{i}"] = [("plate", box(4, 3, 20, 9)), ("car", box(1, 2, 30, 20))]
    text(root / "README.dataset.txt", "Exported.")
    return expected


def write_yolo_beside(root):
    expected = {}
    for i in IDS:
        part = "valid" if i == 10 else "train"
        photo(root / f"{part}/{i}.jpg")
        lines = [f"1 {10 / W} {8 / H} {12 / W} {6 / H}", f"0 {26 / W} {16 / H} {8 / W} {8 / H}"]
        text(root / f"{part}/{i}.txt", "\n".join(lines) + "\n")
        expected[f"{part}/{i}"] = [("sign", box(4, 5, 16, 11)), ("door", box(22, 12, 30, 20))]
    for part in ("train", "valid"):
        text(root / part / "_darknet.labels", "door\nsign")
    text(root / "README.dataset.txt", "Exported.")
    return expected


TOOLS = {
    "cvat": write_cvat,
    "sa-1b": write_sa1b,
    "darwin": write_darwin,
    "datumaro": write_datumaro,
    "supervisely": write_supervisely,
    "via": write_via,
    "via 1": write_via_one,
    "via 3": write_via_three,
    "via csv": write_via_csv,
    "label-studio": write_label_studio,
    "label studio min": write_label_studio_min,
    "label-studio-brush": write_label_studio_brush,
    "cvat-yolo": write_cvat_yolo,
    "voc-beside": write_voc_beside,
    "yolo-beside": write_yolo_beside,
}
FORMATS = {"via 1": "via", "via 3": "via", "via csv": "via", "label studio min": "label-studio"}
RELATIVE = ("via", "via 1", "via 3", "via csv", "cvat-yolo", "yolo-beside")
"""Layouts whose coordinates belong to the image as it is shown."""
