"""Connect to a Ray cluster, or start one on this machine."""

from __future__ import annotations

import logging
import math
import os
from dataclasses import dataclass
from typing import Any

from samtailor.errors import InputError

_MEMORY = 512 * 2**20
"""Object store of a local cluster, bytes."""


@dataclass(frozen=True)
class Resources:
    """What a cluster is asked for.

    Args:
        address: "auto" on a machine of the cluster, or "host:6379"; None starts a cluster on this machine.
        workers: (smallest, largest) number of model actors; Ray Data adapts the number.
        cpus: of a model actor; may be a fraction.
        gpus: of a model actor; may be a fraction.
        readers: largest number of tasks that read images at the same time; None: as many as there are free CPUs.

    Raises:
        InputError: an address of Ray Client.
    """

    address: str | None = None
    workers: tuple[int, int] = (1, 1)
    cpus: float = 1.0
    gpus: float = 0.0
    readers: int | None = None

    def __post_init__(self) -> None:
        if self.address is not None and self.address.startswith("ray://"):
            raise InputError(
                f"{self.address} is an address of Ray Client, which is not supported. Run the command on a machine of "
                "the cluster with --address auto, for example by: ray job submit -- samtailor ..."
            )


def connect(ray: Any, address: str | None, cpus: float, instead: str) -> bool:
    """Connect this process to a cluster, unless it is connected.

    Args:
        ray: the module.
        address: of a cluster; None starts one on this machine.
        cpus: of a cluster on this machine.
        instead: what to do if Ray cannot be started, one sentence.

    Returns:
        Whether it was connected here, so that `ray.shutdown` is to be called in the end.

    Raises:
        InputError: the cluster does not answer, or none can be started.
    """
    if ray.is_initialized():
        return False
    arguments: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        # Ray's workers have the lowest priority of the machine by default, and its core prints to the terminal
        for name, value in {"RAY_worker_niceness": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}.items():
            os.environ.setdefault(name, value)
        # "local": a cluster of its own, also where another one runs on this machine, or has left its address
        arguments |= {"address": "local", "num_cpus": math.ceil(cpus), "include_dashboard": False}
        arguments |= {"object_store_memory": _MEMORY}
    else:
        arguments["address"] = address
    try:
        ray.init(**arguments)
    except Exception as error:  # a node that does not start in time is a plain one
        if address is None:
            raise InputError(f"Ray could not be started: {error}. {instead}") from error
        raise InputError(
            f"There is no Ray cluster at {address}: {error}. Check --address, or leave it out to start a cluster on "
            "this machine."
        ) from error
    return True


__all__ = ["Resources", "connect"]
