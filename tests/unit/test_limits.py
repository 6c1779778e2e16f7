"""Bounds of what is read: sizes are checked before anything is allocated, run lengths are decoded in linear time."""

from __future__ import annotations

import json
import os
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from layouts import photo, text
from samtailor import limits
from samtailor.data.dataset import open_dataset
from samtailor.errors import DataError, InputError
from samtailor.masks import rle
from samtailor.train.config import load

HUGE = (2_000_000, 2_000_000)


@pytest.fixture
def little_memory():
    """Fails if more than 300 MB are allocated at a time: a mask of the declared size would take terabytes."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300_000_000


def coco(root, size, segmentation):
    photo(root / "images/1.png")
    image = {"id": 1, "file_name": "1.png", "height": size[0], "width": size[1]}
    row = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": segmentation, "bbox": [1, 1, 9, 9]}
    content = {"images": [image], "annotations": [row], "categories": [{"id": 1, "name": "a"}]}
    text(root / "annotations/instances.json", content)


@pytest.mark.parametrize(
    ("size", "segmentation"),
    [
        (HUGE, [[1, 1, 9, 1, 9, 9]]),
        (HUGE, []),
        (HUGE, {"size": list(HUGE), "counts": [HUGE[0] * HUGE[1]]}),
        ((2**16, 2**16), {"size": [2**16, 2**16], "counts": [2**32]}),
        ((15_000, 15_000), {"size": [15_000, 15_000], "counts": [15_000 * 15_000]}),  # allowed, but not for this image
        ((24 * 17, 36 * 17), [[1, 1, 9, 1, 9, 9]]),  # of the same aspect, but far larger than the image
        ((-5, 7), [[1, 1, 9, 1, 9, 9]]),
        ((1e308, 7), [[1, 1, 9, 1, 9, 9]]),
    ],
    ids=["polygon", "box", "counts", "2**32", "other aspect", "far larger", "negative", "float"],
)
def test_a_declared_size_is_checked_before_it_is_allocated(tmp_path, little_memory, size, segmentation):
    coco(tmp_path, size, segmentation)
    with pytest.raises(DataError):
        list(open_dataset(tmp_path, format="coco")[0].annotations)


@pytest.mark.parametrize("kind", ["polygon", "rectangle", "circle", "mask"])
def test_labelme_too(tmp_path, little_memory, kind):
    photo(tmp_path / "1.png")
    shape = {"label": "a", "points": [[1, 1], [9, 1], [9, 9]][: 3 if kind == "polygon" else 2], "shape_type": kind}
    content = {"imagePath": "1.png", "imageHeight": HUGE[0], "imageWidth": HUGE[1], "shapes": [shape | {"mask": ""}]}
    text(tmp_path / "1.json", content)
    with pytest.raises(DataError):
        list(open_dataset(tmp_path, format="labelme")[0].annotations)


def test_voc_too(tmp_path, little_memory):
    photo(tmp_path / "JPEGImages/1.png")
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    size = f"<size><width>{HUGE[1]}</width><height>{HUGE[0]}</height></size>"
    text(tmp_path / "Annotations/1.xml", f"<annotation>{size}<object><name>a</name>{box}</object></annotation>")
    with pytest.raises(DataError, match="declares an image of"):
        list(open_dataset(tmp_path, format="voc")[0].annotations)


def test_a_box_is_encoded_without_its_image():
    assert rle.from_box((1, 2, 5, 4), (16_000, 16_000))["size"] == [16_000, 16_000]
    for box in ((0, 0, 7, 5), (1, 1, 3, 4), (6, 4, 7, 5), (0, 1, 7, 2), (2, 0, 4, 5), (2.4, 0.6, 2.5, 9)):
        mask = np.zeros((5, 7), bool)
        x0, y0, x1, y1 = (round(v) for v in box)
        mask[min(y0, 4) : max(min(y1, 5), y0 + 1), min(x0, 6) : max(min(x1, 7), x0 + 1)] = True
        assert rle.from_box(box, (5, 7)) == rle.encode(mask)


def test_run_lengths_are_decoded_as_pycocotools_does():
    rng = np.random.default_rng(0)
    for density in (0.0, 0.001, 0.1, 0.5, 0.999, 1.0):
        for size in ((1, 1), (7, 5), (300, 200), (3000, 2000)):
            encoded = rle.encode(rng.random(size) < density)
            assert rle.validated({**encoded, "counts": encoded["counts"].decode()}, "x") == encoded


def test_an_endless_number_is_refused_at_once():
    # each byte says that the number goes on: shifting a growing integer took quadratic time
    endless = "o" * 3_000_000
    with pytest.raises(DataError, match=r"run-length|number"):
        rle.validated({"size": [10, 10], "counts": endless}, "x")
    with pytest.raises(DataError):
        rle.validated({"size": [10, 10], "counts": endless + "0"}, "x")


@pytest.mark.parametrize("counts", ["\0", "é", [1.5, 98.5], ["a"], [[1]], {"a": 1}, [-1, 101], [float("nan")], None, 7])
def test_other_counts_are_refused(counts):
    with pytest.raises(DataError):
        rle.validated({"size": [10, 10], "counts": counts}, "x")


def test_points_and_edges_are_bounded(monkeypatch):
    zigzag = [[0.0, 0.0, 1e9, 1e9] * 50_000]
    with pytest.raises(DataError, match="outline"):
        rle.from_polygons(zigzag, (4000, 4000))
    monkeypatch.setenv(limits.VARIABLE, "points=5")
    with pytest.raises(DataError, match="points"):
        rle.from_polygons([[0, 0, 5, 0, 5, 5]], (10, 10))


def test_time_is_bounded(monkeypatch, tmp_path):
    coco(tmp_path, (24, 36), [[1, 1, 9, 1, 9, 9]])
    now = iter([0.0, *[1e6] * 100])
    monkeypatch.setattr(limits.bounds.time, "monotonic", lambda: next(now))
    with pytest.raises(DataError, match="seconds"):
        list(open_dataset(tmp_path, format="coco")[0].annotations)


def test_aliases_count_as_copies(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(DataError, match="yaml_nodes"):
        limits.parse_yaml("\n".join(lines), "bomb.yaml")
    (tmp_path / "fit.yaml").write_text("\n".join(lines))
    with pytest.raises(InputError, match="yaml_nodes"):
        load(tmp_path / "fit.yaml")
    assert limits.parse_yaml("a: &a [1, 2]\nb: *a\n", "x") == {"a": [1, 2], "b": [1, 2]}
    with pytest.raises(DataError, match="stands for nothing"):
        limits.parse_yaml("a: &a [*a]", "x")


@pytest.mark.parametrize(
    "content", ["[" * 100 + "]" * 100, "a: 2020-99-99", "a: " + "9" * 6000, "a: !!binary é", "? [a]\n: 1"]
)
def test_values_that_yaml_cannot_make_are_refused(content):
    with pytest.raises(DataError):
        limits.parse_yaml(content, "x")


def test_entities_of_xml_are_refused():
    bomb = b'<!DOCTYPE a [<!ENTITY x "yyyyyyyyyy"><!ENTITY z "&x;&x;">]><a>&z;</a>'
    for data in (bomb, bomb.decode().encode("utf-16"), b"<a>" * 100 + b"</a>" * 100, b"", b"<a>", b"<a/><b/>", b"\xff"):
        with pytest.raises(DataError):
            limits.parse_xml(data, "x")
    assert [child.tag for child in limits.parse_xml(b"<a><b/><c>1</c></a>", "x")] == ["b", "c"]


def test_json_beyond_its_bounds_is_refused():
    for content in ("9" * 5000, "[" * 100_000, "\ud800x", b"\xff", "nope"):
        with pytest.raises(DataError, match="not valid JSON"):
            limits.parse_json(content, "x")
    with pytest.raises(DataError, match="nesting"):
        limits.parse_json("[" * 100 + "]" * 100, "x", nested=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_pipes_folders_and_missing_files_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ".", "missing", "a\0b"):
        with pytest.raises(DataError):
            limits.read_bytes(tmp_path / name, "yaml_bytes")


def test_limits_come_from_the_environment(monkeypatch, tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 100)
    monkeypatch.setenv(limits.VARIABLE, "yaml_bytes=99, pixels=7")
    assert limits.limit("pixels") == 7
    with pytest.raises(DataError, match="SAMTAILOR_LIMITS=yaml_bytes=100"):
        limits.read_bytes(tmp_path / "a", "yaml_bytes")
    for wrong in ("pixel=3", "pixels", "pixels=-1", "pixels=0", "pixels=x"):
        monkeypatch.setenv(limits.VARIABLE, wrong)
        with pytest.raises(InputError, match="NAME=VALUE"):
            limits.limit("pixels")


def test_a_reader_that_raises_anything_reports_the_data_set(tmp_path, monkeypatch):
    from samtailor.data.formats import folder

    photo(tmp_path / "images/1.png")
    Image.fromarray(np.ones((24, 36), np.uint8)).save(tmp_path / "images" / "2.png")
    for error in (KeyError("x"), OverflowError("x"), AttributeError("x"), RecursionError("x"), PermissionError("x")):

        def build(path, error=error, **options):
            raise error

        monkeypatch.setattr(folder, "build", build)
        with pytest.raises(DataError, match="cannot be read as folder"):
            open_dataset(tmp_path, format="folder")


def test_every_limit_is_in_the_documentation():
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs" / "reference" / "reliability.md").read_text("utf-8")
    for name, one in limits.LIMITS.items():
        assert f"| `{name}` | {one.default:,} |" in page


def test_metadata_is_json_of_bounded_depth(tmp_path):
    from samtailor.artefact import read_meta
    from samtailor.errors import ArtefactError

    for content in (
        "[]",
        "7",
        '{"schema_version": true}',
        '{"schema_version": 99}',
        json.dumps({"schema_version": 1, "x": 1}),
    ):
        (tmp_path / "adapter.json").write_text(content)
        with pytest.raises(ArtefactError):
            read_meta(tmp_path)


def test_a_brush_of_one_number_is_refused(little_memory):
    from samtailor.masks import brush

    for wrong in (10**9, True, {"a": 1}, "x" * 10, None):
        with pytest.raises(DataError):
            brush.decode(wrong, 10, 10)


@pytest.mark.parametrize(
    "value", [10**400, 10**5000, float("inf"), float("nan")], ids=["large", "too long to write", "infinite", "nan"]
)
def test_numbers_that_cannot_be_written_are_refused_in_words(value):
    from samtailor.limits.bounds import hold

    with pytest.raises(DataError, match="exceeds the limit width of 65,536"):
        hold(value, "width", "rank")


@pytest.mark.parametrize(
    "name", ["num_point_embeddings", "num_multimask_outputs", "num_mask_tokens", "num_hidden_layers"]
)
def test_a_configuration_cannot_declare_thousands_of_modules(tmp_path, name):
    """They take time to build, even where nothing is allocated."""
    from samtailor.limits.model_files import read_model_config

    for value, sound in ((4, True), (65_536, False)):
        file = tmp_path / "config.json"
        file.write_text(json.dumps({"model_type": "sam", "mask_decoder_config": {name: value}}), encoding="utf-8")
        if sound:
            assert read_model_config(file)["model_type"] == "sam"
        else:
            with pytest.raises(DataError, match=name):
                read_model_config(file)
