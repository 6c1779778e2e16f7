"""A fit in two processes is that of one process with batches twice as large, also if one of them is killed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from commands import base_folder, data_folder

__all__ = ["base_folder", "data_folder"]
pytestmark = pytest.mark.slow
ONE = ["-m", "samtailor"]
TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "samtailor"]


KILLED = """
import os, signal, sys
from samtailor.train import loop
from samtailor.cli import main

rate = loop.rate

def killing(config, step, group="lower"):
    if step == 3 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return rate(config, step, group)

loop.rate = killing
main(sys.argv[1:])
"""
"""Runs the command line; the second process is killed at the start of the fourth step."""


@pytest.fixture
def command(base_folder, data_folder, tmp_path):
    """The command of a fit with the preset into a folder of this name, and the environment of its process."""

    def call(out: str, launch: list[str], *more: str, steps: int = 3):
        words = [sys.executable, *launch, "fit", data_folder, "--preset", "kim-2024"]
        words += ["--method", "plm", "--base", base_folder, "--classes", "disc", "--steps", steps, "--lr", "1e-3"]
        words += ["--set", "warmup=0", "--set", "near_duplicates=false", "--set", "trackers=none", *more]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "SAMTAILOR_CACHE": str(tmp_path / "cache")}
        return [*map(str, words), "--out", str(tmp_path / out)], environment

    return call


@pytest.fixture
def fit(command, tmp_path):
    """Fit into a folder of this name; returns the finished process and the logged losses."""

    def run(out: str, launch: list[str], *more: str, steps: int = 3):
        words, environment = command(out, launch, *more, steps=steps)
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=600)
        return done, losses_of(tmp_path / out)

    return run


def losses_of(folder: Path) -> list[float] | None:
    """Losses of a finished fit."""
    file = folder / "disc" / "history.json"
    return [record["loss"] for record in json.loads(file.read_text())["train"]] if file.is_file() else None


@pytest.mark.parametrize("batch", [2, 5])  # 5: two batches hold more masks than an epoch
def test_two_processes_are_one_with_twice_the_batch(fit, batch):
    two, losses = fit("two", TWO, "--device", "cpu", "--batch-size", batch)
    assert two.returncode == 0, two.stderr
    assert two.stderr.count("The adapter is in") == 1
    one, alone = fit("one", ONE, "--batch-size", 2 * batch)
    assert one.returncode == 0, one.stderr
    assert losses == pytest.approx(alone, rel=1e-5)
    assert len(losses) == 3
    _, smaller = fit("small", ONE, "--batch-size", batch)
    assert losses != pytest.approx(smaller, rel=1e-3)


def test_accelerate_launch_starts_the_same_fit(fit):
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "-m", "samtailor"]
    launched, losses = fit("launched", launch, "--device", "cpu", "--batch-size", 2)
    assert launched.returncode == 0, launched.stderr
    assert losses == pytest.approx(fit("two", TWO, "--device", "cpu", "--batch-size", 2)[1], rel=1e-6)


def test_two_machines_are_two_processes(command, fit, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fits = []
    for rank in (0, 1):
        launch = ["-m", "torch.distributed.run", "--nnodes", "2", "--node_rank", str(rank), "--nproc_per_node", "1"]
        launch += ["--master_addr", "127.0.0.1", "--master_port", str(port), "-m", "samtailor"]
        words, environment = command("machines", launch, "--device", "cpu", "--batch-size", 2)
        fits.append(subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True))
    errors = [one.communicate(timeout=600)[1] for one in fits]
    assert [one.returncode for one in fits] == [0, 0], errors
    two, losses = fit("two", TWO, "--device", "cpu", "--batch-size", 2)
    assert two.returncode == 0, two.stderr
    assert losses_of(tmp_path / "machines") == pytest.approx(losses, rel=1e-6)


def test_a_killed_process_ends_the_fit_in_words_and_it_can_be_resumed(fit, tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(KILLED, encoding="utf-8")
    more = ["--device", "cpu", "--batch-size", 2, "--set", "checkpoint_every=2"]
    whole, uninterrupted = fit("whole", TWO, *more, steps=6)
    assert whole.returncode == 0, whole.stderr
    killed, losses = fit("killed", [*TWO[:-2], str(script)], *more, steps=6)
    assert killed.returncode != 0
    assert losses is None
    words = " ".join(killed.stderr.split())
    assert "Another process of this fit has ended" in words
    assert "--resume" in words
    assert "[rank0]: Traceback" not in killed.stderr
    resumed, losses = fit("killed", TWO, *more, "--resume", steps=6)
    assert resumed.returncode == 0, resumed.stderr
    assert losses == uninterrupted


@pytest.mark.skipif(torch.cuda.is_available(), reason="with GPUs the processes join by themselves")
def test_processes_that_do_not_join_are_refused(fit):
    done, losses = fit("alone", TWO, "--batch-size", "2")
    assert done.returncode != 0
    assert "--device cpu" in " ".join(done.stderr.split())
    assert losses is None
