"""Opening a folder: layout, order of samples, and groups."""

import pytest

from layouts import blob, photo, save, text
from layouts.basic import write_class_folders, write_coco, write_folder
from samtailor.data.dataset import open_dataset
from samtailor.errors import DataError, InputError

# pycocotools' decode under NumPy 2; nothing of ours
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def test_an_unknown_layout_lists_the_known_ones(tmp_path):
    photo(tmp_path / "a.jpg")
    (tmp_path / "a.dat").write_bytes(b"x")
    with pytest.raises(DataError, match=r"(?s)matches no known layout.*coco:.*folder:.*yolo:.*celebamask-hq"):
        open_dataset(tmp_path)
    with pytest.raises(DataError, match="no folder"):
        open_dataset(tmp_path / "nowhere")


def test_a_parent_of_the_data_set_names_the_data_set(tmp_path):
    write_coco(tmp_path / "inner")
    with pytest.raises(DataError, match=r"inner has the layout coco\. Use that folder"):
        open_dataset(tmp_path)


def test_two_layouts_are_ambiguous(tmp_path):
    write_folder(tmp_path)
    write_coco(tmp_path)
    with pytest.raises(DataError, match=r"coco, folder.*format="):
        open_dataset(tmp_path)
    assert len(open_dataset(tmp_path, format="coco")) == 3


def test_unknown_names_are_refused_with_the_known_ones(tmp_path):
    write_class_folders(tmp_path)
    with pytest.raises(InputError, match=r"Did you mean 'hair'"):
        open_dataset(tmp_path, classes=["hiar"])
    with pytest.raises(InputError, match="list of names"):
        open_dataset(tmp_path, classes="hair")
    with pytest.raises(InputError, match=r"no option 'mask'.*masks"):
        open_dataset(tmp_path, mask="x")
    with pytest.raises(InputError, match="folder"):
        open_dataset(tmp_path, format="foldr")


def test_samples_are_in_natural_order(tmp_path):
    """Vikram Shenoy's "last 100" differs by 79 images between the two orders."""
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
        ("regex:nothing", InputError, "matches no image"),
        ("person", InputError, "Unknown group rule"),
        ("csv:none.csv", DataError, "There is no file"),
        ("csv:short.csv", DataError, "no group for the image '2'"),
        ("csv:bad.csv", DataError, "columns id and group"),
    ],
)
def test_wrong_groups(tmp_path, rule, error, words):
    write_folder(tmp_path)
    text(tmp_path / "short.csv", "id,group\n1,a\n")
    text(tmp_path / "bad.csv", "name,group\n1,a\n")
    with pytest.raises(error, match=words):
        open_dataset(tmp_path, group=rule)
