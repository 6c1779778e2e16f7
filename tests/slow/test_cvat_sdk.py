"""The auto-annotation function under CVAT's own driver and command line's loader, and masks as CVAT's SDK holds them.

Only the server is a stand-in. Tried with cvat-sdk and cvat-cli 2.80.0. `tests/sdks.py` says how to run these tests.
"""

from __future__ import annotations

import logging
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from samtailor.data.dataset import open_dataset
from saved import save
from sdks import needs
from written import SIZE as WRITTEN
from written import box, ring, usual, write

pytestmark = needs(cvat_sdk="cvat-sdk", cvat_cli="cvat-cli")
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
    for mask, drawn in zip(masks, boxes, strict=True):
        rows, columns = np.nonzero(mask)
        assert list(drawn.points) == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
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


def test_masks_in_annotations_xml_are_those_of_the_sdk(tmp_path):
    """What is written decodes to the masks in CVAT's SDK, and what the SDK encodes is read."""
    from cvat_sdk.masks import decode_mask, encode_mask
    from cvat_sdk.models import LabeledShapeRequest

    write("cvat", usual(tmp_path / "from"), tmp_path / "out", rle=True)
    file = tmp_path / "out" / "annotations.xml"
    tree = ElementTree.parse(file)
    for entry, mask in zip(tree.iter("mask"), (ring(), box(), box()), strict=True):
        left, top, width, height = (int(entry.get(name)) for name in ("left", "top", "width", "height"))
        points = [*map(float, entry.get("rle").split(",")), left, top, left + width - 1, top + height - 1]
        shape = LabeledShapeRequest(type="mask", frame=0, label_id=1, points=points)
        decoded = decode_mask(shape.points, image_width=WRITTEN[1], image_height=WRITTEN[0])
        assert np.array_equal(decoded, mask)
    moved = np.roll(ring(), 3, axis=1)
    *runs, left, top, right, bottom = map(int, encode_mask(moved))
    first = next(tree.iter("mask"))
    first.set("rle", ", ".join(map(str, runs)))
    frame = {"left": left, "top": top, "width": right - left + 1, "height": bottom - top + 1}
    for name, value in frame.items():
        first.set(name, str(value))
    tree.write(file)
    (sample,) = (one for one in open_dataset(tmp_path / "out") if one.id == "a")
    assert np.array_equal(next(one.mask for one in sample.annotations if one.label == "ring"), moved)
