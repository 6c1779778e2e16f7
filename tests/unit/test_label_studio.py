"""Label Studio's backend: predictions for the requests that Label Studio sends, and its brush encoding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

from samtailor import artefact
from samtailor.errors import DataError, InputError
from samtailor.masks import brush
from samtailor.predict.predictor import Predictor
from samtailor.registry import find
from samtailor.serve.annotators import label_config, regions
from samtailor.serve.annotators.label_studio import build
from saved import save
from studio import BRUSH, POLYGON, SIZE, image, keypoint, open_backend, predict, rectangle, task


@pytest.fixture
def backend(tiny_sam2, tmp_path):
    return open_backend(tiny_sam2, tmp_path)


@pytest.fixture
def client(backend):
    with TestClient(build(backend), base_url="http://localhost:9090") as client:
        yield client


def expected(base, points=None, labels=None, box=None, adapter=None):
    predictor = Predictor(base, adapter)
    predictor.set_image(image())
    masks, scores, _ = predictor.predict(points, labels, box, adapter=next(iter(adapter or {None: 0})))
    return masks[scores.argmax()], float(scores.max())


def test_brush_regions_survive_a_round_trip():
    rng = np.random.default_rng(0)
    for shape in [(1, 1), (1, 7), (9, 13), (60, 500)]:
        for share in (0.0, 0.1, 0.5, 1.0):
            mask = rng.random(shape) < share
            assert np.array_equal(brush.decode(brush.encode(mask), *shape), mask)
    large = np.zeros((300, 700), bool)  # runs beyond 16 bits
    large[200:, 350:] = True
    packed = brush.encode(large)
    assert np.array_equal(brush.decode(packed, 300, 700), large)


def test_brush_regions_have_the_format_of_label_studio():
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
def test_damaged_brush_regions_raise(rle):
    with pytest.raises(DataError):
        brush.decode(rle, 1, 2)


def test_labeling_configurations():
    config = label_config.parse(BRUSH)
    assert (config.image, config.value, config.control, config.kind) == ("image", "image", "tag", "brushlabels")
    assert config.labels == ("plate", "disc")
    assert config.label(["nose", "disc"]) == "disc"
    assert config.label([]) == "plate"
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


def test_clicks_and_boxes_return_brush_regions(client, tiny_sam2):
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


def test_clicks_return_polygons(client, tiny_sam2):
    rows = predict(client, keypoint(40, 45), config=POLYGON)["results"][0]["result"]
    mask, _ = expected(tiny_sam2, [[31.5, 21.1]])
    again = np.zeros(SIZE, bool)
    for row in rows:
        assert row["value"]["polygonlabels"] == ["disc"]
        again |= regions.mask(row, SIZE)
    filled = Image.fromarray(np.zeros(SIZE, np.uint8))
    assert filled.size == (80, 48)
    assert (again & mask).sum() / mask.sum() > 0.8


def test_the_adapter_of_the_label_is_used(client, backend, tiny_sam2, tmp_path):
    torch.manual_seed(3)
    segmenter = find("methods", "plm").build(tiny_sam2, head="paper_plain")[0]
    options = {"method": "plm", "options": {"head": "paper_plain"}}
    artefact.save(tmp_path / "a", segmenter, artefact.describe(segmenter, **options, classes=("disc",)))
    backend.engine.adapters.add("mine", tmp_path / "a")
    response = predict(client, keypoint(40, 45))
    mask, _ = expected(tiny_sam2, [[31.5, 21.1]], adapter={"mine": segmenter})
    assert np.array_equal(brush.decode(response["results"][0]["result"][0]["value"]["rle"], *SIZE), mask)
    assert response["model_version"] == "mine"


def test_an_adapter_of_another_class_never_answers(client, backend, tiny_sam2, tmp_path):
    """The base model answers a label that no adapter was fitted to, and objects without a label are counted."""
    torch.manual_seed(3)
    segmenter = find("methods", "plm").build(tiny_sam2, head="paper_plain")[0]
    options = {"method": "plm", "options": {"head": "paper_plain"}}
    artefact.save(tmp_path / "a", segmenter, artefact.describe(segmenter, **options, classes=("wheel",)))
    backend.engine.adapters.add("other", tmp_path / "a")
    response = predict(client, keypoint(40, 45))["results"][0]
    mask, _ = expected(tiny_sam2, [[31.5, 21.1]])
    assert np.array_equal(brush.decode(response["result"][0]["value"]["rle"], *SIZE), mask)
    assert response["model_version"] == tiny_sam2.name
    folder = save(tmp_path / "f", tiny_sam2, proposals=True, head="paper_plain")
    backend.engine.adapters.add("finds", folder)
    config = BRUSH.replace("disc", "tree")
    (found,) = predict(client, tasks=[task(0)], config=config)["results"]
    assert found["result"] == []
    assert backend.not_labeled["disc"] > 0


def test_pre_labels_need_proposals(client, backend, tiny_sam2, tmp_path):
    tasks = [task(0), {"id": 99, "data": {"image": "/data/local-files/?d=gone.png"}}, task(1)]
    assert predict(client, tasks=tasks)["results"] == [[], [], []]  # an empty prediction would be kept as one
    backend.engine.adapters.add("finds", save(tmp_path / "f", tiny_sam2, proposals=True, head="paper_plain"))
    first, missing, second = predict(client, tasks=tasks)["results"]
    assert first["result"]
    assert second["result"]
    assert missing == []  # the reason is logged, and the other tasks are predicted
    assert {row["value"]["brushlabels"][0] for row in first["result"]} == {"disc"}


@pytest.mark.parametrize(
    "context",
    [
        {**keypoint(1, 1), "type": "textarea"},
        {**keypoint(1, 1), "value": {}},
        keypoint("a", 1),
        {**rectangle(10, 10, 5, 5), "value": {**rectangle(10, 10, 5, 5)["value"], "rotation": 30}},
        rectangle(10, 10, 0, 5),
        "text",
    ],
)
def test_invalid_contexts_are_rejected(client, context):
    assert "error" in predict(client, context, status=422)
    predict(client, keypoint(50, 50))


def test_a_click_on_a_rotated_view_is_one_on_the_upright_image(client):
    upright = predict(client, keypoint(50, 50))
    rotated = predict(client, {**keypoint(50, 50), "image_rotation": 90})
    assert [row["value"] for row in rotated["results"][0]["result"]] == [
        row["value"] for row in upright["results"][0]["result"]
    ]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 100_000, b'{"tasks": 3}', b'{"tasks": [3], "project": "1"}'])
def test_invalid_requests_are_rejected(client, body):
    predict(client, keypoint(50, 50))
    response = client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert response.status_code in (200, 422)
    if response.status_code == 200:
        assert response.json()["results"] == [[]]
