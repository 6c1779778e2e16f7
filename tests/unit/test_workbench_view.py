"""Clicks in a zoomed view: the crop, its mask in the image, and masks that a click refines."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from pycocotools import mask as coco

from samtailor.data.augment import View
from samtailor.masks.rle import encode, to_json
from samtailor.predict.predictor import Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.predict.windows import Windows
from samtailor.workbench.app import build
from samtailor.workbench.records import Runs
from samtailor.workbench.view_crops import MARGIN, ViewCrops, view_crop
from workbench import ids, images_folder, open_session

SIZE = (1000, 2000)


def click(x, y, label=1):
    return ObjectPrompt(clicks=((float(x), float(y), label),))


def edges(view: View, size=SIZE) -> tuple[int, int, int, int]:
    return view.edges(*size)


def test_crop_holds_the_view_with_a_margin_and_the_whole_prompt():
    top, bottom, left, right = edges(view_crop((600, 300, 800, 400), SIZE, click(700, 350)))
    assert left <= 600 - MARGIN * 200
    assert right >= 800 + MARGIN * 200
    assert top <= 300 - MARGIN * 100
    assert bottom >= 400 + MARGIN * 100
    assert right - left < 2 * 200
    assert bottom - top < 2 * 100
    prompt = ObjectPrompt(clicks=((700.0, 350.0, 1), (1200.0, 500.0, 0)), box=(500.0, 320.0, 720.0, 380.0))
    top, bottom, left, right = edges(view_crop((600, 300, 800, 400), SIZE, prompt))
    assert left < 500
    assert right > 1201
    assert bottom > 501
    assert top < 300


def test_small_movements_of_the_view_keep_the_crop():
    views = {view_crop((600 + d, 300, 800 + d, 400), SIZE, ObjectPrompt()).key for d in range(8)}
    assert len(views) <= 3


@pytest.mark.parametrize("view", [(0, 0, 2000, 1000), (-50, -50, 2100, 1100), (100, 50, 1950, 980)])
def test_nearly_the_whole_image_needs_no_crop(view):
    assert view_crop(view, SIZE, ObjectPrompt()) is None


@pytest.mark.parametrize("view", [(0, 0, 3, 2), (1999.5, 999.5, 2050, 1100), (-90, -90, -5, -5), (700, 300, 700, 300)])
def test_crop_of_any_view_lies_in_the_image(view):
    top, bottom, left, right = edges(view_crop(view, SIZE, ObjectPrompt()))
    assert 0 <= top < bottom <= 1000
    assert 0 <= left < right <= 2000
    assert min(bottom - top, right - left) >= 24


@pytest.fixture
def session(tiny_sam2, tmp_path):
    opened = open_session(images_folder(tmp_path / "images", 2), tiny_sam2)
    yield opened
    opened.close()
    opened.engine.close()


def segment(session, id, prompt, **options):
    return asyncio.run(session.prompt_service.segment(id, prompt, None, **options))["masks"]


def pixels(rle: dict) -> np.ndarray:
    return coco.decode({**rle, "counts": rle["counts"].encode()}).astype(bool)


VIEW = (30.0, 10.0, 50.0, 26.0)


def test_mask_of_a_zoomed_view_is_the_mask_of_the_crop_alone_pasted_back_exactly(session, tiny_sam2):
    id, prompt = ids(session.project)[0], click(41, 17)
    masks = segment(session, id, prompt, view=VIEW)
    assert [mask.get("cropped", False) for mask in masks] == [True, True, True, False]
    image = session.project.images.pixels(id)
    top, bottom, left, right = view_crop(VIEW, image.shape[:2], prompt).edges(*image.shape[:2])
    alone = Predictor(tiny_sam2)
    alone.set_image(np.ascontiguousarray(image[top:bottom, left:right]))
    output = alone.decode(prompt.moved(-left, -top).prompts((bottom - top, right - left)))
    scores = output.candidate_iou()[0, 0]
    for mask, i in zip(masks[:3], scores.argsort(descending=True).tolist(), strict=True):
        window, x, y = Windows().mask(output.candidate_logits()[0, 0, i].float(), alone.frame)
        expected = np.zeros(image.shape[:2], bool)
        expected[top + y : top + y + window.shape[0], left + x : left + x + window.shape[1]] = window
        assert (pixels(mask["rle"]) == expected).all()
    assert masks[3]["rle"] == segment(session, id, prompt)[0]["rle"]


def test_crop_is_encoded_once_and_ahead_of_the_click(session, monkeypatch):
    id = ids(session.project)[0]
    views = []
    whole = Predictor.view_features
    monkeypatch.setattr(
        Predictor, "view_features", lambda self, view, adapter=None: views.append(view) or whole(self, view, adapter)
    )
    asyncio.run(session.prompt_service.encode_ahead(id, None, VIEW))
    segment(session, id, click(41, 17), view=VIEW)
    segment(session, id, click(40, 18), view=VIEW)
    assert len(views) == 1


def test_refinement_keeps_what_lies_outside_the_view(session):
    id = ids(session.project)[0]
    image = session.project.images.pixels(id)
    before = np.zeros(image.shape[:2], bool)
    before[:, :20] = True
    before[12:20, 35:45] = True
    refined = (Runs(**to_json(encode(before))), None)
    top, bottom, left, right = view_crop(VIEW, before.shape, click(41, 17)).edges(*before.shape)
    outside = np.ones(before.shape, bool)
    outside[top:bottom, left:right] = False
    for mask in segment(session, id, click(41, 17), view=VIEW, refined=refined)[:3]:
        assert (pixels(mask["rle"])[outside] == before[outside]).all()


def test_refinement_gives_the_model_the_logits_of_the_last_answer_or_the_mask(session, tiny_sam2, monkeypatch):
    id = ids(session.project)[0]
    first = segment(session, id, click(20, 20))[0]
    given = []
    decode = Predictor.decode
    monkeypatch.setattr(
        Predictor, "decode", lambda self, prompts, *a: given.append(prompts.masks) or decode(self, prompts, *a)
    )
    runs = Runs(**first["rle"])
    segment(session, id, click(25, 20), refined=(runs, first["answer"]))
    segment(session, id, click(25, 20), refined=(runs, None))
    segment(session, id, click(25, 20))
    alone = Predictor(tiny_sam2)
    alone.set_image(session.project.images.pixels(id))
    output = alone.decode(click(20, 20).prompts((48, 80)))
    best = int(output.candidate_iou()[0, 0].argmax())
    assert torch.equal(given[0][0, 0], output.candidate_logits()[0, 0, best])
    assert torch.equal(given[1][0, 0] > 0, alone.frame.target(pixels(first["rle"])) > 0.5)
    assert given[2] is None


def test_logits_of_another_view_are_not_reused(session):
    id, crops = ids(session.project)[0], ViewCrops()
    embedding = asyncio.run(session.prompt_service.encode(id))
    key = crops._keep("elsewhere", torch.full((16, 16), 3.0))
    loaded = session.engine.adapters.get(None)
    from samtailor.workbench.view_crops import Refinement

    mask = np.zeros((48, 80), bool)
    mask[5:20, 5:20] = True
    with loaded.predictor() as predictor:
        embedding.set_on(predictor)
        one = crops.candidates(loaded, predictor, embedding, click(9, 9), None, Refinement(mask, key), every=False)
        other = crops.candidates(loaded, predictor, embedding, click(9, 9), None, Refinement(mask, None), every=False)
    assert one[0]["rle"] == other[0]["rle"]


def test_http_interface_takes_view_and_refined_mask(session):
    id = ids(session.project)[0]
    with TestClient(build(session), base_url="http://127.0.0.1:8765") as client:
        assert client.post(f"/api/images/{id}/encode", json={"view": VIEW}).json()["seconds"] > 0
        body = {"points": [[41, 17]], "labels": [1], "view": VIEW}
        first = client.post(f"/api/images/{id}/segment", json=body).json()["masks"][0]
        body |= {"refine": first["rle"], "answer": first["answer"], "points": [[41, 17], [36, 14]], "labels": [1, 0]}
        assert client.post(f"/api/images/{id}/segment", json=body).status_code == 200
        body["refine"] = to_json(encode(np.ones((5, 5), bool)))
        answer = client.post(f"/api/images/{id}/segment", json=body)
        assert answer.status_code == 422
        assert "size" in answer.json()["error"]
        body["refine"] = {"size": [48, 80], "counts": "zzzz"}
        assert client.post(f"/api/images/{id}/segment", json=body).status_code == 422
