"""Small data sets, one per layout: writers, and the expected samples."""

import base64
import io
import json

import numpy as np
from PIL import Image

SIZE = (24, 36)


def blob(seed, size=SIZE):
    """A ragged mask of several parts."""
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
    """Description of the first difference in ids, labels or masks (and their order); empty if there is none."""
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
        index[index == 1 + i % 2] = 0  # not every class is in every image
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
