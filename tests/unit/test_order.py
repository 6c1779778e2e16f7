"""The order of masks: plain shuffling, and blocked shuffling for sets that do not fit in the cache."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from samtailor.errors import InputError
from samtailor.train.order import Blocked, Shuffled


def test_shuffled_epochs_contain_every_row_once_in_another_order():
    order = Shuffled(7, seed=3)
    epochs = [[order.row(7 * epoch + i) for i in range(7)] for epoch in range(5)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 3
    again = Shuffled(7, seed=3)
    assert [again.row(position) for position in (30, 2, 13)] == [epochs[4][2], epochs[0][2], epochs[1][6]]
    assert order.complete(7)
    assert not order.complete(6)


IMAGES = np.repeat(np.arange(10), [1, 3, 1, 2, 1, 1, 4, 1, 1, 2])  # masks per image differ


def rows(order: Blocked, number: int) -> np.ndarray:
    size = order.passes * len(IMAGES)
    return np.array([order.row(position) for position in range(number * size, (number + 1) * size)])


def test_a_round_contains_every_mask_as_often_as_there_are_passes():
    order = Blocked(IMAGES, seed=0, resident=4, passes=3)
    for number in range(3):
        assert Counter(rows(order, number)) == dict.fromkeys(range(len(IMAGES)), 3)
    assert (rows(order, 0) != rows(order, 1)).any()
    assert order.complete(3 * len(IMAGES))
    assert not order.complete(3 * len(IMAGES) - 1)


def test_an_image_is_resident_once_per_round_and_each_pass_is_shuffled():
    order = Blocked(IMAGES, seed=1, resident=4, passes=3)
    assert order.parts == 3
    stream = rows(order, 0)
    images = IMAGES[stream]
    parts, start = [], 0
    while start < len(stream):  # a part ends where a pass has been repeated three times
        part = next(
            size
            for size in range(1, len(stream) - start + 1)
            if size % 3 == 0
            and Counter(stream[start : start + size])
            == dict.fromkeys(np.flatnonzero(np.isin(IMAGES, images[start : start + size])), 3)
        )
        passes = stream[start : start + part].reshape(3, -1)
        assert all(sorted(one) == sorted(passes[0]) for one in passes)
        parts.append(set(images[start : start + part].tolist()))
        start += part
    assert [len(part) for part in parts] == [4, 3, 3]
    assert not (parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2])
    assert (stream[: len(stream)] != np.sort(stream)).any()


def test_the_stream_is_a_function_of_seed_and_position():
    one, other = (Blocked(IMAGES, seed=5, resident=3, passes=2) for _ in range(2))
    positions = [3, 60, 7, 0, 33, 61]
    expected = {position: one.row(position) for position in sorted(positions)}
    assert [other.row(position) for position in positions] == [expected[position] for position in positions]
    assert (rows(Blocked(IMAGES, 6, 3, 2), 0) != rows(one, 0)).any()


@pytest.mark.parametrize(("resident", "passes"), [(0, 1), (1, 0)])
def test_numbers_below_1_are_refused(resident, passes):
    with pytest.raises(InputError, match="at least 1"):
        Blocked(IMAGES, 0, resident, passes)
