"""How much the cache may hold, and what is said if a set of images does not fit."""

from __future__ import annotations

import os

import pytest

from samtailor.cache import room
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.cache.room import Room, limit_bytes
from samtailor.cli import options
from samtailor.errors import InputError
from samtailor.fitting.store import open_store
from samtailor.train.config import load

GB = 10**9


def test_the_limit_is_given_or_from_the_environment_or_20_gb(monkeypatch):
    monkeypatch.delenv(room.VARIABLE, raising=False)
    assert limit_bytes() == 20 * GB
    monkeypatch.setenv(room.VARIABLE, "1.5")
    assert limit_bytes() == 1.5 * GB
    assert limit_bytes(3) == 3 * GB
    assert EmbeddingCache().max_bytes == 1.5 * GB
    assert open_store(load(None, {})).max_bytes == 1.5 * GB
    assert open_store(load(None, {"cache_gb": 2})).max_bytes == 2 * GB


@pytest.mark.parametrize("text", ["much", "-1", "0", "nan", "1e12"])
def test_a_wrong_limit_is_refused(monkeypatch, text):
    monkeypatch.setenv(room.VARIABLE, text)
    with pytest.raises(InputError, match="number of gigabytes"):
        limit_bytes()


def test_settings_of_the_cache_reach_the_store(tmp_path):
    config = load(None, {"cache": tmp_path, "embedding_precision": "8bit", "encoder_precision": "bf16"})
    store = open_store(config, config)
    assert (store.root, store.precision, store.encoder_precision) == (tmp_path, "8bit", "bf16")
    with pytest.raises(InputError, match="cache_gb must be the same for all methods"):
        open_store(config, load(None, {"cache": tmp_path, "cache_gb": 1}))


def faces(**changes) -> Room:
    """CelebAMask-HQ at ViT-H."""
    return Room(**{"count": 21_000, "each": 2 * 256 * 64 * 64, "limit": 20 * GB, "free": 300 * GB, "held": 0} | changes)


def test_what_does_not_fit_is_said_in_numbers():
    one = faces()
    assert not one.fits
    for number in ("21000 embeddings", "2.1 MB each", "44.0 GB", "room for 20.0 GB", "free disk 300.0 GB"):
        assert number in one.problem()
    assert "cache_gb=47" in one.advice("half")
    assert "8bit" in one.advice("half")
    assert "8bit" not in one.advice("8bit")
    assert faces(limit=47 * GB).fits


def test_a_full_disk_lowers_the_limit():
    full = faces(limit=100 * GB, free=10 * GB, held=5 * GB)
    assert not full.fits
    assert "room for 15.0 GB" in full.problem()
    assert "SAMTAILOR_CACHE" in full.advice("half")
    assert faces(limit=100 * GB, free=10 * GB, held=40 * GB).fits, "entries of other images make room"


def test_fits_at_a_time_share_the_room():
    alone, two = faces(limit=60 * GB), faces(limit=60 * GB, sharers=2)
    assert alone.fits
    assert not two.fits
    assert two.capacity == alone.capacity // 2
    assert "shared by 2" in two.problem()


def test_bytes_are_known_before_anything_is_encoded(tmp_path, tiny_base, tiny_samples):
    for precision in ("half", "8bit"):
        store = EmbeddingCache(tmp_path / precision, precision=precision)
        each = store.room(tiny_base, 1).each
        store.features(tiny_base, list(tiny_samples[:2]))
        sizes = [path.stat().st_size for path in (tmp_path / precision).rglob("*.safetensors")]
        assert len(sizes) == 2
        assert all(each < size < each + 2000 for size in sizes), "the header is not counted"
        full = EmbeddingCache(tmp_path / precision, precision=precision, max_bytes=1)
        assert full.room(tiny_base, 2).held >= sum(sizes)


def test_the_command_line_sets_the_limit_for_this_process_and_those_it_starts(monkeypatch):
    monkeypatch.setenv(room.VARIABLE, "7")
    options.limit_cache(None)
    assert limit_bytes() == 7 * GB
    options.limit_cache(0.5)
    assert EmbeddingCache().max_bytes == 0.5 * GB
    assert os.environ[room.VARIABLE] == "0.5"
