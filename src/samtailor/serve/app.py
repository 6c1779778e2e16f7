"""The HTTP service: a FastAPI application for an `Engine`. docs/guides/serve.md describes how to use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from samtailor import __version__
from samtailor.errors import InputError
from samtailor.serve import schema
from samtailor.serve.adapters import LoadedAdapter
from samtailor.serve.answer_notes import notes
from samtailor.serve.answers import shape
from samtailor.serve.embeddings import Embedding
from samtailor.serve.engine import Engine, Prediction
from samtailor.serve.error_responses import answer_errors, on_error, words
from samtailor.serve.guard import Guard
from samtailor.serve.metrics import Metrics

_IMAGE: dict[str, Any] = {"type": "string", "format": "binary"}
_UPLOAD = {
    "required": True,
    "content": {
        "multipart/form-data": {"schema": {"type": "object", "required": ["image"], "properties": {"image": _IMAGE}}},
        "image/*": {"schema": _IMAGE},
        "application/octet-stream": {"schema": _IMAGE},
    },
}
_REQUEST = {
    "required": True,
    "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/Question"}},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["image", "question"],
                "properties": {
                    "image": _IMAGE,
                    "question": {"type": "string", "description": "A Question as JSON, without embedding."},
                },
            }
        },
    },
}
_WRONG: dict[int | str, dict[str, Any]] = {
    status: {"model": schema.Wrong} for status in (401, 403, 404, 408, 409, 413, 415, 422, 503, 507)
}


def build(
    engine: Engine, *, token: str | None = None, hosts: Collection[str] = (), metrics: Metrics | None = None
) -> FastAPI:
    """The application; it closes the engine on shutdown.

    Args:
        engine: with its adapters.
        token: that requests must send; None: no token.
        hosts: host names of the service besides localhost and IP addresses.
        metrics: the counter of the engine; None creates new metrics.
    """
    metrics = metrics or Metrics()
    metrics.follow(engine)
    app = bare("samtailor", engine)
    app.state.base = engine.base.name
    add_health(app)
    _add_status(app, metrics)
    _add_images(app, engine, metrics)
    _add_adapters(app, engine)
    app.openapi = partial(_openapi, app, app.openapi)  # type: ignore[method-assign]
    app.add_middleware(Guard, limits=engine.limits, token=token, hosts=hosts, count=metrics)
    return app


def bare(title: str, engine: Engine) -> FastAPI:
    """A FastAPI application with JSON error messages and without documentation pages, which load external scripts.

    Args:
        title: of the API.
        engine: closed on shutdown.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        engine.close()

    app = FastAPI(
        title=title, version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, responses=_WRONG,
        redirect_slashes=False,
    )  # fmt: skip
    answer_errors(app)
    return app


def add_health(app: FastAPI) -> None:
    """Add /health for process monitors; it needs no token."""

    @app.get("/health", summary="Whether the process runs")
    async def health() -> dict[str, str]:
        return {"status": "up"}


def _add_status(app: FastAPI, metrics: Metrics) -> None:
    @app.get("/ready", summary="Whether the service is ready")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}  # the base and the adapters are loaded before the port is opened

    @app.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
    async def figures() -> Response:
        return Response(metrics.text(), headers={"content-type": metrics.content_type})


def _add_images(app: FastAPI, engine: Engine, metrics: Metrics) -> None:
    @app.post("/embeddings", status_code=201, summary="Encode an image", openapi_extra={"requestBody": _UPLOAD})
    async def embed(request: Request, adapter: str | None = None) -> schema.EncodedImage:
        image, _ = await _upload(request)
        return _image(await engine.embed(image, adapter))

    @app.get("/embeddings/{id}", summary="Whether an image is encoded")
    async def known(id: str) -> schema.EncodedImage:
        return _image(await engine.known(id))

    @app.delete("/embeddings/{id}", status_code=204, summary="Drop an image")
    async def drop(id: str) -> None:
        engine.drop(id)

    @app.post(
        "/segment",
        summary="Masks for prompts",
        openapi_extra={"requestBody": _REQUEST},
        response_model_exclude_unset=True,
    )
    async def segment(request: Request) -> schema.Masks:
        image, batch = await _image_and_prompts(request)
        embedding, predictions = await engine.segment(
            image,
            batch.object_prompts(engine.limits.prompts, engine.limits.points),
            batch.adapter,
            automatic=batch.auto,
            threshold=batch.threshold,
            every=batch.masks == "all",
            form=lambda mask: shape(mask, batch.format, batch.tolerance),
        )
        metrics.masks(batch.adapter, sum(prediction.area > 0 for prediction in predictions))
        masks = [_mask(prediction, batch.format) for prediction in predictions]
        said = notes(engine.adapters.get(batch.adapter), predictions, automatic=batch.auto)
        more = {"notes": said} if said else {}
        return schema.Masks(embedding=_image(embedding), adapter=batch.adapter, masks=masks, **more)


def _add_adapters(app: FastAPI, engine: Engine) -> None:
    @app.get("/adapters", summary="List the adapters")
    async def listed() -> schema.Adapters:
        await engine.current()
        adapters = [_adapter(loaded) for loaded in engine.adapters.all()]
        return schema.Adapters(base=engine.base.name, adapters=adapters)

    @app.put("/adapters/{name}", status_code=201, summary="Load an adapter")
    async def add(name: str, place: schema.Place) -> schema.Adapter:
        return _adapter(await engine.add_adapter(name, place.folder))

    @app.delete("/adapters/{name}", status_code=204, summary="Remove an adapter")
    async def remove(name: str) -> None:
        await asyncio.to_thread(engine.remove_adapter, name)  # may wait for another process


async def _image_and_prompts(request: Request) -> tuple[bytes | str, schema.PromptBatch]:
    """The image or its id, and the prompts."""
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        image, text = await _upload(request)
        batch = _prompt_batch(text if text is not None else "{}")
        if batch.embedding is not None:
            raise InputError("Send the image, or the id of its embedding, not both.")
        return image, batch
    batch = _prompt_batch(await request.body())
    if batch.embedding is None:
        raise InputError(
            "The image is missing: give `embedding`, or send multipart/form-data with the fields image and question."
        )
    return batch.embedding, batch


async def _upload(request: Request) -> tuple[bytes, str | None]:
    """Content of the image file, and the form field `question`."""
    text: str | None = None
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        image = await request.body()
    else:
        async with request.form(max_files=1, max_fields=1) as form:
            file, question = form.get("image"), form.get("question")
            if not isinstance(file, UploadFile) or isinstance(question, UploadFile):
                raise InputError("The form needs a file in the field `image`, and may have the text field `question`.")
            image, text = await file.read(), question
    if not image:
        raise InputError("The request contains no image: send its bytes, or a form with a file in the field `image`.")
    return image, text


def _prompt_batch(text: str | bytes) -> schema.PromptBatch:
    try:
        return schema.PromptBatch.model_validate_json(text)
    except ValidationError as error:
        raise InputError(words(error.errors())) from error


def _image(embedding: Embedding) -> schema.EncodedImage:
    return schema.EncodedImage(id=embedding.id, width=embedding.width, height=embedding.height)


def _mask(prediction: Prediction, form: str) -> schema.Mask:
    shape: dict[str, Any] = {form: prediction.shape}
    return schema.Mask(
        prompt=prediction.prompt,
        label=prediction.label,
        score=prediction.score,
        predicted_iou=prediction.iou,
        area=prediction.area,
        empty=prediction.area == 0,
        box=prediction.box,
        **shape,
    )


def _adapter(loaded: LoadedAdapter) -> schema.Adapter:
    if loaded.name is None or loaded.meta is None:
        raise InputError("The base model is not an adapter.")
    return schema.Adapter(
        name=loaded.name,
        method=loaded.meta.method,
        classes=list(loaded.classes),
        auto=loaded.automatic,
        promptless=loaded.promptless,
        own_encoder=loaded.own_encoder,
        parameters=sum(loaded.meta.parameters.values()),
    )


def _openapi(app: FastAPI, generate: Any) -> dict[str, Any]:
    """FastAPI's description with the schema of `PromptBatch`, which the service parses itself."""
    description = generate()
    batch = schema.PromptBatch.model_json_schema(ref_template="#/components/schemas/{model}")
    description["components"]["schemas"].update({**batch.pop("$defs", {}), "Question": batch})
    return description


__all__ = ["add_health", "bare", "build", "on_error", "words"]
