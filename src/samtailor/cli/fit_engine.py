"""Options of the commands that can run their fits on a Ray cluster."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Annotated

import typer

from samtailor.cli.batch_options import Address
from samtailor.errors import InputError

Engine = Annotated[
    str,
    typer.Option(
        metavar="processes|ray", help="Where fits run: processes of this machine, or workers of a Ray cluster."
    ),
]
Gpus = Annotated[float, typer.Option(min=0.0, metavar="N", help="GPUs of a worker (ray); may be a fraction.")]
PROCESSES, RAY = "processes", "ray"


def fits_on(engine: str, address: str | None, gpus: float) -> AbstractContextManager[None]:
    """Run the fits of a block where the options say.

    Raises:
        InputError: an unknown engine, or an option that it does not have.
        MissingExtraError: Ray is not installed.
    """
    from samtailor.fitting.engines import running_on
    from samtailor.registry import choose

    choose("engine", engine, (PROCESSES, RAY))
    if engine == PROCESSES:
        if address is not None or gpus:
            raise InputError(f"{'--gpus' if address is None else '--address'} is for a Ray cluster; add --engine ray.")
        return running_on(None)
    from samtailor.distributed.engines.ray_tasks import on_ray

    return running_on(on_ray(address, gpus))


def fits_of(method: str | None, engine: str, address: str | None, gpus: float) -> AbstractContextManager[None]:
    """`fits_on` for a single fit, which has several fits to run only in a contest.

    Args:
        method: name; None: that of the preset, or auto.
        engine, address, gpus: of the options.

    Raises:
        InputError: a method that is one fit, or as `fits_on`.
    """
    from samtailor.registry import find

    fits = fits_on(engine, address, gpus)
    if engine == RAY and method is not None and not getattr(find("methods", method), "CONTEST", False):
        raise InputError(
            f"--engine ray is for methods that run several fits, such as auto; {method} is one fit. Leave it out, or "
            "run several methods or seeds on the cluster with samtailor compare."
        )
    return fits


__all__ = ["Address", "Engine", "Gpus", "fits_of", "fits_on"]
