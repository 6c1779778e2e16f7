"""Zoomed masks for small objects: choice of the tile, place of the mask, objects without one."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from pycocotools import mask as coco

from samtailor.data.tile_views import views as tiles
from samtailor.predict.predictor import Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.workbench.zoom import SMALL, Zoom, tile
from workbench import ids, images_folder, open_session

SIZE = (80, 120)


def click(x, y, label=1):
    return ObjectPrompt(clicks=((float(x), float(y), label),))


def test_tile_with_the_most_space_around_a_small_object():
    parts = tiles(2)[1:]
    assert tile(click(10, 10), [5, 5, 15, 15], SIZE, 64) == parts[0]
    assert tile(click(110, 70), [105, 65, 115, 75], SIZE, 64) == parts[3]
    assert tile(click(110, 10), [105, 5, 115, 15], SIZE, 64) == parts[1]


def test_no_tile_for_a_large_object_or_a_prompt_across_tiles():
    just, more = (int(120 * cells / 64) for cells in (SMALL, SMALL + 1.5))
    assert tile(click(10, 10), [5, 5, 5 + just, 15], SIZE, 64) is not None
    assert tile(click(10, 10), [5, 5, 5 + more, 15], SIZE, 64) is None
    both = ObjectPrompt(clicks=((5.0, 5.0, 1), (115.0, 75.0, 0)))
    assert tile(both, [2, 2, 9, 9], SIZE, 64) is None
    assert tile(ObjectPrompt(box=(2.0, 2.0, 118.0, 9.0)), [2, 2, 9, 9], SIZE, 64) is None


@pytest.fixture
def session(tiny_sam2, tmp_path):
    opened = open_session(images_folder(tmp_path / "images"), tiny_sam2)
    yield opened
    opened.close()
    opened.engine.close()


def segment(session, id, prompt, zoom):
    masks = asyncio.run(session.prompt_service.segment(id, prompt, None, zoom=zoom))["masks"]
    return [{key: value for key, value in mask.items() if key != "answer"} for mask in masks]


def test_zoomed_mask_equals_the_prediction_on_the_tile_and_its_embedding_is_cached(session, tiny_sam2, monkeypatch):
    id = ids(session.project)[0]
    embedding = asyncio.run(session.prompt_service.encode(id))
    loaded, zoom = session.engine.adapters.get(None), Zoom()
    height, width = embedding.height, embedding.width
    prompt, box = click(width // 4, height // 4), [width // 4 - 3, height // 4 - 3, width // 4 + 3, height // 4 + 3]
    # masks of a random base model fill the tile
    monkeypatch.setattr("samtailor.workbench.zoom.cut_off", lambda *a: False)
    views = []
    with loaded.predictor() as predictor:
        whole = predictor.view_features
        monkeypatch.setattr(
            predictor, "view_features", lambda view, adapter=None: views.append(view) or whole(view, adapter)
        )
        for _ in range(2):
            embedding.set_on(predictor)
            image = predictor.image
            zoomed = zoom.candidate(loaded, predictor, embedding, prompt, box)
    assert len(views) == 1
    top, bottom, left, right = views[0].edges(height, width)
    alone = Predictor(tiny_sam2)
    alone.set_image(np.ascontiguousarray(image[top:bottom, left:right]))
    masks, scores, _ = alone.predict([[width // 4 - left, height // 4 - top]], [1])
    expected = np.zeros((height, width), bool)
    expected[top:bottom, left:right] = masks[scores.argmax()]
    mask = coco.decode({**zoomed["rle"], "counts": zoomed["rle"]["counts"].encode()}).astype(bool)
    assert zoomed["zoomed"] is True
    assert (mask != expected).sum() <= 2
    assert zoomed["predicted_iou"] == pytest.approx(float(np.clip(scores.max(), 0, 1)), abs=1e-4)


def test_zoomed_mask_is_first_or_second_or_left_out(session, monkeypatch):
    id, prompt = ids(session.project)[0], click(10, 10)
    candidates = segment(session, id, prompt, None)
    zoomed = {**candidates[0], "zoomed": True}
    monkeypatch.setattr(Zoom, "candidate", lambda self, *a: zoomed)
    assert segment(session, id, prompt, True) == [zoomed, *candidates]
    assert segment(session, id, prompt, False) == [candidates[0], zoomed, *candidates[1:]]
    assert segment(session, id, prompt, None) == candidates
    monkeypatch.setattr(Zoom, "candidate", lambda self, *a: None)
    assert segment(session, id, prompt, True) == candidates
