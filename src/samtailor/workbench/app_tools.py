"""Part of the HTTP interface of the page: clean-up of masks, base models, accepting many images, finding objects."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Response

from samtailor.errors import InputError
from samtailor.workbench import schema
from samtailor.workbench.cleaning import cleaned_to_json
from samtailor.workbench.masks import mask_of_runs
from samtailor.workbench.session import Session


def add(app: FastAPI, session: Session) -> None:
    """Add the routes."""

    @app.post("/api/images/{id}/clean", summary="Clean up a mask, or split it into its parts")
    def clean(id: str, body: schema.Clean) -> dict[str, Any]:
        image = session.project.images.get(id)
        mask = mask_of_runs(body.rle, (image.height, image.width))
        if not mask.any():
            raise InputError("The mask is empty.")
        return {"masks": cleaned_to_json(mask, body.operation)}

    @app.get("/api/images/{id}/sheet", summary="The image with its objects, for a contact sheet, JPEG")
    def sheet(id: str) -> Response:
        return Response(session.bulk.tile(id), media_type="image/jpeg", headers={"cache-control": "no-store"})

    @app.get("/api/bases", summary="Base models: suggestions and measurements")
    def bases() -> list[dict[str, Any]]:
        return session.bases.rows()

    @app.post("/api/jobs/measure", status_code=201, summary="Load a base model and measure its speed")
    def measure(body: schema.BaseName) -> dict[str, Any]:
        return session.bases.measure(body.name).to_json()

    @app.put("/api/base", summary="Choose the base model for the next start")
    def choose(body: schema.BaseName) -> dict[str, Any]:
        session.bases.choose(body.name)
        return session.about()

    @app.post("/api/jobs/find", status_code=201, summary="Find objects like those of references")
    def find(body: schema.Find) -> dict[str, Any]:
        references = [one.marks() for one in body.references]
        return session.finding.start(body.class_, references, body.threshold, body.here).to_json()

    @app.post("/api/accept", summary="Accept proposed images")
    def accept(body: schema.AcceptMany) -> dict[str, Any]:
        accepted, refused = session.bulk.accept(body.ids)
        for id in accepted:
            session.publish_image(id)
        session.publish_project()
        return {"accepted": accepted, "refused": refused}

    @app.delete("/api/accept", summary="Take back the last request to accept images")
    def take_back() -> dict[str, Any]:
        undone = session.bulk.undo()
        for id in undone:
            session.publish_image(id)
        session.publish_project()
        return {"proposed": undone}


__all__ = ["add"]
