"""Label Studio's machine-learning backend over HTTP.

The protocol (setup, predict, webhook, train, health, ...) is the one that label-studio-ml speaks; that library is not
needed. Images are fetched from the one Label Studio that was named at the start: the host name and the token that
a request brings along are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Collection as Names
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response

from samtailor.errors import InputError
from samtailor.serve.annotators.backend import Backend
from samtailor.serve.app import bare
from samtailor.serve.guard import Guard
from samtailor.serve.metrics import Metrics


def build(
    backend: Backend, *, token: str | None = None, hosts: Names[str] = (), metrics: Metrics | None = None
) -> FastAPI:
    """The application; ends the fit that is in progress and closes the engine when it shuts down.

    Args:
        backend: what answers.
        token: what Label Studio must show, as the password of its basic authentication; None: nothing.
        hosts: names that it is reached by, besides localhost and IP addresses.
        metrics: the one that the engine was told to count with.
    """
    metrics = metrics or Metrics()
    metrics.follow(backend.engine)
    app = bare("samtailor label-studio", backend.engine)
    life = app.router.lifespan_context

    @asynccontextmanager
    async def ending(app: FastAPI) -> Any:
        async with life(app):
            yield
            backend.training.close()

    app.router.lifespan_context = ending
    _tell(app, backend, metrics)
    _work(app, backend)
    limits = backend.engine.limits  # brush regions travel as JSON
    app.add_middleware(Guard, limits=limits, token=token, hosts=hosts, json_bytes=limits.bytes, count=metrics)
    return app


def _tell(app: FastAPI, backend: Backend, metrics: Metrics) -> None:
    @app.get("/")
    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "samtailor"}

    @app.get("/ready")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.get("/metrics", response_class=Response)
    async def figures() -> Response:
        return Response(metrics.text(), headers={"content-type": metrics.content_type})

    @app.get("/is_training")
    async def is_training() -> dict[str, Any]:
        return _state(backend)

    @app.post("/job_status")
    async def job_status() -> dict[str, Any]:
        return _state(backend)

    @app.get("/versions")  # Label Studio itself
    @app.post("/versions")  # as label-studio-ml has it
    async def versions() -> dict[str, list[str]]:
        return {"versions": [backend.version]}


def _work(app: FastAPI, backend: Backend) -> None:
    @app.post("/setup")
    async def setup(request: Request) -> dict[str, str]:
        given = await _json(request)
        backend.configure(given.get("project"), given.get("schema"))
        return {"model_version": backend.version}

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        given = await _json(request)
        tasks, params = given.get("tasks"), given.get("params") or {}
        if not isinstance(tasks, list) or not isinstance(params, dict):
            raise InputError("A request for predictions has the list tasks, and may have params.")
        config = backend.configure(given.get("project"), given.get("label_config"))
        results = await backend.predict(tasks, config, params.get("context"))
        return {"results": results, "model_version": backend.version}

    @app.post("/webhook", status_code=201)
    async def webhook(request: Request) -> dict[str, Any]:
        await backend.event(await _json(request))
        return {"status": "ok", "result": _state(backend)}

    @app.post("/train", status_code=201)
    async def train() -> dict[str, Any]:
        started = await backend.train()
        return {"job": None if started is None else started.name, **_state(backend)}


def _state(backend: Backend) -> dict[str, Any]:
    training = backend.training
    return {
        "is_training": training.running,
        "job_status": "running" if training.running else "failed" if training.error else "idle",
        "current": None if training.current is None else training.current.name,
        "error": training.error,
        "model_version": backend.version,
    }


async def _json(request: Request) -> dict[str, Any]:
    try:
        given = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise InputError("Expected JSON.") from error
    if not isinstance(given, dict):
        raise InputError("Expected a JSON object.")
    return given


__all__ = ["build"]
