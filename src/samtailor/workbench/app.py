"""The interface that the page uses: FastAPI around a `Session`. See docs/guides/annotate.md."""

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
from samtailor.masks.rle import validated
from samtailor.serve.app import add_health, bare
from samtailor.serve.guard import Guard
from samtailor.workbench import masks, schema, static
from samtailor.workbench.project import Stale
from samtailor.workbench.records import Record
from samtailor.workbench.session import Session
from samtailor.workbench.token_cookie import TokenCookie

JSON_BYTES = 32 * 2**20
"""Of a request: the masks of one image."""
_CACHED = "private, max-age=3600"


def build(
    bench: Session, *, token: str | None = None, hosts: Collection[str] = (), ready: Callable[[], object] | None = None
) -> FastAPI:
    """The application; closes the bench and its engine when it shuts down.

    Args:
        bench: the project with its adapters.
        token: what requests must show, as a cookie that /?token=... sets or as a header; None: nothing.
        hosts: names that it is reached by, besides localhost and IP addresses.
        ready: called when it is about to listen.
    """
    app = bare("samtailor ui", bench.engine)
    app.router.lifespan_context = _life(app.router.lifespan_context, bench, ready)
    app.add_exception_handler(Stale, _stale)
    add_health(app)
    _project(app, bench)
    _images(app, bench)
    _questions(app, bench)
    _polygons(app, bench)
    _jobs(app, bench)
    _exports(app, bench)
    static.add(app)
    app.add_middleware(Guard, limits=bench.engine.limits, token=token, hosts=hosts, json_bytes=JSON_BYTES)
    if token is not None:
        app.add_middleware(TokenCookie, token=token)
    return app


def _life(inner: Any, bench: Session, ready: Callable[[], object] | None) -> Any:
    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        _also_on_signals(bench.events.close)  # a server that is told to end waits for its streams
        async with inner(app):
            if ready is not None:
                ready()
            yield
            bench.close()

    return life


def _also_on_signals(call: Callable[[], object]) -> None:
    """Also call something when the process is told to end. The server puts back what was there before it."""
    if threading.current_thread() is not threading.main_thread():
        return  # tests run the application in another one, where no handler may be set
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _both(call, signal.getsignal(number)))


def _both(call: Callable[[], object], before: Any) -> Callable[[int, Any], None]:
    def handler(number: int, frame: Any) -> None:
        call()
        if callable(before):
            before(number, frame)

    return handler


def _project(app: FastAPI, bench: Session) -> None:
    @app.get("/api/project", summary="Classes, adapters, counts")
    def project() -> dict[str, Any]:
        return bench.about()

    @app.put("/api/classes", summary="Replace the list of classes")
    def classes(given: schema.Classes) -> dict[str, Any]:
        bench.project.set_classes(given.classes, given.renamed)
        bench.publish_project()
        return bench.about()

    @app.get("/api/events", summary="What happens, as server-sent events")
    async def events() -> StreamingResponse:
        job = bench.jobs.current
        first = [("project", bench.about()), *([("job", job.plain())] if job else [])]
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        return StreamingResponse(bench.events.listen(*first), media_type="text/event-stream", headers=headers)

    @app.get("/api/adapters/{name}/gallery", summary="Held-out objects before and after the fit")
    def gallery(name: str) -> dict[str, Any]:
        return bench.gallery(name)

    @app.delete("/api/adapters/{name}", status_code=204, summary="Delete an adapter")
    def remove(name: str) -> None:
        bench.remove(name)


def _images(app: FastAPI, bench: Session) -> None:
    images = bench.project.images

    @app.get("/api/images", summary="All images")
    def listed() -> list[dict[str, Any]]:
        return bench.project.rows()

    @app.get("/api/images/{id}/thumbnail", summary="A small JPEG")
    def thumbnail(id: str, request: Request) -> Response:
        return _kept(request, images.get(id).stamp, lambda: (images.thumbnail(id), "image/jpeg"))

    @app.get("/api/images/{id}/image", summary="The image upright")
    def image(id: str, request: Request) -> Response:
        return _kept(request, images.get(id).stamp, lambda: images.upright(id))

    @app.get("/api/images/{id}/annotations", summary="Objects of an image")
    def annotations(id: str) -> dict[str, Any]:
        return _record(bench.project.read(id))

    @app.put("/api/images/{id}/annotations", summary="Save the objects of an image")
    def save(id: str, given: schema.Annotations) -> dict[str, Any]:
        made = bench.project.put(id, given.revision, given.state, given.objects)
        bench.publish_image(id)
        return {"revision": made.revision}


def _questions(app: FastAPI, bench: Session) -> None:
    asking, points = bench.asking, bench.engine.limits.points

    @app.post("/api/images/{id}/encode", summary="Encode an image ahead of questions")
    async def ahead(id: str) -> dict[str, Any]:
        return {"seconds": await asking.ahead(id)}

    @app.post("/api/images/{id}/segment", summary="Masks for a prompt")
    async def segment(id: str, given: schema.Segment) -> dict[str, Any]:
        return await asking.segment(id, given.ask(points), given.adapter, closer=given.closer)

    @app.post("/api/images/{id}/compare", summary="The best mask of several adapters")
    async def compare(id: str, given: schema.Compare) -> dict[str, Any]:
        return {"answers": await asking.compare(id, given.ask(points), given.adapters), "encode_once": True}

    @app.get("/api/images/{id}/iou-map", summary="IoU with an object when clicking anywhere")
    async def map(id: str, object: str, adapter: str | None = None, grid: int = 16) -> dict[str, Any]:
        if not 1 <= grid <= 48:
            raise InputError(f"grid must be 1 to 48, got {grid}.")
        return await asking.iou_map(id, object, adapter or None, grid)

    @app.post("/api/images/{id}/auto", summary="What an adapter finds by itself; not saved")
    async def auto(id: str, given: schema.Auto) -> dict[str, Any]:
        found = await asking.automatic(id, given.adapter, given.threshold)
        return {"objects": [one.model_dump(mode="json", by_alias=True) for one in found]}


def _polygons(app: FastAPI, bench: Session) -> None:
    @app.post("/api/images/{id}/polygon", summary="A mask as polygons")
    def polygon(id: str, given: schema.Outline) -> dict[str, Any]:
        from pycocotools import mask as coco

        one = bench.project.images.get(id)
        if given.rle.size != (one.height, one.width):
            raise InputError(f"The mask has size {given.rle.size}, its image {(one.height, one.width)}.")
        mask = coco.decode(validated(given.rle.model_dump(), "rle")).astype(bool)
        parts = outlines(mask, given.tolerance)
        return {"polygons": [{"outer": o.tolist(), "holes": [h.tolist() for h in holes]} for o, holes in parts]}

    @app.post("/api/images/{id}/rasterise", summary="Polygons as a mask")
    def rasterise(id: str, given: schema.Polygons) -> dict[str, Any]:
        one = bench.project.images.get(id)
        mask = masks.rasterise([part.rings() for part in given.polygons], (one.height, one.width))
        return masks.shape(mask)


def _jobs(app: FastAPI, bench: Session) -> None:
    @app.post("/api/jobs/fit", status_code=201, summary="Fit an adapter on the accepted images")
    def fit(given: schema.Fit) -> dict[str, Any]:
        return bench.fit(**dict(given)).plain()

    @app.post("/api/jobs/label", status_code=201, summary="Label what no human has been at")
    def label(given: schema.Label) -> dict[str, Any]:
        return bench.label(given.adapter, given.threshold, given.only).plain()

    @app.get("/api/jobs/current", summary="The job in progress, or the last one")
    def current() -> dict[str, Any] | None:
        return bench.jobs.current and bench.jobs.current.plain()

    @app.delete("/api/jobs/current", summary="Stop the job; it saves")
    def stop() -> dict[str, Any]:
        return bench.jobs.stop().plain()


def _exports(app: FastAPI, bench: Session) -> None:
    @app.post("/api/export", status_code=201, summary="Write an export")
    def export(given: schema.Export) -> dict[str, Any]:
        return bench.exports.write(given.format, list(dict.fromkeys(given.states)), given.images)

    @app.get("/api/exports/{name}.zip", summary="An export as one file")
    def packed(name: str) -> FileResponse:
        return FileResponse(bench.exports.packed(name), media_type="application/zip", filename=f"{name}.zip")


def _record(record: Record) -> dict[str, Any]:
    kept = record.model_dump(mode="json", by_alias=True)
    return {key: kept[key] for key in ("revision", "state", "objects")}


def _kept(request: Request, stamp: str, make: Callable[[], tuple[bytes, str]]) -> Response:
    """A file that a browser may keep; asked whether it is still the same, the answer is short."""
    headers = {"etag": f'"{stamp}"', "cache-control": _CACHED}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    data, kind = make()
    return Response(data, media_type=kind, headers=headers)


async def _stale(request: Request, error: Any) -> JSONResponse:
    return JSONResponse({"error": str(error), **_record(error.record)}, 409)


__all__ = ["JSON_BYTES", "build"]
