"""Settings of a service, and the application that they describe, made in the process that answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from samtailor.registry import BUNDLED_BASE

if TYPE_CHECKING:
    from fastapi import FastAPI

    from samtailor.bases import Base
    from samtailor.serve.limits import Limits


@dataclass(frozen=True)
class ServiceSettings:
    """What a service consists of; can be passed to another process.

    Args:
        adapters: folder or hub id of each adapter that is loaded at the start, by name.
        base: name of the base model; None: that of the first adapter, or the bundled one.
        device: None: a GPU if there is one.
        limits: bounds of each process; None: the defaults.
        cache: folder of embeddings; None: in memory only, or in `shared`.
        adapters_root: folder below which adapters may be added while the service runs.
        token: that requests must send.
        hosts: host names of the service besides localhost and IP addresses.
        shared: folder of a service with several processes, see `serve.shared`; None: there is one process.
        precision: of the image encoder, see `Predictor`.
    """

    adapters: Mapping[str, str] = field(default_factory=dict)
    base: str | None = None
    device: str | None = None
    limits: Limits | None = None
    cache: Path | None = None
    adapters_root: Path | None = None
    token: str | None = None
    hosts: tuple[str, ...] = ()
    shared: Path | None = None
    precision: str = "fp32"


def make_app(settings: ServiceSettings, *, strict: bool = True) -> FastAPI:
    """The application with its base model and adapters loaded.

    Args:
        settings: of the service.
        strict: an adapter of the settings that cannot be loaded is an error, also with `shared`, instead of a warning.

    Raises:
        SamtailorError: the base model or an adapter cannot be loaded.
    """
    from samtailor.serve.app import build
    from samtailor.serve.engine import Engine
    from samtailor.serve.metrics import Metrics
    from samtailor.serve.shared import SharedFolder
    from samtailor.serve.shared_engine import SharedEngine

    base, metrics = load_base_of(settings.adapters, settings.base, settings.device), Metrics()
    engine: Engine
    if settings.shared is None:
        engine = Engine(
            base, limits=settings.limits, cache=settings.cache, root=settings.adapters_root, counter=metrics,
            precision=settings.precision,
        )  # fmt: skip
        for name, source in settings.adapters.items():
            engine.adapters.add(name, source)
    else:
        shared = SharedFolder(settings.shared)
        engine = SharedEngine(
            base, shared, limits=settings.limits, cache=settings.cache, root=settings.adapters_root, counter=metrics,
            precision=settings.precision,
        )  # fmt: skip
        engine.update(settings.adapters if strict else ())
    return build(engine, token=settings.token, hosts=settings.hosts, metrics=metrics)


def base_name_of(adapters: Mapping[str, str], base: str | None) -> str:
    """The given base model, or that of the first adapter, or the bundled one."""
    from samtailor.artefact import base_of

    return base or (base_of(next(iter(adapters.values()))) if adapters else BUNDLED_BASE)


def load_base_of(adapters: Mapping[str, str], base: str | None, device: str | None) -> Base:
    """Load `base_name_of`."""
    from samtailor.bases import load_on

    return load_on(base_name_of(adapters, base), device)


__all__ = ["ServiceSettings", "base_name_of", "load_base_of", "make_app"]
