"""Detectors of transformers: small random models saved and loaded, images prepared as their processors do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from samtailor.errors import BaseUnavailableError, InputError
from samtailor.proposals.detectors import transformers as detectors

COMMON = {
    "encoder_hidden_dim": 16,
    "feat_strides": [8, 16, 32],
    "encoder_ffn_dim": 16,
    "encoder_attention_heads": 2,
    "d_model": 16,
    "num_queries": 10,
    "decoder_in_channels": [16, 16, 16],
    "decoder_ffn_dim": 16,
    "decoder_attention_heads": 2,
    "decoder_layers": 2,
    "num_labels": 3,
    "num_denoising": 0,
    "encoder_in_channels": [8, 16, 16],
}
STAGES = ["stage2", "stage3", "stage4"]


def rt_detr_v2():
    from transformers import RTDetrResNetConfig, RTDetrV2Config, RTDetrV2ForObjectDetection

    backbone = RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], layer_type="basic", out_features=STAGES
    )
    return RTDetrV2ForObjectDetection(RTDetrV2Config(backbone_config=backbone, **COMMON))


def d_fine():
    from transformers import DFineConfig, DFineForObjectDetection, HGNetV2Config

    backbone = HGNetV2Config(
        embedding_size=8,
        hidden_sizes=[8, 16, 16, 16],
        depths=[1, 1, 1, 1],
        stem_channels=[3, 8, 8],
        stage_in_channels=[8, 8, 16, 16],
        stage_mid_channels=[8, 8, 8, 8],
        stage_out_channels=[8, 16, 16, 16],
        stage_num_blocks=[1, 1, 1, 1],
        stage_downsample=[False, True, True, True],
        stage_light_block=[False] * 4,
        stage_kernel_size=[3] * 4,
        stage_numb_of_layers=[1] * 4,
        out_features=STAGES,
    )
    settings = COMMON | {"encoder_in_channels": [16, 16, 16]}
    return DFineForObjectDetection(DFineConfig(backbone_config=backbone, decoder_n_points=[2, 2, 2], **settings))


def grounding_dino(folder):
    from transformers import BertConfig, BertTokenizer, GroundingDinoConfig, GroundingDinoForObjectDetection, SwinConfig

    swin = SwinConfig(
        image_size=64, embed_dim=8, depths=[1] * 4, num_heads=[1, 1, 2, 2], window_size=2, out_features=STAGES
    )
    bert = BertConfig(vocab_size=60, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    sizes = {f"{part}_{what}": n for part in ("encoder", "decoder") for what, n in
             (("layers", 2), ("attention_heads", 2), ("ffn_dim", 16))}  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=swin, text_config=bert, d_model=32, num_queries=10, max_text_len=32, **sizes
    )
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "banner", "plate", ".", "license"]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    GroundingDinoForObjectDetection(config).save_pretrained(folder)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8)


@pytest.mark.parametrize("make", [rt_detr_v2, d_fine])
def test_boxes_are_the_models_in_image_pixels(make, image, tmp_path):
    torch.manual_seed(0)
    make().save_pretrained(tmp_path)
    detector = detectors.build(weights=tmp_path, size=64)
    detections = detector.detect(image)
    assert len(detections) == 10
    assert set(detections.labels) <= set(detector.names)
    assert len(detector.names) == 3
    # a detector is frozen: the same twice, no gradient anywhere
    assert detector.detect(image).boxes.tolist() == detections.boxes.tolist()
    model = detector._model
    assert not any(p.requires_grad for p in model.parameters())
    pixels = detectors.prepare(image, {"size": {"height": 64, "width": 64}})
    with torch.inference_mode():
        output = model(pixel_values=pixels)
    best = int(output.logits[0].sigmoid().amax(1).argmax())
    x, y, w, h = output.pred_boxes[0, best].tolist()
    expected = np.clip([(x - w / 2) * 80, (y - h / 2) * 48, (x + w / 2) * 80, (y + h / 2) * 48], 0, [80, 48] * 2)
    assert detections.boxes[0] == pytest.approx(expected, abs=1e-3)
    with pytest.raises(InputError, match="takes no text"):
        detectors.build(weights=tmp_path, text=["a banner"])


def test_a_text_names_the_classes(image, tmp_path):
    torch.manual_seed(0)
    grounding_dino(tmp_path)
    assert detectors.takes_text(tmp_path)
    detector = detectors.build(weights=tmp_path, text=["A banner.", "license plate"], size=256)
    detections = detector.detect(image)
    assert detector.names == ("A banner.", "license plate")
    assert len(detections)
    assert set(detections.labels) <= set(detector.names)
    with pytest.raises(InputError, match="needs a text"):
        detectors.build(weights=tmp_path)


def test_the_score_of_a_phrase_is_that_of_its_best_token():
    ids = torch.tensor([101, 5, 6, 1012, 9, 7, 1012, 102])  # [CLS] a banner . license plate . [SEP]
    logits = torch.full((2, 12), -9.0)
    logits[0, 2], logits[0, 3] = 1.0, 8.0  # "banner"; the full stop belongs to no phrase
    logits[1, 4], logits[1, 10] = 2.0, 8.0  # "license"; after the sentence
    scores = detectors.phrase_scores(logits, ids, {101, 102, 1012})
    assert scores.argmax(1).tolist() == [0, 1]
    assert scores.amax(1).tolist() == pytest.approx(torch.tensor([1.0, 2.0]).sigmoid().tolist())


def test_softmax_models_have_a_column_for_no_object():
    logits = torch.tensor([[1.0, 2.0, 5.0]])
    assert detectors.class_scores(logits, 2).tolist()[0] == pytest.approx(logits.softmax(-1)[0, :2].tolist())
    assert detectors.class_scores(logits, 3).tolist()[0] == pytest.approx(logits.sigmoid()[0].tolist())


def test_images_are_prepared_as_the_file_says(image):
    settings = {"size": {"shortest_edge": 24, "longest_edge": 30}, "do_normalize": True, "image_mean": [0.5] * 3,
                "image_std": [0.25] * 3}  # fmt: skip
    pixels = detectors.prepare(np.full_like(image, 255), settings)
    assert pixels.shape == (1, 3, 18, 30)  # the longest side binds
    assert pixels.unique().tolist() == pytest.approx([2.0])


def test_a_source_that_is_no_detector_is_refused(tmp_path):
    from transformers import BertConfig

    with pytest.raises(BaseUnavailableError, match="not a local folder"):
        detectors.build(weights=tmp_path / "nothing")
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="not a detector"):
        detectors.build(weights=tmp_path)
    with pytest.raises(InputError, match="needs weights"):
        detectors.build()
