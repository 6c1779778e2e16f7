"""The HTTP service: FastAPI around an `Engine`. See docs/guides/serve.md for its use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from samtailor import __version__
from samtailor.errors import InputError, SamtailorError
from samtailor.serve import schema
from samtailor.serve.adapters import LoadedAdapter
from samtailor.serve.answers import shape
from samtailor.serve.embeddings import Embedding
from samtailor.serve.engine import Answer, Engine
from samtailor.serve.guard import Guard
from samtailor.serve.metrics import Metrics
from samtailor.serve.refusals import Busy, Refused

_IMAGE: dict[str, Any] = {"type": "string", "format": "binary"}
_UPLOAD = {
    "required": True,
    "content": {
        "multipart/form-data": {"schema": {"type": "object", "required": ["image"], "properties": {"image": _IMAGE}}},
        "image/*": {"schema": _IMAGE},
        "application/octet-stream": {"schema": _IMAGE},
    },
}
_QUESTION = {
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
    status: {"model": schema.Wrong} for status in (401, 403, 404, 408, 409, 413, 415, 422, 503)
}


def build(
    engine: Engine, *, token: str | None = None, hosts: Collection[str] = (), metrics: Metrics | None = None
) -> FastAPI:
    """The application; closes the engine when it shuts down.

    Args:
        engine: with its adapters.
        token: what requests must show; None: nothing.
        hosts: names that it is reached by, besides localhost and IP addresses.
        metrics: the one that the engine was told to count with.
    """
    metrics = metrics or Metrics()
    metrics.follow(engine)
    app = bare("samtailor", engine)
    tell_health(app)
    _tell(app, metrics)
    _images(app, engine, metrics)
    _adapters(app, engine)
    app.openapi = partial(_openapi, app, app.openapi)  # type: ignore[method-assign]
    app.add_middleware(Guard, limits=engine.limits, token=token, hosts=hosts, count=metrics)
    return app


def bare(title: str, engine: Engine) -> FastAPI:
    """A FastAPI that says no in words and fetches nothing from elsewhere: no page with scripts of other hosts."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        engine.close()

    app = FastAPI(
        title=title, version=__version__, lifespan=life, docs_url=None, redoc_url=None, responses=_WRONG,
        redirect_slashes=False,
    )  # fmt: skip
    app.add_exception_handler(SamtailorError, _refused)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _failed)
    return app


def tell_health(app: FastAPI) -> None:
    """Answer /health, for whoever watches the process; it needs no token."""

    @app.get("/health", summary="Whether the process lives")
    async def health() -> dict[str, str]:
        return {"status": "up"}


def _tell(app: FastAPI, metrics: Metrics) -> None:
    @app.get("/ready", summary="Whether questions are answered")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}  # the base and the adapters are loaded before the port is opened

    @app.get("/metrics", summary="For Prometheus", response_class=Response)
    async def figures() -> Response:
        return Response(metrics.text(), headers={"content-type": metrics.content_type})


def _images(app: FastAPI, engine: Engine, metrics: Metrics) -> None:
    @app.post("/embeddings", status_code=201, summary="Encode an image", openapi_extra={"requestBody": _UPLOAD})
    async def embed(request: Request, adapter: str | None = None) -> schema.EncodedImage:
        image, _ = await _upload(request)
        return _image(await engine.embed(image, adapter))

    @app.get("/embeddings/{id}", summary="Whether an image is known")
    async def known(id: str) -> schema.EncodedImage:
        return _image(engine.find(id))

    @app.delete("/embeddings/{id}", status_code=204, summary="Forget an image")
    async def forget(id: str) -> None:
        engine.find(id)
        engine.embeddings.drop(id)

    @app.post(
        "/segment",
        summary="Masks for prompts",
        openapi_extra={"requestBody": _QUESTION},
        response_model_exclude_unset=True,
    )
    async def segment(request: Request) -> schema.Masks:
        image, asked = await _asked(request)
        embedding, answers = await engine.segment(
            image,
            asked.asks(engine.limits.prompts, engine.limits.points),
            asked.adapter,
            automatic=asked.auto,
            threshold=asked.threshold,
            every=asked.masks == "all",
            form=lambda mask: shape(mask, asked.format, asked.tolerance),
        )
        metrics.masks(asked.adapter, len(answers))
        masks = [_mask(answer, asked.format) for answer in answers]
        return schema.Masks(embedding=_image(embedding), adapter=asked.adapter, masks=masks)


def _adapters(app: FastAPI, engine: Engine) -> None:
    @app.get("/adapters", summary="Who can be asked")
    async def listed() -> schema.Adapters:
        slots = [_adapter(slot) for slot in engine.adapters.slots()]
        return schema.Adapters(base=engine.base.name, adapters=slots)

    @app.put("/adapters/{name}", status_code=201, summary="Load an adapter")
    async def add(name: str, place: schema.Place) -> schema.Adapter:
        return _adapter(await engine.add_adapter(name, place.folder))

    @app.delete("/adapters/{name}", status_code=204, summary="Take an adapter out")
    async def remove(name: str) -> None:
        engine.remove_adapter(name)


async def _asked(request: Request) -> tuple[bytes | str, schema.PromptBatch]:
    """The image or its id, and the question."""
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        image, text = await _upload(request)
        asked = _question(text if text is not None else "{}")
        if asked.embedding is not None:
            raise InputError("Send the image, or the id of its embedding, not both.")
        return image, asked
    asked = _question(await request.body())
    if asked.embedding is None:
        raise InputError(
            "Which image? Give `embedding`, or send multipart/form-data with the fields image and question."
        )
    return asked.embedding, asked


async def _upload(request: Request) -> tuple[bytes, str | None]:
    """The bytes of the image, and the field `question` beside it."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        image, text = await request.body(), None
    else:
        async with request.form(max_files=1, max_fields=1) as form:
            file, text = form.get("image"), form.get("question")
            if not isinstance(file, UploadFile) or not (text is None or isinstance(text, str)):
                raise InputError("The form needs a file in the field `image`, and may have the text `question`.")
            image = await file.read()
    if not image:
        raise InputError("There is no image in the request: send its bytes, or a form with a file in `image`.")
    return image, text


def _question(text: str | bytes) -> schema.PromptBatch:
    try:
        return schema.PromptBatch.model_validate_json(text)
    except ValidationError as error:
        raise InputError(words(error.errors())) from error


def words(errors: Any) -> str:
    """pydantic's list of what is wrong, in one line, without repeating what came in."""
    told = []
    for error in list(errors)[:5]:
        place = ".".join(str(part) for part in error["loc"] if part != "body")
        told.append(f"{place}: {error['msg']}" if place else error["msg"])
    return "; ".join(told) + "."


async def _refused(request: Request, error: Exception) -> JSONResponse:
    status = error.status if isinstance(error, Refused) else 422
    headers = {"retry-after": str(error.retry_after)} if isinstance(error, Busy) else None
    return _no(status, str(error), headers)


async def _http(request: Request, error: Any) -> JSONResponse:
    return _no(error.status_code, error.detail, error.headers)


async def _invalid(request: Request, error: Any) -> JSONResponse:
    return _no(422, words(error.errors()))


async def _failed(request: Request, error: Exception) -> JSONResponse:
    return _no(500, "Something went wrong inside; the log of the service says what.")


def _no(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": str(text)}, status, headers)


def _image(embedding: Embedding) -> schema.EncodedImage:
    return schema.EncodedImage(id=embedding.id, width=embedding.width, height=embedding.height)


def _mask(answer: Answer, form: str) -> schema.Mask:
    known = {"prompt": answer.prompt, "label": answer.label, "score": answer.score, "predicted_iou": answer.iou}
    return schema.Mask(**known, area=answer.area, box=answer.box, **{form: answer.shape})


def _adapter(slot: LoadedAdapter) -> schema.Adapter:
    return schema.Adapter(
        name=slot.name,
        method=slot.meta.method,
        classes=list(slot.meta.classes),
        auto=slot.automatic,
        promptless=slot.promptless,
        own_encoder=bool(slot.encoder),
        parameters=sum(slot.meta.parameters.values()),
    )


def _openapi(app: FastAPI, made: Any) -> dict[str, Any]:
    """With the schemas of questions, which the service reads by itself."""
    found = made()
    question = schema.PromptBatch.model_json_schema(ref_template="#/components/schemas/{model}")
    found["components"]["schemas"].update({**question.pop("$defs", {}), "Question": question})
    return found


__all__ = ["bare", "build", "tell_health", "words"]
