"""The workbench's interface as the page uses it, on a small random base."""

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
from workbench import ids, images_folder, objects_of, open_session, plain, square

HERE = "http://127.0.0.1:8765"


@pytest.fixture
def bench(tiny_sam2, tmp_path):
    made = open_session(images_folder(tmp_path / "images"), tiny_sam2)
    save(made.project.home / "adapters" / "one", tiny_sam2, proposals=True)
    save(made.project.home / "adapters" / "two", tiny_sam2, seed=5)
    for name in ("one", "two"):
        made.engine.adapters.add_below(name, name)
    yield made
    made.close()
    made.engine.close()


@pytest.fixture
def client(bench):
    with TestClient(build(bench), base_url=HERE) as client:
        yield client


@pytest.fixture
def first(bench):
    return ids(bench.project)[0]


def decoded(rle: dict) -> np.ndarray:
    return coco.decode(rle).astype(bool)


def check_refused(answer, status, *words):
    assert answer.status_code == status, answer.text
    for word in words:
        assert word in answer.json()["error"]


def test_whoever_watches_the_process_needs_no_token(bench):
    with TestClient(build(bench, token="secret"), base_url=HERE) as stranger:
        assert stranger.get("/health").json() == {"status": "up"}
        assert stranger.get("/api/project").status_code == 401


def test_the_project_tells_what_the_page_shows(client):
    found = client.get("/api/project").json()
    assert (found["name"], found["base"], found["images"], found["minimum"]) == ("images", "tiny-sam2", 6, 4)
    assert [one["name"] for one in found["classes"]] == ["disc", "square"]
    assert [(one["name"], one["auto"], one["own"]) for one in found["adapters"]] == [
        ("one", True, True),
        ("two", False, True),
    ]
    assert {"coco", "yolo", "masks", "labelme"} <= set(found["formats"])
    assert (found["job"], found["unfinished"]) == (None, [])


def test_images_thumbnails_and_images(client, first):
    rows = client.get("/api/images").json()
    assert rows[0] == {"id": first, "name": "p0.png", "width": 80, "height": 48, "state": "open", "objects": 0,
                       "uncertainty": None, "error": None}  # fmt: skip
    shown = client.get(f"/api/images/{first}/image")
    assert shown.headers["content-type"] == "image/png"
    assert (np.asarray(Image.open(io.BytesIO(shown.content))) == disc_sample(0).image).all()
    small = client.get(f"/api/images/{first}/thumbnail")
    assert max(Image.open(io.BytesIO(small.content)).size) == 80
    again = client.get(f"/api/images/{first}/thumbnail", headers={"if-none-match": small.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    check_refused(client.get("/api/images/nowhere/image"), 404)


def test_an_adapter_that_answers_both_ways_counts_as_one_that_is_clicked(client, first, bench, tiny_sam2):
    for name, given in (("both", {"method": "tailor"}), ("never", {"prompt": "none"})):
        save(bench.project.home / "adapters" / name, tiny_sam2, **given)
        bench.engine.adapters.add_below(name, name)
    told = {one["name"]: one["promptless"] for one in client.get("/api/project").json()["adapters"]}
    assert told == {"one": False, "two": False, "both": False, "never": True}
    saved = {"revision": 0, "state": "open", "objects": plain(objects_of(0))}
    client.put(f"/api/images/{first}/annotations", json=saved)
    url = f"/api/images/{first}/iou-map?object=o0&grid=4&adapter="
    assert client.get(url + "both").status_code == 200
    check_refused(client.get(url + "never"), 422, "without a click")


def test_segment_answers_all_candidates_as_the_predictor_does(client, first, bench):
    predictor = Predictor(bench.engine.base, {"one": bench.engine.adapters.slot("one").folder})
    predictor.set_image(disc_sample(0).image)
    for adapter in (None, "one"):
        given = {"adapter": adapter, "points": [[20, 20], [70, 5]], "labels": [1, 0]}
        answer = client.post(f"/api/images/{first}/segment", json=given).json()
        true, scores, _ = predictor.predict([[20, 20], [70, 5]], [1, 0], adapter=adapter)
        order = np.argsort(-scores, kind="stable")
        assert [m["predicted_iou"] for m in answer["masks"]] == pytest.approx(np.clip(scores[order], 0, 1), abs=1e-4)
        for one, index in zip(answer["masks"], order, strict=True):
            assert np.count_nonzero(decoded(one["rle"]) != true[index]) <= 2  # at 0 to rounding
            assert one["area"] == np.count_nonzero(decoded(one["rle"]))
            if one["area"]:
                x0, y0, x1, y1 = one["box"]
                rows, columns = np.nonzero(decoded(one["rle"]))
                assert (x0, y0, x1, y1) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_an_image_is_encoded_once_for_all_who_answer(client, first, bench, monkeypatch):
    calls, encode = [], bench.engine.base.encode_image
    monkeypatch.setattr(bench.engine.base, "encode_image", lambda *a: calls.append(1) or encode(*a), raising=False)
    assert client.post(f"/api/images/{first}/encode").json()["seconds"] >= 0
    for _ in range(2):
        client.post(f"/api/images/{first}/segment", json={"points": [[20, 20]]})
    asked = {"adapters": [None, "one", "two"], "box": [10, 5, 40, 40]}
    answers = client.post(f"/api/images/{first}/compare", json=asked).json()["answers"]
    assert [one["adapter"] for one in answers] == [None, "one", "two"]
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("given", "status", "word"),
    [
        ({}, 422, "points or a box"),
        ({"points": [[90, 10]]}, 422, "outside"),
        ({"points": [[1, 1]], "labels": [1, 0]}, 422, "one a point"),
        ({"points": [[1, 1]], "labels": [2]}, 422, "labels"),
        ({"box": [10, 10, 5, 20]}, 422, "x0 < x1"),
        ({"points": [[1, 1]], "adapter": "nobody"}, 404, "nobody"),
        ({"points": [[1, 1]] * 300}, 422, "256"),
        ({"points": [[1, 1]], "other": 1}, 422, "other"),
    ],
)
def test_questions_without_sense_are_refused_in_words(client, first, given, status, word):
    check_refused(client.post(f"/api/images/{first}/segment", json=given), status, word)


def test_saving_reading_and_meeting_another_tab(client, first):
    url, objects = f"/api/images/{first}/annotations", plain(objects_of(0))
    assert client.get(url).json() == {"revision": 0, "state": "open", "objects": []}
    assert client.put(url, json={"revision": 0, "state": "open", "objects": objects}).json() == {"revision": 1}
    assert client.get(url).json() == {"revision": 1, "state": "open", "objects": objects}
    late = client.put(url, json={"revision": 0, "state": "accepted", "objects": []})
    check_refused(late, 409, "changed meanwhile")
    assert (late.json()["revision"], late.json()["objects"]) == (1, objects)
    check_refused(client.put(url, json={"revision": 1, "state": "proposed", "objects": []}), 422, "state")
    check_refused(client.put(url, json={"revision": 1, "state": "open", "objects": [{**objects[0], "x": 1}]}), 422, "x")
    check_refused(client.put("/api/classes", json={"classes": [{"name": "disc"}]}), 409, "square")
    renamed = {"classes": [{"name": "plate"}, {"name": "square"}], "renamed": {"disc": "plate"}}
    assert client.put("/api/classes", json=renamed).json()["classes"][0]["name"] == "plate"
    assert client.get(url).json()["objects"][0]["class"] == "plate"


def test_a_map_of_where_to_click_is_of_a_saved_object_and_kept(client, first, bench):
    url = f"/api/images/{first}/iou-map"
    check_refused(client.get(url, params={"object": "o0"}), 404, "Save it first")
    objects = plain(objects_of(0))
    client.put(f"/api/images/{first}/annotations", json={"revision": 0, "state": "open", "objects": objects})
    found = client.get(url, params={"object": "o0", "adapter": "one", "grid": 8}).json()
    assert (len(found["y"]), len(found["x"])) == np.array(found["grid"]).shape
    x, y = found["x"][2], found["y"][1]
    asked = {"adapter": "one", "points": [[x, y]]}
    best = client.post(f"/api/images/{first}/segment", json=asked).json()["masks"][0]
    true, got = decoded(objects[0]["rle"]), decoded(best["rle"])
    assert found["grid"][1][2] == pytest.approx((true & got).sum() / max((true | got).sum(), 1), abs=0.02)
    bench.asking._slow.close()  # a second answer needs no decoder
    assert client.get(url, params={"object": "o0", "adapter": "one", "grid": 8}).json() == found
    check_refused(client.get(url, params={"object": "o0", "grid": 999}), 422, "grid")


def test_automatic_objects_are_sound_and_not_saved(client, first):
    found = client.post(f"/api/images/{first}/auto", json={"adapter": "one"}).json()["objects"]
    assert found
    assert {one["source"] for one in found} == {"auto"}
    assert all(0 <= one["uncertainty"] <= 1 and one["prompts"]["points"] for one in found)
    assert len({one["id"] for one in found}) == len(found)
    assert client.get(f"/api/images/{first}/annotations").json()["objects"] == []
    saved = {"revision": 0, "state": "accepted", "objects": found}
    assert client.put(f"/api/images/{first}/annotations", json=saved).status_code == 200
    check_refused(client.post(f"/api/images/{first}/auto", json={"adapter": "two"}), 422, "where to look")


def test_a_mask_becomes_polygons_and_the_same_mask_again(client, first):
    mask = disc_sample(3).annotations[0].mask
    x, y = center(mask)
    mask[y - 2 : y + 2, x - 3 : x + 3] = False
    mask[2:5, 60:66] = True
    given = {"rle": masks.shape(mask)["rle"], "tolerance": 0}
    polygons = client.post(f"/api/images/{first}/polygon", json=given).json()["polygons"]
    assert (len(polygons), [len(one["holes"]) for one in polygons]) == (2, [1, 0])
    back = client.post(f"/api/images/{first}/rasterise", json={"polygons": polygons}).json()
    assert back == masks.shape(mask)
    check_refused(client.post(f"/api/images/{first}/rasterise", json={"polygons": [{"outer": [[1, 1]]}]}), 422)
    wild = {"polygons": [{"outer": [[-1e9, -1e9], [1e9, -1e9], [1e9, 1e9], [-1e9, 1e9]]}]}
    assert client.post(f"/api/images/{first}/rasterise", json=wild).json()["area"] == 48 * 80
    check_refused(client.post(f"/api/images/{first}/polygon", json={"rle": square(1, 1, size=(9, 9))}), 422, "size")


def test_outlines_drawn_again_are_the_mask_to_the_pixel():
    rng = np.random.default_rng(0)
    for share in (0.2, 0.5, 0.8):
        mask = rng.random((23, 31)) < share
        assert (masks.rasterise(outlines(mask, 0), mask.shape) == mask).all()


def test_fits_and_labellings_that_cannot_be_are_refused(client, bench, first):
    client.put(f"/api/images/{first}/annotations", json={"revision": 0, "state": "accepted",
                                                          "objects": plain(objects_of(0))})  # fmt: skip
    check_refused(client.post("/api/jobs/fit", json={}), 422, "3 more images")
    check_refused(client.post("/api/jobs/fit", json={"name": "../up"}), 422, "name")
    check_refused(client.post("/api/jobs/fit", json={"name": "one"}), 409, "already")
    check_refused(client.post("/api/jobs/fit", json={"classes": ["cat"]}), 422, "cat")
    check_refused(client.post("/api/jobs/label", json={"adapter": "two"}), 422, "where to look")
    check_refused(client.post("/api/jobs/label", json={"adapter": "one", "only": ["nowhere"]}), 404)
    check_refused(client.post("/api/jobs/label", json={"adapter": "one", "only": [first]}), 422, "no image left")
    check_refused(client.delete("/api/jobs/current"), 404)
    assert client.get("/api/jobs/current").json() is None


def test_only_the_projects_own_adapters_can_be_deleted(client, bench, tiny_sam2, tmp_path):
    outside = save(tmp_path / "given", tiny_sam2)
    bench.engine.adapters.add("given", outside)
    check_refused(client.delete("/api/adapters/given"), 409, "at the start")
    check_refused(client.delete("/api/adapters/none"), 404)
    check_refused(client.delete("/api/adapters/%2e%2e"), 422, "name")
    assert client.delete("/api/adapters/two").status_code == 204
    assert not (bench.project.home / "adapters" / "two").exists()
    assert [one["name"] for one in client.get("/api/project").json()["adapters"]] == ["one", "given"]
    (bench.project.home / "adapters" / "link").symlink_to(outside)
    check_refused(client.delete("/api/adapters/link"), 422, "link")
    assert (outside / "adapter.json").exists()


def test_adapters_of_a_project_are_there_again_and_damaged_ones_are_told(tiny_sam2, tmp_path):
    root = images_folder(tmp_path / "images", 2)
    fits = root / ".samtailor" / "adapters"
    save(fits / "good", tiny_sam2)
    save(fits / "bad", tiny_sam2)
    (fits / "bad" / "adapter.safetensors").write_bytes(b"damaged")
    (fits / "half").mkdir()
    bench = open_session(root, tiny_sam2)
    about = bench.about()
    assert [one["name"] for one in about["adapters"]] == ["good"]
    assert [one["name"] for one in about["broken_adapters"]] == ["bad"]
    bench.close()
    bench.engine.close()


def test_exports_are_fetched_by_name_only(client, first):
    check_refused(client.post("/api/export", json={"format": "coco"}), 422, "nothing to export")
    saved = {"revision": 0, "state": "accepted", "objects": plain(objects_of(0))}
    client.put(f"/api/images/{first}/annotations", json=saved)
    check_refused(client.post("/api/export", json={"format": "nothing"}), 422, "Known")
    made = client.post("/api/export", json={"format": "yolo", "states": ["accepted"]}).json()
    packed = client.get(made["url"])
    assert packed.headers["content-type"] == "application/zip"
    assert packed.content[:2] == b"PK"
    for name in ("..%2f..%2fproject", "yolo-999", ".."):
        assert client.get(f"/api/exports/{name}.zip").status_code == 404


def test_the_page_is_served_with_its_policy_and_nothing_beside_it(bench, tmp_path, monkeypatch):
    page = tmp_path / "page"
    (page / "assets").mkdir(parents=True)
    (page / "index.html").write_text("<!doctype html>")
    (page / "assets" / "app-1a2b.js").write_text("1")
    (tmp_path / "secret.txt").write_text("secret")
    monkeypatch.setattr(static.add, "__defaults__", (page,))
    with TestClient(build(bench), base_url=HERE) as client:
        shown = client.get("/")
        assert shown.headers["content-type"].startswith("text/html")
        assert shown.headers["content-security-policy"].startswith("default-src 'self'; img-src 'self' data: blob:")
        script = client.get("/assets/app-1a2b.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert "immutable" in script.headers["cache-control"]
        for path in ("/..%2fsecret.txt", "/%2e%2e/secret.txt", "/assets/../../secret.txt", "/secret.txt", "/api/none"):
            assert client.get(path).status_code == 404


def test_strangers_and_other_sites_are_kept_out(bench, first):
    token = "a-token-of-some-length"
    with TestClient(build(bench, token=token), base_url=HERE) as client:
        check_refused(client.get("/api/project"), 401)
        check_refused(client.get("/?token=wrong-token"), 401)
        assert client.get("/api/project", headers={"authorization": f"Bearer {token}"}).status_code == 200
        let_in = client.get(f"/?token={token}", follow_redirects=False)
        assert (let_in.status_code, let_in.headers["location"]) == (303, "/")
        cookie = let_in.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert client.get("/api/project").status_code == 200  # the client keeps cookies
        for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}, {"host": "evil.example"}):
            check_refused(client.put("/api/classes", json={"classes": []}, headers=headers), 403)
            check_refused(client.get(f"/api/images/{first}/image", headers=headers), 403)


def test_bodies_are_bounded(client, first, monkeypatch):
    huge = b'{"revision":0,"state":"open","objects":[' + b" " * (33 * 2**20) + b"]}"
    answer = client.put(f"/api/images/{first}/annotations", content=huge, headers={"content-type": "application/json"})
    check_refused(answer, 413)


def test_a_full_queue_is_503_with_a_time_to_come_back(tiny_sam2, tmp_path):
    limits = Limits(bytes=200_000, pixels=50_000, encodes=1, encode_queue=0)
    bench = open_session(images_folder(tmp_path / "images"), tiny_sam2, limits=limits)
    one = ids(bench.project)[0]
    with TestClient(build(bench), base_url=HERE) as client:
        free = threading.Event()
        bench.engine.encoding.submit(free.wait)
        try:
            answer = client.post(f"/api/images/{one}/encode")
            check_refused(answer, 503)
            assert int(answer.headers["retry-after"]) >= 1
            assert client.get("/api/project").status_code == 200
            assert bench.project.row(one)["state"] == "open"  # a full queue is not the image's fault
        finally:
            free.set()


def test_an_image_that_breaks_in_the_encoder_is_listed_and_hurts_no_other(client, bench):
    one, other, *_ = ids(bench.project)
    path = bench.project.images.folder / "p0.png"
    path.write_bytes(path.read_bytes()[:900])
    assert client.get("/api/images").json()[0]["state"] == "open"  # its header is whole
    check_refused(client.post(f"/api/images/{one}/segment", json={"points": [[5, 5]]}), 415)
    assert client.post(f"/api/images/{other}/segment", json={"points": [[5, 5]]}).status_code == 200
    assert [row["state"] for row in client.get("/api/images").json()[:2]] == ["failed", "open"]


def test_a_slanted_polygon_takes_the_pixels_whose_centres_lie_in_it():
    ring = np.array([[2.3, 1.2], [17.6, 5.9], [6.1, 13.7]])
    y, x = np.mgrid[:16, :20] + 0.5
    sides = [
        (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) > 0
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True)
    ]
    assert (masks.rasterise([(ring, [])], (16, 20)) == np.all(sides, axis=0)).all()
    assert (masks.rasterise([(ring, [])], (16, 20)) == masks.rasterise([(ring[::-1], [])], (16, 20))).all()
