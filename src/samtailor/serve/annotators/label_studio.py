"""Label Studio's machine-learning backend over HTTP.

The protocol (setup, predict, webhook, train, health, ...) is that of label-studio-ml; the library is not needed. Images
are fetched only from the Label Studio given at the start; the host name and the token in a request are ignored.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Collection as Names
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from samtailor.errors import InputError, SamtailorError
from samtailor.limits import MALFORMED
from samtailor.serve.annotators.backend import Backend
from samtailor.serve.app import bare, on_error
from samtailor.serve.guard import Guard
from samtailor.serve.metrics import Metrics

_LISTED = 20  # tasks that were not saved, with their reasons, in an answer
_log = logging.getLogger("samtailor.serve.annotators")


def build(
    backend: Backend, *, token: str | None = None, hosts: Names[str] = (), metrics: Metrics | None = None
) -> FastAPI:
    """The application; on shutdown it stops a running fit and closes the engine.

    Args:
        backend: implements the protocol.
        token: that Label Studio must send, as the password of basic authentication; None: no token.
        hosts: host names of the service besides localhost and IP addresses.
        metrics: the counter of the engine; None creates new metrics.
    """
    metrics = metrics or Metrics()
    metrics.follow(backend.engine)
    app = bare("samtailor label-studio", backend.engine)
    lifespan = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan_with_training(app: FastAPI) -> Any:
        async with lifespan(app):
            yield
            backend.training.close()

    app.router.lifespan_context = lifespan_with_training
    _add_status(app, backend, metrics)
    _add_protocol(app, backend)
    for kind in MALFORMED:
        app.add_exception_handler(kind, _on_malformed)
    limits = backend.engine.limits  # brush regions travel as JSON
    app.add_middleware(Guard, limits=limits, token=token, hosts=hosts, json_bytes=limits.bytes, count=metrics)
    return app


def _add_status(app: FastAPI, backend: Backend, metrics: Metrics) -> None:
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

    @app.get("/versions")  # used by Label Studio
    @app.post("/versions")  # used by label-studio-ml
    async def versions() -> dict[str, list[str]]:
        return {"versions": [backend.version]}


def _add_protocol(app: FastAPI, backend: Backend) -> None:
    @app.post("/setup")
    async def setup(request: Request) -> dict[str, str]:
        body = await _json(request)
        backend.configure(body.get("project"), body.get("schema"))
        return {"model_version": backend.version}

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        body = await _json(request)
        tasks, params = body.get("tasks"), body.get("params") or {}
        if not isinstance(tasks, list) or not isinstance(params, dict):
            raise InputError("A prediction request needs the list `tasks`, and may have the object `params`.")
        config = backend.configure(body.get("project"), body.get("label_config"))
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
        "outcome": list(training.outcome),
        "model_version": backend.version,
        "not_saved": {str(task): reason for task, reason in sorted(backend.not_saved.items())[:_LISTED]},
        "not_saved_tasks": len(backend.not_saved),
        "objects_without_label": dict(backend.not_labeled),
        "regions_without_area": dict(sum(backend.skipped.values(), Counter())),
    }


async def _on_malformed(request: Request, error: Exception) -> JSONResponse:
    """A request whose values have other types than those that Label Studio sends."""
    if isinstance(error, SamtailorError):
        return await on_error(request, error)
    _log.warning("A request to %s has another structure than expected.", request.url.path, exc_info=error)
    text = "The request does not have the structure that Label Studio sends; see the log of the service."
    return JSONResponse({"error": text}, 422)


async def _json(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
        json.dumps(body, ensure_ascii=False).encode()  # half a surrogate pair could not be written later
    except (ValueError, RecursionError) as error:
        raise InputError("Expected JSON in UTF-8.") from error
    if not isinstance(body, dict):
        raise InputError("Expected a JSON object.")
    return body


__all__ = ["build"]
