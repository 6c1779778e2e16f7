"""Readers and the valid files that are damaged for them."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fuzz.layouts import Reader, layout_readers, read_samples
from fuzz.models import MODEL_READERS, without_seal

SIZE = (24, 36)


def _image(folder: Path, name: str) -> None:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(file)


def _mask() -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[4:15, 5:25] = True
    mask[8:11, 9:14] = False
    return mask


def _detected(folder: Path) -> None:
    from samtailor.data.check import check

    check(folder).render()


def _coco(folder: Path) -> None:
    from samtailor.masks.rle import encode, to_json

    rle = to_json(encode(_mask()))
    flat = _mask().ravel(order="F").astype(int)
    edges = np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1, [flat.size]])
    shapes: list[Any] = [
        rle,
        {"size": list(SIZE), "counts": np.diff(edges).tolist()},
        [[2, 2, 20, 2, 20.5, 18, 3, 19]],
        [],
    ]
    for i in (1, 2):
        _image(folder, f"images/{i}.png")
    images = [{"id": i, "file_name": f"{i}.png", "height": SIZE[0], "width": SIZE[1]} for i in (1, 2)]
    rows = [
        {
            "id": n,
            "image_id": 1 + n % 2,
            "category_id": 1 + n % 2,
            "segmentation": one,
            "bbox": [2, 2, 18, 16],
            "iscrowd": 0,
        }
        for n, one in enumerate(shapes, 1)
    ]
    content = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]}
    (folder / "annotations").mkdir()
    (folder / "annotations" / "instances.json").write_text(json.dumps(content))


def _labelme(folder: Path) -> None:
    _image(folder, "1.png")
    stream = io.BytesIO()
    Image.fromarray(_mask()[4:15, 5:25]).save(stream, "PNG")
    drawn = base64.b64encode(stream.getvalue()).decode()
    shapes = [
        {"label": "a", "points": [[2, 2], [20, 3], [9, 18.5]], "shape_type": "polygon", "group_id": None},
        {"label": "a", "points": [[2, 2], [20, 9]], "shape_type": "rectangle", "group_id": 1},
        {"label": "b", "points": [[9, 9], [12, 9]], "shape_type": "circle", "group_id": 1},
        {"label": "b", "points": [[5, 4], [25, 15]], "shape_type": "mask", "mask": drawn},
    ]
    content = {"version": "5", "imagePath": "1.png", "imageHeight": SIZE[0], "imageWidth": SIZE[1], "shapes": shapes}
    (folder / "1.json").write_text(json.dumps(content))


_VOC = """<annotation><filename>1.png</filename><size><width>36</width><height>24</height><depth>3</depth></size>
<object><name>a</name><difficult>0</difficult><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>20</xmax><ymax>18</ymax></bndbox></object>
<object><name>b</name><bndbox><xmin>1.5</xmin><ymin>1</ymin><xmax>36</xmax><ymax>24</ymax></bndbox></object></annotation>
"""


def _voc(folder: Path) -> None:
    _image(folder, "JPEGImages/1.png")
    (folder / "Annotations").mkdir()
    (folder / "Annotations" / "1.xml").write_text(_VOC)


def _yolo(folder: Path) -> None:
    for i in (1, 2):
        _image(folder, f"images/{i}.png")
    (folder / "labels").mkdir()
    (folder / "labels" / "1.txt").write_text("0 0.5 0.5 0.4 0.3\n1 0.1 0.1 0.9 0.1 0.9 0.8 0.2 0.9\n")
    (folder / "labels" / "2.txt").write_text("1 0.25 0.25 0.1 0.1\n")
    names = "train: images\nnc: 2\nnames: &n\n  0: a\n  1: b\nother: *n\ncreated: 2020-01-01\n"
    (folder / "data.yaml").write_text(names)


_CONFIG = """method: tailor
base: nano
classes: [a, b]
steps: 100
lr: {lower: 0.001}
max_grad_norm: 1.0
milestones: [0.5, 0.9]
options: {members: 2, width: 32}
prompt: sampled-click
prompt_options: {}
val: 0.2
shots: 4
flip_pairs: [[a, b]]
cache_gb: 2
"""


def _config(folder: Path) -> None:
    (folder / "config.yaml").write_text(_CONFIG)


def _read_config(folder: Path) -> None:
    from samtailor.train.config import load, resolve

    resolve(load(folder / "config.yaml", {"out": "x"})).to_yaml()


def _split(folder: Path) -> None:
    from samtailor.data.split import Split

    Split(("a", "b"), ("c",), ("d",), ("e",), (("a", "b"),), 3, ("A sentence.",)).write(folder / "split.json")
    without_seal(folder / "split.json")


def _read_split(folder: Path) -> None:
    from samtailor.data.split import Split

    Split.read(folder / "split.json")


def _regions(folder: Path) -> None:
    from samtailor.masks import brush

    common = {"original_width": SIZE[1], "original_height": SIZE[0], "image_rotation": 0}
    regions = [
        {"type": "keypointlabels", "is_positive": 1, "value": {"x": 50, "y": 50, "width": 1, "keypointlabels": ["a"]}},
        {
            "type": "rectanglelabels",
            "value": {"x": 5, "y": 5, "width": 40, "height": 50, "rotation": 0, "rectanglelabels": ["a"]},
        },
        {"type": "polygonlabels", "value": {"points": [[5, 5], [90, 10], [50, 80]], "polygonlabels": ["b"]}},
        {"type": "brushlabels", "value": {"format": "rle", "rle": brush.encode(_mask()), "brushlabels": ["b"]}},
    ]
    (folder / "regions.json").write_text(json.dumps({"result": [common | one for one in regions]}))


def _read_regions(folder: Path) -> None:
    from samtailor.errors import DataError, SamtailorError
    from samtailor.limits import parse_json
    from samtailor.serve.annotators import regions

    context = parse_json((folder / "regions.json").read_bytes(), "regions")
    result = context.get("result") if isinstance(context, dict) else None
    for region in result if isinstance(result, list) else [context]:
        try:
            regions.labels(region)
            mask = regions.mask(region, SIZE)
            if mask is not None and mask.shape != SIZE:
                raise RuntimeError("a mask of another size")
        except SamtailorError:
            continue
    try:
        regions.prompt(context, SIZE)
    except DataError as error:
        raise AssertionError("a wrong type of error") from error


def _prompts(folder: Path) -> None:
    entries = {"1.png": [{"points": [[3, 4], [5, 6]], "labels": [1, 0], "box": [1, 2, 9, 9], "label": "a"}]}
    (folder / "prompts.json").write_text(json.dumps(entries))


def _read_prompts(folder: Path) -> None:
    from samtailor.prompts import file

    file.read(folder / "prompts.json")


_IMAGES = {
    "1.png": {},
    "2.jpg": {"quality": 95},
    "3.tif": {"compression": "tiff_lzw"},
    "4.webp": {},
    "5.bmp": {},
    "6.gif": {},
}


def _images(folder: Path) -> None:
    _image(folder, "1.png")
    with Image.open(folder / "1.png") as image:
        for name, options in _IMAGES.items():
            image.save(folder / name, **options)


def _read_images(folder: Path) -> None:
    from samtailor.data.image import header, read_image
    from samtailor.errors import DataError

    refused = None
    for name in _IMAGES:
        try:
            size = header(folder / name)
            if read_image(folder / name).shape != (*size.size, 3):
                raise RuntimeError("an image of another size")
        except DataError as error:
            refused = error
    if refused is not None:
        raise refused


def _record(folder: Path) -> None:
    from samtailor.masks.rle import encode, to_json
    from samtailor.workbench.records import Object, Record, write

    rle = to_json(encode(_mask()))
    one = Object.model_validate({"id": "x", "class": "a", "rle": rle, "source": "click", "score": 0.5})
    write(folder / "1.json", Record(image="1.png", size=SIZE, objects=[one], state="accepted"))
    without_seal(folder / "1.json")


def _read_record(folder: Path) -> None:
    from samtailor.workbench.records import checked, read

    for one in checked(read(folder / "1.json"), folder / "1.json").objects:
        one.checked(SIZE)


READERS = {
    "record": Reader("annotations of the page", _record, {"1.json": "json"}, _read_record),
    "coco": Reader("COCO", _coco, {"annotations/instances.json": "json"}, read_samples("coco")),
    "labelme": Reader("labelme", _labelme, {"1.json": "json"}, read_samples("labelme")),
    "voc": Reader("Pascal VOC", _voc, {"Annotations/1.xml": "text"}, read_samples("voc")),
    "yolo": Reader("YOLO labels", _yolo, {"labels/1.txt": "text"}, read_samples("yolo")),
    "data-yaml": Reader("YOLO data.yaml", _yolo, {"data.yaml": "text"}, read_samples("yolo")),
    "detected": Reader("`check`, layout detected", _coco, {"annotations/instances.json": "json"}, _detected),
    "config": Reader("config.yaml of a fit", _config, {"config.yaml": "text"}, _read_config),
    "split": Reader("split.json", _split, {"split.json": "json"}, _read_split),
    "regions": Reader("Label Studio regions", _regions, {"regions.json": "json"}, _read_regions),
    "images": Reader("images", _images, dict.fromkeys(_IMAGES, "image"), _read_images),
    "prompts": Reader("prompts file", _prompts, {"prompts.json": "json"}, _read_prompts),
    **layout_readers(),
    **MODEL_READERS,
}
"""All readers by the name of their row."""
