"""`batch_size: auto`: the largest batch that the memory holds."""

from __future__ import annotations

import json

import pytest
import torch

from samtailor.cache.embeddings import EmbeddingCache
from samtailor.errors import InputError
from samtailor.fitting import fit, memory
from samtailor.fitting.plan import FILE
from samtailor.registry import names
from samtailor.train.config import load

SMALL = {"steps": 2, "batch_size": "auto", "classes": "disc", "trackers": "none", "device": "cpu", "val": 2,
         "near_duplicates": False, "eval_masks": 2}  # fmt: skip


@pytest.mark.parametrize(("limit", "expected"), [(1, 1), (5, 4), (12, 12), (63, 48), (1000, 64)])
def test_the_largest_size_below_an_injected_limit_is_found(limit, expected):
    tried = []
    assert memory.largest_batch(lambda size: tried.append(size) or size <= limit) == expected
    assert len(tried) <= len(memory.SIZES)
    assert max(tried) <= 2 * max(limit, 1), "no size far beyond the limit is tried"


def test_no_room_for_one_mask_is_an_error():
    with pytest.raises(InputError, match="more memory than there is"):
        memory.largest_batch(lambda size: False)


def test_on_a_gpu_a_size_that_runs_out_of_memory_does_not_fit(monkeypatch):
    """The allocator is replaced: 100 bytes in total, 7 for each mask."""
    used = [0]

    def step(size: int) -> None:
        used[0] = 7 * size
        if used[0] > 100:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    fakes = {
        "reset_peak_memory_stats": lambda device: None,
        "mem_get_info": lambda device: (100, 100),
        "max_memory_reserved": lambda device: used[0],
        "memory_reserved": lambda device: 0,
        "empty_cache": lambda: None,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    fits = memory.fits_on_gpu(step, torch.device("cuda"))
    assert [fits(size) for size in (12, 13, 15)] == [True, False, False], "0.9 of the memory, then an error"
    assert memory.largest_batch(fits) == 12


def test_on_a_cpu_kept_tensors_are_counted():
    weight = torch.ones(100, 100, requires_grad=True)

    def step(size: int) -> int:
        (torch.ones(size, 100) @ weight).exp().sum().backward()
        return 0

    each = 2 * (400 + 400)  # input of the product and output of exp, float32; the factor for temporary tensors
    fixed = 2 * 0
    for size in (3, 10):
        needed = 2 * (fixed + size * each)  # half of the memory may be used
        assert memory.fits_on_cpu(step, needed, 1)(size)
        assert not memory.fits_on_cpu(step, needed - 2 * each, 1)(size)


QUICK = ("tailor", "blo-sam", "samed")  # two feeds, two levels, a trained encoder


@pytest.mark.parametrize(
    "method",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in names("methods")
        if name not in ("sam", "auto")  # nothing is trained; a contest sets the batches of its candidates
    ],
)
def test_every_method_finds_its_batch(tiny_sam2, tiny_samples, tmp_path, monkeypatch, method):
    given = {"prompt": "mask-box"} if method == "am-sam" else {}
    sizes = []
    for available in (10**8, 10**10):
        monkeypatch.setattr(memory, "available_bytes", lambda available=available: available)
        out = tmp_path / str(available)
        config = load(None, SMALL | {"method": method, "out": str(out)} | given)
        fit(config, samples=tiny_samples, base=tiny_sam2, store=EmbeddingCache(tmp_path / "cache"))
        sizes.append(json.loads((out / FILE).read_text())["batch_size"])
    assert 1 <= sizes[0] <= sizes[1]
    masks = 3 if method in ("blo-sam", "am-sam") else 6  # D1 is half of the training images
    assert sizes[1] == masks


def test_the_trial_changes_nothing(tiny_sam, tiny_samples, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**12)
    adapters = []
    for size in ("auto", 6):  # 6 images to train on
        config = load(None, SMALL | {"method": "plm", "batch_size": size, "out": str(tmp_path / str(size))})
        fit(config, samples=tiny_samples, base=tiny_sam, store=EmbeddingCache(tmp_path / "cache"))
        adapters.append((tmp_path / str(size) / "adapter.safetensors").read_bytes())
    assert adapters[0] == adapters[1]


@pytest.mark.parametrize("value", [0, -3, "all", 1.5])
def test_other_values_are_refused(value):
    with pytest.raises(InputError, match="batch_size"):
        load(None, {"batch_size": value})
