"""The built page in `page/`. Only files found in that folder are served; request paths are never opened."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response
from starlette.exceptions import HTTPException

FOLDER = Path(__file__).parent / "page"
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_IMMUTABLE = "public, max-age=31536000, immutable"  # names of assets contain a hash of their content
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2",
          ".html": "text/html", ".json": "application/json", ".webmanifest": "application/manifest+json"}  # fmt: skip


def add(app: FastAPI, folder: Path = FOLDER) -> None:
    """Serve the page at / and its files next to it. Call this after all other routes are added."""

    @app.get("/{name:path}", include_in_schema=False)
    def page(name: str) -> Response:
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        if (path := files.get(name or "index.html")) is None:
            missing = "The page is not built, see workbench-page/README.md." if not files else "No such file."
            raise HTTPException(404, missing)
        media_type = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        cache = _IMMUTABLE if name.startswith("assets/") else "no-cache"
        headers = {"content-security-policy": POLICY, "cache-control": cache}
        return FileResponse(path, media_type=media_type, headers=headers)


__all__ = ["FOLDER", "POLICY", "add"]
