"""IoU maps: the IoU of a click at each position."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from samtailor.errors import InputError
from samtailor.evaluation import iou_map as maps
from samtailor.masks import metrics
from samtailor.predict.predictor import Predictor


def test_the_map_equals_single_clicks(tiny_base, tiny_samples, tmp_path):
    sample = tiny_samples[0]
    predictor = Predictor(tiny_base)
    predictor.set_image(sample.image)
    truth = sample.annotations[0].mask
    result = maps.iou_map(predictor, truth, cells=10)
    assert result.iou.shape == result.points.shape[:2] == result.inside.shape
    assert result.inside.sum() >= 9
    for place in ((0, 0), (2, 5), (result.iou.shape[0] - 1, result.iou.shape[1] - 1)):
        x, y = result.points[place]
        masks, scores, _ = predictor.predict([[x, y]], [1])
        ious = [metrics.iou(mask, truth) for mask in masks]
        assert result.iou[place] == pytest.approx(ious[scores.argmax()], abs=0.02)
        assert result.oracle[place] == pytest.approx(max(ious), abs=0.02)
        assert result.inside[place] == truth[int(y), int(x)]
    assert result.mean == pytest.approx(result.iou[result.inside].mean())
    json.dumps(result.to_json(), allow_nan=False)
    maps.save(maps.draw(sample.image, truth, {"base": result, "again": result}), tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as image:
        assert image.width > image.height
    assert [file.name for file in tmp_path.iterdir()] == ["map.png"]


def test_a_map_of_a_detail_clicks_in_it_only(tiny_sam, tiny_samples, tmp_path):
    predictor = Predictor(tiny_sam)
    predictor.set_image(tiny_samples[0].image)
    mask = np.zeros((48, 80), bool)
    mask[20:30, 35:60] = True
    view = slice(10, 40), slice(30, 70)
    result = maps.iou_map(predictor, mask, cells=8, view=view)
    assert result.iou.shape == (6, 8)
    (left, top), (right, bottom) = result.points[0, 0], result.points[-1, -1]
    assert (left, top) == (32.5, 12.5)
    assert (right, bottom) == (67.5, 37.5)
    assert result.inside.sum() == 2 * 5
    figure = maps.draw(tiny_samples[0].image, mask, {"base": result}, title="a mask", view=view)
    assert figure.axes[0].get_title() == "a mask"
    assert figure.axes[0].images[0].get_size() == (30, 40)
    assert figure.axes[1].images[-1].get_clim() == (0, 100)
    with pytest.raises(InputError, match="within the detail"):
        maps.iou_map(predictor, mask, view=(slice(0, 10), slice(0, 10)))


def test_small_masks_have_a_finer_grid(tiny_sam, tiny_samples):
    predictor = Predictor(tiny_sam)
    predictor.set_image(tiny_samples[0].image)
    small, tiny = np.zeros((2, 48, 80), bool)
    small[20:40, 30:50] = tiny[20:22, 30:32] = True
    assert maps.iou_map(predictor, small, cells=4).iou.shape == (4, 6)
    result = maps.iou_map(predictor, tiny, cells=4)
    assert result.inside.sum() == 1
    assert result.iou.size <= 12 * 12


def test_invalid_masks_raise(tiny_sam, tiny_samples):
    predictor = Predictor(tiny_sam)
    predictor.set_image(tiny_samples[0].image)
    with pytest.raises(InputError, match="empty"):
        maps.iou_map(predictor, np.zeros((48, 80), bool))
    with pytest.raises(InputError, match=r"\(48, 80\)"):
        maps.iou_map(predictor, np.ones((48, 81), bool))
    with pytest.raises(InputError, match="one cell"):
        maps.iou_map(predictor, np.ones((48, 80), bool), cells=0)
