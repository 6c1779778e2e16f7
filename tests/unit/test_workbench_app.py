"""The HTTP interface of the workbench, on a small random base model."""

from __future__ import annotations

import io
import threading

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from pycocotools import mask as coco

from samtailor.masks.interior import center
from samtailor.predict.predictor import Predictor
from samtailor.serve.answers import outlines
from samtailor.serve.limits import Limits
from samtailor.workbench import masks, static
from samtailor.workbench.app import build
from saved import save
from tiny import disc_sample
from workbench import ids, images_folder, objects_of, objects_to_json, open_session, square

URL = "http://127.0.0.1:8765"


@pytest.fixture
def session(tiny_sam2, tmp_path):
    opened = open_session(images_folder(tmp_path / "images"), tiny_sam2)
    save(opened.project.home / "adapters" / "one", tiny_sam2, proposals=True)
    save(opened.project.home / "adapters" / "two", tiny_sam2, seed=5)
    for name in ("one", "two"):
        opened.engine.adapters.add_below(name, name)
    yield opened
    opened.close()
    opened.engine.close()


@pytest.fixture
def client(session):
    with TestClient(build(session), base_url=URL) as client:
        yield client


@pytest.fixture
def first(session):
    return ids(session.project)[0]


def decoded(rle: dict) -> np.ndarray:
    return coco.decode(rle).astype(bool)


def check_refused(response, status, *words):
    assert response.status_code == status, response.text
    for word in words:
        assert word in response.json()["error"]


def test_health_check_needs_no_token(session):
    with TestClient(build(session, token="secret"), base_url=URL) as anonymous:
        assert anonymous.get("/health").json() == {"status": "up"}
        assert anonymous.get("/api/project").status_code == 401


def test_project_contains_what_the_page_shows(client):
    about = client.get("/api/project").json()
    assert (about["name"], about["base"], about["images"], about["min_images"]) == ("images", "tiny-sam2", 6, 1)
    assert [class_["name"] for class_ in about["classes"]] == ["disc", "square"]
    assert [(adapter["name"], adapter["auto"], adapter["deletable"]) for adapter in about["adapters"]] == [
        ("one", True, True),
        ("two", False, True),
    ]
    assert {"coco", "yolo", "masks", "labelme"} <= set(about["formats"])
    assert (about["job"], about["unfinished"]) == (None, [])


def test_list_of_images_thumbnails_and_files(client, first):
    rows = client.get("/api/images").json()
    assert rows[0] == {"id": first, "name": "p0.png", "width": 80, "height": 48, "state": "open", "objects": 0,
                       "uncertainty": None, "error": None, "labels": {}, "match": None,
                       "page": 1, "pages": 1}  # fmt: skip
    full = client.get(f"/api/images/{first}/image")
    assert full.headers["content-type"] == "image/png"
    assert (np.asarray(Image.open(io.BytesIO(full.content))) == disc_sample(0).image).all()
    small = client.get(f"/api/images/{first}/thumbnail")
    assert max(Image.open(io.BytesIO(small.content)).size) == 80
    again = client.get(f"/api/images/{first}/thumbnail", headers={"if-none-match": small.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    check_refused(client.get("/api/images/nowhere/image"), 404)


def test_adapter_fitted_with_and_without_prompts_takes_clicks(client, first, session, tiny_sam2):
    for name, options in (("both", {"method": "tailor"}), ("never", {"prompt": "none"})):
        save(session.project.home / "adapters" / name, tiny_sam2, **options)
        session.engine.adapters.add_below(name, name)
    adapters = client.get("/api/project").json()["adapters"]
    assert {adapter["name"]: adapter["promptless"] for adapter in adapters} == {
        "one": False,
        "two": False,
        "both": False,
        "never": True,
    }
    saved = {"revision": 0, "state": "open", "objects": objects_to_json(objects_of(0))}
    client.put(f"/api/images/{first}/annotations", json=saved)
    url = f"/api/images/{first}/iou-map?object=o0&grid=4&adapter="
    assert client.get(url + "both").status_code == 200
    check_refused(client.get(url + "never"), 422, "without clicks")


def test_segment_returns_the_candidates_of_the_predictor(client, first, session):
    predictor = Predictor(session.engine.base, {"one": session.engine.adapters.get("one").folder})
    predictor.set_image(disc_sample(0).image)
    for adapter in (None, "one"):
        body = {"adapter": adapter, "points": [[20, 20], [70, 5]], "labels": [1, 0]}
        response = client.post(f"/api/images/{first}/segment", json=body).json()
        expected, scores, _ = predictor.predict([[20, 20], [70, 5]], [1, 0], adapter=adapter or "base")
        order = np.argsort(-scores, kind="stable")
        assert [m["predicted_iou"] for m in response["masks"]] == pytest.approx(np.clip(scores[order], 0, 1), abs=1e-4)
        for candidate, index in zip(response["masks"], order, strict=True):
            assert np.count_nonzero(decoded(candidate["rle"]) != expected[index]) <= 2  # logits at 0, up to rounding
            assert candidate["area"] == np.count_nonzero(decoded(candidate["rle"]))
            if candidate["area"]:
                x0, y0, x1, y1 = candidate["box"]
                rows, columns = np.nonzero(decoded(candidate["rle"]))
                assert (x0, y0, x1, y1) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_image_is_encoded_once_for_all_adapters(client, first, session, monkeypatch):
    calls, encode = [], session.engine.base.encode_image
    monkeypatch.setattr(session.engine.base, "encode_image", lambda *a: calls.append(1) or encode(*a), raising=False)
    assert client.post(f"/api/images/{first}/encode").json()["seconds"] >= 0
    for _ in range(2):
        client.post(f"/api/images/{first}/segment", json={"points": [[20, 20]]})
    body = {"adapters": [None, "one", "two"], "box": [10, 5, 40, 40]}
    results = client.post(f"/api/images/{first}/compare", json=body).json()["results"]
    assert [result["adapter"] for result in results] == [None, "one", "two"]
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({}, 422, "points or a box"),
        ({"points": [[90, 10]]}, 422, "outside"),
        ({"points": [[1, 1]], "labels": [1, 0]}, 422, "one value per point"),
        ({"points": [[1, 1]], "labels": [2]}, 422, "labels"),
        ({"box": [10, 10, 5, 20]}, 422, "x0 < x1"),
        ({"points": [[1, 1]], "adapter": "missing"}, 404, "missing"),
        ({"points": [[1, 1]] * 300}, 422, "256"),
        ({"points": [[1, 1]], "other": 1}, 422, "other"),
    ],
)
def test_invalid_prompts_are_refused(client, first, body, status, word):
    check_refused(client.post(f"/api/images/{first}/segment", json=body), status, word)


def test_annotations_and_conflicting_saves(client, first):
    url, objects = f"/api/images/{first}/annotations", objects_to_json(objects_of(0))
    assert client.get(url).json() == {"revision": 0, "state": "open", "objects": []}
    assert client.put(url, json={"revision": 0, "state": "open", "objects": objects}).json() == {"revision": 1}
    assert client.get(url).json() == {"revision": 1, "state": "open", "objects": objects}
    late = client.put(url, json={"revision": 0, "state": "accepted", "objects": []})
    check_refused(late, 409, "changed in the meantime")
    assert (late.json()["revision"], late.json()["objects"]) == (1, objects)
    check_refused(client.put(url, json={"revision": 1, "state": "proposed", "objects": []}), 422, "state")
    check_refused(client.put(url, json={"revision": 1, "state": "open", "objects": [{**objects[0], "x": 1}]}), 422, "x")
    check_refused(client.put("/api/classes", json={"classes": [{"name": "disc"}]}), 409, "square")
    renamed = {"classes": [{"name": "plate"}, {"name": "square"}], "renamed": {"disc": "plate"}}
    assert client.put("/api/classes", json=renamed).json()["classes"][0]["name"] == "plate"
    assert client.get(url).json()["objects"][0]["class"] == "plate"


def test_iou_map_needs_a_saved_object_and_is_cached(client, first, session):
    url = f"/api/images/{first}/iou-map"
    check_refused(client.get(url, params={"object": "o0"}), 404, "Save it first")
    objects = objects_to_json(objects_of(0))
    client.put(f"/api/images/{first}/annotations", json={"revision": 0, "state": "open", "objects": objects})
    iou_map = client.get(url, params={"object": "o0", "adapter": "one", "grid": 8}).json()
    assert (len(iou_map["y"]), len(iou_map["x"])) == np.array(iou_map["grid"]).shape
    x, y = iou_map["x"][2], iou_map["y"][1]
    body = {"adapter": "one", "points": [[x, y]]}
    best = client.post(f"/api/images/{first}/segment", json=body).json()["masks"][0]
    truth, mask = decoded(objects[0]["rle"]), decoded(best["rle"])
    assert iou_map["grid"][1][2] == pytest.approx((truth & mask).sum() / max((truth | mask).sum(), 1), abs=0.02)
    session.prompt_service._slow.close()  # a cached map needs no executor
    assert client.get(url, params={"object": "o0", "adapter": "one", "grid": 8}).json() == iou_map
    check_refused(client.get(url, params={"object": "o0", "grid": 999}), 422, "grid")


def test_automatic_objects_are_valid_and_not_saved(client, first):
    objects = client.post(f"/api/images/{first}/auto", json={"adapter": "one"}).json()["objects"]
    assert objects
    assert {o["source"] for o in objects} == {"auto"}
    assert all(0 <= o["uncertainty"] <= 1 and o["prompts"]["points"] for o in objects)
    assert len({o["id"] for o in objects}) == len(objects)
    assert client.get(f"/api/images/{first}/annotations").json()["objects"] == []
    saved = {"revision": 0, "state": "accepted", "objects": objects}
    assert client.put(f"/api/images/{first}/annotations", json=saved).status_code == 200
    check_refused(client.post(f"/api/images/{first}/auto", json={"adapter": "two"}), 422, "no prompt source")


def test_mask_to_polygons_and_back(client, first):
    mask = disc_sample(3).annotations[0].mask
    x, y = center(mask)
    mask[y - 2 : y + 2, x - 3 : x + 3] = False
    mask[2:5, 60:66] = True
    body = {"rle": masks.mask_to_json(mask)["rle"], "tolerance": 0}
    polygons = client.post(f"/api/images/{first}/polygon", json=body).json()["polygons"]
    assert (len(polygons), [len(polygon["holes"]) for polygon in polygons]) == (2, [1, 0])
    back = client.post(f"/api/images/{first}/rasterize", json={"polygons": polygons}).json()
    assert back == masks.mask_to_json(mask)
    check_refused(client.post(f"/api/images/{first}/rasterize", json={"polygons": [{"outer": [[1, 1]]}]}), 422)
    wild = {"polygons": [{"outer": [[-1e9, -1e9], [1e9, -1e9], [1e9, 1e9], [-1e9, 1e9]]}]}
    assert client.post(f"/api/images/{first}/rasterize", json=wild).json()["area"] == 48 * 80
    check_refused(client.post(f"/api/images/{first}/polygon", json={"rle": square(1, 1, size=(9, 9))}), 422, "size")


def test_rasterized_outlines_equal_the_mask():
    rng = np.random.default_rng(0)
    for density in (0.2, 0.5, 0.8):
        mask = rng.random((23, 31)) < density
        assert (masks.rasterize(outlines(mask, 0), mask.shape) == mask).all()


def test_impossible_fits_and_labeling_jobs_are_refused(client, session, first):
    client.put(f"/api/images/{first}/annotations", json={"revision": 0, "state": "accepted",
                                                          "objects": objects_to_json(objects_of(0))})  # fmt: skip
    check_refused(client.post("/api/jobs/fit", json={"method": "plm"}), 422, "3 more images")
    check_refused(client.post("/api/jobs/fit", json={"name": "../up"}), 422, "name")
    check_refused(client.post("/api/jobs/fit", json={"name": "one"}), 409, "already")
    check_refused(client.post("/api/jobs/fit", json={"classes": ["cat"]}), 422, "cat")
    check_refused(client.post("/api/jobs/label", json={"adapter": "two"}), 422, "no prompt source")
    check_refused(client.post("/api/jobs/label", json={"adapter": "one", "only": ["nowhere"]}), 404)
    check_refused(client.post("/api/jobs/label", json={"adapter": "one", "only": [first]}), 422, "no image left")
    check_refused(client.delete("/api/jobs/current"), 404)
    assert client.get("/api/jobs/current").json() is None


def test_only_adapters_of_the_project_can_be_deleted(client, session, tiny_sam2, tmp_path):
    outside = save(tmp_path / "given", tiny_sam2)
    session.engine.adapters.add("given", outside)
    check_refused(client.delete("/api/adapters/given"), 409, "on the command line")
    check_refused(client.delete("/api/adapters/none"), 404)
    check_refused(client.delete("/api/adapters/%2e%2e"), 422, "name")
    assert client.delete("/api/adapters/two").status_code == 204
    assert not (session.project.home / "adapters" / "two").exists()
    assert [one["name"] for one in client.get("/api/project").json()["adapters"]] == ["one", "given"]
    (session.project.home / "adapters" / "link").symlink_to(outside)
    check_refused(client.delete("/api/adapters/link"), 422, "link")
    assert (outside / "adapter.json").exists()


def test_adapters_of_a_project_are_loaded_and_damaged_ones_are_reported(tiny_sam2, tmp_path):
    root = images_folder(tmp_path / "images", 2)
    fits = root / ".samtailor" / "adapters"
    save(fits / "good", tiny_sam2)
    save(fits / "bad", tiny_sam2)
    (fits / "bad" / "adapter.safetensors").write_bytes(b"damaged")
    (fits / "half").mkdir()
    session = open_session(root, tiny_sam2)
    about = session.about()
    assert [one["name"] for one in about["adapters"]] == ["good"]
    assert [one["name"] for one in about["broken_adapters"]] == ["bad"]
    session.close()
    session.engine.close()


def test_exports_are_downloaded_by_name_only(client, first):
    check_refused(client.post("/api/export", json={"format": "coco"}), 422, "Nothing to export: no image is accepted")
    saved = {"revision": 0, "state": "accepted", "objects": objects_to_json(objects_of(0))}
    client.put(f"/api/images/{first}/annotations", json=saved)
    check_refused(client.post("/api/export", json={"format": "nothing"}), 422, "Known")
    export = client.post("/api/export", json={"format": "yolo", "states": ["accepted"]}).json()
    packed = client.get(export["url"])
    assert packed.headers["content-type"] == "application/zip"
    assert packed.content[:2] == b"PK"
    for name in ("..%2f..%2fproject", "yolo-999", ".."):
        assert client.get(f"/api/exports/{name}.zip").status_code == 404


def test_page_is_served_with_its_policy_and_no_other_files(session, tmp_path, monkeypatch):
    page = tmp_path / "page"
    (page / "assets").mkdir(parents=True)
    (page / "index.html").write_text("<!doctype html>")
    (page / "assets" / "app-1a2b.js").write_text("1")
    (tmp_path / "secret.txt").write_text("secret")
    monkeypatch.setattr(static.add, "__defaults__", (page,))
    with TestClient(build(session), base_url=URL) as client:
        index = client.get("/")
        assert index.headers["content-type"].startswith("text/html")
        assert index.headers["content-security-policy"].startswith("default-src 'self'; img-src 'self' data: blob:")
        script = client.get("/assets/app-1a2b.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert "immutable" in script.headers["cache-control"]
        for path in ("/..%2fsecret.txt", "/%2e%2e/secret.txt", "/assets/../../secret.txt", "/secret.txt", "/api/none"):
            assert client.get(path).status_code == 404


def test_requests_without_token_or_from_other_sites_are_refused(session, first):
    token = "a-token-of-some-length"
    with TestClient(build(session, token=token), base_url=URL) as client:
        check_refused(client.get("/api/project"), 401)
        check_refused(client.get("/?token=wrong-token"), 401)
        assert client.get("/api/project", headers={"authorization": f"Bearer {token}"}).status_code == 200
        redirect = client.get(f"/?token={token}", follow_redirects=False)
        assert (redirect.status_code, redirect.headers["location"]) == (303, "/")
        cookie = redirect.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert client.get("/api/project").status_code == 200  # the client keeps cookies
        for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}, {"host": "evil.example"}):
            check_refused(client.put("/api/classes", json={"classes": []}, headers=headers), 403)
            check_refused(client.get(f"/api/images/{first}/image", headers=headers), 403)


def test_too_large_bodies_are_refused(client, first, monkeypatch):
    huge = b'{"revision":0,"state":"open","objects":[' + b" " * (33 * 2**20) + b"]}"
    headers = {"content-type": "application/json"}
    check_refused(client.put(f"/api/images/{first}/annotations", content=huge, headers=headers), 413)


def test_full_queue_is_503_with_retry_after(tiny_sam2, tmp_path):
    limits = Limits(bytes=200_000, pixels=50_000, encodes=1, encode_queue=0)
    session = open_session(images_folder(tmp_path / "images"), tiny_sam2, limits=limits)
    one = ids(session.project)[0]
    with TestClient(build(session), base_url=URL) as client:
        free = threading.Event()
        session.engine.encoding.submit(free.wait)
        try:
            response = client.post(f"/api/images/{one}/encode")
            check_refused(response, 503)
            assert int(response.headers["retry-after"]) >= 1
            assert client.get("/api/project").status_code == 200
            assert session.project.row(one)["state"] == "open"  # the image itself is fine
        finally:
            free.set()


def test_damaged_image_is_listed_as_failed_and_others_still_work(client, session):
    one, other, *_ = ids(session.project)
    path = session.project.images.folder / "p0.png"
    path.write_bytes(path.read_bytes()[:900])
    assert client.get("/api/images").json()[0]["state"] == "open"  # its header is whole
    check_refused(client.post(f"/api/images/{one}/segment", json={"points": [[5, 5]]}), 415)
    assert client.post(f"/api/images/{other}/segment", json={"points": [[5, 5]]}).status_code == 200
    assert [row["state"] for row in client.get("/api/images").json()[:2]] == ["failed", "open"]


def test_polygon_covers_the_pixels_whose_centers_lie_in_it():
    ring = np.array([[2.3, 1.2], [17.6, 5.9], [6.1, 13.7]])
    y, x = np.mgrid[:16, :20] + 0.5
    sides = [
        (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) > 0
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True)
    ]
    assert (masks.rasterize([(ring, [])], (16, 20)) == np.all(sides, axis=0)).all()
    assert (masks.rasterize([(ring, [])], (16, 20)) == masks.rasterize([(ring[::-1], [])], (16, 20))).all()
