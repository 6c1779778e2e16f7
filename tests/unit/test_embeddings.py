"""The embedding cache: equal results cold and warm, keys, crashes, eviction, two processes."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from samtailor.cache import digests, encoders
from samtailor.cache import entries as entries_module
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.cache.folder import CacheFolder, default_root
from samtailor.data.augment import View
from samtailor.data.image import read_image
from samtailor.data.transform import Frame
from samtailor.errors import InputError
from samtailor.structures import Features, Sample

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


class CountingBase:
    """Averages 4x4 pixels; two levels. Counts the images it encodes."""

    name, size, dim, grid, low_res, squash, skips = "counting", 32, 3, 8, 32, False, (3, 0)
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)

    def __init__(self, fingerprint: str = "f" * 16) -> None:
        self.fingerprint, self.encoded, self.model = fingerprint, 0, torch.nn.Linear(1, 1)

    def encode_image(self, images: torch.Tensor) -> Features:
        self.encoded += len(images)
        pool = torch.nn.functional.avg_pool2d
        return Features(pool(images, 4) / 3, (pool(images, 2) / 7,))


def image(seed: int, height: int = 24, width: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def in_memory(seed: int) -> Sample:
    pixels = image(seed)
    return Sample(f"s{seed}", lambda: pixels, lambda: ())


def on_disk(path: Path, seed: int) -> Sample:
    Image.fromarray(image(seed)).save(path)
    return Sample(path.stem, partial(read_image, path), lambda: (), source=path)


def entries(store: EmbeddingCache) -> list[Path]:
    return sorted(store.root.rglob("*.safetensors"))


def same(one: Features, other: Features) -> bool:
    levels = zip((one.main, *one.skips), (other.main, *other.skips), strict=True)
    return all(torch.equal(a, b) for a, b in levels)


def test_cold_and_warm_embeddings_are_equal(tmp_path, tiny_base):
    store = EmbeddingCache(tmp_path)
    pixels = image(0, 48, 80)
    cold = store.features(tiny_base, pixels)
    warm = EmbeddingCache(tmp_path).features(tiny_base, pixels)
    assert same(cold, warm)
    assert cold.main.dtype == torch.float32
    assert torch.equal(cold.main, cold.main.half().float())
    assert len(cold.skips) == (2 if tiny_base.squash else 0)


def test_embeddings_can_enter_autograd(tmp_path):
    store, weight = EmbeddingCache(tmp_path), torch.ones(3, 1, 1, requires_grad=True)
    for _ in ("cold", "warm"):
        features = store.features(CountingBase(), image(0))
        (features.main * weight).square().sum().backward()
    assert weight.grad.abs().sum() > 0


def test_rows_have_the_requested_order(tmp_path):
    base, store = CountingBase(), EmbeddingCache(tmp_path, batch=3)
    alone = [store.features(base, image(seed)) for seed in (1, 4)]
    together = store.features(base, [image(seed) for seed in (0, 1, 2, 3, 4)])
    assert base.encoded == 5
    assert torch.equal(together.main[1], alone[0].main[0])
    assert torch.equal(together.skips[0][4], alone[1].skips[0][0])
    assert same(EmbeddingCache(tmp_path / "new").features(base, image(3)), together[3:4])


def test_the_key_is_the_content(tmp_path):
    base, store = CountingBase(), EmbeddingCache(tmp_path)
    store.features(base, [in_memory(0), image(0), on_disk(tmp_path / "a.png", 0), on_disk(tmp_path / "b.png", 0)])
    assert len(entries(store)) == 1, "sample, array and two files of the same pixels share an entry"
    store.features(CountingBase("other"), image(0))
    store.features(base, image(0), [View(flip=True)])
    assert len(entries(store)) == 3, "another base and another view have separate entries"
    flipped = store.features(base, image(0)[:, ::-1].copy())
    assert same(flipped, store.features(base, image(0), [View(flip=True)]))


def test_a_cached_file_is_not_decoded(tmp_path, monkeypatch):
    sample, base = on_disk(tmp_path / "a.png", 0), CountingBase()
    cold = EmbeddingCache(tmp_path / "cache").features(base, sample)
    monkeypatch.setattr(digests, "of_pixels", lambda pixels: pytest.fail("the image was decoded"))
    assert same(cold, EmbeddingCache(tmp_path / "cache").features(base, sample))
    assert base.encoded == 1


def test_a_file_that_changes_is_another_image(tmp_path):
    path, base, store = tmp_path / "a.bmp", CountingBase(), EmbeddingCache(tmp_path / "cache")
    for seed in range(3):  # same size, same second
        sample = on_disk(path, seed)
        assert same(store.features(base, sample), store.features(base, image(seed)))


def test_a_recent_time_stamp_is_not_trusted(tmp_path, monkeypatch):
    sample, base, store = on_disk(tmp_path / "a.png", 0), CountingBase(), EmbeddingCache(tmp_path / "cache")
    store.features(base, sample)
    assert not store._digests._by_stat
    now = time.time()
    monkeypatch.setattr(digests.time, "time", lambda: now + 60)
    store.features(base, sample)
    assert len(store._digests._by_stat) == 1


def test_a_sample_with_processed_pixels_is_keyed_by_its_pixels(tmp_path):
    path, base, store = tmp_path / "a.png", CountingBase(), EmbeddingCache(tmp_path / "cache")
    whole = on_disk(path, 0)
    left = Sample("left", lambda: image(0)[:, :16].copy(), lambda: (), source=path)
    assert not same(store.features(base, whole), store.features(base, left))


@pytest.mark.parametrize("damage", ["cut", "empty", "zeros", "flipped bit", "text"])
def test_a_damaged_entry_is_recomputed_with_a_warning(tmp_path, caplog, damage):
    base = CountingBase()
    cold = EmbeddingCache(tmp_path).features(base, image(0))
    (path,) = entries(EmbeddingCache(tmp_path))
    content = bytearray(path.read_bytes())
    content[-5] ^= 64 if damage == "flipped bit" else 0
    damaged = {"cut": content[:-9], "empty": b"", "zeros": bytes(len(content)), "text": b"no such thing" * 9}
    path.write_bytes(damaged.get(damage, content))
    store = EmbeddingCache(tmp_path)
    assert same(cold, store.features(base, image(0)))
    assert "damaged" in caplog.text
    assert base.encoded == 2
    caplog.clear()
    assert same(cold, EmbeddingCache(tmp_path).features(base, image(0)))
    assert not caplog.text


def test_a_damaged_alias_is_recomputed(tmp_path):
    sample, base = on_disk(tmp_path / "a.png", 0), CountingBase()
    cold = EmbeddingCache(tmp_path / "cache").features(base, sample)
    (alias,) = (tmp_path / "cache").rglob("*.pixels")
    alias.write_text("0" * 63)
    assert same(cold, EmbeddingCache(tmp_path / "cache").features(base, sample))
    assert base.encoded == 1
    assert len(alias.read_text()) == 64


def test_the_least_recently_used_entries_are_evicted(tmp_path):
    base = CountingBase()
    EmbeddingCache(tmp_path).features(base, image(0))
    size = sum(path.stat().st_size for path in entries(EmbeddingCache(tmp_path)))
    store = EmbeddingCache(tmp_path, max_bytes=int(4.5 * size))
    for seed in range(1, 4):
        store.features(base, image(seed))
    for age, path in enumerate(entries(store)):
        os.utime(path, (age, age))
    store.features(base, image(1))  # used now: stays
    before = base.encoded
    for seed in range(4, 8):
        store.features(base, image(seed))
        assert sum(path.stat().st_size for path in entries(store)) <= store.max_bytes
        store.features(base, image(1))
    assert base.encoded == before + 4


def test_eviction_frees_a_tenth_of_the_folder_oldest_files_first(tmp_path):
    folder = CacheFolder(tmp_path, 1000)
    paths = [folder.place(str(i), ".bin") for i in range(11)]
    for age, path in enumerate(paths):
        folder.write(path, lambda temporary: temporary.write_bytes(bytes(100)))
        if age < 10:
            os.utime(path, (age, age))
    assert [path.exists() for path in paths] == [False] * 2 + [True] * 9


def test_leftovers_of_a_crash_are_removed(tmp_path):
    base = CountingBase()
    EmbeddingCache(tmp_path).features(base, image(0))
    left = entries(EmbeddingCache(tmp_path))[0].parent / ".half.1.2.safetensors"
    left.write_bytes(b"half")
    os.utime(left, (1, 1))
    EmbeddingCache(tmp_path, max_bytes=10**5).features(base, image(1))
    EmbeddingCache(tmp_path, max_bytes=1).features(base, image(2))
    assert not left.exists()


def test_an_interrupted_write_leaves_no_file(tmp_path, monkeypatch, caplog):
    def broken(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(entries_module, "save_file", broken)
    store, base = EmbeddingCache(tmp_path), CountingBase()
    first, second = store.features(base, image(0)), store.features(base, image(0))
    assert same(first, second)
    assert base.encoded == 2
    assert caplog.text.count("is not writable") == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_folder_that_is_not_writable_causes_one_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    store = EmbeddingCache(tmp_path / "file" / "cache")
    assert len(store.features(CountingBase(), [image(0), image(1)])) == 2
    assert "is not writable" in caplog.text


def test_prepare_computes_only_missing_entries(tmp_path):
    base, store, calls = CountingBase(), EmbeddingCache(tmp_path, batch=2), []
    store.features(base, image(1))
    made = store.prepare(base, [image(i) for i in range(5)], progress=lambda done, total: calls.append((done, total)))
    assert made == 4
    assert base.encoded == 5
    assert calls == [(i, 5) for i in range(1, 6)]
    assert store.prepare(base, [image(i) for i in range(5)]) == 0


def test_a_cache_that_is_too_small_causes_a_warning(tmp_path, caplog):
    EmbeddingCache(tmp_path, max_bytes=5000).prepare(CountingBase(), [image(i) for i in range(3)])
    assert "3 embeddings of" in caplog.text
    assert "cache_gb=" in caplog.text


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), [], np.zeros((4, 4, 4), np.uint8)], ids=str
)
def test_invalid_images_are_refused(tmp_path, wrong):
    with pytest.raises(InputError):
        EmbeddingCache(tmp_path).features(CountingBase(), wrong)


def test_infinity_is_refused(tmp_path):
    class Broken(CountingBase):
        def encode_image(self, images):
            return Features(super().encode_image(images).main * 1e9)

    with pytest.raises(InputError, match="infinity"):
        EmbeddingCache(tmp_path).features(Broken(), image(0))
    assert not entries(EmbeddingCache(tmp_path))


def test_place_of_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMTAILOR_CACHE", str(tmp_path))
    assert default_root() == tmp_path / "embeddings"
    assert EmbeddingCache().root == tmp_path / "embeddings"
    monkeypatch.delenv("SAMTAILOR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    if sys.platform == "linux":
        assert default_root() == tmp_path / "xdg" / "samtailor" / "embeddings"


TWO = """
import sys
sys.path.insert(0, {here!r})
from test_embeddings import CountingBase, EmbeddingCache, image, same
base, store = CountingBase(), EmbeddingCache({root!r}, max_bytes=60_000)
whole = EmbeddingCache({root!r} + "/apart-" + sys.argv[1])
for turn in range(3):
    for seed in range(12):
        assert same(store.features(base, image(seed)), whole.features(base, image(seed)))
"""


def test_two_processes_at_once(tmp_path):
    """Both write, read and evict the same entries (about half of them fit)."""
    code = TWO.format(here=str(Path(__file__).parent), root=str(tmp_path))
    runs = [subprocess.Popen([sys.executable, "-c", code, n], stderr=subprocess.PIPE, text=True) for n in "ab"]
    for run in runs:
        _, errors = run.communicate(timeout=120)
        assert run.returncode == 0, errors
        assert "damaged" not in errors
    assert not list(tmp_path.glob("??/.*"))


def test_the_cheaper_encoder_gives_the_base_s_own_embedding_to_half_precision(tiny_base, tmp_path, monkeypatch):
    frame = Frame.of(tiny_base, 24, 32)
    with torch.no_grad():
        expected = tiny_base.encode_image(frame.image(image(0), tiny_base)[None])
    base, made, whole = tiny_base.with_modules({}), [], encoders.fast_encoder
    monkeypatch.setattr(encoders, "fast_encoder", lambda base: made.append(1) or whole(base))
    store = EmbeddingCache(tmp_path)
    for seed in (0, 1, 2):
        features = store.features(base, image(seed))
        if seed == 0:
            for one, other in zip((expected.main, *expected.skips), (features.main, *features.skips), strict=True):
                assert torch.allclose(one, other, rtol=2e-3, atol=1e-3 * float(one.abs().max()))
    assert len(made) == 1


def test_a_released_base_is_freed_with_its_encoder(tiny_base, tmp_path):
    base = tiny_base.with_modules({})
    EmbeddingCache(tmp_path).features(base, image(0))
    gone = weakref.ref(base)
    del base
    gc.collect()
    assert gone() is None


def test_8_bits_halve_an_entry_and_keep_every_channel_within_half_a_step(tmp_path, tiny_base):
    half, small = (EmbeddingCache(tmp_path / name, precision=name) for name in ("half", "8bit"))
    pixels = image(0, 48, 80)
    exact, cold = half.features(tiny_base, pixels), small.features(tiny_base, pixels)
    assert same(cold, EmbeddingCache(tmp_path / "8bit", precision="8bit").features(tiny_base, pixels))
    for whole, coarse in zip((exact.main, *exact.skips), (cold.main, *cold.skips), strict=True):
        span = whole.amax((2, 3), keepdim=True) - whole.amin((2, 3), keepdim=True)
        assert ((whole - coarse).abs() <= span / 510 * 1.001 + 1e-7).all()
        assert not torch.equal(whole, coarse)
    sizes = [entries(store)[0].stat().st_size for store in (half, small)]
    room = [store.room(tiny_base, 1).each for store in (half, small)]
    assert sizes[1] < 0.75 * sizes[0], "the header of an entry this small counts"
    assert room[1] < 0.7 * room[0]


def test_a_constant_channel_survives_8_bits():
    levels = [torch.full((2, 3, 3), 0.7).half(), torch.zeros(1, 2, 2).half()]
    for level, kept in zip(levels, entries_module.restored(entries_module.stored(levels, "8bit")), strict=True):
        assert torch.equal(level.float(), kept)


def test_precisions_have_their_own_entries(tmp_path):
    base = CountingBase()
    for precision in ("half", "8bit"):
        for encoder_precision in ("fp32", "bf16"):
            store = EmbeddingCache(tmp_path, precision=precision, encoder_precision=encoder_precision)
            store.features(base, image(0))
            store.features(base, image(0))
    assert base.encoded == 4
    assert len(entries(store)) == 4


def test_the_encoder_runs_in_mixed_precision_on_request(tmp_path, tiny_base):
    exact = EmbeddingCache(tmp_path).features(tiny_base, image(0, 48, 80)).main
    mixed = EmbeddingCache(tmp_path, encoder_precision="bf16").features(tiny_base, image(0, 48, 80)).main
    assert not torch.equal(exact, mixed)
    assert (exact - mixed).abs().max() < 0.1 * exact.std()


def test_threads_share_a_cache_and_encode_an_image_once(tmp_path):
    base, store = CountingBase(), EmbeddingCache(tmp_path)
    expected = EmbeddingCache(tmp_path / "apart").features(CountingBase(), [image(seed) for seed in range(6)])
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: store.features(base, [image(seed) for seed in range(6)]), range(8)))
    assert all(same(one, expected) for one in made)
    assert base.encoded == 6


def test_an_image_that_a_batch_needs_twice_is_encoded_once(tmp_path):
    base = CountingBase()
    made = EmbeddingCache(tmp_path, batch=2).features(base, [image(0), image(1), image(0)])
    assert base.encoded == 2
    assert torch.equal(made.main[0], made.main[2])
