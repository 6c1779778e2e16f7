"""Empty masks are counted and never reported as found; boxes are called boxes; classes of other adapters are named."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from samtailor.labelling import AdapterSource, label
from samtailor.masks.rle import encode, from_json, is_box, to_json
from samtailor.predict.batched import BestMask
from samtailor.predict.files import predict_files
from samtailor.predict.predictor import Predictor
from samtailor.predict.prompt import ObjectPrompt

PROMPTS = [ObjectPrompt(((20, 20, 1),), label="disc"), ObjectPrompt(((60, 20, 1),), label="disc")]


@pytest.fixture
def images(tmp_path):
    files = {}
    for name in ("p0", "p1"):
        pixels = np.random.default_rng(len(files)).integers(0, 255, (48, 80, 3), np.uint8)
        files[name] = tmp_path / f"{name}.png"
        Image.fromarray(pixels).save(files[name])
    return files


@pytest.fixture
def first_is_empty(monkeypatch):
    """The first prompt of each batch gets an empty mask, the others a filled box."""

    def predict(self, predictor, batches):
        found = []
        for batch in batches:
            logits = torch.full((len(batch.prompts), 16, 16), -9.0)
            logits[1:, 4:8, 4:12] = 9.0
            found.append(BestMask(torch.full((len(batch.prompts),), 0.9), logits, lambda: None))
        return found

    monkeypatch.setattr("samtailor.predict.batched.BatchedDecoder.predict", predict)


def test_predict_lists_empty_masks_and_writes_no_object_for_them(tiny_sam2, images, tmp_path, first_is_empty):
    prompts = dict.fromkeys(images, PROMPTS)
    coco = predict_files(Predictor(tiny_sam2), images, prompts, tmp_path / "out", format="coco")
    assert [image["objects"] for image in coco["images"]] == [1, 1]
    assert len(coco["annotations"]) == 2
    assert [one["image_id"] for one in coco["empty"]] == [1, 2]
    assert coco["empty"][0]["prompt"]["points"] == [[20, 20]]
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 2
    assert coco["dataset"]["written"] == 2
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())["empty"] == coco["empty"]


def test_label_counts_empty_masks_also_when_it_is_continued(tiny_sam2, images, tmp_path, first_is_empty):
    source = AdapterSource(None, lambda predictor, image: PROMPTS)
    for _ in range(2):  # the second run reads the first
        result = label(Predictor(tiny_sam2), [source], images, tmp_path / "labels", format="coco")
        assert (result.empty_masks, result.objects.total(), result.empty) == (2, 2, [])
    report = json.loads((tmp_path / "labels" / "label.json").read_text())
    assert report["empty_masks"] == 2
    assert "empty masks" in result._repr_html_()


def test_a_mask_that_fills_its_box_is_a_box():
    mask = np.zeros((20, 30), bool)
    assert not is_box(encode(mask))
    mask[3:9, 4:20] = True
    assert is_box(encode(mask))
    assert is_box(from_json(to_json(encode(mask))))
    mask[3, 4] = False
    assert not is_box(encode(mask))


def test_predict_says_who_answered(tiny_sam2, tmp_path):
    """Neither a class of another adapter nor an answer of the base model goes unmentioned."""
    from dataclasses import replace

    from samtailor import artefact
    from samtailor.cli.predict import adapter_notes
    from saved import save

    folder = save(tmp_path / "a", tiny_sam2)
    loaded = artefact.load(folder, tiny_sam2).segmenter
    loaded.inference = replace(loaded.inference, strength={"box": 0.0})
    artefact.save(folder, loaded, artefact.describe(loaded, method="plm", options={}, classes=("disc",)))
    names = ("disc", "wheel", "object")
    coco = {
        "categories": [{"id": place, "name": name} for place, name in enumerate(names)],
        "annotations": [{"category_id": place, "adapter": "a"} for place in range(3)],
    }
    box, other = adapter_notes({"a": str(folder)}, coco, {"click", "box"})
    assert box == "The base model answers boxes: the adapter a was not better there."
    assert other == "The adapter a segments disc; it was not fitted to wheel."
    coco["annotations"] = [{"category_id": 0, "adapter": "a"}, {"category_id": 1, "adapter": None}]
    assert list(adapter_notes({"a": str(folder)}, coco, {"click"})) == []


def test_the_service_says_what_differs_from_the_request(tiny_sam2, tmp_path):
    from dataclasses import replace

    from samtailor import artefact
    from samtailor.serve.adapters import Adapters
    from samtailor.serve.answer_notes import notes
    from samtailor.serve.engine import Prediction
    from saved import save

    folder = save(tmp_path / "a", tiny_sam2)
    loaded = artefact.load(folder, tiny_sam2).segmenter
    loaded.inference = replace(loaded.inference, strength={"box": 0.0})
    artefact.save(folder, loaded, artefact.describe(loaded, method="plm", options={}, classes=("disc",)))
    adapter = Adapters(tiny_sam2, 1).add("a", folder)
    full, none = (Prediction(0, name, 0.9, 0.9, area, None, None) for name, area in (("disc", 9), ("wheel", 0)))
    by_base, *rest = notes(adapter, [full], automatic=False)
    assert by_base == "The base model answers boxes: the adapter 'a' was not better there."
    assert rest == []
    empty, _, other = notes(adapter, [full, none], automatic=False)
    assert empty == "1 of 2 masks empty: nothing was found there."
    assert other == "The adapter 'a' segments disc; it was not fitted to wheel."
    assert notes(Adapters(tiny_sam2, 1).get(None), [full], automatic=False) == []
