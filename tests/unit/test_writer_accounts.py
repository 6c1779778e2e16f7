"""Written data sets account for every object, and names of classes and images never collide or leave the folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from samtailor.data.dataset import open_dataset
from samtailor.data.writers import LabelledImage, WriteReport
from samtailor.data.writers._names import class_files, class_texts, image_name
from samtailor.errors import InputError
from samtailor.registry import find, names
from written import box, labeled, rectangle, ring, write

FORMATS = names("writers")
HOSTILE = [
    "a/b", "a_b", "A_B", "..", ".", "../../evil", "/etc/passwd", "C:\\temp", "CON", "con.txt", "nul", "", " ", "a b",
    "a b ", "a\nb", "a\x00b", "a\x0bb", "café", "cafe\u0301", "x" * 300, "x" * 299 + "y", "null", "background", "void",
    "__ignore__", "name: [yes]", "yes", "1", "<b>&amp;\"'", "ring:1,2,3", "\ud800", "-", "#", "%2e%2e", "😀", "trip",
]  # fmt: skip
"""Class names that collide in a file system or a file, climb, are reserved, or break a syntax."""


def inside(folder: Path) -> set[Path]:
    return {file for file in folder.rglob("*") if file.is_file()}


def hostile_image(folder: Path) -> LabelledImage:
    """One object of each hostile class, apart from each other."""
    places = [(3 * (i // 12), 6 * (i % 12)) for i in range(len(HOSTILE))]
    masks = [rectangle(y, x, y + 2, x + 4) for y, x in places]
    return labeled(folder, "trip/a", *zip(HOSTILE, masks, strict=True))


@pytest.mark.parametrize("format", FORMATS)
def test_class_names_stay_apart_and_inside(format, tmp_path):
    outer = tmp_path / "outer" / "deep" / "out"
    image = hostile_image(tmp_path / "from")
    before = inside(tmp_path)
    report = write(format, [image], outer, HOSTILE, **({"val": 0} if format == "yolo" else {}))
    assert {file for file in inside(tmp_path) - before if not file.is_relative_to(outer)} == set()
    assert inside(outer)
    assert report.written == report.objects == len(HOSTILE)
    options = {"predictions": True} if format == "label-studio" else {}
    layout = {"masks": "folder"}.get(format, format)
    (sample,) = open_dataset(outer, format=layout, **options)
    by_label = {one.label: one.box for one in sample.annotations}
    assert len(by_label) == len(HOSTILE)  # no class lost, none merged with another
    texts = class_texts(HOSTILE, getattr(find("writers", format), "RESERVED", ()))
    for name, one in zip(HOSTILE, image.objects, strict=True):
        assert by_label[texts[name]] == one.box
        assert report.renamed.get(name.encode("utf-8", "backslashreplace").decode(), texts[name]) == texts[name]


def test_file_names_of_classes():
    files = class_files(HOSTILE)
    assert len({name.casefold() for name in files.values()}) == len(HOSTILE)
    for name in files.values():
        assert name
        assert name not in (".", "..")
        assert not set(name) & set('/\\:*?"<>|\0')
        assert not name.startswith(".")
        assert not name.endswith((" ", "."))
        assert len(name.encode()) < 128
        assert name.split(".")[0].upper() not in {"CON", "NUL"}
    assert class_files(["ring", "Große Schraube", "a.b"]) == {name: name for name in ("ring", "Große Schraube", "a.b")}
    assert class_files(["a/b", "a_b"]) == {"a/b": "a_b_2", "a_b": "a_b"}  # who needs no change keeps the name


def test_written_names_of_classes():
    assert class_texts(["a", "A", "a b"]) == {"a": "a", "A": "A", "a b": "a b"}
    assert class_texts([" a ", "a", "a\tb"]) == {" a ": "a_2", "a": "a", "a\tb": "a b"}
    assert class_texts(["void", "Void", "x"], ["void"]) == {"void": "void_2", "Void": "Void_2", "x": "x"}


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "", "a\\b", "a\x00"])
@pytest.mark.parametrize("format", FORMATS)
def test_image_names_that_leave_the_folder_are_refused(name, format, tmp_path):
    image = labeled(tmp_path / "from", "a", ("box", box()))
    wrong = LabelledImage(name, image.source, image.height, image.width, image.objects)
    with pytest.raises(InputError):
        write(format, [wrong], tmp_path / "out")
    assert not [file for file in inside(tmp_path / "out") if file.suffix == image.source.suffix]


def test_image_names_that_are_not_text(tmp_path):
    image = labeled(tmp_path / "from", "a", ("box", box()))
    odd = LabelledImage("b\udcff", image.source, image.height, image.width, image.objects)
    assert image_name("b\udcff") == "b_xff"
    report = write("coco", [image, odd], tmp_path / "out")
    assert (tmp_path / "out" / "images" / "b_xff.png").is_file()
    assert report.renamed == {"b\\udcff": "b_xff"}
    report = write("coco", [image, odd], tmp_path / "none", images="none")
    assert (sum(report.images_left_out.values()), report.written) == (1, 1)
    assert any("UTF-8" in sentence for sentence in report.sentences())


@pytest.mark.parametrize("format", FORMATS)
def test_two_images_of_one_name_and_unlisted_classes_are_refused(format, tmp_path):
    image = labeled(tmp_path / "from", "a", ("box", box()))
    with pytest.raises(InputError, match="Two images"):
        write(format, [image, image], tmp_path / "out")
    with pytest.raises(InputError, match="'box' is not among"):
        write(format, [image], tmp_path / "other", ["ring"])


@pytest.mark.parametrize("format", FORMATS)
def test_empty_masks_are_counted_in_every_format(format, tmp_path):
    image = labeled(tmp_path / "from", "a", ("box", box()), ("ring", np.zeros_like(box())))
    report = write(format, [image], tmp_path / "out")
    assert (report.objects, report.written, dict(report.left_out)) == (2, 1, {"the mask is empty": 1})
    assert report.examples["the mask is empty"] == ["a: ring"]
    assert any("1 object" in sentence and "a: ring" in sentence for sentence in report.sentences())


def read(format: str, folder: Path) -> int:
    options = {"predictions": True} if format == "label-studio" else {}
    samples = open_dataset(folder, format={"masks": "folder"}.get(format, format), **options)
    return sum(len(sample.of(None)) for sample in samples)


def crowded(folder: Path) -> LabelledImage:
    """Hidden, covered, merged and empty objects, and one with two parts."""
    return labeled(
        folder, "a", ("ring", ring()), ("box", box()), ("box", rectangle(30, 70, 40, 80)), ("ring", box()),
        ("box", rectangle(22, 20, 34, 40)), ("box", np.zeros_like(box())),
    )  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_read_back_is_what_was_given_less_what_is_counted(format, tmp_path):
    report = write(format, [crowded(tmp_path / "from")], tmp_path / "out")
    assert report.complete is False
    assert report.objects == 6
    assert (report.written, read(format, tmp_path / "out")) == BACK[format]


BACK = {
    "coco": (5, 5), "cvat": (5, 5), "labelme": (5, 5), "sa-1b": (5, 5), "yolo": (5, 5),
    "instances": (4, 4),  # one is hidden
    "voc": (5, 4),  # one has only a box
    "labelmap": (4, 2), "masks": (5, 2),  # objects of two classes are merged
    "label-studio": (5, 6),  # an object of two parts is two regions
}  # fmt: skip
"""Objects that the report counts as written, and objects that are read back. Every difference is in the report."""


def test_overlaps_in_index_maps(tmp_path):
    """The smaller object is on top; of two equal ones that with the higher score."""
    report = write("instances", [crowded(tmp_path / "from")], tmp_path / "out")
    assert report.left_out == {"smaller objects cover it completely, and a pixel holds one number": 1,
                               "the mask is empty": 1}  # fmt: skip
    assert report.examples["smaller objects cover it completely, and a pixel holds one number"] == ["a: ring"]
    assert report.changed == {"pixels that a smaller object covers too belong to the smaller one": 1}
    (sample,) = open_dataset(tmp_path / "out", format="instances")
    small = rectangle(22, 20, 34, 40)
    assert np.array_equal(sample.annotations[-1].mask, small)
    assert np.array_equal(sample.annotations[0].mask, ring() & ~small)


def test_a_vertex_budget_that_changes_an_object_is_counted(tmp_path):
    image = labeled(tmp_path / "from", "a", ("ring", ring()), ("box", box()))
    report = write("coco", [image], tmp_path / "few", vertices=4)
    assert sum(report.changed.values()) == 1
    assert "a: ring" in next(iter(report.examples.values()))
    assert write("coco", [image], tmp_path / "exact", vertices=4, rle=True).complete
    assert write("coco", [image], tmp_path / "all").complete


def test_a_report_counts_and_names():
    report = WriteReport(images=3, objects=9)
    assert report.complete
    assert report.sentences() == []
    for name in "abcdefg":
        report.leave_out(name, "x", "too small")
    report.change("a", "y", "cut")
    report.leave_out_image("z", 2, "unreadable")
    report.renamed["a/b"] = "a_b"
    report.notes.append("A note.")
    assert not report.complete
    assert report.written == 0
    assert report.sentences() == [
        "Left out 1 image: unreadable (for example z).",
        "Left out 7 objects: too small (for example a: x, b: x, c: x).",
        "Changed 1 object: cut (for example a: y).",
        "Names written in another form: 'a/b' is 'a_b'.",
        "A note.",
    ]
    plain = report.to_json()
    assert plain["left_out"] == {"too small": 7, "unreadable": 2}
    assert len(plain["examples"]["too small"]) == 5
