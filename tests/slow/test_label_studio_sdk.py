"""Label Studio's own data models, converters and importers load what is written, and what they write is read.

Tried with label-studio-sdk 2.1.2. `tests/sdks.py` says how to run these tests.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from samtailor.data.dataset import detect, open_dataset
from samtailor.masks import brush
from samtailor.masks.metrics import iou
from sdks import needs
from written import SIZE, box, ring, usual, write

pytestmark = needs(label_studio_sdk="label-studio-sdk")
MASKS = {"ring": ring(), "box": box()}
polygons = pytest.mark.parametrize("written", ["polygons"], indirect=True)
brushes = pytest.mark.parametrize("written", ["brush"], indirect=True)
both = pytest.mark.parametrize("written", ["polygons", "brush"], indirect=True)


@pytest.fixture
def written(request, tmp_path) -> Path:
    """A data set for Label Studio with polygons, or with brush regions."""
    folder = tmp_path / request.param
    write("label-studio", usual(tmp_path / "from"), folder, rle=request.param == "brush")
    return folder


@pytest.fixture
def annotated(written) -> Path:
    """The tasks as Label Studio exports them after an annotator has accepted all predictions."""
    tasks = json.loads((written / "tasks.json").read_text(encoding="utf-8"))
    export = [
        {
            "id": number,
            "data": task["data"],
            "annotations": [
                {
                    "id": 10 + number,
                    "completed_by": {"id": 1, "email": "a@example.org"},
                    "was_cancelled": False,
                    "result": task["predictions"][0]["result"],
                }
            ],
        }
        for number, task in enumerate(tasks, 1)
    ]
    file = written.parent / "export.json"
    file.write_text(json.dumps(export), encoding="utf-8")
    return file


def converted(written: Path, annotated: Path, kind: str) -> Path:
    """An export of Label Studio's converter, with the images of the project beside it."""
    from label_studio_sdk.converter import Converter

    folder = written.parent / kind
    folder.mkdir()
    converter = Converter(str(written / "label_config.xml"), str(written), download_resources=False)
    converter.convert(str(annotated), str(folder), kind, is_dir=False)
    shutil.copytree(written / "images", folder / "images", dirs_exist_ok=True)
    return folder


def areas(folder: Path) -> dict[str, Counter]:
    """Pixels of each class by the name of the image; the parts of an object are one."""
    read = {}
    for sample in open_dataset(folder):
        read[sample.id.rpartition("/")[2]] = counts = Counter()
        for annotation in sample.annotations:
            counts[annotation.label] += annotation.area
    return read


@both
def test_the_configuration_and_the_tasks_are_valid(written):
    from label_studio_sdk.label_interface import LabelInterface
    from label_studio_sdk.label_interface.objects import PredictionValue

    interface = LabelInterface((written / "label_config.xml").read_text(encoding="utf-8"))
    interface.validate()
    tasks = json.loads((written / "tasks.json").read_text(encoding="utf-8"))
    for task in tasks:
        assert interface.validate_task({"data": task["data"]})
        for prediction in task["predictions"]:
            assert interface.validate_prediction(prediction, return_errors=True) == []
            assert len(PredictionValue(**prediction).result) == len(prediction["result"])
    wrong = json.loads(json.dumps(tasks[0]["predictions"][0]).replace('"ring"', '"no such label"'))
    assert interface.validate_prediction(wrong, return_errors=True)


@both
@pytest.mark.parametrize("kind", ["JSON", "JSON_MIN"])
def test_their_json_is_read(written, annotated, kind):
    folder = converted(written, annotated, kind)
    assert detect(folder) == "label-studio"
    whole = {name: int(mask.sum()) for name, mask in MASKS.items()}
    assert areas(folder) == {"a": whole, "b": {}, "c": {"box": whole["box"]}}


@polygons
@pytest.mark.parametrize("kind", ["COCO", "YOLO"])
def test_their_coco_and_yolo_files_are_read(written, annotated, kind):
    read = areas(converted(written, annotated, kind))
    whole = {name: int(mask.sum()) for name, mask in MASKS.items()}
    assert read["a"] == whole
    assert read["c"] == {"box": whole["box"]}


@brushes
def test_their_brush_pngs_are_read(written, annotated):
    folder = converted(written, annotated, "BRUSH_TO_PNG")
    shutil.rmtree(folder / "images")
    for number, name in ((1, "a.png"), (2, "trip/b.png"), (3, "c.png")):  # the PNGs name the task only
        shutil.copy(written / "images" / name, folder / f"task-{number}.png")
    assert detect(folder) == "label-studio-brush"
    samples = {sample.id: sample.annotations for sample in open_dataset(folder)}
    assert {id: {one.label for one in rows} for id, rows in samples.items()} == {
        "task-1": {"ring", "box"},
        "task-3": {"box"},
    }
    for annotation in samples["task-1"]:
        assert np.array_equal(annotation.mask, MASKS[annotation.label])


@brushes
def test_their_coco_of_brush_regions_is_read(written, annotated):
    folder = converted(written, annotated, "BRUSH_TO_COCO")
    (box_mask,) = [one.mask for sample in open_dataset(folder) if sample.id == "c" for one in sample.annotations]
    assert iou(box_mask, box()) > 0.85  # their polygons run through the centers of the outermost pixels


def test_brush_regions_are_theirs_in_both_directions():
    from label_studio_sdk.converter import brush as theirs

    rng = np.random.default_rng(0)
    for mask in (ring(), box(), np.zeros(SIZE, bool), np.ones((300, 400), bool), rng.random(SIZE) < 0.5):
        rgba = theirs.decode_rle(brush.encode(mask)).reshape(*mask.shape, 4)
        assert np.array_equal(rgba[..., 3] > 127, mask)
        encoded = theirs.mask2rle(mask.astype(np.uint8) * 255)
        assert np.array_equal(brush.decode(encoded, *mask.shape), mask)


def test_their_importer_reads_coco_and_its_tasks_are_read(tmp_path):
    from label_studio_sdk.converter.imports.coco import convert_coco_to_ls

    folder = tmp_path / "coco"
    write("coco", usual(tmp_path / "from"), folder)
    tasks = tmp_path / "tasks" / "tasks.json"
    shutil.copytree(folder / "images", tmp_path / "tasks" / "images")
    convert_coco_to_ls(str(folder / "annotations" / "instances.json"), str(tasks), use_super_categories=False,
                       out_type="annotations", image_root_url="/data/local-files/?d=images")  # fmt: skip
    samples = {sample.id: sample.annotations for sample in open_dataset(tmp_path / "tasks")}
    for name in ("a", "c"):  # they make a rectangle and polygons of each object
        (drawn, outlined) = (one.mask for one in samples[name] if one.label == "box")
        assert np.array_equal(drawn, box())
        assert np.array_equal(outlined, box())
    frame, *parts = (one.mask for one in samples["a"] if one.label == "ring")
    assert frame.sum() > 2 * ring().sum()
    assert np.array_equal(np.logical_or.reduce(parts), ring())
