"""Worker processes: real processes that crash, hang and read damaged images; the same result as label and evaluate."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samtailor.distributed import tasks
from samtailor.distributed.engines.processes import Processes
from samtailor.distributed.engines.ray_data import Resources, packed, unpacked
from samtailor.distributed.fetch import Decoded, read
from samtailor.distributed.items import Item, list_items
from samtailor.distributed.job import Job, Shipment
from samtailor.distributed.ledger import Layout
from samtailor.distributed.run import Sizes, run
from samtailor.distributed.worker import Worker
from samtailor.errors import InputError, MissingExtraError
from tiny import disc_sample

TOOLS = Path(__file__).parents[2] / "tools"
LAYOUT = Layout(
    "objects",
    {"image": "string", "pid": "int64"},
    lambda rows, columns: json.dumps([{name: row[name] for name in columns} for row in rows]).encode(),
    lambda content, name: json.loads(content),
    ".json",
)


@pytest.fixture
def faulty(monkeypatch):
    """The task with faults, here and in the workers."""
    monkeypatch.syspath_prepend(str(TOOLS))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TOOLS), os.environ.get("PYTHONPATH", "")]))
    from samtailor.distributed import fetch

    plain = fetch._read
    yield Job("faulty_task", {"kind": "none"}, timeout=1.0)
    fetch._read = plain
    sys.modules.pop("faulty_task", None)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(10):
        Image.fromarray(np.full((4, 6, 3), number, np.uint8)).save(folder / f"good-{number}.png")
    return folder


def copy(folder, *names):
    for name in names:
        (folder / f"{name}.png").write_bytes((folder / "good-0.png").read_bytes())


def go(job, images, out, *, workers=2, engines=None, **sizes):
    def engine():
        new = Processes(job, workers)
        if engines is not None:
            engines.append(new)
        return new

    options = {"block": 4, "group": 3, "tries": 1, **sizes}
    return run(list_items([str(images)]), str(out), LAYOUT, {}, engine, sizes=Sizes(**options))


def test_processes_that_crash_or_hang_on_an_image(faulty, images, tmp_path):
    copy(images, "crash_read-1", "hang-1", "error-1")
    (images / "damaged.png").write_bytes(b"\x89PNG no")
    Image.fromarray(np.zeros((100, 100, 3), np.uint8)).save(images / "bomb.png")
    job = Job(faulty.task, faulty.options, timeout=1.0, max_pixels=5000)
    summary = go(job, images, tmp_path / "out")
    assert summary.status == {"done": 10, "failed": 3, "unreadable": 2}
    status = {row["image"]: (row["status"], row["error"]) for row in summary.not_processed}
    assert set(status) == {"crash_read-1", "hang-1", "error-1", "damaged", "bomb"}
    assert status["error-1"] == ("failed", "RuntimeError: this image raises an error")
    assert status["bomb"][0] == "unreadable"
    assert "pixel" in status["bomb"][1]
    files = (tmp_path / "out" / "images").iterdir()
    assert Counter(row["image"] for file in files for row in json.loads(file.read_bytes())).most_common(1)[0][1] == 1


def test_a_worker_that_is_killed_loses_nothing(faulty, images, tmp_path):
    engines, killed = [], []

    def kill(done, total):
        if not killed and engines:
            killed.append(engines[0].pids()[0])
            os.kill(killed[0], signal.SIGKILL)

    def engine():
        engines.append(Processes(faulty, 2))
        return engines[0]

    summary = run(
        list_items([str(images)]), str(tmp_path / "out"), LAYOUT, {}, engine, sizes=Sizes(4, 1, 2), progress=kill
    )
    assert killed
    assert summary.status == {"done": 10}


def test_an_error_of_the_model_stops_the_run(images, tmp_path):
    job = Job("embed", {"base": str(tmp_path / "no-such-base")})
    with pytest.raises(InputError, match="no-such-base"):
        go(job, images, tmp_path / "out", workers=1)


def test_embeddings_equal_those_of_the_predictor(base_folder, images):
    from samtailor.bases import load_on
    from samtailor.predict.predictor import Predictor

    item = Item("a", str(images / "good-3.png"))
    (result,) = Worker(Job("embed", {"base": str(base_folder)})).predict(read([item]))
    predictor = Predictor(load_on(str(base_folder), None))
    predictor.set_image(images / "good-3.png")
    expected = predictor.features.main[0].mean(dim=(1, 2)).numpy()
    assert np.allclose(result.rows[0]["vector"], expected, atol=1e-5)


def test_objects_equal_those_of_label(base_folder, tmp_path):
    import samtailor

    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(5):
        Image.fromarray(disc_sample(index).image).save(folder / f"p{index}.png")
    options = {"base": str(base_folder), "detector": "full-frame", "adapters": {}}
    worker = Worker(Job("label", options))
    items = list(list_items([str(folder)]))
    rows = [row for group in (items[:3], items[3:]) for one in worker.predict(worker.read(group)) for row in one.rows]
    worker._predict.close()
    samtailor.label(
        folder, None, tmp_path / "out", base=base_folder, detector="full-frame", options={"rle": True},
        image_files="none", verbose=False,
    )  # fmt: skip
    expected = json.loads((tmp_path / "out" / "annotations" / "instances.json").read_text())
    assert [row["rle"] for row in rows] == [one["segmentation"]["counts"] for one in expected["annotations"]]
    assert [row["score"] for row in rows] == pytest.approx([one["score"] for one in expected["annotations"]], abs=1e-6)
    assert [row["area"] for row in rows] == [one["area"] for one in expected["annotations"]]


def test_an_error_on_an_image_is_a_reason_and_the_worker_goes_on(base_folder, images, monkeypatch):
    worker = Worker(Job("label", {"base": str(base_folder), "detector": "full-frame", "adapters": {}}, timeout=30.0))
    items = [Item(f"good-{number}", str(images / f"good-{number}.png")) for number in range(6)]
    from samtailor.labelling._predict import MultiAdapterPredictor

    plain = MultiAdapterPredictor.predict

    def failing(self, image):
        if int(image.max()) == 1:
            raise RuntimeError("no memory on the device")
        return plain(self, image)

    monkeypatch.setattr(MultiAdapterPredictor, "predict", failing)
    first = worker.predict(worker.read(items[:3]))
    assert {one.id for one in first} == {item.id for item in items[:3]}
    assert "RuntimeError: no memory on the device" in {one.retry for one in first if one.id == "good-1"}
    assert [one.retry for one in worker.predict(worker.read(items[3:]))] == [None] * 3
    worker._predict.close()


def test_files_reach_the_workers(tmp_path):
    (tmp_path / "adapter" / "proposals").mkdir(parents=True)
    (tmp_path / "adapter" / "adapter.json").write_text("{}")
    (tmp_path / "adapter" / "proposals" / "head.bin").write_bytes(b"\0\1")
    (tmp_path / "model.onnx").write_bytes(b"\2")
    shipment = Shipment.of({"a": tmp_path / "adapter", "detector": tmp_path / "model.onnx"})
    places = shipment.unpack(tmp_path / "copy")
    assert (Path(places["a"]) / "proposals" / "head.bin").read_bytes() == b"\0\1"
    assert Path(places["detector"]).read_bytes() == b"\2"
    with pytest.raises(InputError):
        Shipment({"a": {"../../outside": b"x"}}).unpack(tmp_path / "copy2")


def test_images_survive_the_way_to_an_actor():
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    images = [Decoded(Item("a", "/a.png"), pixels), Decoded(Item("b", "/b"), error="damaged"),
              Decoded(Item("c", "/c"), retry="no network")]  # fmt: skip
    back = unpacked(packed(images))
    assert [(one.item, one.error, one.retry) for one in back] == [(one.item, one.error, one.retry) for one in images]
    assert (back[0].pixels == pixels).all()
    assert back[1].pixels is None


def test_a_fault_of_the_network_may_pass(tmp_path, monkeypatch):
    from samtailor.distributed import fetch

    monkeypatch.setattr(fetch, "_pixels", lambda uri: (_ for _ in ()).throw(ConnectionError("reset")))
    (image,) = read([Item("a", "s3://bucket/a.png")])
    assert image.retry == "s3://bucket/a.png cannot be read: ConnectionError: reset"
    (image,) = monkeypatch.undo() or read([Item("a", str(tmp_path / "none.png"))])
    assert "There is no file" in image.error


def test_images_of_an_object_store(images):
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").pipe_file("/bucket/a.png", (images / "good-2.png").read_bytes())
    (image,) = read([Item("a", "memory://bucket/a.png")])
    assert image.pixels.shape == (4, 6, 3)
    assert int(image.pixels.max()) == 2
    assert "no file" in read([Item("b", "memory://bucket/b.png")])[0].error
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


def test_a_missing_library_is_named(monkeypatch):
    from samtailor.distributed.api import Machines

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'samtailor\[ray\]'"):
        Machines("processes").check()
    with pytest.raises(InputError, match="engine"):
        Machines("spark")
    with pytest.raises(InputError, match="Ray Client"):
        Resources("ray://host:10001")


def test_every_task_has_its_parts():
    for name in tasks.NAMES:
        module = tasks.task_module(name)
        assert {"image"} < set(module.COLUMNS)
        assert callable(module.open_task)


def worker_rows(task, options, items, places=None):
    worker = Worker(Job(task, options, Shipment.of(places or {})))
    return [row for item in items for one in worker.predict(worker.read([item])) for row in one.rows]


def test_scores_equal_those_of_evaluate(base_folder, data_folder):
    import samtailor

    plain = samtailor.evaluate(data_folder, base=base_folder, prompt="mask-center", verbose=False)
    options = {"data": str(data_folder), "base": str(base_folder), "prompt": "mask-center"}
    items = [Item(name, name) for name in dict.fromkeys(row.id for row in plain.rows)]
    rows = worker_rows("evaluate", options, items)
    assert {(row["segmenter"], row["prompt"]) for row in rows} == {("base", plain.prompt)}
    assert [(row["image"], row["label"], row["index"]) for row in rows] == [
        (row.id, row.label, row.index) for row in plain.rows
    ]
    # evaluate stores embeddings with 16 bits, the workers store none
    assert np.allclose([row["iou"] for row in rows], [row.iou for row in plain.rows], atol=0.01)
    assert [row["group"] for row in rows] == [row.group for row in plain.rows]


def test_objects_that_are_alike_equal_those_of_find(base_folder, tmp_path):
    import samtailor

    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(3):
        Image.fromarray(disc_sample(index).image).save(folder / f"p{index}.png")
    mask = disc_sample(0).annotations[0]
    Image.fromarray(mask.mask.astype(np.uint8) * 255).save(tmp_path / "mask.png")
    photo = str(folder / "p0.png")
    options = {"base": str(base_folder), "matcher": "persam", "name": "disc", "threshold": 0.0,
               "like": [{"image": photo, "mask": str(tmp_path / "mask.png")}]}  # fmt: skip
    places = {name: name for name in (photo, str(tmp_path / "mask.png"))}
    rows = worker_rows("find", options, list_items([str(folder)]), places)
    samtailor.find(
        folder, samtailor.Reference(photo, mask=str(tmp_path / "mask.png")), tmp_path / "out", base=base_folder,
        matcher="persam", name="disc", threshold=0.0, options={"rle": True}, image_files="none", verbose=False,
    )  # fmt: skip
    expected = json.loads((tmp_path / "out" / "annotations" / "instances.json").read_text())["annotations"]
    assert rows
    assert [row["rle"] for row in rows] == [one["segmentation"]["counts"] for one in expected]
    assert {row["class"] for row in rows} == {"disc"}
