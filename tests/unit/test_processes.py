"""Several processes of one fit: what they say when one of them is gone, or starts elsewhere."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from samtailor.errors import InputError
from samtailor.train import processes


def two(**operations):
    """Stands for an Accelerator of two processes."""
    return SimpleNamespace(num_processes=2, device=torch.device("cpu"), **operations)


def fail(message):
    def operation(*_):
        raise RuntimeError(message)

    return operation


@pytest.mark.parametrize(
    "call",
    [
        lambda accelerator: processes.mean({"loss": 1.0}, accelerator),
        lambda accelerator: processes.agreed(False, accelerator),
        lambda accelerator: processes.smallest(1, accelerator),
        lambda accelerator: processes.same_start(1, accelerator),
        processes.wait,
        lambda accelerator: _step(accelerator),
    ],
)
def test_a_process_that_is_gone_is_said_in_words(call):
    gone = fail("[pair.cc:537] Read error: Connection reset by peer. This is caused by a remote worker.\nmore")
    accelerator = two(reduce=gone, gather=gone, wait_for_everyone=gone)
    with pytest.raises(processes.LostProcess, match=r"has ended.*--resume.*\(.*Connection reset by peer\)$"):
        call(accelerator)


def _step(accelerator):
    parameter = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    processes.averaging(optimizer, accelerator)
    optimizer.step()


def test_too_little_memory_is_not_taken_for_a_lost_process():
    with pytest.raises(RuntimeError, match="out of memory") as caught:
        processes.agreed(False, two(reduce=fail("CUDA out of memory")))
    assert not isinstance(caught.value, processes.LostProcess)


def test_processes_that_read_different_checkpoints_are_refused():
    with pytest.raises(InputError, match=r"steps \(40, 0\).*share"):
        processes.same_start(40, two(gather=lambda one: torch.tensor([40, 0])))
    processes.same_start(40, two(gather=lambda one: torch.tensor([40, 40])))
    processes.same_start(40, SimpleNamespace(num_processes=1))
