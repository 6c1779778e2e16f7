"""What each case must do. The names are those of its folder."""

from __future__ import annotations

from cases.judge import Case, Objects, linked, reads, runs, script

_P1, _P2 = (10, 10, 40, 40), (50, 20, 70, 50)
ONE: Objects = {"p1": [("a", 900, _P1)], "p2": [("a", 600, _P2)]}
"""Two images with a square of 900 and a rectangle of 600 pixels."""


def _two(first: str = "p1", second: str = "p2", label: str = "a", other: str | None = None) -> Objects:
    return {first: [(label, 900, _P1)], second: [(other or label, 600, _P2)]}


def _same(label: str = "object", *ids: str) -> Objects:
    return {id: [(label, 900, _P1)] for id in ids or ("p1", "p2")}


def _both(first: str, second: str, *ids: str) -> Objects:
    return {id: [(first, 900, _P1), (second, 600, _P2)] for id in ids or ("p1", "p2")}


_FIT = ("fit", "{data}", "--method", "tailor", "--steps", "3", "--out")
_LABEL = ("label", "{data}", "--adapter", "{adapter}", "--out", "{out}/o")
_SUFFIX = ("--set", "data_options.mask_suffix=_GT")
_BOX_ONLY = ("only a box|only polygons of fewer", "rectangular mask")

_PREDICTED = """
import sys; from pathlib import Path
from samtailor.data.image import read_image
values = read_image(Path(sys.argv[1]))
sys.exit(None if values.min() < 16 and values.max() > 239 else f"range {values.min()} to {values.max()}")
"""
_INFO = """
import sys; from pycocotools.coco import COCO
truth = COCO(sys.argv[1])
if "info" not in truth.dataset: sys.exit("no key info")
rows = truth.dataset["annotations"]
image, category = truth.dataset["images"][0]["id"], truth.dataset["categories"][0]["id"]
truth.loadRes([{"image_id": image, "category_id": category, "bbox": [1, 1, 5, 5], "score": 1.0}])
"""
_YOLO = """
import sys, yaml; from pathlib import Path
file = Path(sys.argv[1]); content = yaml.safe_load(file.read_text())
root = Path(content.get("path", file.parent))
if not root.is_absolute(): sys.exit(f"path: {root} is relative to the current folder")
for part in ("train", "val"):
    if not list((root / content[part]).glob("*")): sys.exit(f"{part}: no images in {root / content[part]}")
"""
_COLLIDING = """
import sys, numpy as np; from pathlib import Path; from PIL import Image
from samtailor.data.dataset import open_dataset
from samtailor.data.writers import Destination, LabelledImage, LabelledObject, write_dataset
from samtailor.masks.rle import encode
out = Path(sys.argv[1]); image = out / "p.png"; Image.new("RGB", (20, 20)).save(image)
masks = {}
for place, name in enumerate(("a/b", "a_b", "..")):
    masks[name] = np.zeros((20, 20), bool); masks[name][2:9, 2 + 6 * place : 7 + 6 * place] = True
objects = tuple(LabelledObject(name, encode(mask), 1.0) for name, mask in masks.items())
write_dataset("masks", Destination(out / "r"), [LabelledImage("p", image, 20, 20, objects)], list(masks), {})
outside = [str(file) for file in out.rglob("*.png") if file != image and out / "r" not in file.parents]
read = [a.mask for s in open_dataset(out / "r", format="folder") for a in s.annotations]
whole = all(any((one == mask).all() for one in read) for mask in masks.values())
sys.exit(None if not outside and len(read) == 3 and whole else f"{outside}, {len(read)} masks")
"""
_REGIONS = """
import numpy as np
from samtailor.masks import brush
from samtailor.serve.annotators import regions
size = (48, 80)
common = {"original_width": 80, "original_height": 48}
value = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 25, "ellipselabels": ["a"]}
mask = np.zeros(size, bool); mask[4:20, 5:30] = True
drawn = {"format": "rle", "rle": brush.encode(mask), "brushlabels": ["a"]}
made, skipped = regions.objects([
    {"type": "ellipselabels", "image_rotation": 0, "value": value, **common},
    {"type": "brushlabels", "image_rotation": 90, "value": drawn, **common},
], size)
ellipse = made[0][1]
assert len(made) == 2 and not skipped, (len(made), skipped)
assert abs(ellipse.sum() - np.pi * 16 * 12) < 20, ellipse.sum()
assert (made[1][1] == mask).all(), "the brush is at another place"
"""

EXPECTED = {
    "coco_cvat_masks_iscrowd1": Case(
        "COCO: masks with `iscrowd` 1 that are single objects (CVAT)",
        (reads(ONE, says=("iscrowd 1 are read as single objects",)), runs(*_FIT, "{out}/o", makes=("o/adapter.json",))),
    ),
    "coco_exif_swapped_size": Case(
        "COCO: sizes as stored, coordinates after the EXIF rotation",
        (reads({id: [("a", 1200, (5, 10, 25, 70))] for id in ("p1", "p2")}, says=("EXIF orientation",)),),
    ),
    "coco_four_number_polygon": Case(
        "COCO: a polygon of two points beside a valid box", (reads(ONE, says=_BOX_ONLY),)
    ),
    "coco_iscrowd_str0": Case("COCO: `iscrowd` as text", (reads(ONE),)),
    "coco_list_of_rle": Case("COCO: a list of run lengths", (reads(ONE),)),
    "coco_nested_points_4": Case("COCO: nested points", (reads(ONE),)),
    "coco_nested_points_8": Case("COCO: nested points, eight of them", (reads(ONE),)),
    "coco_one_json_per_image": Case(
        "COCO: one file for each image", (reads(ONE), reads(_two("img1", "img2"), folder="data2"))
    ),
    "coco_orphan_annotations": Case(
        "COCO: annotations of an image that is not listed",
        (reads({"p1": ONE["p1"], "p2": []}, says=("1 left out", "image_id 99")),),
    ),
    "coco_same_stem": Case("COCO: p1.jpg and p1.png", (reads(_two("p1.jpg", "p1.png")),)),
    "coco_str_category_id": Case("COCO: ids of categories as text", (reads(ONE),)),
    "coco_str_image_id": Case("COCO: ids of images as text", (reads(ONE),)),
    "coco_train_val_json": Case(
        "COCO: train.json and val.json; every command takes `annotations`",
        (
            reads(ONE),
            runs(*_FIT, "{out}/o", "--val", "0", "--set", "data_options.annotations=annotations/train.json",
                 makes=("o/adapter.json",)),
            runs("evaluate", "{data}", "--limit", "1", "--set", "data_options.annotations=annotations/train.json"),
        ),
    ),
    "coco_unicode_nfd": Case(
        "COCO: decomposed and composed Unicode names", (reads(_same("a", "M\u00fcller", "x")),)
    ),
    "coco_url_encoded": Case("COCO: names encoded as in addresses", (reads(_two("my picture 1", "p2")),)),
    "export_coco_info": Case(
        "Output as COCO has `info` and is loaded by pycocotools",
        (runs(*_LABEL), script(_INFO, "{out}/o/annotations/instances.json")),
    ),
    "export_yolo_path_dot": Case(
        "Output as YOLO is found from any folder",
        (runs(*_LABEL, "--format", "yolo"), script(_YOLO, "{out}/o/data.yaml")),
    ),
    "fit_all_near_duplicates": Case(
        "`fit` on images that are all near-duplicates",
        (
            runs(*_FIT, "{out}/o", makes=("o/adapter.json",), refusal="near_duplicates=false|--val 0"),
            runs(*_FIT, "{out}/o2", "--val", "0", makes=("o2/adapter.json",)),
        ),
    ),
    "fit_data_options_mask_suffix": Case(
        "`mask_suffix` in every command; the adapter remembers it",
        (
            runs(*_FIT, "{out}/o", *_SUFFIX, makes=("o/adapter.json",)),
            runs("evaluate", "{data}", "--adapter", "{out}/o", "--include-train"),
            runs("propose-fit", "{data}", "--adapter", "{out}/o", "--steps", "20", makes=("o/proposals.json",)),
            runs("check", "{data}", *_SUFFIX),
            runs("check", "{data}", says=("image name \\+ '_GT'",)),
        ),
    ),
    "fmt_darwin": Case(
        "V7 Darwin; an image has no file",
        (reads({"p1": [("a", 435, (11, 10, 40, 39))]}, says=("p2.jpg", "1 left out")),),
    ),
    "fmt_datumaro": Case(
        "Datumaro; an image has no item", (reads({"default/p1": [("a", 900, _P1)]}, says=("p2.jpg", "1 left out")),)
    ),
    "fmt_labelstudio_json": Case(
        "Label Studio JSON without regions; an image has no task",
        (reads({"p1": []}, says=("p2.jpg", "without an object")),),
    ),
    "fmt_sa1b": Case("SA-1B", (reads(_two("sa_1", "sa_2", "object")),)),
    "img_float_rgb_tif": Case(
        "TIFF of 32-bit floats, in color",
        (runs("predict", "{case}/rgbf32.tif", "--click", "5,5", "--out", "{out}/p", makes=("p/masks/*.png",)),),
    ),
    "img_heic": Case("HEIC images", (reads(_same(), refusal="pip install 'samtailor\\[heic\\]'"),)),
    "img_multipage_tiff": Case(
        "TIFF of two pages: the first is read",
        (reads(_same(), says=("4 found, 2 read", "of which the first is read")),),
    ),
    "img_rgb16_12bit_dataset": Case(
        "12-bit values in 16-bit RGB",
        (reads(_same(), says=("more than 8 bits per channel",)), script(_PREDICTED, "{data}/images/p1.png")),
    ),
    "instances16_in_masks_folder": Case(
        "16-bit instance maps in masks/", (reads(_both("object", "object"), says=("one object per value",)),)
    ),
    "instances_void255": Case(
        "Instance maps with 255 as void", (reads(_both("object", "object"), says=("255 marks", "2 left out")),)
    ),
    "label_dup_stems": Case(
        "a.jpg and a.png in one folder",
        (
            runs(*_LABEL, makes=("o/images/a_jpg*", "o/images/a_png*"), says=("a_jpg, a_png",)),
            runs("predict", "{data}/a.jpg", "{data}/a.png", "--click", "60,100", "--out", "{out}/p",
                 makes=("p/masks/a_jpg*", "p/masks/a_png*")),
        ),
    ),
    "label_huge_picture": Case(
        "An image above the limit of Pillow, with `--tile`", (runs(*_LABEL, "--tile", "1024", refusal="--max-pixels"),)
    ),
    "labelmap_with_classes_txt": Case("Class maps with classes.txt", (reads(_both("road", "car", "p1", "p2", "p3")),)),
    "labelme_all_big_imagedata_first": Case(
        "labelme: a large `imageData` first, in all files", (reads(_same("a")),)
    ),
    "labelme_embedded_only": Case("labelme: embedded images only", (reads(ONE),)),
    "labelme_ignore_label": Case(
        "labelme: `__ignore__` and `_background_`",
        (reads({"p1": [("a", 435, (11, 10, 40, 39))]}, says=("__ignore__", "_background_", "2 left out")),),
    ),
    "labelme_rotation_shape": Case("labelme: rotated boxes (X-AnyLabeling)", (reads(ONE),)),
    "labelme_sorted_keys_big_imagedata": Case("labelme: a large `imageData` before the shapes", (reads(ONE),)),
    "labelstudio_ellipse_and_turned": Case(
        "Label Studio's webhook: ellipses, and regions drawn on a rotated view", (script(_REGIONS),)
    ),
    "mask_antialiased_png": Case("Masks with soft edges", (reads(_two(label="object"), says=("soft",)),)),
    "mask_imagej_inverting_lut": Case(
        "ImageJ's TIFF masks whose zero is white", (reads(_two(label="object"), says=("zero is white",)),)
    ),
    "masks_writer_class_collision": Case(
        "Output: classes `a/b`, `a_b` and `..` in folders of their own", (script(_COLLIDING, "{out}"),)
    ),
    "predict_symlinked_folder": Case(
        "A folder of images with a link to a folder",
        (
            linked("real"),
            runs("predict", "{out}/in", "--click", "5,5", "--out", "{out}/p", makes=("p/masks/link/p[12]*",)),
        ),
    ),
    "unicode_nfd_names": Case(
        "Masks: decomposed and composed Unicode names", (reads(_same("object", "M\u00fcller", "x")),)
    ),
    "voc_cvat_segmask11": Case("CVAT masks 1.1", (reads(_two(label="screw", other="nut")),)),
    "voc_labelme2voc": Case("VOC masks with class_names.txt", (reads(_two(label="screw", other="nut")),)),
    "voc_polygon": Case(
        "VOC: polygons (Roboflow)",
        (reads({"p1": [("a", 435, (10, 10, 39, 39))], "p2": ONE["p2"]}, says=("used as a rectangular mask: 1",)),),
    ),
    "voc_swapped": Case("VOC: exchanged corners", (reads(ONE, says=_BOX_ONLY),)),
    "yolo_labelstudio": Case(
        "YOLO of Label Studio, with notes.json",
        (
            reads(ONE),
            runs("check", "{data}", "--format", "yolo"),
            runs("check", "{data}", "--format", "coco", code=1, says=("notes.json|COCO",)),
        ),
    ),
    "yolo_names_yes_no": Case("YOLO: classes named yes and no", (reads(_two(label="yes", other="no")),)),
}  # fmt: skip
"""All cases by the name of their folder."""
WITHOUT_FOLDER = {"labelstudio_ellipse_and_turned"}
"""Cases whose files are made here."""
