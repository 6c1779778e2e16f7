"""The closer look at small objects on the page: which tile, where its mask lies, when there is none."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from pycocotools import mask as coco

from samtailor.data.tile_views import views
from samtailor.predict.predictor import Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.workbench.zoom import SMALL, Closer, tile
from workbench import ids, images_folder, open_session

SIZE = (80, 120)


def asked(x, y, label=1):
    return ObjectPrompt(clicks=((float(x), float(y), label),))


def test_the_tile_with_most_room_around_a_small_object():
    parts = views(2)[1:]
    assert tile(asked(10, 10), [5, 5, 15, 15], SIZE, 64) == parts[0]
    assert tile(asked(110, 70), [105, 65, 115, 75], SIZE, 64) == parts[3]
    assert tile(asked(110, 10), [105, 5, 115, 15], SIZE, 64) == parts[1]


def test_no_tile_for_a_large_object_nor_for_what_none_has_whole():
    just, more = (int(120 * share / 64) for share in (SMALL, SMALL + 1.5))
    assert tile(asked(10, 10), [5, 5, 5 + just, 15], SIZE, 64) is not None
    assert tile(asked(10, 10), [5, 5, 5 + more, 15], SIZE, 64) is None
    both = ObjectPrompt(clicks=((5.0, 5.0, 1), (115.0, 75.0, 0)))
    assert tile(both, [2, 2, 9, 9], SIZE, 64) is None
    assert tile(ObjectPrompt(box=(2.0, 2.0, 118.0, 9.0)), [2, 2, 9, 9], SIZE, 64) is None


@pytest.fixture
def bench(tiny_sam2, tmp_path):
    made = open_session(images_folder(tmp_path / "images"), tiny_sam2)
    yield made
    made.close()
    made.engine.close()


def segment(bench, id, ask, closer):
    return asyncio.run(bench.asking.segment(id, ask, None, closer=closer))["masks"]


def test_it_is_what_the_tile_alone_answers_and_its_embedding_is_kept(bench, tiny_sam2, monkeypatch):
    id = ids(bench.project)[0]
    embedding = asyncio.run(bench.asking.encode(id))
    slot, near = bench.engine.adapters.slot(None), Closer()
    height, width = embedding.height, embedding.width
    ask, box = asked(width // 4, height // 4), [width // 4 - 3, height // 4 - 3, width // 4 + 3, height // 4 + 3]
    monkeypatch.setattr("samtailor.workbench.zoom.cut_off", lambda *a: False)  # a random base's masks fill the tile
    seen = []
    with slot.predictor() as predictor:
        whole = predictor.seen
        monkeypatch.setattr(predictor, "seen", lambda view: seen.append(view) or whole(view))
        for _ in range(2):
            embedding.set_on(predictor)
            image = predictor.image
            found = near.candidate(slot, predictor, embedding, ask, box)
    assert len(seen) == 1
    top, bottom, left, right = seen[0].edges(height, width)
    alone = Predictor(tiny_sam2)
    alone.set_image(np.ascontiguousarray(image[top:bottom, left:right]))
    masks, scores, _ = alone.predict([[width // 4 - left, height // 4 - top]], [1])
    expected = np.zeros((height, width), bool)
    expected[top:bottom, left:right] = masks[scores.argmax()]
    got = coco.decode({**found["rle"], "counts": found["rle"]["counts"].encode()}).astype(bool)
    assert found["closer"] is True
    assert (got != expected).sum() <= 2
    assert found["predicted_iou"] == pytest.approx(float(np.clip(scores.max(), 0, 1)), abs=1e-4)


def test_it_stands_first_or_second_or_is_not_asked_for(bench, monkeypatch):
    id, ask = ids(bench.project)[0], asked(10, 10)
    plain = segment(bench, id, ask, None)
    given = {**plain[0], "closer": True}
    monkeypatch.setattr(Closer, "candidate", lambda self, *a: given)
    assert segment(bench, id, ask, True) == [given, *plain]
    assert segment(bench, id, ask, False) == [plain[0], given, *plain[1:]]
    assert segment(bench, id, ask, None) == plain
    monkeypatch.setattr(Closer, "candidate", lambda self, *a: None)
    assert segment(bench, id, ask, True) == plain
