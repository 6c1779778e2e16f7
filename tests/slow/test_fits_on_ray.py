"""Comparisons with several seeds as tasks of a Ray cluster have the results of one machine; contests run there."""

from __future__ import annotations

import json
import threading

import pytest
import torch
from safetensors.torch import load_file

from samtailor.artefact import TENSORS
from samtailor.bases import load_base
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.compare import compare, variants
from samtailor.data.synth.samples import samples
from samtailor.errors import DataError, InputError
from samtailor.fitting import fit
from samtailor.fitting.engines import Setup, running_on
from samtailor.train.config import FitConfig, load
from samtailor.train.interrupt import Interrupted

pytest.importorskip("ray", reason="needs samtailor[ray]: ray")
from samtailor.distributed.engines.ray_tasks import RayTasks, on_ray

pytestmark = pytest.mark.slow
SETTINGS = {"base": "lite", "steps": 2, "batch_size": 2, "trackers": ()}


def same(one, other):
    alone, beside = load_file(one / TENSORS), load_file(other / TENSORS)
    assert alone.keys() == beside.keys()
    assert all(torch.equal(alone[key], beside[key]) for key in alone)


def test_a_comparison_with_two_seeds(tmp_path):
    base, store = load_base("lite"), EmbeddingCache(tmp_path / "cache")
    train, test = samples(4, 0, size=(96, 128)), samples(2, 0, size=(96, 128), side="test")
    runs, seen = variants(load(None, SETTINGS), ["sam", "plm", "sam-f"]), []
    how = {"classes": ["banner"], "store": store, "seeds": (0, 1)}
    with running_on(on_ray()):
        there = compare(runs, tmp_path / "there", base, train, test, workers=2, watch=lambda *a: seen.append(a), **how)
    here = compare(runs, tmp_path / "here", base, train, test, **how)
    assert here.summary() == there.summary()
    for seed in (0, 1):
        for name in ("SAM+PLM", "SAM-F"):
            same(here.folders[f"{name}/{seed}/all"], there.folders[f"{name}/{seed}/all"])
    assert {name for name, _ in seen} >= {"images", "SAM+PLM, seed 0", "SAM+PLM, seed 1"}


def test_a_contest(tmp_path):
    plan = {
        "schema_version": 1,
        "method": "auto",
        "decisions": {
            "region": {"candidate": "tailor", "steps": 2, "tiling": 0},
            "prompt": {"candidate": "plm", "steps": 1},
            "strength": {"click": 0.5},
            "views": 1,
        },
    }
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    images, store = samples(4, 0, size=(96, 128)), EmbeddingCache(tmp_path / "cache")
    for name, engine in (("here", None), ("there", on_ray())):
        config = FitConfig(
            method="auto", base="lite", classes=("banner",), out=tmp_path / name, device="cpu", trackers=(),
            plan=tmp_path / "plan.json", options={"workers": 2},
        )  # fmt: skip
        with running_on(engine):
            fit(config, samples=images, store=store)
    same(tmp_path / "here", tmp_path / "there")
    assert json.loads((tmp_path / "there" / "plan.json").read_text())["budget"]["workers"] == 2


def begin(report, stopped, *arguments):
    import sys

    sys.state_of_test = report, stopped, arguments  # functions that are pickled by value share no globals


def job(kind):
    import os
    import sys
    import time

    from samtailor.errors import DataError
    from samtailor.train.interrupt import Interrupted

    report, stopped, arguments = sys.state_of_test
    if kind == "error":
        raise DataError("no such image")
    if kind == "die":
        os._exit(1)
    report("job", "started")
    while kind == "wait":
        time.sleep(0.1)
        if stopped():
            raise Interrupted("saved")
    return arguments


@pytest.fixture
def engine(monkeypatch, tmp_path):
    import sys

    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not have the tests
    seen = []
    made = RayTasks(Setup(2, 1, begin, ("x",), lambda *news: seen.append(news)))
    made.seen = seen
    yield made
    made.close()
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_errors_of_jobs_arrive_as_they_are_and_a_stop_reaches_the_jobs_that_run(engine):
    assert engine.submit(job, "plain").result() == ("x",)
    with pytest.raises(DataError, match="no such image"):
        engine.submit(job, "error").result()
    waiting = engine.submit(job, "wait")
    for _ in range(600):
        if ("job", "started") in engine.seen[1:]:
            break
        threading.Event().wait(0.1)
    engine.stop()
    with pytest.raises(Interrupted, match="saved"):
        waiting.result()


def test_a_worker_that_dies_is_an_error_in_words(engine):
    with pytest.raises(InputError, match="died"):
        engine.submit(job, "die").result()
