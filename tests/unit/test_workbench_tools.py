"""Clean-up of masks, and accepting many images."""

from __future__ import annotations

import io

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from pycocotools import mask as coco

from samtailor.errors import InputError
from samtailor.masks.rle import encode, to_json
from samtailor.workbench.app import build
from samtailor.workbench.cleaning import MAX_PARTS, clean
from samtailor.workbench.records import Object
from workbench import ids, images_folder, open_session, square


def ring() -> np.ndarray:
    """A square with a hole and, apart from it, a crumb of one pixel."""
    mask = np.zeros((48, 80), bool)
    mask[10:30, 10:30] = True
    mask[15:20, 15:20] = False
    mask[40, 70] = True
    return mask


def test_holes_are_filled_and_nothing_else_changes():
    (filled,) = clean(ring(), "fill")
    expected = ring()
    expected[15:20, 15:20] = True
    assert (filled == expected).all()


def test_a_bay_and_the_space_between_a_mask_and_the_border_are_no_holes():
    mask = np.zeros((20, 20), bool)
    mask[:, 10] = True
    mask[5:10, 15:18] = True
    mask[6:10, 16] = False
    (filled,) = clean(mask, "fill")
    assert (filled == mask).all()


def test_crumbs_are_dropped():
    (clear,) = clean(ring(), "crumbs")
    expected = ring()
    expected[40, 70] = False
    assert (clear == expected).all()


def test_parts_become_objects_and_make_up_the_mask():
    parts = clean(ring(), "split")
    assert [int(part.sum()) for part in parts] == [375, 1]
    assert (np.sum(parts, axis=0) == ring()).all()
    dots = np.zeros((60, 60), bool)
    dots[::2, ::2] = True
    many = clean(dots, "split")
    assert len(many) == MAX_PARTS
    assert (np.sum(many, axis=0) == dots).all()


def test_smoothing_removes_ragged_edges_and_keeps_the_size_and_the_image_border():
    rows, columns = np.mgrid[:200, :200]
    disc = (rows - 100) ** 2 + (columns - 20) ** 2 < 60**2
    ragged = disc ^ ((np.random.default_rng(0).random(disc.shape) < 0.3) & (cv_edge(disc)))
    (smooth,) = clean(ragged, "smooth")
    assert cv_edge(smooth).sum() < 0.8 * cv_edge(ragged).sum()
    assert abs(int(smooth.sum()) - int(disc.sum())) < 0.03 * disc.sum()
    assert smooth[100, 0]
    (dot,) = clean(np.ones((1, 1), bool), "smooth")
    assert dot.all()


def cv_edge(mask: np.ndarray) -> np.ndarray:
    """Pixels with a neighbor of the other kind."""
    padded = np.pad(mask, 1, mode="edge")
    sides = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return np.any([side != mask for side in sides], axis=0)


def test_unknown_operation():
    with pytest.raises(InputError):
        clean(ring(), "polish")


@pytest.fixture
def session(tiny_sam2, tmp_path):
    opened = open_session(images_folder(tmp_path / "images", 4), tiny_sam2)
    yield opened
    opened.close()
    opened.engine.close()


def test_http_interface_of_the_clean_up(session):
    id = ids(session.project)[0]
    with TestClient(build(session), base_url="http://127.0.0.1:8765") as client:
        answer = client.post(
            f"/api/images/{id}/clean", json={"rle": to_json(encode(ring())), "operation": "split"}
        ).json()
        first = answer["masks"][0]
        assert coco.area({**first, "counts": first["counts"].encode()}) == 375
        wrong = {"rle": to_json(encode(ring()[:40])), "operation": "fill"}
        assert client.post(f"/api/images/{id}/clean", json=wrong).status_code == 422
        empty = {"rle": to_json(encode(np.zeros((48, 80), bool))), "operation": "fill"}
        assert client.post(f"/api/images/{id}/clean", json=empty).status_code == 422


def test_many_images_are_accepted_and_taken_back(session):
    project = session.project
    first, second, third, fourth = ids(project)
    proposed = [Object(id="a", class_="disc", rle=square(5, 5), source="auto", score=0.9, uncertainty=0.1)]
    for id in (first, second, third):
        project.propose(id, proposed, 0.1, "x")
    with TestClient(build(session), base_url="http://127.0.0.1:8765") as client:
        tile = Image.open(io.BytesIO(client.get(f"/api/images/{first}/sheet").content))
        assert tile.size == (80, 48)
        assert client.get(f"/api/images/{fourth}/sheet").status_code == 200  # without objects
        answer = client.post("/api/accept", json={"ids": [first, second, third, fourth, "nothing"]}).json()
        assert answer["accepted"] == [first, second, third]
        assert set(answer["refused"]) == {fourth, "nothing"}
        assert project.counts()["accepted"] == 3
        record = project.read(second)
        project.put(second, record.revision, "accepted", [])  # changed since
        assert client.delete("/api/accept").json()["proposed"] == [first, third]
        assert client.delete("/api/accept").json()["proposed"] == []
    assert [project.read(id).state for id in (first, second, third)] == ["proposed", "accepted", "proposed"]
    assert project.read(first).uncertainty == 0.1


def test_image_that_turns_out_to_be_unreadable_is_marked_with_the_reason(session):
    row = session.project.rows()[0]
    file = session.project.images.folder / row["name"]
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    id = session.project.rows()[0]["id"]
    events = []
    session.events.publish = lambda kind, value: events.append((kind, value))
    with TestClient(build(session), base_url="http://127.0.0.1:8765") as client:
        assert client.post(f"/api/images/{id}/encode").status_code == 415
        body = {"revision": 0, "state": "accepted", "objects": []}
        answer = client.put(f"/api/images/{id}/annotations", json=body)
        assert answer.status_code == 422
        assert "cannot be read" in answer.json()["error"]
    published = [value for kind, value in events if kind == "image"]
    assert published[0]["state"] == "failed"
    assert "truncated" in published[0]["error"]
