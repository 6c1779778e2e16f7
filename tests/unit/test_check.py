"""The check reports all problems of a data set and changes nothing."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from layouts.basic import write_coco, write_labelme, write_yolo
from samtailor.data.check import check
from samtailor.errors import InputError

# pycocotools' decode under NumPy 2; nothing of ours
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def save(path, values, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (values if isinstance(values, Image.Image) else Image.fromarray(values)).save(path, **options)


def photo(path, seed, size=(60, 80), channels=3, **options):
    small = np.random.default_rng(seed).integers(0, 256, (5, 7, channels), dtype=np.uint8).squeeze()
    save(path, Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC), **options)


def mask(path, box=(10, 10, 40, 50), size=(60, 80), high=255):
    values = np.zeros(size, np.uint8)
    values[box[0] : box[2], box[1] : box[3]] = high
    save(path, values)


@pytest.fixture
def folder(tmp_path):
    for i in range(4):
        photo(tmp_path / f"images/{i}.png", i)
        mask(tmp_path / f"masks/{i}.png")
    return tmp_path


def kinds(report):
    return {finding.kind: finding for finding in report.findings}


def test_a_valid_data_set_has_no_findings(folder):
    report = check(folder)
    assert report.ok
    assert report.findings == ()
    assert (report.format, report.images, report.sizes) == ("folder", 4, ((60, 80), (60, 80)))
    statistics = report.classes["object"]
    assert (statistics.masks, statistics.images, statistics.area_median) == (4, 4, 1200)
    assert statistics.share_median == pytest.approx(0.25)
    assert "No errors." in report.render()


def exif(orientation):
    value = Image.Exif()
    value[0x0112] = orientation
    return value


@pytest.mark.parametrize(
    ("kind", "severity", "harm"),
    [
        ("unreadable", "error", lambda d: (d / "images/2.png").write_bytes(b"x")),
        ("unreadable", "error", lambda d: (d / "masks/2.png").write_bytes((d / "masks/1.png").read_bytes()[:60])),
        ("unreadable", "error", lambda d: photo(d / "images/2.png", 2, (80, 60))),
        ("refused", "error", lambda d: photo(d / "images/2.jpg", 9)),
        ("image without partner", "warning", lambda d: photo(d / "images/9.png", 9)),
        ("annotation without image", "warning", lambda d: mask(d / "masks/9.png")),
        ("empty mask", "warning", lambda d: mask(d / "masks/2.png", high=0)),
        ("no target", "note", lambda d: mask(d / "masks/2.png", high=0)),
        ("tiny mask", "warning", lambda d: mask(d / "masks/2.png", (10, 10, 20, 35))),
        ("mask covers everything", "warning", lambda d: mask(d / "masks/2.png", (0, 0, 60, 80))),
        ("mask resized", "note", lambda d: photo(d / "images/2.png", 2, (120, 160))),
        ("mask turned", "warning", lambda d: photo(d / "images/2.png", 2, exif=exif(6))),
        ("turned image", "note", lambda d: photo(d / "images/2.png", 2, exif=exif(3))),
        ("gray image", "note", lambda d: photo(d / "images/2.png", 2, channels=1)),
        ("transparent image", "note", lambda d: photo(d / "images/2.png", 2, channels=4)),
        ("deep image", "note", lambda d: save(d / "images/2.png", np.arange(4800, dtype=np.uint16).reshape(60, 80))),
        ("near-duplicates", "warning", lambda d: photo(d / "images/2.png", 1, (120, 160))),
        ("soft mask", "warning", lambda d: save(d / "masks/2.png", np.arange(4800).reshape(60, 80).astype(np.uint8))),
    ],
)
def test_every_kind_of_problem_is_reported(folder, kind, severity, harm):
    harm(folder)
    report = check(folder)
    assert kind in kinds(report)
    finding = kinds(report)[kind]
    assert (finding.severity, finding.count) == (severity, 1)
    assert len(finding.examples) == 1
    assert "2" in finding.examples[0] or "9" in finding.examples[0]
    assert report.ok == (severity != "error" and "unreadable" not in kinds(report))
    assert finding.message in report.render()
    json.dumps(report.to_json(), allow_nan=False)


def test_an_unknown_layout_is_reported_not_raised(tmp_path):
    (tmp_path / "readme.txt").write_text("x")
    report = check(tmp_path)
    assert not report.ok
    assert "matches no known layout" in report.findings[0].examples[0]
    assert "There are errors" in report.render()
    assert not check(tmp_path / "nowhere").ok
    with pytest.raises(InputError):
        check(tmp_path, format="nonsense")


def test_classes_without_a_mask(tmp_path):
    for i in range(3):
        photo(tmp_path / f"images/{i}.png", i)
        mask(tmp_path / f"labels/{i}.png", high=2)
    (tmp_path / "labels.json").write_text('["null", "roof", "door"]')
    finding = kinds(check(tmp_path))["class without masks"]
    assert finding.examples == ("roof",)


def test_long_lists_are_cut_and_counted(folder):
    for i in range(20, 40):
        photo(folder / f"images/{i}.png", i)
    finding = kinds(check(folder))["image without partner"]
    assert finding.count == 20
    assert len(finding.examples) == 5
    assert "and 15 more" in check(folder).render()


def test_errors_come_first(folder):
    mask(folder / "masks/1.png", high=0)
    (folder / "images/2.png").write_bytes(b"x")
    severities = [finding.severity for finding in check(folder).findings]
    assert severities == ["error", "warning", "note"]


def test_shapes_are_counted_as_the_files_hold_them(tmp_path):
    write_coco(tmp_path / "coco")
    assert check(tmp_path / "coco").shapes.drawn == {"polygon": 3, "mask": 3, "box": 0}
    write_yolo(tmp_path / "yolo")
    drawn = check(tmp_path / "yolo").shapes.drawn
    assert drawn["mask"] == 0
    assert min(drawn["polygon"], drawn["box"]) > 0
    write_labelme(tmp_path / "labelme")
    assert check(tmp_path / "labelme").shapes.drawn["polygon"] > 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: root.mkdir(), "no file that can be read"),
        (lambda root: photo(root / "a.jpg", 1), "1 image, and neither masks nor annotation files"),
        (lambda root: root.write_bytes(b"PK"), "Unpack it"),
    ],
)
def test_what_is_no_data_set_is_refused_with_what_to_do(make, words, tmp_path):
    root = tmp_path / "set.zip"
    make(root)
    (finding,) = check(root).findings
    assert words in finding.examples[0]


def test_a_panoptic_file_is_refused_in_words(tmp_path):
    write_coco(tmp_path)
    file = tmp_path / "annotations/instances.json"
    content = json.loads(file.read_text())
    content["annotations"] = [{"image_id": 1, "file_name": "1.png", "segments_info": []}]
    file.write_text(json.dumps(content))
    assert "panoptic" in check(tmp_path).findings[0].examples[0]


def test_the_folder_above_a_data_set_names_it(tmp_path):
    for i in range(3):
        photo(tmp_path / f"my set/images/{i}.png", i)
        mask(tmp_path / f"my set/masks/{i}.png")
    (finding,) = check(tmp_path).findings
    assert "my set has the layout folder" in finding.examples[0]
    write_coco(tmp_path / "other")
    (finding,) = check(tmp_path).findings
    assert "there are others beside it (other)" in finding.examples[0]
    shutil.rmtree(tmp_path / "my set")
    shutil.rmtree(tmp_path / "other" / "images")
    (finding,) = check(tmp_path).findings
    assert "without images" in finding.examples[0]
