"""Label Studio's backend, by payloads of the shapes that it sends; its brush encoding; where pictures come from."""

from __future__ import annotations

import io
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from pycocotools import mask as coco

from samtailor import artefact
from samtailor.annotators import brush, label_config, regions
from samtailor.annotators.backend import Backend, use
from samtailor.annotators.collection import Collection
from samtailor.annotators.fetch import Pictures
from samtailor.annotators.label_studio import build
from samtailor.annotators.training import Training, fit_arguments
from samtailor.data.dataset import open_dataset
from samtailor.errors import DataError, InputError
from samtailor.predict import Predictor
from samtailor.registry import find
from samtailor.serve.engine import Engine
from samtailor.serve.refusals import NotAllowed, TooLarge
from saved import save

BRUSH = """<View>
  <Image name="image" value="$image" zoom="true"/>
  <BrushLabels name="tag" toName="image"><Label value="plate"/><Label value="disc" background="#f00"/></BrushLabels>
  <KeyPointLabels name="tag2" toName="image" smart="true"><Label value="disc" smart="true"/></KeyPointLabels>
  <RectangleLabels name="tag3" toName="image" smart="true"><Label value="disc"/></RectangleLabels>
</View>"""
POLYGON = BRUSH.replace("BrushLabels", "PolygonLabels")
SIZE = (48, 80)


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)


def disc(x: float = 30, y: float = 20, radius: float = 9) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


class Idle:
    """A training that only notes that it was asked for."""

    def __init__(self, folder):
        self.folder, self.started, self.running, self.current, self.error = folder, 0, False, None, None

    def finished(self):
        return []

    def start(self):
        self.started += 1
        self.current = self.folder / f"{self.started:04d}"
        return self.current

    def close(self):
        pass


@pytest.fixture
def backend(tiny_sam2, tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    for i in range(3):
        Image.fromarray(np.roll(picture(), i, axis=1)).save(files / f"p{i}.png")
    training = Idle(tmp_path / "fits")
    pictures = Pictures(None, None, files)
    return Backend(Engine(tiny_sam2), pictures, Collection(tmp_path / "project"), training, every=2)


@pytest.fixture
def client(backend):
    with TestClient(build(backend), base_url="http://localhost:9090") as client:
        yield client


def task(number: int = 0):
    return {"id": 10 + number, "data": {"image": f"/data/local-files/?d=p{number}.png"}, "annotations": []}


def keypoint(x: float, y: float, positive: int = 1):
    return {
        "original_width": 80, "original_height": 48, "image_rotation": 0, "id": "vlUl", "from_name": "tag2",
        "to_name": "image", "type": "keypointlabels", "origin": "manual", "is_positive": positive,
        "value": {"x": x, "y": y, "width": 0.3, "keypointlabels": ["disc"]},
    }  # fmt: skip


def rectangle(x: float, y: float, width: float, height: float):
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": ["disc"]}
    return {**keypoint(0, 0), "type": "rectanglelabels", "from_name": "tag3", "value": value}


def predict(client, *context, config=BRUSH, tasks=None, status=200):
    params = {"login": None, "password": None, "context": {"result": list(context)} if context else None}
    given = {"tasks": tasks or [task()], "model_version": "x", "project": "1.1690000000", "label_config": config}
    answer = client.post("/predict", json=given | {"params": params})
    assert answer.status_code == status, answer.text
    return answer.json()


def expected(base, points=None, labels=None, box=None, adapter=None):
    predictor = Predictor(base, adapter)
    predictor.set_image(picture())
    masks, scores, _ = predictor.predict(points, labels, box, adapter=next(iter(adapter or {None: 0})))
    return masks[scores.argmax()], float(scores.max())


def test_the_brush_goes_round():
    rng = np.random.default_rng(0)
    for shape in [(1, 1), (1, 7), (9, 13), (60, 500)]:
        for share in (0.0, 0.1, 0.5, 1.0):
            mask = rng.random(shape) < share
            assert np.array_equal(brush.decode(brush.encode(mask), *shape), mask)
    large = np.zeros((300, 700), bool)  # runs beyond 16 bits
    large[200:, 350:] = True
    packed = brush.encode(large)
    assert np.array_equal(brush.decode(packed, 300, 700), large)


def test_the_brush_is_label_studios():
    """The bytes by hand: 8 values, words of 8 bits, sizes 3, 4, 8, 16; a run of 4 zeros, a run of 4 of 255."""
    bits = f"{8:032b}" + f"{7:05b}" + "0010" + "0011" + "0111" + "1111"
    bits += "1" + "00" + "011" + "00000000" + "1" + "00" + "011" + "11111111"
    by_hand = [int(bits.ljust(-(-len(bits) // 8) * 8, "0")[i : i + 8], 2) for i in range(0, len(bits), 8)]
    assert brush.encode(np.array([[False, True]])) == by_hand
    # values without a run, as a browser writes soft edges: alpha 127 is outside, 128 inside
    soft = f"{8:032b}" + f"{7:05b}" + "0010" + "0011" + "0111" + "1111" + "0" + "00" + "111"
    soft += "".join(f"{v:08b}" for v in (1, 2, 3, 127, 4, 5, 6, 128))
    rle = [int(soft.ljust(-(-len(soft) // 8) * 8, "0")[i : i + 8], 2) for i in range(0, len(soft), 8)]
    assert brush.decode(rle, 1, 2).tolist() == [[False, True]]


@pytest.mark.parametrize(
    "rle", [[], [0] * 6, [0, 0, 0, 8], [0, 0, 0, 8, 57, 25, 0], "text", [300], [0, 0, 1, 0, 0, 0, 0, 0]]
)
def test_damaged_brushes_are_refused(rle):
    with pytest.raises(DataError):
        brush.decode(rle, 1, 2)


def test_configurations():
    found = label_config.parse(BRUSH)
    assert (found.image, found.value, found.control, found.kind) == ("image", "image", "tag", "brushlabels")
    assert found.labels == ("plate", "disc")
    assert found.label(["nose", "disc"]) == "disc"
    assert found.label([]) == "plate"
    assert label_config.parse(POLYGON).kind == "polygonlabels"
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]><View>&a;</View>'
    for wrong in (
        None,
        "",
        "<View",
        "<View/>",
        bomb,
        BRUSH.replace("$image", "fixed"),
        BRUSH.replace("Label v", "L v"),
    ):
        with pytest.raises(InputError):
            label_config.parse(wrong)


def test_setup_and_health(client):
    body = {"project": "1.1690000000", "schema": BRUSH, "hostname": "http://evil.example", "access_token": "x"}
    assert client.post("/setup", json=body).json() == {"model_version": "tiny-sam2"}
    assert client.get("/health").json()["status"] == client.get("/").json()["status"] == "UP"
    assert client.get("/versions").json() == {"versions": ["tiny-sam2"]}  # Label Studio 1.23 asks so
    assert client.post("/versions", json={"project": "1.1"}).json() == {"versions": ["tiny-sam2"]}
    assert client.post("/setup", json={"project": "2.1", "schema": "<View/>"}).status_code == 422
    without = {"tasks": [task()], "project": "1.1690000000", "params": {"context": {"result": [keypoint(50, 50)]}}}
    assert client.post("/predict", json=without).status_code == 200  # remembered from the setup
    assert client.post("/predict", json={**without, "project": "3.1"}).status_code == 422


def test_clicks_and_boxes_are_answered_with_the_brush(client, tiny_sam2):
    clicked = predict(client, keypoint(40, 45), keypoint(5, 10, 0))["results"]
    mask, score = expected(tiny_sam2, [[31.5, 21.1], [3.5, 4.3]], [1, 0])
    (row,) = clicked[0]["result"]
    assert np.array_equal(brush.decode(row["value"]["rle"], *SIZE), mask)
    assert row["value"]["brushlabels"] == ["disc"]
    assert (row["type"], row["from_name"], row["to_name"]) == ("brushlabels", "tag", "image")
    assert (row["original_width"], row["original_height"]) == (80, 48)
    assert clicked[0]["score"] == row["score"] == pytest.approx(score)
    (boxed,) = predict(client, rectangle(10, 20, 40, 50))["results"][0]["result"]
    mask, _ = expected(tiny_sam2, box=[8, 9.6, 40, 33.6])
    assert np.array_equal(brush.decode(boxed["value"]["rle"], *SIZE), mask)


def test_clicks_are_answered_with_polygons(client, tiny_sam2):
    rows = predict(client, keypoint(40, 45), config=POLYGON)["results"][0]["result"]
    mask, _ = expected(tiny_sam2, [[31.5, 21.1]])
    again = np.zeros(SIZE, bool)
    for row in rows:
        assert row["value"]["polygonlabels"] == ["disc"]
        again |= regions.mask(row, SIZE)
    filled = Image.fromarray(np.zeros(SIZE, np.uint8))
    assert filled.size == (80, 48)
    assert (again & mask).sum() / mask.sum() > 0.8


def test_the_adapter_of_the_label_answers(client, backend, tiny_sam2, tmp_path):
    torch.manual_seed(3)
    segmenter = find("methods", "plm").build(tiny_sam2, head="paper_plain")[0]
    options = {"method": "plm", "options": {"head": "paper_plain"}}
    artefact.save(tmp_path / "a", segmenter, artefact.describe(segmenter, **options, classes=("disc",)))
    backend.engine.adapters.add("mine", tmp_path / "a")
    found = predict(client, keypoint(40, 45))
    mask, _ = expected(tiny_sam2, [[31.5, 21.1]], adapter={"mine": segmenter})
    assert np.array_equal(brush.decode(found["results"][0]["result"][0]["value"]["rle"], *SIZE), mask)
    assert found["model_version"] == "mine"


def test_without_proposals_there_are_no_pre_labels_and_with_them_there_are(client, backend, tiny_sam2, tmp_path):
    tasks = [task(0), {"id": 99, "data": {"image": "/data/local-files/?d=gone.png"}}, task(1)]
    assert predict(client, tasks=tasks)["results"] == [[], [], []]  # an empty prediction would be kept as one
    backend.engine.adapters.add("finds", save(tmp_path / "f", tiny_sam2, proposals=True, head="paper_plain"))
    first, missing, second = predict(client, tasks=tasks)["results"]
    assert first["result"]
    assert second["result"]
    assert missing == []  # the log says why; the others are not lost
    assert {row["value"]["brushlabels"][0] for row in first["result"]} == {"disc"}


@pytest.mark.parametrize(
    "context",
    [
        {**keypoint(1, 1), "type": "textarea"},
        {**keypoint(1, 1), "value": {}},
        keypoint("a", 1),
        {**keypoint(1, 1), "image_rotation": 90},
        rectangle(10, 10, 0, 5),
        "text",
    ],
)
def test_wrong_contexts_are_refused_in_words(client, context):
    assert "error" in predict(client, context, status=422)
    predict(client, keypoint(50, 50))


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 100_000, b'{"tasks": 3}', b'{"tasks": [3], "project": "1"}'])
def test_what_is_no_request_is_refused_in_words(client, body):
    predict(client, keypoint(50, 50))
    answer = client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 422)
    if answer.status_code == 200:
        assert answer.json()["results"] == [[]]


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
    assert np.array_equal(samples[0].image, picture())
    moved = event("ANNOTATION_UPDATED", 0, brushed(disc(50)))
    client.post("/webhook", json=moved)
    backend.collection.write_dataset()
    (one,) = open_dataset(backend.collection.data, format="coco")[0].annotations
    assert np.array_equal(one.mask, disc(50))


def test_deleted_and_skipped_annotations_are_forgotten(client, backend):
    for number in range(3):
        client.post("/webhook", json=event("ANNOTATION_CREATED", number, brushed(disc())))
    assert len(backend.collection) == 3
    client.post("/webhook", json={"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 101}], "project": {"id": 1}})
    assert len(backend.collection) == 2
    client.post("/webhook", json=event("ANNOTATION_UPDATED", 2, was_cancelled=True))
    assert len(backend.collection) == 1
    assert client.post("/train").status_code == 422  # two are needed
    damaged = event("ANNOTATION_CREATED", 1, brushed(np.ones((3, 3), bool)))
    told = client.post("/webhook", json=damaged)
    assert told.status_code == 422
    assert "does not fit" in told.json()["error"]
    assert len(backend.collection) == 1
    again = Collection(backend.collection.data.parent)
    assert len(again) == 1


def test_many_annotations_at_once(client, backend):
    """Predictions that were made annotations: one event, lists of annotations and of tasks."""
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


def test_the_same_annotation_told_twice_counts_once(client, backend):
    """Label Studio adds a webhook of its own; somebody may have added a second one."""
    for _ in range(3):
        client.post("/webhook", json=event("ANNOTATION_CREATED", 0, brushed(disc())))
        client.post("/webhook", json=event("ANNOTATION_UPDATED", 0, brushed(disc())))
    assert backend.training.started == 0
    client.post("/webhook", json=event("ANNOTATION_UPDATED", 0, brushed(disc(50))))
    assert client.post("/train").status_code == 422  # it counted, but two pictures are needed
    client.post("/webhook", json=event("ANNOTATION_CREATED", 1, brushed(disc())))
    assert backend.training.started == 1


def test_training_can_be_asked_for(client, backend):
    for number in range(2):
        client.post("/webhook", json=event("ANNOTATION_CREATED", number, brushed(disc())))
    assert client.post("/train").json()["job"] == "0002"
    backend.training.running = True
    assert client.post("/train").json()["job"] is None
    assert client.get("/is_training").json()["job_status"] == "running"
    client.post("/webhook", json={"action": "START_TRAINING", "project": {"id": 1}})
    assert backend.training.started == 2


def test_a_finished_fit_answers_in_place_of_the_one_before(backend, client, tiny_sam2, tmp_path):
    before = predict(client, keypoint(40, 45))
    for number in (1, 2):
        use(backend.engine, save(tmp_path / f"000{number}", tiny_sam2, head="paper_plain", seed=number))
        after = predict(client, keypoint(40, 45))
        assert after["model_version"] == f"live-000{number}"
        assert after["results"][0]["result"][0]["value"] != before["results"][0]["result"][0]["value"]
        before = after


def test_a_fit_runs_in_a_process_of_its_own(tmp_path, monkeypatch):
    """With a stand-in for the command line: what is called, what is told, what happens when it fails."""
    stand_in = tmp_path / "samtailor.py"
    stand_in.write_text(
        "import json, pathlib, sys\n"
        "out = pathlib.Path(sys.argv[sys.argv.index('--out') + 1 if '--out' in sys.argv else -1])\n"
        "(out / 'called.jsonl').open('a').write(json.dumps(sys.argv[1:]) + chr(10))\n"
        "(out / 'adapter.json').write_text('{}')\n"
        "print('Error: as asked')\n"
        "sys.exit(2 if 'bad=1' in sys.argv else 0)\n"
    )
    monkeypatch.setattr("sys.executable", _python_in(tmp_path))
    done: list = []
    arguments = fit_arguments("plm", 7, ["val=2"])
    good = Training(tmp_path / "fits", tmp_path / "data", "nano", arguments=arguments, propose=True, done=done.append)
    folder = good.start()
    good.wait()
    assert done == [folder] == good.finished()
    lines = (folder / "called.jsonl").read_text().splitlines() if (folder / "called.jsonl").exists() else []
    assert '"fit"' in lines[0]
    assert '"--steps", "7", "--set", "val=2"' in lines[0]
    bad = Training(tmp_path / "fits", tmp_path / "data", "nano", arguments=["--set", "bad=1"], done=done.append)
    assert bad.start().name == "0002"
    bad.wait()
    assert "as asked" in bad.error
    assert len(done) == 1
    with pytest.raises(InputError, match="KEY=VALUE"):
        fit_arguments(None, None, ["x"])


def _python_in(folder) -> str:
    """A python that takes `samtailor` from a folder."""
    import sys

    script = folder / "python"
    script.write_text(f'#!/bin/sh\ncd "{folder}"\nexec "{sys.executable}" "$@"\n')
    script.chmod(0o755)
    return str(script)


@pytest.mark.parametrize(
    "address",
    ["http://evil.example/x.png", "//evil.example/x.png", "file:///etc/passwd", "/etc/passwd", "../secret.png",
     "/data/local-files/?d=../secret.png", "/data/local-files/?d=/etc/passwd", "link.png", "data:image/png;base64,AA",
     "s3://bucket/x.png", "p0.png\0", "ftp://localhost/x"],
)  # fmt: skip
def test_no_picture_from_elsewhere(backend, tmp_path, address):
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "files" / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(NotAllowed):
        backend._pictures.get(address)


class Studio(BaseHTTPRequestHandler):
    """A Label Studio in small."""

    seen: list = []  # noqa: RUF012

    def do_GET(self):
        self.seen.append((self.path, self.headers.get("Authorization")))
        if self.path.startswith("/away"):
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/secret")
            self.end_headers()
            return
        self.send_response(200 if self.path.startswith("/data/upload/") else 404)
        self.end_headers()
        self.wfile.write(b"x" * 50)

    def do_POST(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"access": "short-lived"}')

    def log_message(self, *args):
        pass


@pytest.fixture
def studio():
    server = HTTPServer(("127.0.0.1", 0), Studio)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Studio.seen = []
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_pictures_of_the_named_label_studio(studio):
    pictures = Pictures(studio, "secret", None)
    assert pictures.get("/data/upload/1/a b.png") == b"x" * 50
    assert pictures.get(f"{studio}/data/upload/1/c.png") == b"x" * 50
    assert Studio.seen == [("/data/upload/1/a%20b.png", "Token secret"), ("/data/upload/1/c.png", "Token secret")]
    Pictures(studio, "aa.bb.cc", None).get("/data/upload/1/d.png")
    assert Studio.seen[-1] == ("/data/upload/1/d.png", "Bearer short-lived")
    with pytest.raises(TooLarge):
        Pictures(studio, None, None, most=49).get("/data/upload/1/a.png")
    with pytest.raises(DataError, match="Redirections are not followed"):
        pictures.get("/away")
    with pytest.raises(DataError, match="404"):
        pictures.get("/nowhere.png")
    elsewhere = (
        studio.replace("127.0.0.1", "localhost"),
        studio.replace("//", "//me@"),
        studio.replace("http", "https"),
    )
    seen = len(Studio.seen)
    for address in elsewhere:
        with pytest.raises(NotAllowed):
            pictures.get(f"{address}/data/upload/1/a.png")
    assert len(Studio.seen) == seen


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "http://", "http://me:pw@x", "http://x?y=1"])
def test_addresses_that_are_no_label_studio(url):
    with pytest.raises(InputError, match="address of Label Studio"):
        Pictures(url, None, None)


def test_a_mask_is_measured_as_it_was_drawn(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(picture()).save(stream, "PNG")
    collection = Collection(tmp_path)
    collection.put(5, 6, stream.getvalue(), SIZE, [("disc", disc())])
    assert collection.write_dataset() == 1
    import json

    (row,) = json.loads((tmp_path / "data" / "annotations.json").read_text())["annotations"]
    assert row["area"] == disc().sum()
    assert coco.decode({**row["segmentation"], "counts": row["segmentation"]["counts"].encode()}).sum() == row["area"]
