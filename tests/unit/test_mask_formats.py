"""Layouts with masks as images: folder, labelmap, instances."""

import numpy as np
import pytest

from layouts import SIZE, blob, box, masks_of, mismatch, photo, save, text
from layouts.basic import write_class_folders, write_folder, write_instances, write_labelmap
from samtailor.data.check import check
from samtailor.data.dataset import class_names, open_dataset
from samtailor.data.notices import collected
from samtailor.errors import DataError, InputError

# pycocotools' decode under NumPy 2; nothing of ours
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def test_folder_partners(tmp_path):
    write_folder(tmp_path)
    photo(tmp_path / "images/alone.jpg")
    save(tmp_path / "masks/lost.png", blob(1))
    with collected() as notices:
        assert [s.id for s in open_dataset(tmp_path)] == ["1", "2", "10"]
    assert sorted(n.kind for n in notices if n.kind != "class") == [
        "annotation without image",
        "image without partner",
    ]


def test_folder_equal_names_are_refused(tmp_path):
    write_folder(tmp_path)
    photo(tmp_path / "images/2.png")
    with pytest.raises(DataError, match=r"2\.(jpg|png).*differ only in their suffix"):
        open_dataset(tmp_path)


def test_folder_without_a_pair_lists_images_and_masks(tmp_path):
    photo(tmp_path / "images/a.jpg")
    save(tmp_path / "masks/b.png", blob(1))
    with pytest.raises(DataError, match=r"Images: a\. Masks: b\."):
        open_dataset(tmp_path)


def test_folder_empty_mask_is_skipped_with_a_notice(tmp_path):
    write_folder(tmp_path)
    save(tmp_path / "masks/2.png", np.zeros(SIZE, np.uint8))
    with collected() as notices:
        assert [len(s.annotations) for s in open_dataset(tmp_path)] == [1, 0, 1]
    assert "empty mask" in {n.kind for n in notices}


@pytest.mark.parametrize("ending", ["_mask", "_segmentation"])
def test_folder_mask_names_with_a_suffix(tmp_path, ending):
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
    with pytest.raises(InputError, match="exactly one class name"):
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


def test_folder_of_masks_per_image_is_not_read_as_classes(tmp_path):
    for i in (1, 2):
        photo(tmp_path / f"images/{i}.jpg")
        save(tmp_path / f"masks/{i}/first.png", blob(i))
    with pytest.raises(DataError, match="one folder per image"):
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
    with pytest.raises(DataError, match=r"several separate regions.*labels\.json"):
        open_dataset(tmp_path)
    assert len(open_dataset(tmp_path, format="instances", sure=True)) == 3


def test_mask_names_that_end_with_a_class(tmp_path):
    for name in ("1", "1_b", "x y"):
        photo(tmp_path / f"images/{name}.jpg")
        save(tmp_path / f"masks/{name}_mask_cat.png", blob(1))
        save(tmp_path / f"masks/{name}_mask_dog.png", blob(2))
    samples = open_dataset(tmp_path)
    assert not mismatch(samples, {name: [("cat", blob(1)), ("dog", blob(2))] for name in ("1", "1_b", "x y")})
    assert class_names(open_dataset(tmp_path, classes=["dog"])) == ["dog"]
    with pytest.raises(InputError, match="cat, dog"):
        open_dataset(tmp_path, classes=["bird"])


@pytest.mark.parametrize("ends", [("a", "b"), ("1", "2"), ("9f3e", "77ac")])
def test_letters_numbers_and_codes_at_the_end_are_no_classes(tmp_path, ends):
    for name in ("p1", "p2", "p3"):
        photo(tmp_path / f"images/{name}.jpg")
        for end in ends:
            save(tmp_path / f"masks/{name}_{end}.png", blob(1))
    assert class_names(open_dataset(tmp_path)) == ["object"]


def test_inverted_masks(tmp_path):
    for name in ("1", "2"):
        photo(tmp_path / f"images/{name}.jpg")
        save(tmp_path / f"masks/{name}.png", np.where(box(5, 5, 20, 15), 0, 255).astype(np.uint8))
    (finding,) = (one for one in check(tmp_path).findings if one.kind == "background as mask")
    assert finding.count == 2
    expected = {name: [("object", box(5, 5, 20, 15))] for name in ("1", "2")}
    assert not mismatch(open_dataset(tmp_path, values="inverted"), expected)
    assert all(one.kind != "background as mask" for one in check(tmp_path, values="inverted").findings)


def test_trimaps_are_not_taken_for_objects(tmp_path):
    for name in ("1", "2"):
        photo(tmp_path / f"images/{name}.jpg")
        save(tmp_path / f"masks/{name}.png", np.where(box(5, 5, 20, 15), 1, 2).astype(np.uint8))
    with pytest.raises(DataError, match="values above 0 \\(1, 2\\), as in class maps and trimaps"):
        open_dataset(tmp_path)
    assert all(len(sample.annotations) == 2 for sample in open_dataset(tmp_path, values="instances"))
    text(tmp_path / "labels.json", {"1": "pet", "2": "background"})
    expected = {name: [("pet", box(5, 5, 20, 15))] for name in ("1", "2")}
    assert not mismatch(open_dataset(tmp_path, format="folder"), expected)
