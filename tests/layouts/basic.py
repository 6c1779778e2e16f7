"""Small data sets, one per layout: writers, and the expected samples."""

import base64

import numpy as np
from PIL import Image

from layouts.shapes import IDS, PART, SIZE, blob, box, ellipse, packed, part, photo, png, run_lengths, save, text


def write_folder(root, ids=IDS):
    for i in ids:
        photo(root / f"images/{i}.jpg")
        save(root / f"masks/{i}.png", blob(i).astype(np.uint8) * 255)
    return {str(i): [("object", blob(i))] for i in ids}


def write_class_folders(root, ids=IDS):
    expected = {}
    for i in ids:
        photo(root / f"images/{i}.png")
        expected[str(i)] = []
        for k, name in enumerate(("hair", "skin")):
            if (i, name) != (2, "hair"):  # a part may be absent
                save(root / f"masks/{name}/{i}.png", blob(i + k).astype(np.uint8))
                expected[str(i)].append((name, blob(i + k)))
    return expected


def write_labelmap(root, ids=IDS):
    expected = {}
    text(root / "labels.json", ["null", "roof", "door", "window"])
    for i in ids:
        index = np.random.default_rng(i).integers(0, 4, SIZE, dtype=np.uint8)
        index[index == 1 + i % 2] = 0  # not every class is in every image
        index[:2] = 255
        photo(root / f"images/{i}.png")
        save(root / f"labels/{i}.png", index)
        names = [(1, "roof"), (2, "door"), (3, "window")]
        expected[str(i)] = [(name, index == value) for value, name in names if (index == value).any()]
    return expected


def write_instances(root, ids=IDS):
    expected = {}
    for i in ids:
        index = np.zeros(SIZE, np.uint16)
        ids = [1, 7, 300, 65535]
        for k, value in enumerate(ids):
            index[2 + i : 9 + i, 1 + 9 * k : 8 + 9 * k] = value
        photo(root / f"images/{i}.png")
        save(root / f"labels/{i}.png", index)
        expected[str(i)] = [("object", index == value) for value in ids]
    return expected


def write_coco(root, ids=IDS):
    images, annotations, expected = [], [], {}
    for i in ids:
        photo(root / f"images/{i}.png")
        images.append({"id": 100 + i, "file_name": f"{i}.png", "height": SIZE[0], "width": SIZE[1]})
        shapes = [
            (1, [[4, 3, 20, 3, 20, 9, 4, 9], [22, 12, 30, 12, 30, 20, 22, 20]], 0),
            (3, {"size": list(SIZE), "counts": run_lengths(blob(i).ravel(order="F"))}, 1),
            (3, {"size": list(SIZE), "counts": packed(blob(i + 2))}, 0),
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


def write_yolo(root, ids=IDS):
    expected = {}
    text(root / "data.yaml", "path: .\nnames:\n  0: door\n  1: sign\n")
    for i in ids:
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


def write_voc(root, ids=IDS):
    expected = {}
    for i in ids:
        photo(root / f"images/{i}.png")
        text(root / f"annotations/{i}.xml", voc_xml([("plate", (4, 3, 20, 9)), ("car", (1.0, 2.0, 30.4, 20.2))]))
        expected[str(i)] = [("plate", box(4, 3, 20, 9)), ("car", box(1, 2, 30, 20))]
    return expected


def write_voc_segmentation(root, ids=IDS):
    expected = {}
    for i in ids:
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


def write_labelme(root, ids=IDS):
    expected = {}
    for i in ids:
        photo(root / f"{i}.jpg")
        shapes = [
            {"label": "a", "shape_type": "polygon", "points": [[4, 3], [20, 3], [20, 9], [4, 9]], "group_id": None},
            {"label": "b", "shape_type": "rectangle", "points": [[30, 20], [22, 12]]},
            {"label": "c", "shape_type": "circle", "points": [[12.5, 10.5], [12.5, 16.5]]},
            {
                "label": "d",
                "shape_type": "mask",
                "points": [[8, 5], [19, 14]],
                "mask": base64.b64encode(png(PART)).decode(),
            },
            {"label": "e", "shape_type": "rectangle", "points": [[0, 0], [3, 3]], "group_id": 4},
            {"label": "e", "shape_type": "rectangle", "points": [[9, 0], [12, 3]], "group_id": 4},
            {"label": "e", "shape_type": "point", "points": [[9, 0]]},
        ]
        sheet = {"version": "5", "shapes": shapes, "imagePath": f"{i}.jpg", "imageHeight": 24, "imageWidth": 36}
        text(root / f"{i}.json", sheet)
        expected[str(i)] = [
            ("a", box(4, 3, 20, 9)),
            ("b", box(22, 12, 30, 20)),
            ("c", ellipse(12.5, 10.5, 6, 6)),
            ("d", part),
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
