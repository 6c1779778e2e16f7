"""Small data sets that store masks as maps, as tools and published data sets arrange them."""

import numpy as np
from PIL import Image

from layouts.shapes import IDS, SIZE, box, colored, index_map, photo, save, text

CAT, DOG = box(1, 1, 9, 9) | box(12, 1, 20, 9), box(5, 12, 25, 20)
OBJECTS = [("cat", box(1, 1, 9, 9)), ("cat", box(12, 1, 20, 9)), ("dog", DOG)]
COLORS = {"cat": (250, 50, 83), "dog": (51, 221, 255)}


def write_cvat_masks(root, ids=IDS):
    expected = {}
    text(
        root / "labelmap.txt",
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:250,50,83::\ndog:51,221,255::\n",
    )
    for i in ids:
        photo(root / f"JPEGImages/{i}.png")
        save(root / f"SegmentationClass/{i}.png", colored([(COLORS[name], mask) for name, mask in OBJECTS]))
        objects = [((128 * (k & 1), 0, 30 + 90 * k), mask) for k, (_, mask) in enumerate(OBJECTS)]
        save(root / f"SegmentationObject/{i}.png", colored(objects))
        by_color = [
            entry for _, entry in sorted(zip([c for c, _ in objects], OBJECTS, strict=True), key=lambda p: p[0])
        ]
        expected[str(i)] = by_color
    text(root / "ImageSets/Segmentation/default.txt", "".join(f"{i}\n" for i in ids))
    return expected


def write_color_map(root, ids=IDS):
    expected = {}
    text(root / "class_dict.csv", "name,r,g,b\ncat,250,50,83\nvoid,9,9,9\ndog,51,221,255\n")
    for i in ids:
        photo(root / f"images/{i}.png")
        pairs = [(COLORS["cat"], CAT), (COLORS["dog"], DOG), ((9, 9, 9), box(30, 0, 36, 4))]
        save(root / f"masks/{i}.png", colored(pairs))
        expected[str(i)] = [("dog", DOG), ("cat", CAT)]  # by color
    return expected


def write_cityscapes(root, ids=IDS):
    expected = {}
    for number in ids:
        part = "val" if number == 10 else "train"
        id = f"{part}/aachen/aachen_{number:06}_000019"
        photo(root / f"leftImg8bit/{id}_leftImg8bit.png")
        road, person = box(0, 20, 36, 24), box(30, 0, 36, 6)
        groups, void = box(26, 8, 34, 11), box(26, 12, 34, 14)
        index = index_map(
            [(7, road), (26000, OBJECTS[0][1]), (26001, OBJECTS[1][1]), (24000, person), (26, groups), (3, void)]
        )
        save(root / f"gtFine/{id}_gtFine_instanceIds.png", index.astype(np.uint16))
        labels = index_map([(7, road), (26, CAT | groups), (24, person), (3, void)])
        save(root / f"gtFine/{id}_gtFine_labelIds.png", labels.astype(np.uint8))
        save(root / f"gtFine/{id}_gtFine_color.png", colored([((128, 64, 128), road)]))
        text(root / f"gtFine/{id}_gtFine_polygons.json", {"imgHeight": 24, "imgWidth": 36, "objects": []})
        cars = [("car", OBJECTS[0][1]), ("car", OBJECTS[1][1])]
        expected[id] = [("road", road), ("car", groups), ("person", person), *cars]
    return dict(sorted(expected.items()))


def write_mmseg(root, ids=IDS):
    expected = {}
    text(root / "classes.txt", "cat\ndog\nbird\n")
    for i in ids:
        part = "val" if i == 10 else "train"
        photo(root / f"img_dir/{part}/{i}.jpg")
        index = np.full(SIZE, 255, np.uint8)
        index[CAT], index[DOG] = 0, 1
        save(root / f"ann_dir/{part}/{i}.png", index)
        expected[f"{part}/{i}"] = [("cat", CAT), ("dog", DOG)]
    return expected


def _instances(i):
    return [box(1, 1, 9, 9), box(12, 1, 20, 9), box(5, 12, 25, 20 + i % 3)]


def write_cellpose(root, ids=IDS):
    expected = {}
    for i in ids:
        photo(root / f"{i}.png")
        save(root / f"{i}_masks.png", index_map(enumerate(_instances(i), 300)).astype(np.uint16))
        (root / f"{i}_seg.npy").write_bytes(b"\x93NUMPY, a pickle that nobody opens")
        expected[str(i)] = [("object", mask) for mask in _instances(i)]
    return expected


def write_cellpose_saved(root, ids=IDS):
    """Masks as Cellpose saves them."""
    expected = {}
    for i in ids:
        photo(root / f"{i}_img.png")
        save(root / f"{i}_img_cp_masks.tif", index_map(enumerate(_instances(i), 1)).astype(np.uint16))
        save(root / f"{i}_img_flows.tif", np.zeros(SIZE, np.uint8))
        expected[f"{i}_img"] = [("object", mask) for mask in _instances(i)]
    return expected


def write_cellpose_train(root, ids=IDS):
    """The data set of Cellpose: 000_img.png + 000_masks.png."""
    expected = {}
    for i in ids:
        part = "test" if i == 10 else "train"
        photo(root / f"{part}/{i}_img.png")
        save(root / f"{part}/{i}_masks.png", index_map(enumerate(_instances(i), 1)).astype(np.uint16))
        expected[f"{part}/{i}"] = [("object", mask) for mask in _instances(i)]
    return dict(sorted(expected.items()))


def write_dsb2018(root, ids=IDS):
    expected = {}
    for i in ids:
        photo(root / f"stage1_train/{i}/images/{i}.png")
        for k, mask in enumerate(_instances(i)):
            save(root / f"stage1_train/{i}/masks/{k}f3a.png", mask.astype(np.uint8) * 255)
        expected[f"stage1_train/{i}"] = [("object", mask) for mask in _instances(i)]
    photo(root / "stage1_test/ab/images/ab.png")
    text(root / "stage1_train_labels.csv", "ImageId,EncodedPixels\n1,1 2\n")
    return expected


def write_roboflow_masks(root, ids=IDS):
    expected = {}
    for i in ids:
        part = "valid" if i == 10 else "train"
        photo(root / f"{part}/{i}.jpg")
        save(root / f"{part}/{i}_mask.png", index_map([(1, CAT), (2, DOG)]).astype(np.uint8))
        expected[f"{part}/{i}"] = [("cat", CAT), ("dog", DOG)]
    for part in ("train", "valid"):
        text(root / part / "_classes.csv", "Pixel Value, Class\n0, background\n1, cat\n2, dog\n")
    text(root / "README.roboflow.txt", "Exported.")
    return expected


def write_davis(root, ids=IDS):
    expected = {}
    for i in ids:
        sequence = "bear" if i == 10 else "dog"
        id = f"{sequence}/{i:05}"
        photo(root / f"JPEGImages/480p/{id}.jpg")
        image = Image.fromarray(index_map(enumerate(_instances(i), 1)).astype(np.uint8))
        image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
        save(root / f"Annotations/480p/{id}.png", image)
        expected[id] = [("object", mask) for mask in _instances(i)]
    text(root / "ImageSets/2017/train.txt", "dog\n")
    text(root / "ImageSets/2017/val.txt", "bear\n")
    return dict(sorted(expected.items()))


def write_pairs(root, ids=IDS):
    """Images and masks side by side."""
    expected = {}
    for i in ids:
        photo(root / f"photo_{i}.jpg")
        save(root / f"photo_{i}_GT.png", _instances(i)[2].astype(np.uint8) * 255)
        expected[f"photo_{i}"] = [("object", _instances(i)[2])]
    return expected


MAPS = {
    "cvat-masks": write_cvat_masks,
    "color-map": write_color_map,
    "cityscapes": write_cityscapes,
    "mmseg": write_mmseg,
    "cellpose": write_cellpose,
    "cellpose train": write_cellpose_train,
    "cellpose saved": write_cellpose_saved,
    "dsb2018": write_dsb2018,
    "roboflow-masks": write_roboflow_masks,
    "davis": write_davis,
    "pairs": write_pairs,
}
