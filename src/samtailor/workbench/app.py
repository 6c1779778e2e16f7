"""HTTP interface of the page: a FastAPI application around a `Session`. See docs/guides/annotate.md."""

from __future__ import annotations

import signal
import threading
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse

from samtailor.errors import InputError
from samtailor.masks.polygons import outlines
from samtailor.serve.app import add_health, bare
from samtailor.serve.guard import Guard
from samtailor.workbench import app_tools, masks, schema, static
from samtailor.workbench.project import Stale
from samtailor.workbench.records import Record
from samtailor.workbench.session import Session
from samtailor.workbench.token_cookie import TokenCookie

JSON_BYTES = 32 * 2**20
"""Largest request body: the masks of one image."""
_CACHED = "private, max-age=3600"


def build(
    session: Session,
    *,
    token: str | None = None,
    hosts: Collection[str] = (),
    ready: Callable[[], object] | None = None,
) -> FastAPI:
    """The application. It closes the session and its engine when it shuts down.

    Args:
        session: the open project.
        token: token that requests must carry, in a cookie that /?token=... sets or in a header; None: no token.
        hosts: host names that are allowed besides localhost and IP addresses.
        ready: called when the server is about to listen.
    """
    session.imports.anywhere = token is None
    app = bare("samtailor ui", session.engine)
    app.router.lifespan_context = _lifespan(app.router.lifespan_context, session, ready)
    app.add_exception_handler(Stale, _stale)
    add_health(app)
    _add_project(app, session)
    _add_images(app, session)
    _add_prompts(app, session)
    _add_polygons(app, session)
    _add_jobs(app, session)
    _add_exports(app, session)
    app_tools.add(app, session)
    static.add(app)
    app.add_middleware(Guard, limits=session.engine.limits, token=token, hosts=hosts, json_bytes=JSON_BYTES)
    if token is not None:
        app.add_middleware(TokenCookie, token=token)
    return app


def _lifespan(inner: Any, session: Session, ready: Callable[[], object] | None) -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        _call_on_signals(session.events.close)  # the server waits for open streams before it shuts down
        async with inner(app):
            if ready is not None:
                ready()
            yield
            session.close()

    return lifespan


def _call_on_signals(call: Callable[[], object]) -> None:
    """Call a function before the present handlers of SIGINT and SIGTERM. The server restores its handlers itself."""
    if threading.current_thread() is not threading.main_thread():
        return  # handlers can only be set in the main thread; tests run the application in another one
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _chained(call, signal.getsignal(number)))


def _chained(call: Callable[[], object], before: Any) -> Callable[[int, Any], None]:
    def handler(number: int, frame: Any) -> None:
        call()
        if callable(before):
            before(number, frame)

    return handler


def _add_project(app: FastAPI, session: Session) -> None:
    @app.get("/api/project", summary="Classes, adapters, counts")
    def project() -> dict[str, Any]:
        return session.about()

    @app.put("/api/classes", summary="Replace the list of classes")
    def classes(body: schema.Classes) -> dict[str, Any]:
        session.project.set_classes(body.classes, body.renamed, body.moved)
        session.publish_project()
        return session.about()

    @app.get("/api/events", summary="Changes as server-sent events")
    async def events() -> StreamingResponse:
        job = session.jobs.current
        first = [("project", session.about()), *([("job", job.to_json())] if job else [])]
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        return StreamingResponse(session.events.listen(*first), media_type="text/event-stream", headers=headers)

    @app.get("/api/adapters/{name}/gallery", summary="Held-out objects before and after the fit")
    def gallery(name: str) -> dict[str, Any]:
        return session.gallery(name)

    @app.delete("/api/adapters/{name}", status_code=204, summary="Delete an adapter")
    def remove(name: str) -> None:
        session.remove(name)


def _add_images(app: FastAPI, session: Session) -> None:
    images = session.project.images

    @app.get("/api/images", summary="All images")
    def rows() -> list[dict[str, Any]]:
        return session.project.rows()

    @app.get("/api/images/{id}/thumbnail", summary="Thumbnail of an image, JPEG")
    def thumbnail(id: str, request: Request) -> Response:
        return _cached(request, images.get(id).stamp, lambda: (images.thumbnail(id), "image/jpeg"))

    @app.get("/api/images/{id}/image", summary="The image after its EXIF rotation")
    def image(id: str, request: Request) -> Response:
        return _cached(request, images.get(id).stamp, lambda: images.upright(id))

    @app.get("/api/images/{id}/annotations", summary="Annotations of an image")
    def annotations(id: str) -> dict[str, Any]:
        return _record_to_json(session.project.read(id))

    @app.put("/api/images/{id}/annotations", summary="Save the annotations of an image")
    def save(id: str, body: schema.Annotations) -> dict[str, Any]:
        record = session.project.put(id, body.revision, body.state, body.objects)
        session.publish_image(id)
        return {"revision": record.revision}


def _add_prompts(app: FastAPI, session: Session) -> None:
    service, max_points = session.prompt_service, session.engine.limits.points

    @app.post("/api/images/{id}/encode", summary="Encode an image before the first prompt")
    async def encode(id: str, body: schema.Encode | None = None) -> dict[str, Any]:
        asked = body or schema.Encode()
        try:
            return {"seconds": await service.encode_ahead(id, asked.adapter, asked.view)}
        finally:
            if id in session.project.images.all() and session.project.row(id)["state"] == "failed":
                session.publish_image(id)  # the image turned out to be unreadable

    @app.post("/api/images/{id}/segment", summary="Masks for a prompt")
    async def segment(id: str, body: schema.Segment) -> dict[str, Any]:
        refined = None if body.refine is None else (body.refine, body.answer)
        return await service.segment(
            id, body.prompt(max_points), body.adapter, zoom=body.zoom, view=body.view, refined=refined
        )

    @app.post("/api/images/{id}/compare", summary="The best mask of each of several adapters")
    async def compare(id: str, body: schema.Compare) -> dict[str, Any]:
        return {"results": await service.compare(id, body.prompt(max_points), body.adapters, body.view)}

    @app.get("/api/images/{id}/iou-map", summary="IoU with an object for a click at each position of a grid")
    async def iou_map(id: str, object: str, adapter: str | None = None, grid: int = 16) -> dict[str, Any]:
        if not 1 <= grid <= 48:
            raise InputError(f"grid must be between 1 and 48, got {grid}.")
        return await service.iou_map(id, object, adapter or None, grid)

    @app.post("/api/images/{id}/auto", summary="Objects that an adapter predicts in automatic mode; not saved")
    async def auto(id: str, body: schema.Auto) -> dict[str, Any]:
        objects = await service.automatic(id, body.adapter, body.threshold)
        return {"objects": [o.model_dump(mode="json", by_alias=True) for o in objects]}


def _add_polygons(app: FastAPI, session: Session) -> None:
    @app.post("/api/images/{id}/polygon", summary="Convert a mask to polygons")
    def polygon(id: str, body: schema.MaskToPolygons) -> dict[str, Any]:
        image = session.project.images.get(id)
        mask = masks.mask_of_runs(body.rle, (image.height, image.width))
        parts = outlines(mask, body.tolerance)
        return {"polygons": [{"outer": o.tolist(), "holes": [h.tolist() for h in holes]} for o, holes in parts]}

    @app.post("/api/images/{id}/rasterize", summary="Convert polygons to a mask")
    def rasterize(id: str, body: schema.Polygons) -> dict[str, Any]:
        image = session.project.images.get(id)
        mask = masks.rasterize([part.rings() for part in body.polygons], (image.height, image.width))
        return masks.mask_to_json(mask)


def _add_jobs(app: FastAPI, session: Session) -> None:
    @app.post("/api/jobs/fit", status_code=201, summary="Fit an adapter on the accepted images")
    def fit(body: schema.Fit) -> dict[str, Any]:
        return session.fit(**dict(body)).to_json()

    @app.post("/api/jobs/label", status_code=201, summary="Label the images without annotations")
    def label(body: schema.Label) -> dict[str, Any]:
        return session.label(body.adapter, body.threshold, body.only).to_json()

    @app.post("/api/jobs/import", status_code=201, summary="Import annotations of a data set")
    def import_data(body: schema.Import) -> dict[str, Any]:
        started = session.imports.start(body.data, body.format, body.options, replace=body.replace, dry=body.dry)
        return started.to_json()

    @app.get("/api/data-format", summary="Layout of annotations in the folder of the images")
    def data_format() -> dict[str, Any]:
        return session.imports.detected()

    @app.delete("/api/hidden", summary="List the files that an import has hidden as images again")
    def show_hidden() -> dict[str, Any]:
        session.project.show_hidden()
        session.publish_project()
        return session.about()

    @app.get("/api/jobs/current", summary="The running job, or the last one")
    def current() -> dict[str, Any] | None:
        job = session.jobs.current
        return None if job is None else job.to_json()

    @app.post("/api/jobs/current/keep", summary="End the fit with the best result so far")
    def keep() -> dict[str, Any]:
        return session.jobs.keep().to_json()

    @app.delete("/api/jobs/current", summary="Stop the job after it has saved")
    def stop() -> dict[str, Any]:
        return session.jobs.stop().to_json()


def _add_exports(app: FastAPI, session: Session) -> None:
    @app.post("/api/export", status_code=201, summary="Write an export")
    def export(body: schema.Export) -> dict[str, Any]:
        states = list(dict.fromkeys(body.states))
        return session.exports.write(body.format, states, body.images, body.options, body.classes, body.val)

    @app.get("/api/exports/{name}.zip", summary="An export as a zip file")
    def packed(name: str) -> FileResponse:
        return FileResponse(session.exports.packed(name), media_type="application/zip", filename=f"{name}.zip")


def _record_to_json(record: Record) -> dict[str, Any]:
    dumped = record.model_dump(mode="json", by_alias=True)
    return {key: dumped[key] for key in ("revision", "state", "objects")}


def _cached(request: Request, stamp: str, make: Callable[[], tuple[bytes, str]]) -> Response:
    """A response that the browser may cache; 304 if it already has this stamp."""
    headers = {"etag": f'"{stamp}"', "cache-control": _CACHED}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    data, media_type = make()
    return Response(data, media_type=media_type, headers=headers)


async def _stale(request: Request, error: Any) -> JSONResponse:
    return JSONResponse({"error": str(error), **_record_to_json(error.record)}, 409)


__all__ = ["JSON_BYTES", "build"]
