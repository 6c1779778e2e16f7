"""Fits run on the engine that is chosen, with the same result, and a stopped engine stops them."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from commands import base_folder, data_folder, run
from samtailor.artefact import TENSORS
from samtailor.bases import load_base
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.compare import compare, variants
from samtailor.data.synth.samples import samples
from samtailor.distributed.engines.cluster import Resources
from samtailor.errors import InputError, MissingExtraError
from samtailor.fitting import pool as pools
from samtailor.fitting.engines import running_on
from samtailor.fitting.pool import Pool
from samtailor.train.config import load

__all__ = ["base_folder", "data_folder", "run"]


class Here:
    """An engine whose workers are this process."""

    def __init__(self, setup):
        self.setup, self.submitted, self.stopped, self.closed = setup, [], False, False
        setup.begin(setup.watch, lambda: self.stopped, *setup.arguments)

    def submit(self, function, *arguments):
        self.submitted.append(function)
        future = Future()
        try:
            future.set_result(function(*arguments))
        except BaseException as error:
            future.set_exception(error)
        return future

    def stop(self):
        self.stopped = True

    def close(self):
        self.closed = True


@pytest.fixture
def engine(monkeypatch):
    """The engines that were started."""
    monkeypatch.setattr(pools, "_context", None)
    started = []
    logger = logging.getLogger("samtailor")
    level = logger.level

    def start(setup):
        started.append(Here(setup))
        return started[-1]

    with running_on(start):
        yield started
    torch.set_flush_denormal(False)  # a worker flushes them and hides warnings, and here it is this process
    logger.setLevel(level)


def name_of_base(context, suffix):
    context.report("job", suffix)
    return context.base.name + suffix, context.stopped()


def test_a_pool_takes_the_chosen_engine_also_for_one_worker(engine, tmp_path):
    seen = []
    store = EmbeddingCache(tmp_path / "cache")
    with Pool(load_base("lite"), store, watch=lambda *news: seen.append(news)) as pool:
        assert pool.submit(name_of_base, "!").result().value == ("lite!", False)
        pool.stop()
        assert pool.submit(name_of_base, "?").result().value == ("lite?", True)
    (one,) = engine
    assert one.closed
    assert seen == [("job", "!"), ("job", "?")]
    assert one.setup.arguments[0]["root"].is_absolute()


def test_a_pool_without_a_chosen_engine_works_here(tmp_path):
    base = SimpleNamespace(name="none such")
    with Pool(base, EmbeddingCache(tmp_path)) as pool:
        assert pool.submit(name_of_base, "!").result().value == ("none such!", False)


def test_all_seeds_of_a_comparison_are_jobs_of_one_engine_with_the_same_result(engine, tmp_path):
    base, store = load_base("lite"), EmbeddingCache(tmp_path / "cache")
    settings = {"base": "lite", "steps": 2, "batch_size": 2, "trackers": ()}
    runs = variants(load(None, settings), ["sam", "plm"])
    train, test = samples(4, 0, size=(96, 128)), samples(2, 0, size=(96, 128), side="test")
    how = {"classes": ["banner"], "store": store, "seeds": (0, 1)}
    there = compare(runs, tmp_path / "there", base, train, test, **how)
    (one,) = engine
    assert one.closed
    assert len(one.submitted) == 3, "one chunk of images, and one fit for each seed"
    with running_on(None):
        here = compare(runs, tmp_path / "here", base, train, test, **how)
    assert len(engine) == 1
    assert here.summary() == there.summary()
    for seed in (0, 1):
        alone, beside = (load_file(made.folders[f"SAM+PLM/{seed}/all"] / TENSORS) for made in (here, there))
        assert all((alone[key] == beside[key]).all() for key in alone)


def test_options_that_the_engine_does_not_have(run, data_folder, base_folder, monkeypatch):
    fit = ["fit", data_folder, "--base", base_folder, "--out", "a"]
    assert "add --engine ray" in run(*fit, "--address", "auto", code=2).output
    assert "--gpus is for a Ray cluster" in run(*fit, "--gpus", 1, code=2).output
    assert "processes" in run(*fit, "--engine", "spark", code=2).output
    monkeypatch.setattr("samtailor.distributed.engines.ray_tasks.library", lambda name, why: None)
    assert "plm is one fit" in run(*fit, "--method", "plm", "--engine", "ray", code=2).output
    compare = ["compare", data_folder, "--base", base_folder, "--out", "c", "--engine", "ray"]
    assert "ray job submit" in run(*compare, "--address", "ray://host:10001", code=2).output


def test_without_ray_the_extra_is_named(monkeypatch):
    from samtailor.distributed.engines.ray_tasks import on_ray

    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtraError, match="samtailor\\[ray\\]"):
        on_ray()
    with pytest.raises(InputError, match="Ray Client"):
        Resources("ray://host:10001")
