"""Fits whose embeddings do not fit in the cache: encoder passes, resuming, and what is said."""

from __future__ import annotations

import json
import logging

import pytest

from samtailor.cache import encoders
from samtailor.cache import entries as entries_module
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.errors import ArtefactError, InputError
from samtailor.fitting import fit, plan
from samtailor.fitting.plan import FILE
from samtailor.train.config import load
from samtailor.train.interrupt import Interrupted
from tiny import disc_sample

IMAGES = 24
SMALL = {
    "method": "sam-f",
    "steps": 48,
    "batch_size": 2,
    "classes": "disc",
    "trackers": "none",
    "device": "cpu",
    "near_duplicates": False,
    "val": 0,
    "cache_gb": 1,
    "resident_passes": 4,
}


@pytest.fixture(scope="module")
def samples():
    return [disc_sample(i) for i in range(IMAGES)]


@pytest.fixture
def passes(monkeypatch):
    """Counts the images that are encoded."""
    counted, whole = [0], encoders.encode

    def encode(encoder, images, *rest):
        counted[0] += len(images)
        return whole(encoder, images, *rest)

    monkeypatch.setattr("samtailor.cache.embeddings.encode", encode)
    return counted


def go(base, samples, out, share: float | None, **given):
    """A fit whose cache has room for a share of the embeddings."""
    each = entries_module.size(encoders.BaseEncoder(base).shapes, "half") + 600
    limit = 10**9 if share is None else int(share * len(samples) * each)
    store = EmbeddingCache(out.parent / "cache", max_bytes=limit)
    arguments = {name: given.pop(name) for name in ("stop", "resume") if name in given}
    return fit(load(None, SMALL | {"out": str(out)} | given), samples=samples, base=base, store=store, **arguments)


def test_each_image_is_encoded_once_per_round(tiny_sam, samples, tmp_path, passes, caplog):
    go(tiny_sam, samples, tmp_path / "out", 0.5)  # 4 epochs: one round of 4 passes
    assert passes[0] <= 1.2 * IMAGES
    said = next(record.getMessage() for record in caplog.records if "at a time" in record.getMessage())
    assert "24 embeddings" in said
    assert "of 24 images at a time, 4 passes each" in said
    kept = json.loads((tmp_path / "out" / FILE).read_text())
    assert 2 <= kept["resident"] <= IMAGES / 2


def test_plain_shuffling_would_encode_most_images_in_every_epoch(tiny_sam, samples, tmp_path, passes):
    go(tiny_sam, samples, tmp_path / "out", 0.5, resident=IMAGES)
    assert passes[0] > 2 * IMAGES


def test_a_set_that_fits_is_shuffled_as_before(tiny_sam, samples, tmp_path, passes, caplog):
    go(tiny_sam, samples, tmp_path / "out", None)
    assert passes[0] == IMAGES
    assert not (tmp_path / "out" / FILE).exists()
    assert "at a time" not in caplog.text


def test_a_resumed_fit_keeps_its_order_in_a_larger_cache(tiny_sam, samples, tmp_path):
    go(tiny_sam, samples, tmp_path / "whole", 0.5, resident_passes=2)
    calls = iter(range(100))
    with pytest.raises(Interrupted):
        go(tiny_sam, samples, tmp_path / "out", 0.5, resident_passes=2, stop=lambda: next(calls) == 20)
    go(tiny_sam, samples, tmp_path / "out", None, resident_passes=2, resume=True)
    files = [(tmp_path / name / "adapter.safetensors").read_bytes() for name in ("whole", "out")]
    assert files[0] == files[1]


def test_a_damaged_plan_is_refused(tiny_sam, samples, tmp_path):
    calls = iter(range(100))
    with pytest.raises(Interrupted):
        go(tiny_sam, samples, tmp_path / "out", 0.5, stop=lambda: next(calls) == 3)
    (tmp_path / "out" / FILE).write_text('{"batch_size": 2, "resident": 0, "passes": 1}')
    with pytest.raises(ArtefactError, match="--overwrite"):
        go(tiny_sam, samples, tmp_path / "out", 0.5, resume=True)


def test_a_cache_too_small_for_a_step_is_refused(tiny_sam, samples, tmp_path):
    with pytest.raises(InputError, match="needs 8 images at a time"):
        go(tiny_sam, samples, tmp_path / "out", 0.2, batch_size=8)
    assert not (tmp_path / "out" / "config.yaml").exists()


def test_two_feeds_share_the_room(tiny_sam, samples, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    go(tiny_sam, samples, tmp_path / "out", 0.6, method="blo-sam", batch_size=1, steps=12, views=1)
    kept = json.loads((tmp_path / "out" / FILE).read_text())
    assert kept["resident"] <= 0.3 * IMAGES


@pytest.mark.parametrize(("epochs", "given", "expected"), [(0.5, None, 1), (5, None, 2), (40, None, 4), (5, 9, 9)])
def test_a_fit_has_at_least_two_rounds_by_default(epochs, given, expected):
    assert plan.passes(load(None, {"resident_passes": given}), epochs) == expected
