"""Error responses of the HTTP services: JSON with one message in words, and the status that belongs to it."""

from __future__ import annotations

import errno
import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from samtailor.errors import SamtailorError, fault_in_words
from samtailor.serve.refusals import Busy, Refused

_log = logging.getLogger("samtailor.serve")
_NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EROFS, errno.ENOMEM, getattr(errno, "EDQUOT", errno.ENOSPC))


def answer_errors(app: FastAPI) -> None:
    """Let an application respond to every error with JSON."""
    app.add_exception_handler(SamtailorError, on_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    for kind in (OSError, MemoryError, UnicodeError, RuntimeError, ImportError):
        app.add_exception_handler(kind, _on_fault)
    app.add_exception_handler(Exception, _on_failure)


def words(errors: Any) -> str:
    """The first five validation errors of pydantic in one line, without the invalid input."""
    messages = []
    for error in list(errors)[:5]:
        place = ".".join(str(part) for part in error["loc"] if part != "body")
        messages.append(f"{place}: {error['msg']}" if place else error["msg"])
    return "; ".join(messages) + "."


async def on_error(request: Request, error: Exception) -> JSONResponse:
    """The response for an error of samtailor."""
    status = error.status if isinstance(error, Refused) else 422
    headers = {"retry-after": str(error.retry_after)} if isinstance(error, Busy) else None
    return _error(status, str(error), headers)


async def _on_http_error(request: Request, error: Any) -> JSONResponse:
    return _error(error.status_code, error.detail, error.headers)


async def _on_invalid_request(request: Request, error: Any) -> JSONResponse:
    return _error(422, words(error.errors()))


async def _on_fault(request: Request, error: Exception) -> JSONResponse:
    """A fault of the machine: the disk, its permissions, memory."""
    if isinstance(error, SamtailorError):
        return await on_error(request, error)
    words = fault_in_words(error)
    if words is None and isinstance(error, RuntimeError | ImportError):
        raise error  # an error of the program, which the server logs
    _log.error("A request to %s failed.", request.url.path, exc_info=error)
    if words is None:
        return await _on_failure(request, error)
    memory = isinstance(error, MemoryError | RuntimeError | ImportError)
    no_room = memory or getattr(error, "errno", None) in _NO_ROOM
    return _error(422 if isinstance(error, UnicodeError) else 507 if no_room else 500, words)


async def _on_failure(request: Request, error: Exception) -> JSONResponse:
    return _error(500, "Internal error; see the log of the service.")


def _error(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    safe = str(text).encode("utf-8", "replace").decode()  # may quote half a surrogate pair
    return JSONResponse({"error": safe}, status, headers)


__all__ = ["answer_errors", "on_error", "words"]
