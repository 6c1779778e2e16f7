"""How the Ray engine connects, with a stand-in for Ray."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from samtailor.distributed.engines import ray_data
from samtailor.errors import InputError


@pytest.fixture
def calls(monkeypatch):
    """Arguments of each `ray.init`."""
    made = []
    ray = SimpleNamespace(is_initialized=lambda: False, init=lambda **given: made.append(given), put=lambda job: job)
    monkeypatch.setattr(ray_data, "library", lambda name, why: ray)
    return made


def test_without_an_address_a_cluster_of_its_own_is_started_even_if_another_one_runs(calls):
    ray_data.RayData(None, ray_data.Resources(workers=(1, 2)))
    (given,) = calls
    assert given["address"] == "local"
    assert given["num_cpus"] >= 3


def test_an_address_is_used_and_the_cluster_keeps_its_size(calls):
    ray_data.RayData(None, ray_data.Resources(address="10.0.0.1:6379"))
    (given,) = calls
    assert given["address"] == "10.0.0.1:6379"
    assert "num_cpus" not in given


@pytest.mark.parametrize(
    ("address", "words"), [(None, "--engine processes"), ("10.0.0.1:6379", "no Ray cluster at 10.0.0.1:6379")]
)
def test_a_failed_start_says_what_to_do(monkeypatch, address, words):
    def init(**given):
        raise ConnectionError("no answer")

    ray = SimpleNamespace(is_initialized=lambda: False, init=init, put=lambda job: job)
    monkeypatch.setattr(ray_data, "library", lambda name, why: ray)
    with pytest.raises(InputError, match=words):
        ray_data.RayData(None, ray_data.Resources(address=address))
