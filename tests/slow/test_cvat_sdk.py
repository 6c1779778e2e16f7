"""The auto-annotation function under CVAT's own driver and command line's loader; only the server is a stand-in.

cvat-sdk is not a dependency: `pip install cvat-sdk cvat-cli` into an environment of the same Python, and name its
site-packages in SAMTAILOR_CVAT_SDK (or have both installed here). Tried with 2.80.0.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from saved import save

PLACE = os.environ.get("SAMTAILOR_CVAT_SDK")
if PLACE and PLACE not in sys.path:
    sys.path.append(PLACE)  # behind everything that is installed here
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("cvat_sdk") is None or importlib.util.find_spec("cvat_cli") is None,
        reason="no cvat-sdk and cvat-cli: pip install them elsewhere, name their site-packages in SAMTAILOR_CVAT_SDK",
    ),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of those packages
]
SIZE = (48, 80)
MODULE = "samtailor.serve.annotators.cvat"


def frame(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), dtype=np.uint8))


@pytest.fixture
def adapter(tiny_sam2, tmp_path, monkeypatch):
    monkeypatch.setattr("samtailor.bases.load_base", lambda source: tiny_sam2)
    return save(tmp_path / "finds", tiny_sam2, proposals=True, head="paper_plain")


def loaded(adapter, *parameters: str):
    """As `cvat-cli task auto-annotate --function-module ... -p NAME=TYPE:VALUE` loads it."""
    from cvat_cli._internal.common import FunctionLoader
    from cvat_cli._internal.parsers import parse_function_parameter

    given = dict(parse_function_parameter(text) for text in (f"adapter=str:{adapter}", *parameters))
    return FunctionLoader(MODULE, None, given).load()


@pytest.fixture
def annotate(monkeypatch):
    """`annotate_task` on a task of two frames, whose label disc has the id 7; the shapes that it would upload."""
    import cvat_sdk.models as models
    from cvat_sdk import auto_annotation
    from cvat_sdk.auto_annotation import driver

    def run(function, kind="any", **options):
        samples = [
            SimpleNamespace(
                frame_name=f"{i}.png", frame_index=10 + i, media=SimpleNamespace(load_image=lambda i=i: frame(i))
            )
            for i in range(2)
        ]
        label = models.Label(name="disc", id=7, type=kind, attributes=[], sublabels=[])
        dataset = SimpleNamespace(labels=[label], samples=samples)
        monkeypatch.setattr(driver, "TaskDataset", lambda client, task, **more: dataset)
        sent = []
        api = SimpleNamespace(update_annotations=lambda task, labeled_data_request: sent.append(labeled_data_request))
        client = SimpleNamespace(logger=logging.getLogger("cvat"), tasks=SimpleNamespace(api=api))
        auto_annotation.annotate_task(client, 137, function, clear_existing=True, **options)
        return sent[0].shapes

    return run


def test_masks_boxes_and_polygons_pass_cvats_checks(adapter, annotate):
    from cvat_sdk.auto_annotation import DetectionFunctionSpec
    from cvat_sdk.masks import decode_mask, encode_mask

    function = loaded(adapter)
    assert isinstance(function.spec, DetectionFunctionSpec)
    shapes = annotate(function, "mask")
    assert {shape.frame for shape in shapes} == {10, 11}
    assert {(shape.label_id, shape.type.value, shape.source) for shape in shapes} == {(7, "mask", "auto")}
    masks = [decode_mask(shape.points, image_width=SIZE[1], image_height=SIZE[0]) for shape in shapes]
    assert [encode_mask(mask) for mask in masks] == [list(shape.points) for shape in shapes]
    boxes = annotate(loaded(adapter, "shape=str:rectangle"), "rectangle")
    for mask, box in zip(masks, boxes, strict=True):
        rows, columns = np.nonzero(mask)
        assert list(box.points) == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    for made, options in ((loaded(adapter, "shape=str:polygon"), {}), (function, {"conv_mask_to_poly": True})):
        polygons = annotate(made, "polygon", **options)
        assert polygons
        assert all(shape.type.value == "polygon" and len(shape.points) >= 6 for shape in polygons)


def test_cvats_threshold_overrides_that_of_the_function(adapter, annotate):
    every = annotate(loaded(adapter))
    assert every
    assert annotate(loaded(adapter, "threshold=float:1")) == []
    assert len(annotate(loaded(adapter, "threshold=float:1"), conf_threshold=0.0)) == len(every)
    assert annotate(loaded(adapter), conf_threshold=1.0) == []


def test_cvat_rejects_a_task_without_the_label(adapter, annotate):
    from cvat_sdk.auto_annotation import BadFunctionError

    with pytest.raises(BadFunctionError, match="mask"):
        annotate(loaded(adapter), "polygon")
