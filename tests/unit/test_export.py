"""Export to ONNX: the official interfaces, parity on prompts not used at export, ParityError, the loss of int8."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from samtailor.bases._preprocessing import IMAGENET
from samtailor.data.transform import Frame
from samtailor.errors import InputError
from samtailor.export import _parity, _trace
from samtailor.export.onnx import export
from samtailor.predict.predictor import Predictor
from samtailor.registry import find
from tiny import disc_sample

pytest.importorskip("onnxruntime")
OFFICIAL = ["image_embeddings", "point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size"]
SAM2 = ["image_embed", "high_res_feats_0", "high_res_feats_1", *OFFICIAL[1:5]]


OPTIONS = {"am-sam": {"calibration": "nonlinear"}, "tailor": {"width": 16, "members": 2, "companion": "auto"}}


def moved(base, method, **options):
    """A segmenter of which every adapter changes the prediction."""
    torch.manual_seed(4)
    segmenter = find("methods", method).build(base, **options)[0].eval()
    with torch.no_grad():
        for parameter in segmenter.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return segmenter


@pytest.fixture(
    scope="module",
    params=[
        ("sam", "plm"), ("sam", "am-sam"), ("sam2", "plm"), ("sam2", "am-sam"), ("lite", "plm"), ("sam", "tailor"),
        ("lite", "tailor"),
    ],
)  # fmt: skip
def exported(request, tmp_path_factory):
    family, method = request.param
    base = request.getfixturevalue(f"tiny_{family}")
    segmenter = moved(base, method, **OPTIONS.get(method, {}))
    if method == "tailor":  # as from a contest: the map in clicks and boxes, and the limit of a box
        strength, weight = {"click": 0.5, "box": 0.0}, {"click": 0.5, "box": 1.0}
        segmenter.inference = replace(segmenter.inference, strength=strength, map_weight=weight, box_margin=0.1)
    folder = tmp_path_factory.mktemp("export") / "out"
    report = export(segmenter, folder, name="My disc", classes=["disc"], images=[disc_sample(1)])
    return SimpleNamespace(
        family="sam" if family == "sam" else "sam2", segmenter=segmenter, folder=folder, report=report
    )


def embedding(exported, image):
    encoder, base = _parity.session(exported.folder / "encoder.onnx"), exported.segmenter.base
    frame = Frame.of(base, *image.shape[:2])
    if exported.family == "sam2":
        high0, high1, embed = encoder.run(None, {"image": frame.image(image, IMAGENET)[None].numpy()})
        return {"image_embed": embed, "high_res_feats_0": high0, "high_res_feats_1": high1}
    height, width = frame.inner
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    return {"image_embeddings": encoder.run(None, {"input_image": np.asarray(resized, np.float32)})[0]}


def decoded(exported, image, points, labels, mask=None):
    """Outputs of the decoder with inputs as an annotation program makes them; points in pixels of the image."""
    size, (height, width) = exported.segmenter.base.size, image.shape[:2]
    scale = np.array([size / width, size / height]) if exported.family == "sam2" else size / max(height, width)
    if exported.family == "sam":
        scale = np.array([round(width * scale) / width, round(height * scale) / height])
    coords, labels = np.array(points) * scale, list(labels)
    if exported.family == "sam" and 2 not in labels:
        coords, labels = np.concatenate([coords, [[0, 0]]]), [*labels, -1]
    side = exported.segmenter.base.low_res
    fed = embedding(exported, image) | {
        "point_coords": coords[None].astype(np.float32),
        "point_labels": np.array([labels], np.float32),
        "mask_input": np.zeros((1, 1, side, side), np.float32) if mask is None else mask[None, None],
        "has_mask_input": np.array([mask is not None], np.float32),
    }
    fed |= {"orig_im_size": np.array([height, width], np.float32)} if exported.family == "sam" else {}
    return _parity.session(exported.folder / "decoder.onnx").run(None, fed)


@pytest.mark.parametrize(
    ("points", "labels", "masked"),
    [
        ([[30, 20]], [1], False),
        ([[30, 20]], [1], True),
        ([[30, 20], [5, 40]], [1, 0], False),
        ([[30, 20], [5, 40], [60, 3], [61, 9], [11, 12]], [1, 0, 1, 0, 1], False),
        ([[12, 8], [50, 40]], [2, 3], False),
        ([[12, 8], [50, 40]], [2, 3], True),
    ],
)
def test_the_files_predict_as_the_predictor(exported, points, labels, masked):
    sample = disc_sample(5, 50, 70)
    predictor = Predictor(exported.segmenter.base, {"a": exported.segmenter})
    predictor.set_image(sample.image)
    low = predictor.predict([[9, 9]], [1], adapter="a")[2][0] if masked else None
    box = np.array(points).ravel() if 2 in labels else None
    clicks = (None, None) if box is not None else (points, labels)
    masks, scores, lows = predictor.predict(*clicks, box, low, adapter="a", return_logits=True)
    outputs = decoded(exported, sample.image, points, labels, low)
    best = int(scores.argmax())
    if exported.family == "sam":
        assert np.allclose(outputs[1][0], scores[best], atol=1e-4)
        assert np.allclose(outputs[2][0, 0], lows[best], atol=1e-3)
        assert np.allclose(outputs[0][0, 0], masks[best], atol=1e-3)
    else:
        assert np.allclose(outputs[1][0], scores, atol=1e-4)
        assert np.allclose(outputs[0][0], lows, atol=1e-3)
    bare = predictor.predict(*clicks, box, low, adapter="base", return_logits=True)[2]
    assert bare.shape != lows.shape or not np.allclose(bare, lows, atol=1e-2)  # the files contain the adapter


def test_the_interface_is_the_official_one(exported):
    import onnx

    decoder, encoder = (onnx.load(str(exported.folder / f"{part}.onnx")) for part in ("decoder", "encoder"))
    outputs = [one.name for one in decoder.graph.output]
    shapes = {
        one.name: [d.dim_param or d.dim_value for d in one.type.tensor_type.shape.dim] for one in decoder.graph.input
    }
    assert shapes["point_coords"] == [1, "num_points", 2]
    assert shapes["point_labels"] == [1, "num_points"]
    assert decoder.opset_import[0].version == exported.report["opset"] == _trace.OPSET
    if exported.family == "sam":
        assert list(shapes) == OFFICIAL
        assert outputs == ["masks", "iou_predictions", "low_res_masks"]
    else:  # annotation programs use the order of inputs and outputs
        assert list(shapes) == SAM2
        assert outputs == ["masks", "iou_predictions"]
        assert [one.name for one in encoder.graph.output] == ["high_res_feats_0", "high_res_feats_1", "image_embed"]


def test_configuration_files_name_the_files(exported):
    annotators = exported.report["annotators"]
    if exported.family == "sam":
        assert "64 px" in annotators["X-AnyLabeling"]  # SAM 1 is fixed at 1024 px there
        return
    config = yaml.safe_load((exported.folder / annotators["X-AnyLabeling"]).read_text())
    assert config["type"] == "segment_anything_2"
    assert config["name"] == "my-disc"
    for key in ("encoder_model_path", "decoder_model_path"):
        assert (exported.folder / config[key]).is_file()
    assert yaml.safe_load((exported.folder / "anylabeling.yaml").read_text())["type"] == "segment_anything"


def test_the_cvat_function_predicts_a_mask(exported):
    function = yaml.safe_load((exported.folder / "cvat" / "function.yaml").read_text())
    assert function["metadata"]["annotations"]["type"] == "interactor"
    spec = importlib.util.spec_from_file_location("main", exported.folder / "cvat" / "main.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    context = SimpleNamespace(user_data=SimpleNamespace(), Response=lambda **response: response)
    module.init_context(context)
    sample, buffer = disc_sample(5, 50, 70), io.BytesIO()
    Image.fromarray(sample.image).save(buffer, "PNG")
    body = {"image": base64.b64encode(buffer.getvalue()).decode(), "pos_points": [[30, 20]], "neg_points": [[5, 40]]}
    mask = np.array(json.loads(module.handler(context, SimpleNamespace(body=body))["body"])["mask"])
    predictor = Predictor(exported.segmenter.base, {"a": exported.segmenter})
    predictor.set_image(sample.image)
    masks, scores, _ = predictor.predict([[30, 20], [5, 40]], [1, 0], adapter="a")
    assert mask.shape == (50, 70)
    assert (mask == masks[int(scores.argmax())]).mean() > 0.98  # Pillow resizes logits slightly differently


def test_an_adapter_without_prompts_ignores_clicks(tiny_sam, tmp_path):
    segmenter = moved(tiny_sam, "blo-sam")
    segmenter.inference = replace(segmenter.inference, prompt="none")
    report = export(segmenter, tmp_path / "out", images=[disc_sample(1)])
    exported = SimpleNamespace(family="sam", segmenter=segmenter, folder=tmp_path / "out")
    image = disc_sample(5, 50, 70).image
    one, other = (decoded(exported, image, [[x, 20]], [1])[0] for x in (10, 60))
    predictor = Predictor(tiny_sam, {"a": segmenter})
    predictor.set_image(image)
    assert np.array_equal(one, other)
    assert np.allclose(one[0], predictor.predict(adapter="a", return_logits=True)[0], atol=1e-3)
    assert "ignored" in report["asked_with"]


def test_a_file_that_differs_from_the_adapter_raises_and_leaves_nothing(tiny_sam2, tmp_path, monkeypatch):
    segmenter = moved(tiny_sam2, "plm")
    write = _trace.write

    def then_change(graph, file):
        write(graph, file)
        with torch.no_grad():
            segmenter.adapter("plm").head.bias.add_(0.5)

    monkeypatch.setattr(_trace, "write", then_change)
    with pytest.raises(_parity.ParityError, match="differ from the adapter"):
        export(segmenter, tmp_path / "out", images=[disc_sample(1)])
    assert not list(tmp_path.iterdir())


def test_int8_is_smaller_and_its_loss_is_reported(tiny_sam2, tmp_path):
    report = export(moved(tiny_sam2, "plm"), tmp_path / "out", int8=True, images=[disc_sample(1)])
    files = report["files"]
    for part in ("encoder", "decoder"):
        assert files[f"{part}.int8.onnx"] < 0.8 * files[f"{part}.onnx"]
    assert set(report["int8"]) == {"encoder", "decoder", "both"}
    for loss in report["int8"].values():
        assert 0 < loss["lowest_iou"] <= loss["mean_iou"] <= 1
    assert report["int8"]["both"]["mean_iou"] < 1
    assert json.loads((tmp_path / "out" / "export.json").read_text()) == report


def test_invalid_exports_raise(tiny_sam, tmp_path):
    with pytest.raises(InputError, match="reading"):
        export(moved(tiny_sam, "am-sam", reading="R4"), tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        export(moved(tiny_sam, "plm"), tmp_path / "b", overwrite=True, images=[disc_sample(1)])
    with pytest.raises(InputError, match="Known: onnx"):
        find("export", "tflite")
