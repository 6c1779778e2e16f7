"""Detectors: output layouts on known boxes, input conventions, options, cache, licenses, prompt source."""

from __future__ import annotations

import builtins
import sys
import types

import numpy as np
import pytest
import torch

from onnx_networks import constant, grid_rows
from samtailor.cache.detections import DetectionCache
from samtailor.errors import InputError, MissingExtraError
from samtailor.masks.nms import box_iou, box_nms
from samtailor.prompts import detector as source_of
from samtailor.proposals.detectors import (
    Detections,
    _heads,
    fingerprint,
    full_frame,
    make,
    onnx,
    open_source,
    ordered,
    ultralytics,
)
from samtailor.proposals.detectors._names import COCO
from samtailor.structures import Annotation, Sample

SIZE = (64, 64)
BOX = np.array([16.0, 24.0, 40.0, 56.0])  # in the network's input


def random_image(height: int = 32, width: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def centered(box: np.ndarray) -> np.ndarray:
    return np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]])


def v8(classes: int = 3) -> np.ndarray:
    rows = np.zeros((_heads.cells(SIZE), 4 + classes), np.float32)
    rows[:, :4] = 1
    rows[5, :4], rows[5, 4 + 1] = centered(BOX), 0.9
    rows[6] = rows[5] * 0.99  # a second detection of the same object
    return rows


def v5(classes: int = 3) -> np.ndarray:
    rows = np.zeros((3 * _heads.cells(SIZE), 5 + classes), np.float32)
    rows[:, :4] = 1
    rows[5, :4], rows[5, 4], rows[5, 5 + 1] = centered(BOX), 0.9, 0.5
    return rows


def yolox(classes: int = 3, raw: bool = True) -> np.ndarray:
    """The same box written as offsets from cell (2, 4) of stride 8."""
    rows = np.zeros((_heads.cells(SIZE), 5 + classes), np.float32)
    cell, stride = grid_rows(SIZE)
    index = int(np.flatnonzero((cell == (2, 4)).all(1) & (stride == 8))[0])
    x, y, w, h = centered(BOX)
    rows[index, :4] = [x / 8 - 2, y / 8 - 4, np.log(w / 8), np.log(h / 8)] if raw else [x, y, w, h]
    rows[index, 4], rows[index, 5 + 1] = 0.9, 0.5
    return rows


def fastestdet(classes: int = 3) -> np.ndarray:
    """A center in cell (1, 2) of a 4 x 4 map of 64 px, with tanh offsets and sigmoid sizes."""
    out = np.zeros((5 + classes, 4, 4), np.float32)
    x, y, w, h = centered(BOX) / 64
    out[1:5, 2, 1] = [np.arctanh(x * 4 - 1), np.arctanh(y * 4 - 2), np.log(w / (1 - w)), np.log(h / (1 - h))]
    out[0, 2, 1], out[5 + 1, 2, 1] = 0.9, 0.5
    return out


OUTPUTS = {
    "v8": (v8().T, "yolov8", 0.9),
    "v8-transposed": (v8(), "yolov8", 0.9),
    "v5": (v5(), "yolov5", 0.45),
    "yolox": (yolox(), "yolox", 0.45),
    "yolox-decoded": (yolox(raw=False), "yolox", 0.45),
    "fastestdet": (fastestdet(), "fastestdet", 0.9**0.6 * 0.5**0.4),
    "end2end": (np.array([[*BOX, 0.9, 1], [0, 0, 5, 5, 0.01, 0]], np.float32), "end2end", 0.9),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_every_layout_gives_the_box_it_was_made_from(name, tmp_path):
    output, head, score = OUTPUTS[name]
    file = constant(tmp_path / "d.onnx", output, SIZE)
    detector = onnx.build(weights=file, names=["a", "b", "c"], placing="stretch")
    assert detector.head == head
    detections = detector.detect(random_image())
    assert detections.labels == ("b",)
    assert detections.scores[0] == pytest.approx(score, abs=1e-5)
    # 64 x 64 px of input are an image of 32 x 64: heights halve
    assert detections.boxes[0] == pytest.approx([16, 12, 40, 28], abs=1e-3)


@pytest.mark.parametrize(("placing", "top"), [("top-left", 0.0), ("middle", 16.0)])
def test_letterbox_is_undone(placing, top, tmp_path):
    file = constant(tmp_path / "d.onnx", v8(), SIZE)
    detections = onnx.build(weights=file, names=["a", "b", "c"], placing=placing).detect(random_image())
    expected = BOX - [0, top, 0, top]
    assert detections.boxes[0] == pytest.approx(np.clip(expected, 0, [64, 32, 64, 32]), abs=1e-3)


def test_the_image_is_placed_in_the_middle_of_the_input():
    blob, factors, shift = onnx.place(random_image(32, 64), (64, 64), "middle")
    assert (blob[:16] == 114).all()
    assert (blob[48:] == 114).all()
    assert (blob[16:48] == random_image(32, 64)).all()
    assert (factors, shift) == ((1.0, 1.0), (0.0, 16.0))


@pytest.mark.parametrize(("color", "channel"), [("rgb", 0), ("bgr", 2)])
def test_channels_are_in_the_order_of_the_network(color, channel, tmp_path):
    """The score of this network is the mean of its first channel."""
    file = constant(tmp_path / "d.onnx", v8(), SIZE, score_of_first_channel=True)
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., channel] = 204
    detections = onnx.build(weights=file, names=["a", "b", "c"], color=color).detect(image)
    assert detections.scores[0] == pytest.approx(0.9 * 0.8, abs=1e-3)


def test_default_class_names_are_cocos_for_80_classes_else_numbers(tmp_path):
    assert len(COCO) == len(set(COCO)) == 80
    assert onnx.build(weights=constant(tmp_path / "a.onnx", yolox(80), SIZE)).names == COCO
    assert onnx.build(weights=constant(tmp_path / "b.onnx", v8(3).T, SIZE)).names == ("0", "1", "2")
    stored = constant(tmp_path / "c.onnx", v8(3), SIZE, names="{0: 'x', 1: 'y', 2: 'z'}")
    assert onnx.build(weights=stored).names == ("x", "y", "z")


def test_unknown_heads_and_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"known head.*layout="):
        onnx.build(weights=constant(tmp_path / "d.onnx", np.zeros((7, 9), np.float32), SIZE))
    with pytest.raises(InputError, match="has 3 classes, but names has 2"):
        onnx.build(weights=constant(tmp_path / "d.onnx", v8(), SIZE), layout="yolov8", names=["a", "b"])
    (tmp_path / "e.onnx").write_bytes(b"no network")
    with pytest.raises(InputError, match="cannot be loaded"):
        onnx.build(weights=tmp_path / "e.onnx")
    with pytest.raises(InputError, match="There is no file"):
        onnx.build(weights=tmp_path / "f.onnx")
    with pytest.raises(InputError, match="Did you mean 'nms'"):
        onnx.build(weights=tmp_path / "f.onnx", nmss=1)


def test_iou_and_suppression_against_pixels():
    rng = np.random.default_rng(1)
    corners = rng.integers(0, 20, (40, 2, 2))
    boxes = np.concatenate([corners.min(1), corners.max(1) + 1], 1).astype(np.float32)
    painted = np.zeros((40, 22, 22), bool)
    for mask, (x0, y0, x1, y1) in zip(painted, boxes.astype(int), strict=True):
        mask[y0:y1, x0:x1] = True
    by_pixels = [(painted[0] & m).sum() / (painted[0] | m).sum() for m in painted]
    assert box_iou(boxes[0], boxes) == pytest.approx(by_pixels)
    kept = box_nms(boxes, ["a"] * 40, iou=0.3)
    assert kept[0] == 0
    assert all(box_iou(boxes[i], boxes[[j for j in kept if j != i]]).max() <= 0.3 for i in kept)
    dropped = sorted(set(range(40)) - set(kept))
    assert all(any(box_iou(boxes[i], boxes[[j]])[0] > 0.3 for j in kept if j < i) for i in dropped)
    assert box_nms(boxes[[0, 0]], ["a", "b"], iou=0.3) == [0, 1]


def test_detections_are_clipped_sorted_and_above_the_floor():
    boxes = np.array([[-5, -5, 10, 10], [2, 2, 2, 8], [0, 0, 300, 300], [1, 1, 3, 3]])
    detections = ordered(boxes, np.array([0.3, 0.9, 0.5, 0.01]), ["a", "b", "c", "d"], (20, 30))
    assert detections.labels == ("c", "a")
    assert detections.boxes.tolist() == [[0, 0, 30, 20], [0, 0, 10, 10]]
    assert detections.kept(0.4).labels == ("c",)
    assert detections.kept(0.0, ["a"]).labels == ("a",)
    with pytest.raises(InputError, match="boxes"):
        Detections(np.zeros((1, 4)), np.zeros(2), ("a",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nms": "high"}, "nms must be a number"),
        ({"nms": 2}, "nms must be a number from 0 to 1"),
        ({"scale": 0}, "scale must not be 0"),
        ({"scale": "255"}, "scale must be a number"),
        ({"size": 0.5}, "size must be an integer"),
        ({"names": 3}, "names must be a list of class names"),
        ({"layout": "yolo"}, "layout must be one of"),
        ({"color": "red"}, "color must be one of"),
        ({"placing": "left"}, "placing must be one of"),
        ({"weights": 5}, "needs weights=FILE"),
    ],
)
def test_invalid_options_of_an_onnx_detector_are_refused(options, message, tmp_path):
    weights = constant(tmp_path / "d.onnx", v8(), SIZE)
    with pytest.raises(InputError, match=message):
        onnx.build(**{"weights": weights} | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"detector": "store"}, "No detector is called 'store'"),
        ({"detector": 3}, "detector must be a name"),
        ({"threshold": "high"}, "threshold must be a number from 0 to 1, got 'high'"),
        ({"threshold": 1.5}, "threshold must be a number"),
        ({"pick": "first"}, "pick must be one of best, all"),
        ({"classes": 7}, "classes must be a list of class names"),
        ({"settings": "fast"}, "settings must map options"),
        ({"settings": {"nms": 0.5}}, "'full-frame' has no option 'nms'"),
        ({"weights": "a.onnx"}, "'full-frame' has no option 'weights'"),
        ({"cache": 3}, "cache must be a folder"),
        ({"size": 3}, "'detector' has no option 'size'"),
        ({"detector": "onnx"}, "needs weights=FILE"),
        ({"detector": "transformers"}, "needs weights"),
        ({"detector": "transformers", "weights": "a/b", "settings": {"size": "large"}}, "size must be an integer"),
        ({"detector": "transformers", "weights": "a/b", "settings": {"text": 1}}, "text must be a list"),
    ],
)
def test_invalid_options_of_the_prompt_source_are_refused(options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        source_of.build(**{"detector": "full-frame", "cache": tmp_path} | options)


def test_options_of_0_1_are_read(tmp_path):
    weights = constant(tmp_path / "d.onnx", v8(), SIZE)
    old, new = (make("onnx", weights, {"names": ["a", "b", "c"], key: "bgr"}) for key in ("colour", "color"))
    other = make("onnx", weights, {"names": ["a", "b", "c"], "color": "rgb"})
    assert old.fingerprint == new.fingerprint != other.fingerprint


def test_a_detector_is_chosen_by_its_weights(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ultralytics", types.SimpleNamespace(YOLO=FakeYolo))
    (tmp_path / "yolov8n.PT").write_bytes(b"w")
    yolo, classes = open_source(str(tmp_path / "yolov8n.PT"), ["dog"])
    assert type(yolo) is ultralytics.Ultralytics
    assert classes == ["dog"]
    network, _ = open_source(str(constant(tmp_path / "d.onnx", v8(), SIZE)))
    assert type(network) is onnx.Onnx
    with pytest.raises(InputError, match=r"has no class 'cat'\. Its classes: person, dog"):
        open_source(str(tmp_path / "yolov8n.PT"), ["cat"])
    assert type(open_source("full-frame")[0]) is full_frame.FullFrame


# -- other kinds


class FakeYolo:
    """The interface of ultralytics; records its inputs."""

    names = {0: "person", 1: "dog"}  # noqa: RUF012
    calls: list = []  # noqa: RUF012

    def __init__(self, path: str) -> None:
        self.path = path

    def predict(self, image: np.ndarray, **options):
        FakeYolo.calls.append((image, options))
        boxes = types.SimpleNamespace(
            xyxy=torch.tensor([[1.0, 2, 9, 8], [3, 3, 5, 5]]), conf=torch.tensor([0.4, 0.8]), cls=torch.tensor([0.0, 1])
        )
        return [types.SimpleNamespace(boxes=boxes)]


def test_ultralytics_gets_bgr_and_gives_names(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ultralytics", types.SimpleNamespace(YOLO=FakeYolo))
    (tmp_path / "yolov8n.pt").write_bytes(b"w")
    detections = ultralytics.build(weights=tmp_path / "yolov8n.pt").detect(random_image())
    assert detections.labels == ("dog", "person")
    assert detections.boxes.tolist() == [[3, 3, 5, 5], [1, 2, 9, 8]]
    image, _ = FakeYolo.calls[-1]
    assert (image == random_image()[..., ::-1]).all()


@pytest.mark.parametrize(
    ("module", "library", "message"), [(ultralytics, "ultralytics", "AGPL-3.0"), (onnx, "onnxruntime", r"\[onnx\]")]
)
def test_missing_extras_are_named(module, library, message, tmp_path, monkeypatch):
    original = builtins.__import__

    def without(name, *rest, **more):
        if name == library:
            raise ImportError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    (tmp_path / "w.bin").write_bytes(b"w")
    with pytest.raises(MissingExtraError, match=message):
        module.build(weights=tmp_path / "w.bin")


# -- cache and prompt source


class Counting:
    """Detects two boxes, or none; counts its calls."""

    names = ("person", "dog")

    def __init__(self, mark: str = "1", nothing: bool = False) -> None:
        self.fingerprint, self.calls, self.nothing = fingerprint("counting", mark), 0, nothing

    def detect(self, pixels: np.ndarray) -> Detections:
        self.calls += 1
        boxes = np.array([[2, 2, 12, 12], [20, 4, 40, 30]], np.float32)
        detections = Detections(boxes, np.array([0.8, 0.3], np.float32), ("person", "dog"))
        return detections.pick([]) if self.nothing else detections


def sample(name: str = "s") -> Sample:
    left, right = np.zeros((32, 64), bool), np.zeros((32, 64), bool)
    left[3:11, 3:11], right[6:28, 22:38] = True, True
    annotations = (Annotation.from_mask("a", left), Annotation.from_mask("b", right))
    return Sample(name, random_image, lambda: annotations)


def test_detection_runs_once_per_image_and_detector(tmp_path):
    one, other = Counting("1"), Counting("2")
    store = DetectionCache(one, tmp_path)
    first = store(sample())
    again = DetectionCache(one, tmp_path)(sample("t"))  # the same pixels under another name
    assert one.calls == 1
    assert again.boxes.tolist() == first.boxes.tolist()
    assert again.scores.tolist() == first.scores.tolist()
    assert again.labels == first.labels
    DetectionCache(other, tmp_path)(sample())
    assert other.calls == 1
    DetectionCache(one, tmp_path)(random_image() + 1)
    assert one.calls == 2


def test_a_damaged_cache_entry_is_recomputed(tmp_path, caplog):
    one = Counting()
    DetectionCache(one, tmp_path)(random_image())
    (entry,) = tmp_path.rglob("*.json")
    entry.write_text('{"boxes": [[1, 2]]')
    assert DetectionCache(one, tmp_path)(random_image()).labels == ("person", "dog")
    assert one.calls == 2
    assert "damaged" in caplog.text


def source(tmp_path, detector=None, **options):
    given = {"classes": None, "threshold": 0.25, "pick": "best"} | options
    return source_of.DetectorSource(DetectionCache(detector or Counting(), tmp_path), **given)


def test_the_best_box_serves_every_mask_and_all_boxes_are_matched_by_iou(tmp_path):
    masks = [a.mask for a in sample().annotations]
    best = source(tmp_path)(sample(), masks)
    assert best.frame == (32, 64)
    assert best.boxes.tolist() == [[[2, 2, 12, 12], [2, 2, 12, 12]]]
    every = source(tmp_path, pick="all")
    assert every(sample(), masks[::-1]).boxes.tolist() == [[[20, 4, 40, 30], [2, 2, 12, 12]]]
    assert every(sample()).boxes.shape == (1, 2, 4)
    assert source(tmp_path, classes=["dog"])(sample(), masks[:1]).boxes.tolist() == [[[20, 4, 40, 30]]]
    assert source(tmp_path, threshold=0.5, pick="all")(sample()).boxes.shape == (1, 1, 4)


def test_without_detections_the_prompt_is_the_full_frame_and_counted(tmp_path, caplog):
    empty = source(tmp_path, Counting("empty", nothing=True))
    masks = [sample().annotations[0].mask]
    for name in ("p", "p", "q"):
        assert empty(sample(name), masks).boxes.tolist() == [[[0, 0, 64, 32]]]
    assert empty.fallbacks == 2
    assert empty.report() == {"images": 2, "fallbacks": 2, "fallback_ids": ["p", "q"]}
    assert "Nothing is detected in p" in caplog.text


def test_full_frame_and_unknown_classes(tmp_path):
    assert full_frame.build().detect(random_image()).boxes.tolist() == [[0, 0, 64, 32]]
    whole = source_of.build(detector="full-frame", cache=tmp_path)
    assert whole(sample(), [sample().annotations[0].mask]).boxes.tolist() == [[[0, 0, 64, 32]]]
    assert whole.fallbacks == 0
    with pytest.raises(InputError, match="has no class 'dog'"):
        source_of.build(detector="full-frame", classes=["dog"], cache=tmp_path)


def test_training_prompts_are_boxes_of_the_model_frame(tiny_sam, tmp_path):
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.train.feed import Feed

    feed = Feed(
        tiny_sam, [sample()], None, EmbeddingCache(tmp_path / "e"), source=source(tmp_path, pick="all"), batch_size=2
    )
    batch = feed.batch(0)
    by_label = dict(zip(batch.labels, batch.prompts.boxes[:, 0].tolist(), strict=True))
    assert batch.prompts.frame == (64, 64)
    # 32 x 64 px in a frame of 64 px: factor 1
    assert by_label == {"a": [2, 2, 12, 12], "b": [20, 4, 40, 30]}
