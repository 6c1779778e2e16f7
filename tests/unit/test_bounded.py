"""The bounded cache and the disjoint sets."""

from __future__ import annotations

import threading

import numpy as np

from samtailor.cache.bounded import BoundedCache
from samtailor.structures.disjoint_sets import DisjointSets


def filled(cache: BoundedCache[str, int], *keys: str) -> BoundedCache[str, int]:
    for value, key in enumerate(keys):
        cache.put(key, value)
    return cache


def test_the_least_recently_used_entry_goes_first():
    cache = filled(BoundedCache(2), "a", "b")
    assert cache.get("a") == 0
    assert cache.put("c", 2) == 2
    assert list(cache) == ["a", "c"]
    assert cache.get("b") is None


def test_without_lru_the_first_inserted_entry_goes_first():
    cache = filled(BoundedCache(2, lru=False), "a", "b")
    assert cache.get("a") == 0
    cache.put("a", 5)  # storing again does not make it newer either
    cache.put("c", 2)
    assert list(cache) == ["b", "c"]


def test_a_bound_on_size_counts_replaced_and_dropped_entries():
    cache: BoundedCache[str, bytes] = BoundedCache(max_size=10, size=len)
    cache.put("a", b"1234")
    cache.put("a", b"123456")
    assert cache.size == 6
    cache.put("b", b"1234")
    assert list(cache) == ["a", "b"]  # 10 is still allowed
    cache.put("c", b"1")
    assert (list(cache), cache.size) == (["b", "c"], 5)
    cache.discard("b")
    cache.discard("b")
    assert (list(cache), cache.size) == (["c"], 1)


def test_the_newest_entry_stays_whatever_its_size():
    cache: BoundedCache[str, bytes] = BoundedCache(8, max_size=3, size=len)
    cache.put("small", b"1")
    cache.put("large", b"12345")
    assert (list(cache), cache.size, "large" in cache, len(cache)) == (["large"], 5, True, 1)


def test_threads_keep_the_bound_and_the_total():
    cache: BoundedCache[int, bytes] = BoundedCache(max_size=50, size=len, thread_safe=True)

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for key in rng.integers(0, 40, 500):
            if cache.get(int(key)) is None:
                cache.put(int(key), bytes(int(key) % 7))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.size == sum(len(cache.get(key) or b"") for key in cache) <= 50


def test_disjoint_sets_against_repeated_merging():
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 60, (35, 2)).tolist()
    sets, expected = DisjointSets(60), [{i} for i in range(60)]
    for i, j in pairs:
        sets.union(i, j)
        merged = next(s for s in expected if i in s) | next(s for s in expected if j in s)
        expected = [s for s in expected if not s & merged] + [merged]
    assert sets.groups() == sorted(sorted(s) for s in expected)
    assert 20 < len(expected) < 45
    assert DisjointSets(0).groups() == []
