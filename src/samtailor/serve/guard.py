"""ASGI middleware that checks host, origin and token of requests and limits their size and number.

Host: a page of another site can make a browser send requests to 127.0.0.1, and with DNS rebinding even under its own
name. Such requests have that name as Host, so only localhost, IP addresses and allowed names are accepted.
Origin: requests that the browser marks as coming from another site (Origin, Sec-Fetch-Site) are rejected. There is no
CORS.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import ipaddress
import json
import time
from collections.abc import Collection
from typing import Any, Protocol
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException

from samtailor.serve.limits import Limits

_GRACE = 2.0  # seconds before an upload counts as slow
OPEN = ("/health", "/ready")
"""Paths without a token and without a limit on requests: they only report that the service runs."""

_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class RequestCounter(Protocol):
    """Counts requests."""

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one."""


class Guard:
    """See the module docstring.

    Args:
        app: the protected application.
        limits: on size and number of requests.
        token: that a request must send (Bearer, or the password of Basic); None: no token.
        hosts: host names of the service besides localhost and IP addresses.
        json_bytes: maximum size of a JSON body; None: that of `limits`.
        count: counts requests.
    """

    def __init__(
        self,
        app: Any,
        *,
        limits: Limits,
        token: str | None = None,
        hosts: Collection[str] = (),
        json_bytes: int | None = None,
        count: RequestCounter | None = None,
    ) -> None:
        self._app, self._limits, self._token, self._count = app, limits, token, count
        self._hosts = {"localhost", *(host.lower() for host in hosts)}
        self._json_bytes = json_bytes or limits.json_bytes
        self._active = 0
        # start and bytes of unfinished bodies, oldest first
        self._uploads: dict[asyncio.Task[Any], tuple[float, int]] = {}
        self._ended: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """ASGI entry point."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return None  # a websocket that is not accepted is closed
        start, response = time.monotonic(), {"status": 500}

        async def send_with_headers(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                response["status"] = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
            await send(message)

        try:
            await self._checked(scope, receive, send_with_headers)
        finally:
            if self._count is not None:
                route = getattr(scope.get("route"), "path", "other")  # not the path, which a client may invent
                self._count.request(route, _known(scope["method"]), response["status"], time.monotonic() - start)

    async def _checked(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = _headers(scope)
        if (rejection := self._rejection(scope, headers)) is not None:
            return await _send_error(send, *rejection)
        if scope["path"] in OPEN:
            return await self._app(scope, receive, send)
        if self._active >= self._limits.requests:
            await self._end_slow_upload()
        if self._active >= self._limits.requests:
            return await _send_error(
                send, 503, "Too many requests at the moment. Try again in 1 s.", ("retry-after", "1")
            )
        self._active += 1
        task = asyncio.current_task()
        try:
            await self._app(scope, self._bounded(receive, headers), send)
        except HTTPException as error:  # of `_bounded`, in an application that does not handle it
            await _send_error(send, error.status_code, error.detail)
        except asyncio.CancelledError:
            if task not in self._ended:
                raise
            await _send_error(send, 408, "The upload was ended to make room for other requests.")
        finally:
            self._active -= 1
            if task is not None:
                self._uploads.pop(task, None)
                self._ended.discard(task)

    async def _end_slow_upload(self) -> None:
        """Make room for a request: the oldest upload that is slower than the rate is ended.

        Clients that send a byte now and then cannot use up the places that others need.
        """
        now = time.monotonic()
        slow = (task for task, (start, received) in self._uploads.items()
                if now - start > _GRACE and received < self._limits.rate * (now - start))  # fmt: skip
        if (oldest := next(slow, None)) is None:
            return
        self._uploads.pop(oldest)
        self._ended.add(oldest)
        oldest.cancel()
        for _ in range(100):  # until it has left
            if oldest not in self._ended:
                return
            await asyncio.sleep(0)

    def _rejection(
        self, scope: dict[str, Any], headers: dict[str, list[str]]
    ) -> tuple[int, str] | tuple[int, str, tuple[str, str]] | None:
        """Status, message and headers of an error; None if the request is accepted."""
        host = headers.get("host", [])
        if len(host) != 1 or not self._is_allowed_host(host[0]):
            return 403, (
                "This host name is not allowed. Use localhost or an IP address, or start the service with --allow-host "
                "NAME."
            )
        if _foreign(scope, headers, host[0]):
            return 403, "Requests from pages of other sites are not allowed."
        if self._token is not None and scope["path"] not in OPEN and not self._has_token(headers):
            message = "A token is required: 'Authorization: Bearer TOKEN'. It was printed when the service started."
            return 401, message, ("www-authenticate", "Bearer")
        length = headers.get("content-length", ["0"])[0]
        if not length.isdecimal() or len(length) > 18 or int(length) > self._max_bytes(headers):
            return 413, f"The request is too large: the limit is {self._max_bytes(headers):,} bytes."
        return None

    def _is_allowed_host(self, host: str) -> bool:
        name = _name(host)
        if name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _has_token(self, headers: dict[str, list[str]]) -> bool:
        kind, _, value = (headers.get("authorization") or [""])[0].partition(" ")
        if kind.lower() == "basic":
            try:
                value = base64.b64decode(value, validate=True).decode("utf-8").partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                return False
        elif kind.lower() != "bearer":
            return False
        return hmac.compare_digest(value.strip().encode(), (self._token or "").encode())

    def _max_bytes(self, headers: dict[str, list[str]]) -> int:
        kind = (headers.get("content-type") or [""])[0].lower()
        room = 2**16 if kind.startswith("multipart/") else 0  # boundaries and the field `question`
        return self._json_bytes if "json" in kind else self._limits.bytes + room

    def _bounded(self, receive: Any, headers: dict[str, list[str]]) -> Any:
        """`receive` with a time limit, and with a limit on bodies without a stated length.

        The time is that of the whole body, so that a client that sends a byte now and then does not prolong it.
        """
        left, complete = self._max_bytes(headers), False
        start, received = time.monotonic(), 0
        task = asyncio.current_task()
        has_body = "transfer-encoding" in headers or headers.get("content-length", ["0"])[0] != "0"
        if task is not None and has_body:
            self._uploads[task] = (start, 0)

        async def bounded() -> dict[str, Any]:
            nonlocal left, complete, received
            if complete:
                return await receive()
            seconds = self._limits.seconds + received / self._limits.rate - (time.monotonic() - start)
            try:
                message = await asyncio.wait_for(receive(), max(seconds, 0.001))
            except (TimeoutError, asyncio.TimeoutError) as error:
                raise HTTPException(408, "The upload timed out.") from error
            received += len(message.get("body", b""))
            if task in self._uploads:
                self._uploads[task] = (start, received)
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, f"The request is too large: the limit is {self._max_bytes(headers):,} bytes.")
            complete = not message.get("more_body", False)
            if complete and task is not None:
                self._uploads.pop(task, None)
            return message

        return bounded


def _headers(scope: dict[str, Any]) -> dict[str, list[str]]:
    headers: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return headers


def _name(host: str) -> str:
    """Host name of "name:port", "1.2.3.4:port" or "[::1]:port", in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().rstrip(".")


def _foreign(scope: dict[str, Any], headers: dict[str, list[str]], host: str) -> bool:
    """Whether a page of another site sent the request, according to the browser; following a link is allowed."""
    for origin in headers.get("origin", []):
        try:
            parts = urlsplit(origin)
        except ValueError:  # "http://[" and the like
            return True
        if parts.scheme not in ("http", "https") or parts.netloc.lower() != host.lower():
            return True
    site = (headers.get("sec-fetch-site") or ["none"])[0]
    visit = scope["method"] == "GET" and headers.get("sec-fetch-mode") == ["navigate"]
    return site not in ("none", "same-origin") and not (visit and headers.get("sec-fetch-dest") == ["document"])


def _known(method: str) -> str:
    return method if method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH") else "other"


async def _send_error(send: Any, status: int, message: str, *headers: tuple[str, str]) -> None:
    body = json.dumps({"error": message}).encode()
    pairs = [("content-type", "application/json"), ("content-length", str(len(body))), *headers]
    encoded = [(name.encode(), value.encode()) for name, value in pairs]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


__all__ = ["OPEN", "Guard", "RequestCounter"]
