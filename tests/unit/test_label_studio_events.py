"""Webhooks of Label Studio: annotations become a data set, and a fit to it an adapter."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from pycocotools import mask as coco

from samtailor.data.dataset import open_dataset
from samtailor.errors import InputError
from samtailor.masks import brush
from samtailor.serve.annotators.backend import use
from samtailor.serve.annotators.collection import Collection
from samtailor.serve.annotators.label_studio import build
from samtailor.serve.annotators.training import Training, fit_arguments
from saved import save
from studio import BRUSH, SIZE, disc, image, keypoint, open_backend, predict, rectangle, task


@pytest.fixture
def backend(tiny_sam2, tmp_path):
    return open_backend(tiny_sam2, tmp_path)


@pytest.fixture
def client(backend):
    with TestClient(build(backend), base_url="http://localhost:9090") as client:
        yield client


def event(action, number, *result, annotation=None, **fields):
    given = {"id": annotation or 100 + number, "result": list(result), "was_cancelled": False, **fields}
    project = {"id": 1, "title": "signs", "label_config": BRUSH}
    return {"action": action, "annotation": given, "task": task(number), "project": project}


def brushed(mask, label="disc"):
    value = {"format": "rle", "rle": brush.encode(mask), "brushlabels": [label]}
    return {**keypoint(0, 0), "type": "brushlabels", "from_name": "tag", "value": value}


def polygoned(points, label="plate"):
    percent = [[100 * x / SIZE[1], 100 * y / SIZE[0]] for x, y in points]
    value = {"points": percent, "closed": True, "polygonlabels": [label]}
    return {**keypoint(0, 0), "type": "polygonlabels", "value": value}


def test_accepted_annotations_become_a_data_set(client, backend):
    first = event("ANNOTATION_CREATED", 0, brushed(disc()), polygoned([[5, 5], [15, 5], [15, 12], [5, 12]]))
    assert client.post("/webhook", json=first).status_code == 201
    assert backend.training.started == 0
    assert client.post("/webhook", json=event("ANNOTATION_CREATED", 1, rectangle(10, 25, 50, 50))).status_code == 201
    assert backend.training.started == 1  # every two
    samples = open_dataset(backend.collection.data, format="coco")
    assert [len(sample.annotations) for sample in samples] == [2, 1]
    brush_, plate = samples[0].annotations
    assert (brush_.label, plate.label) == ("disc", "plate")
    assert np.array_equal(brush_.mask, disc())
    assert plate.area == 70
    assert plate.box == (5, 5, 15, 12)
    assert samples[1].annotations[0].box == (8, 12, 48, 36)
    assert np.array_equal(samples[0].image, image())
    moved = event("ANNOTATION_UPDATED", 0, brushed(disc(50)))
    client.post("/webhook", json=moved)
    backend.collection.write_dataset()
    (one,) = open_dataset(backend.collection.data, format="coco")[0].annotations
    assert np.array_equal(one.mask, disc(50))


def test_deleted_and_skipped_annotations_are_removed(client, backend):
    for number in range(3):
        client.post("/webhook", json=event("ANNOTATION_CREATED", number, brushed(disc())))
    assert len(backend.collection) == 3
    client.post("/webhook", json={"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 101}], "project": {"id": 1}})
    assert len(backend.collection) == 2
    client.post("/webhook", json=event("ANNOTATION_UPDATED", 2, was_cancelled=True))
    assert len(backend.collection) == 1
    assert client.post("/train").status_code == 422  # two are needed
    damaged = event("ANNOTATION_CREATED", 1, brushed(np.ones((3, 3), bool)))
    response = client.post("/webhook", json=damaged)
    assert response.status_code == 422
    assert "does not fit" in response.json()["error"]
    assert len(backend.collection) == 1
    again = Collection(backend.collection.data.parent)
    assert len(again) == 1


def ellipse(x, y, radius_x, radius_y, rotation=0, label="disc"):
    value = {"x": x, "y": y, "radiusX": radius_x, "radiusY": radius_y, "rotation": rotation, "ellipselabels": [label]}
    return {**keypoint(0, 0), "type": "ellipselabels", "value": value}


def saved_objects(backend):
    backend.collection.write_dataset()
    return open_dataset(backend.collection.data, format="coco")[0].annotations


def test_ellipses_and_rotated_rectangles_are_objects(client, backend):
    turned = rectangle(50, 25, 25, 25)  # corner (40, 12), 20 x 12 pixels, a quarter turn clockwise about the corner
    turned["value"]["rotation"] = 90
    sent = event("ANNOTATION_CREATED", 0, ellipse(25, 50, 12.5, 12.5), ellipse(75, 50, 12.5, 12.5, 90), turned)
    assert client.post("/webhook", json=sent).status_code == 201
    first, second, box = saved_objects(backend)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    assert np.array_equal(first.mask, ((columns - 20) / 10) ** 2 + ((rows - 24) / 6) ** 2 <= 1)
    assert np.array_equal(second.mask, ((columns - 60) / 6) ** 2 + ((rows - 24) / 10) ** 2 <= 1)
    assert box.box == (28, 12, 40, 32)


def test_the_rotation_of_the_view_changes_no_region(client, backend):
    """Label Studio saves regions in the frame of the upright image."""
    shapes = [brushed(disc()), ellipse(25, 50, 12.5, 12.5), rectangle(50, 25, 25, 25)]
    rotated = [{**shape, "image_rotation": angle} for shape, angle in zip(shapes, (90, 180, 270), strict=True)]
    assert client.post("/webhook", json=event("ANNOTATION_CREATED", 0, *shapes)).status_code == 201
    upright = [one.mask for one in saved_objects(backend)]
    assert client.post("/webhook", json=event("ANNOTATION_UPDATED", 0, *rotated)).status_code == 201
    assert np.array_equal([one.mask for one in saved_objects(backend)], upright)


@pytest.mark.parametrize(
    ("region", "why"),
    [
        ({**keypoint(0, 0), "type": "bitmasklabels", "value": {"bitmasklabels": ["disc"]}}, "bitmasklabels"),
        ({**ellipse(25, 50, 12.5, 12.5), "value": {"x": 1, "ellipselabels": ["disc"]}}, "cannot be read"),
        (
            {**keypoint(0, 0), "type": "ellipselabels", "value": {"x": 9, "y": 9, "radiusX": 9, "radiusY": 9}},
            "no label",
        ),
        ({**keypoint(0, 0), "type": "brushlabels", "value": {"format": "png", "brushlabels": ["disc"]}}, "brush"),
    ],
)
def test_an_annotation_with_a_region_that_cannot_be_read_is_refused_whole_and_counted(client, backend, region, why):
    assert client.post("/webhook", json=event("ANNOTATION_CREATED", 0, brushed(disc()))).status_code == 201
    assert len(backend.collection) == 1
    response = client.post("/webhook", json=event("ANNOTATION_UPDATED", 0, brushed(disc()), region))
    assert response.status_code == 422
    assert why in response.json()["error"]
    assert len(backend.collection) == 0  # the earlier annotation is no longer what the user drew
    state = client.get("/is_training").json()
    assert (state["not_saved_tasks"], list(state["not_saved"])) == (1, ["10"])
    assert why in state["not_saved"]["10"]
    client.post("/webhook", json=event("ANNOTATION_UPDATED", 0, brushed(disc())))
    assert client.get("/is_training").json()["not_saved_tasks"] == 0
    assert len(backend.collection) == 1


def test_regions_without_area_are_counted(client, backend):
    choice = {"type": "choices", "from_name": "c", "to_name": "image", "value": {"choices": ["good"]}}
    empty = brushed(np.zeros(SIZE, bool))
    sent = event("ANNOTATION_CREATED", 0, brushed(disc()), keypoint(5, 5), choice, empty)
    assert client.post("/webhook", json=sent).status_code == 201
    expected = {"keypointlabels: no area": 1, "choices: no area": 1, "brushlabels: empty": 1}
    assert client.get("/is_training").json()["regions_without_area"] == expected
    client.post("/webhook", json=event("ANNOTATION_UPDATED", 0, was_cancelled=True))
    assert client.get("/is_training").json()["regions_without_area"] == {}


def test_every_label_of_a_region_is_an_object(client, backend):
    two = brushed(disc())
    two["value"]["brushlabels"] = ["disc", "plate"]
    apart = {**keypoint(0, 0), "id": "r1", "type": "brush", "value": {"format": "rle", "rle": brush.encode(disc())}}
    name = {**keypoint(0, 0), "id": "r1", "type": "labels", "value": {"labels": ["plate"]}}
    assert client.post("/webhook", json=event("ANNOTATION_CREATED", 0, two, apart, name)).status_code == 201
    assert [one.label for one in saved_objects(backend)] == ["disc", "plate", "plate"]


def test_many_annotations_at_once(client, backend):
    """Accepted predictions: one event with lists of annotations and of tasks."""
    one, two, lost = (event("ANNOTATIONS_CREATED", number, brushed(disc())) for number in range(3))
    rows = [{**part["annotation"], "task": part["task"]["id"]} for part in (one, lost, two)]
    rows[1] |= {"task": 99}
    given = {"action": "ANNOTATIONS_CREATED", "annotation": rows, "task": [two["task"], one["task"]]}
    assert client.post("/webhook", json=given | {"project": one["project"]}).status_code == 201
    assert sorted(sample.id for sample in open_dataset(backend.collection.data, format="coco")) == [
        "task-10",
        "task-11",
    ]
    assert backend.training.started == 1
    client.post("/webhook", json={"action": "TASKS_DELETED", "tasks": [{"id": 10}, {"id": 77}], "project": {"id": 1}})
    assert len(backend.collection) == 1
    assert client.post("/webhook", json={"action": "ANNOTATION_CREATED"}).status_code == 422


def test_an_annotation_that_is_sent_twice_counts_once(client, backend):
    """Label Studio adds a webhook itself; users may add a second one."""
    for _ in range(3):
        client.post("/webhook", json=event("ANNOTATION_CREATED", 0, brushed(disc())))
        client.post("/webhook", json=event("ANNOTATION_UPDATED", 0, brushed(disc())))
    assert backend.training.started == 0
    client.post("/webhook", json=event("ANNOTATION_UPDATED", 0, brushed(disc(50))))
    assert client.post("/train").status_code == 422  # it counted, but two images are needed
    client.post("/webhook", json=event("ANNOTATION_CREATED", 1, brushed(disc())))
    assert backend.training.started == 1


def test_training_can_be_requested(client, backend):
    for number in range(2):
        client.post("/webhook", json=event("ANNOTATION_CREATED", number, brushed(disc())))
    assert client.post("/train").json()["job"] == "0002"
    backend.training.running = True
    assert client.post("/train").json()["job"] is None
    assert client.get("/is_training").json()["job_status"] == "running"
    client.post("/webhook", json={"action": "START_TRAINING", "project": {"id": 1}})
    assert backend.training.started == 2


def test_a_finished_fit_replaces_the_earlier_one(backend, client, tiny_sam2, tmp_path):
    before = predict(client, keypoint(40, 45))
    for number in (1, 2):
        use(backend.engine, save(tmp_path / f"000{number}", tiny_sam2, head="paper_plain", seed=number))
        after = predict(client, keypoint(40, 45))
        assert after["model_version"] == f"live-000{number}"
        assert after["results"][0]["result"][0]["value"] != before["results"][0]["result"][0]["value"]
        before = after


def test_a_fit_runs_in_a_separate_process(tmp_path, tiny_sam2, monkeypatch):
    """With a fake command line: its arguments, the notification, and a failure."""
    written = save(tmp_path / "real", tiny_sam2) / "adapter.json"
    stand_in = tmp_path / "samtailor.py"
    stand_in.write_text(
        "import json, pathlib, sys\n"
        "out = pathlib.Path(sys.argv[sys.argv.index('--out') + 1 if '--out' in sys.argv else -1])\n"
        "(out / 'called.jsonl').open('a').write(json.dumps(sys.argv[1:]) + chr(10))\n"
        f"(out / 'adapter.json').write_text(pathlib.Path({str(written)!r}).read_text())\n"
        "print('Error: as requested')\n"
        "sys.exit(2 if 'bad=1' in sys.argv else 0)\n"
    )
    monkeypatch.setattr("sys.executable", _python_in(tmp_path))
    done: list = []
    arguments = fit_arguments("plm", 7, ["val=2"])
    good = Training(tmp_path / "fits", tmp_path / "data", "lite", arguments=arguments, propose=True, done=done.append)
    folder = good.start()
    good.wait()
    assert done == [folder] == good.finished()
    lines = (folder / "called.jsonl").read_text().splitlines() if (folder / "called.jsonl").exists() else []
    assert '"fit"' in lines[0]
    assert '"--steps", "7", "--set", "val=2"' in lines[0]
    assert "--present" not in lines[0]
    assert good.in_use() == folder
    second = good.start()
    good.wait()
    assert f'"--present", "{folder}"' in (second / "called.jsonl").read_text()
    (second / "adapter.json").write_text("{}")  # a damaged adapter is not used
    assert good.in_use() == folder
    done.pop()
    bad = Training(tmp_path / "fits", tmp_path / "data", "lite", arguments=["--set", "bad=1"], done=done.append)
    assert bad.start().name == "0003"
    bad.wait()
    assert "as requested" in bad.error
    assert len(done) == 1
    with pytest.raises(InputError, match="KEY=VALUE"):
        fit_arguments(None, None, ["x"])


def _python_in(folder) -> str:
    """A Python executable that imports `samtailor` from a folder."""
    import sys

    script = folder / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{sys.executable}" "$@"\n')
    script.chmod(0o755)
    return str(script)


def test_area_and_box_are_those_of_the_mask(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(image()).save(stream, "PNG")
    collection = Collection(tmp_path)
    collection.put(5, 6, stream.getvalue(), SIZE, [("disc", disc())])
    assert collection.write_dataset() == 1
    import json

    (row,) = json.loads((tmp_path / "data" / "annotations.json").read_text())["annotations"]
    assert row["area"] == disc().sum()
    assert coco.decode({**row["segmentation"], "counts": row["segmentation"]["counts"].encode()}).sum() == row["area"]


def test_fits_have_a_budget_by_the_number_of_labels_and_are_used_when_they_have_ended(tmp_path, tiny_sam2):
    arguments, data = fit_arguments(None, None, []), tmp_path / "data"
    data.mkdir()

    def command(budget, *names):
        (data / "annotations.json").write_text(json.dumps({"categories": [{"name": name} for name in names]}))
        training = Training(tmp_path / "fits", data, "lite", arguments=arguments, budget=budget, done=print)
        return training, " ".join(training._commands(tmp_path / "fits" / "0001", None)[0])

    training, one = command(None, "a")
    assert "--method auto --budget 120s" in one
    assert "--per-class" not in one
    assert command(None, "a", "b")[1].endswith("--budget 120s --per-class")
    assert "--budget 2m" in command("2m", "a", "b")[1]
    with pytest.raises(InputError, match="50s or more"):
        command("30s", "a", "b")
    with pytest.raises(InputError, match="setting of the method auto"):
        fit_arguments("plm", None, [], "2m")
    save(tmp_path / "fits" / "0001" / "a", tiny_sam2)
    assert training.finished() == []  # a contest that was stopped, or is in progress
    (tmp_path / "fits" / "0001" / "ended").touch()
    assert training.in_use() == tmp_path / "fits" / "0001"
