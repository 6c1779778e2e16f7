"""Tiled inference: tiles in their places, masks of the decoder for boxes of parts, and where the image is needed."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch

from samtailor.adapters.tiled import LOGIT_LIMIT, merge_tiles, tile_logits, tiled_logits
from samtailor.bases import Base
from samtailor.bases.decoder import PromptDecoder
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.tile_views import views
from samtailor.data.transform import Frame
from samtailor.errors import InputError
from samtailor.masks.contours import part_boxes
from samtailor.predict.predictor import Predictor
from samtailor.registry import find
from samtailor.structures import Features, Output, Prompts, Sample, TilingPlan

SIZE = (90, 128)  # height and width of the image


def disc(height: int, width: int, x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


def painted(view, mask, frame):
    """Logits of a perfect map for a view: +6 on the mask, -6 elsewhere, at the low-resolution grid."""
    view_frame = Frame(*view.size(frame.height, frame.width), frame.size, frame.squash, frame.low_res)
    return 12 * view_frame.target(view.mask(mask))[None, None] - 6


@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize("tiles", [2, 3])
def test_tiles_are_merged_in_their_places(squash, tiles):
    frame = Frame(*SIZE, 128, squash, 32)
    mask = disc(*SIZE, 100, 20, 11) | disc(*SIZE, 40, 60, 17)
    parts = [(view, painted(view, mask, frame)) for view in views(tiles)[1:]]
    logits = merge_tiles(parts, frame)
    assert logits.shape == (1, 1, 32 * tiles, 32 * tiles)
    got = (frame.logits(logits)[0, 0] > 0).numpy()
    iou = (got & mask).sum() / (got | mask).sum()
    coarse = (frame.logits(painted(views(1)[0], mask, frame))[0, 0] > 0).numpy()
    assert iou > 0.95
    assert iou > (coarse & mask).sum() / (coarse | mask).sum()  # more cells, better outlines


def test_tiles_fade_out_toward_inner_edges():
    frame = Frame(*SIZE, 128, True, 32)
    first, *others = views(2)[1:]
    parts = [(first, torch.full((1, 1, 32, 32), 6.0)), *((view, torch.full((1, 1, 32, 32), -6.0)) for view in others)]
    row = merge_tiles(parts, frame)[0, 0, 0]
    assert row[0] == 6
    assert row[-1] == -6
    assert (row.diff() <= 1e-4).all()
    assert (row.diff() < -1e-3).sum() > 5  # gradually, without a step


def test_passes_are_averaged_at_the_finest_grid():
    frame = Frame(*SIZE, 128, True, 32)
    logits_of = {view.key: torch.full((1, 1, 32, 32), 2.0 if view.untouched else -4.0) for view in views(2)}
    logits = tiled_logits(TilingPlan((1, 2)), lambda features: features, None, frame, lambda view: logits_of[view.key])
    assert logits.shape == (1, 1, 64, 64)
    torch.testing.assert_close(logits, torch.full((1, 1, 64, 64), -1.0))
    assert TilingPlan((1, 2)).encodes == 5


def test_masks_for_the_boxes_of_the_parts_are_averaged_by_their_weight(tiny_base):
    base = tiny_base
    features = base.encode_image(torch.rand(1, 3, base.size, base.size))
    frame = Frame(base.size, base.size, base.size, base.squash, base.low_res)
    eighth, cells = base.size // 8, base.low_res // 8
    drawn = torch.full((1, 1, base.low_res, base.low_res), -20.0)
    drawn[..., cells : 3 * cells, 2 * cells : 6 * cells] = 20.0
    got = tile_logits(lambda _: drawn, base, features, frame, 2.0)
    fast = tile_logits(lambda _: drawn, base, features, frame, 2.0, PromptDecoder(base))
    torch.testing.assert_close(fast, got, atol=2e-3, rtol=1e-3)
    box = torch.tensor([[[2.0, 1.0, 6.0, 3.0]]]) * eighth
    output = base.decode(features, base.encode_prompts(Prompts((base.size, base.size), boxes=box)))
    best = output.candidate_logits()[0, 0, output.candidate_iou()[0, 0].argmax()]
    wanted = (drawn.clamp(-LOGIT_LIMIT, LOGIT_LIMIT) + 2 * best.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)) / 3
    torch.testing.assert_close(got, wanted, atol=2e-3, rtol=1e-3)
    assert torch.equal(tile_logits(lambda _: drawn, base, features, frame, 0.0), drawn)
    nothing = torch.full_like(drawn, -20.0)
    assert torch.equal(
        tile_logits(lambda _: nothing, base, features, frame, 2.0), nothing.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
    )


class Decoded(NamedTuple):
    """A base that decodes every box to the same logits."""

    logits: torch.Tensor

    def encode_prompts(self, prompts):
        return prompts

    def decode(self, features, prompts):
        logits = self.logits.expand(1, prompts.shape[1], 1, -1, -1)
        return Output(logits, torch.ones(logits.shape[:3]), logits, logits, logits, candidates=(0,))


@pytest.mark.parametrize("boxes", [0.5, 1.0, 4.0])
def test_logits_of_map_and_decoder_are_both_clamped(boxes):
    frame = Frame(64, 64, 64, True, 16)
    region = torch.full((1, 1, 16, 16), 90.0)
    decoded = Decoded(torch.full((1, 1, 1, 16, 16), -70.0))
    logits = tile_logits(lambda _: region, decoded, None, frame, boxes)
    torch.testing.assert_close(logits, torch.full_like(logits, LOGIT_LIMIT * (1 - boxes) / (1 + boxes)))


def test_views_that_several_plans_share_are_decoded_once(tiny_base):
    base, made = tiny_base, []
    frame = Frame(base.size, base.size, base.size, base.squash, base.low_res)
    features = base.encode_image(torch.rand(1, 3, base.size, base.size))
    drawn = torch.full((1, 1, base.low_res, base.low_res), 3.0)

    def region_map(_):
        made.append(1)
        return drawn

    def logits(plan, known):
        return tiled_logits(plan, region_map, base, frame, lambda view: features, known=known)

    known = {}
    plans = [TilingPlan((1,), 2.0), TilingPlan((1, 2), 2.0), TilingPlan((2,), 2.0)]
    shared = [logits(plan, known) for plan in plans]
    assert len(made) == 5
    for plan, one in zip(plans, shared, strict=True):
        assert torch.equal(one, logits(plan, None))
    logits(TilingPlan(), known)  # another weight of the decoder is not the same
    assert len(known) == 6


def test_overlapping_tiles_are_averaged():
    """Between two tiles the logits are a mean of both, never the higher or the lower one."""
    frame = Frame(*SIZE, 128, True, 32)
    left, right = (view for view in views(2)[1:] if view.crop[1] == 0)
    top = [(left, torch.full((1, 1, 32, 32), 2.0)), (right, torch.full((1, 1, 32, 32), -4.0))]
    bottom = [(view, torch.zeros(1, 1, 32, 32)) for view in views(2)[1:] if view.crop[1] != 0]
    row = merge_tiles([*top, *bottom], frame)[0, 0, 0]
    mixed = row[(row < 1.9) & (row > -3.9)]
    assert len(mixed) > 4
    assert mixed.mean() == pytest.approx(-1.0, abs=0.5)


def test_the_padding_is_not_a_part(tiny_sam):
    frame = Frame(32, 64, tiny_sam.size, False, tiny_sam.low_res)
    features = tiny_sam.encode_image(torch.rand(1, 3, tiny_sam.size, tiny_sam.size))
    drawn = torch.full((1, 1, tiny_sam.low_res, tiny_sam.low_res), -4.0)
    drawn[..., tiny_sam.low_res // 2 + 1 :, :] = 4.0  # below the image
    assert torch.equal(tile_logits(lambda _: drawn, tiny_sam, features, frame, 1.0), drawn)


def test_boxes_of_parts_come_largest_first():
    mask = np.zeros((20, 30), bool)
    mask[2:4, 3:5] = True
    mask[4, 5] = True  # touches at a corner: the same part
    mask[10:19, 8:29] = True
    mask[0, 29] = True
    assert part_boxes(mask).tolist() == [[8, 10, 29, 19], [3, 2, 6, 5], [29, 0, 30, 1]]
    assert part_boxes(mask, smallest=2).tolist() == [[8, 10, 29, 19], [3, 2, 6, 5]]
    assert part_boxes(np.zeros((4, 4), bool)).shape == (0, 4)


@pytest.mark.parametrize("wrong", [{"tiles": ()}, {"tiles": (0,)}, {"boxes": -1.0}])
def test_invalid_tiling_plans_are_refused(wrong):
    with pytest.raises(InputError, match="tiling plan needs"):
        TilingPlan(**wrong)


@pytest.fixture
def tiling(tiny_base: Base):
    torch.manual_seed(0)
    segmenter, _ = find("methods", "tailor").build(tiny_base, width=32)
    segmenter.inference = replace(segmenter.inference, tiling=TilingPlan((1, 2)))
    return segmenter


def empty(size: tuple[int, int], prompts: int = 1) -> Prompts:
    return Prompts(size, count=(1, prompts))


def test_a_predictor_uses_the_tiling_of_the_adapter(tiling, tiny_base, tiny_samples, tmp_path):
    sample = tiny_samples[0]
    predictor = Predictor(tiny_base, {"it": tiling})
    predictor.set_image(sample.image)
    output = predictor.decode(empty(sample.size, 3), "it")
    region_map, frame = tiling.adapter("map"), predictor.frame
    parts = []
    for view in views(2)[1:]:
        view_frame = Frame.of(tiny_base, *view.size(*sample.size))
        features = tiny_base.encode_image(
            view_frame.image(np.ascontiguousarray(view.image(sample.image)), tiny_base)[None]
        )
        parts.append((view, region_map.logits(features).detach()))
    tiled = merge_tiles(parts, frame)
    whole = torch.nn.functional.interpolate(
        region_map.logits(predictor.features).detach(), tiled.shape[-2:], mode="bilinear", align_corners=False
    )
    assert output.candidate_logits().shape == (1, 3, 1, *tiled.shape[-2:])
    torch.testing.assert_close(output.candidate_logits()[:, 0], (tiled + whole) / 2, atol=1e-4, rtol=1e-4)
    masks, _, low = predictor.predict(adapter="it")
    assert masks.shape == (1, *sample.size)
    assert low.shape == (1, tiny_base.low_res, tiny_base.low_res)  # can be used as mask_input
    tiling.inference = replace(tiling.inference, tiling=TilingPlan())
    assert predictor.decode(empty(sample.size), "it").logits.shape[-1] == tiny_base.low_res


def test_views_are_encoded_once_per_image_and_cached_on_disk(tiling, tiny_base, tiny_samples, tmp_path, monkeypatch):
    count = 0
    encode = type(tiny_base).encode_image

    def counted(self, images):
        nonlocal count
        count += len(images)
        return encode(self, images)

    monkeypatch.setattr(type(tiny_base), "encode_image", counted)
    for expected in (5, 5):  # the second predictor finds all of them in the cache
        predictor = Predictor(tiny_base, {"it": tiling}, store=EmbeddingCache(tmp_path))
        predictor.set_sample(tiny_samples[0])
        for _ in range(2):
            predictor.decode(empty(tiny_samples[0].size), "it")
        assert count == expected


def test_without_the_image_tiled_inference_is_refused(tiling, tiny_base, tiny_samples):
    sample: Sample = tiny_samples[0]
    predictor = Predictor(tiny_base, {"it": tiling})
    predictor.set_image(sample.image)
    features = Features(predictor.features.main, predictor.features.skips)
    predictor.set_features(features, *sample.size)
    with pytest.raises(InputError, match="set the image"):
        predictor.decode(empty(sample.size), "it")
    click = Prompts(sample.size, points=torch.tensor([[[[5.0, 5.0]]]]), labels=torch.ones(1, 1, 1, dtype=torch.int64))
    predictor.decode(click, "it")  # clicks need no tiles
    predictor.set_features(features, *sample.size, image=lambda: sample.image)
    predictor.decode(empty(sample.size), "it")
