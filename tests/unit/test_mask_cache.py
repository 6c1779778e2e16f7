"""Masks in the model frame, packed in memory and on disk."""

from __future__ import annotations

import numpy as np
import pytest

from samtailor.cache.embeddings import EmbeddingCache
from samtailor.cache.masks import MaskCache, PackedMask
from samtailor.data.augment import Augment
from samtailor.structures import Annotation
from samtailor.train import feed
from samtailor.train.targets import Targets


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (64, 64), (3, 1000)])
def test_a_mask_survives_packing(shape):
    mask = np.random.default_rng(0).random(shape) < 0.3
    packed = PackedMask.of(mask)
    assert np.array_equal(packed.mask, mask)
    assert packed.mask.dtype == bool
    assert PackedMask.from_bytes(packed.to_bytes()) == packed


def test_a_mask_is_made_once(tmp_path):
    mask = np.zeros((20, 30), bool)
    mask[3:9, 4:12] = True
    rle, made = Annotation.from_mask("x", mask).rle, []

    def make() -> PackedMask:
        made.append(1)
        return PackedMask.of(mask)

    for _ in range(3):
        assert np.array_equal(MaskCache(tmp_path, 10**6).get(rle, "a", make).mask, mask)
    assert len(made) == 1
    MaskCache(tmp_path, 10**6).get(rle, "b", make)
    MaskCache(tmp_path, 10**6).get(Annotation.from_mask("x", ~mask).rle, "a", make)
    assert len(made) == 3, "another view and another mask are other entries"


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped bit", "other file"])
def test_a_damaged_entry_is_made_again_with_a_warning(tmp_path, caplog, damage):
    mask = np.eye(16, dtype=bool)
    rle = Annotation.from_mask("x", mask).rle
    MaskCache(tmp_path, 10**6).get(rle, "", lambda: PackedMask.of(mask))
    (file,) = tmp_path.rglob("*.mask")
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes({"cut": content[:40], "empty": b"", "other file": b"x" * 90}.get(damage, bytes(content)))
    assert np.array_equal(MaskCache(tmp_path, 10**6).get(rle, "", lambda: PackedMask.of(mask)).mask, mask)
    assert "damaged" in caplog.text
    caplog.clear()
    MaskCache(tmp_path, 10**6).get(rle, "", lambda: pytest.fail("it was made again"))
    assert not caplog.text


def test_targets_from_disk_equal_computed_ones(tmp_path, tiny_base, tiny_samples):
    augment = Augment(views=8, crop=0.4)
    computed = Targets(tiny_base, tiny_samples, ["disc"], augment)
    places = [(i, k, index) for i in range(3) for k in range(2) for index in range(8)]
    for _ in ("cold", "warm"):
        targets = Targets(tiny_base, tiny_samples, ["disc"], augment, MaskCache(tmp_path, 10**7))
        for place in places:
            one, other = targets.of(*place), computed.of(*place)
            assert (one.label, one.index, one.frame) == (other.label, other.index, other.frame)
            assert np.array_equal(one.mask, other.mask)
    assert len({computed.of(*place).index for place in places}) > 4
    assert any(computed.of(*place).index != place[2] for place in places), "some views cut the mask off"


def test_only_sets_that_memory_does_not_hold_and_the_disk_does_are_kept_there(tmp_path):
    store = EmbeddingCache(tmp_path, max_bytes=10**9)
    assert feed._disk_for(4096, store) is None
    assert feed._disk_for(5000, store) is not None
    assert feed._disk_for(10**6, store) is None, "they would push each other out"
