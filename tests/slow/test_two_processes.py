"""A fit with the settings of a paper in two processes is that of one process with batches twice as large."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

from commands import base_folder, data_folder

__all__ = ["base_folder", "data_folder"]
pytestmark = pytest.mark.slow
TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


@pytest.fixture
def fit(base_folder, data_folder, tmp_path):
    """Fit with the preset into a folder of this name; returns the finished process and the logged losses."""

    def call(out: str, launch: list[str], *more: str):
        command = [sys.executable, *launch, "-m", "samtailor", "fit", data_folder, "--preset", "kim-2024"]
        command += ["--method", "plm", "--base", base_folder, "--classes", "disc", "--steps", "3", "--lr", "1e-3"]
        command += ["--set", "warmup=0", "--set", "near_duplicates=false", "--set", "trackers=none", *more]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "SAMTAILOR_CACHE": str(tmp_path / "cache")}
        done = subprocess.run(
            [*map(str, command), "--out", tmp_path / out], env=environment, capture_output=True, text=True, timeout=600
        )
        file = tmp_path / out / "disc" / "history.json"
        losses = [record["loss"] for record in json.loads(file.read_text())["train"]] if file.is_file() else None
        return done, losses

    return call


def test_two_processes_are_one_with_twice_the_batch(fit):
    two, losses = fit("two", TWO, "--device", "cpu", "--batch-size", "2")
    assert two.returncode == 0, two.stderr
    assert two.stderr.count("The adapter is in") == 1
    one, alone = fit("one", [], "--batch-size", "4")
    assert one.returncode == 0, one.stderr
    assert losses == pytest.approx(alone, rel=1e-5)
    assert len(losses) == 3
    _, smaller = fit("small", [], "--batch-size", "2")
    assert losses != pytest.approx(smaller, rel=1e-3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="with GPUs the processes join by themselves")
def test_processes_that_do_not_join_are_refused(fit):
    done, losses = fit("alone", TWO, "--batch-size", "2")
    assert done.returncode != 0
    assert "--device cpu" in " ".join(done.stderr.split())
    assert losses is None
