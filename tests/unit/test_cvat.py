"""CVAT's auto-annotation function, with a fake cvat_sdk of the same interface."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from samtailor.errors import InputError, MissingExtraError
from samtailor.masks.rle import from_polygons
from samtailor.serve.annotators import cvat
from samtailor.serve.refusals import Refused
from saved import save


@pytest.fixture
def sdk(monkeypatch):
    """The part of cvat_sdk.auto_annotation that is used."""
    module = ModuleType("cvat_sdk.auto_annotation")
    module.DetectionFunctionSpec = lambda *, labels: SimpleNamespace(labels=labels)
    module.label_spec = lambda name, id, **more: SimpleNamespace(name=name, id=id, **more)
    module.shape = lambda label_id, **more: SimpleNamespace(label_id=label_id, frame=0, **more)
    package = ModuleType("cvat_sdk")
    package.auto_annotation = module
    monkeypatch.setitem(sys.modules, "cvat_sdk", package)
    monkeypatch.setitem(sys.modules, "cvat_sdk.auto_annotation", module)


@pytest.fixture
def folders(tiny_sam2, tmp_path, monkeypatch):
    """An adapter with proposals and one without."""
    monkeypatch.setattr("samtailor.bases.load_base", lambda source: tiny_sam2)
    save(tmp_path / "finds", tiny_sam2, proposals=True, head="paper_plain")
    save(tmp_path / "plain", tiny_sam2, head="paper_plain")
    return tmp_path


def frame() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8))


def context(threshold=None, polygons=False):
    return SimpleNamespace(frame_name="a.png", conf_threshold=threshold, conv_mask_to_poly=polygons)


def unpacked(points, size):
    *runs, x0, y0, x1, y1 = (int(v) for v in points)
    flat = np.repeat(np.arange(len(runs)) % 2, runs).astype(bool)
    mask = np.zeros(size, bool)
    mask[y0 : y1 + 1, x0 : x1 + 1] = flat.reshape(y1 - y0 + 1, x1 - x0 + 1)
    return mask


def test_masks_survive_a_round_trip():
    rng = np.random.default_rng(0)
    for share in (0.05, 0.5, 1.0):
        mask = rng.random((9, 13)) < share
        assert np.array_equal(unpacked(cvat.packed(mask), mask.shape), mask)
    assert cvat.packed(np.array([[False, True, True], [False, True, False]])) == [0, 3, 1, 1, 0, 2, 1]


def test_frames_are_labeled(sdk, folders):
    made = cvat.create(str(folders / "finds"))
    assert [(label.name, label.id, label.type) for label in made.spec.labels] == [("disc", 0, "mask")]
    rows = made.detect(context(), frame())
    assert rows
    assert {(row.label_id, row.frame, row.type) for row in rows} == {(0, 0, "mask")}
    masks = [unpacked(row.points, (48, 80)) for row in rows]
    boxes = cvat.create(str(folders / "finds"), shape="rectangle").detect(context(), frame())
    assert [row.points for row in boxes] == [list(cvat._box(mask)) for mask in masks]
    assert made.detect(context(threshold=1.0), frame()) == []
    exact = cvat.create(str(folders / "finds"), tolerance=0.0).detect(context(polygons=True), frame())
    assert {row.type for row in exact} == {"polygon"}
    from pycocotools import mask as coco

    drawn = np.any([coco.decode(from_polygons([row.points], (48, 80))).astype(bool) for row in exact], axis=0)
    assert (np.any(masks, axis=0) <= drawn).all()  # holes are lost in polygons, nothing else


def test_adapters_without_a_prompt_source_raise(sdk, folders):
    with pytest.raises(Refused, match="propose-fit"):
        cvat.create(str(folders / "plain"))
    with pytest.raises(InputError, match="shape"):
        cvat.create(str(folders / "finds"), shape="cuboid")


def test_a_missing_cvat_sdk_raises(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "cvat_sdk", None)
    with pytest.raises(MissingExtraError, match="pip install cvat-sdk"):
        cvat.create(str(folders / "finds"))
