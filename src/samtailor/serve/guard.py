"""The door: who may ask (host, origin, token), how much may come in, how many at once. Plain ASGI around any app.

Host. A page of another site can make a browser send requests to 127.0.0.1, and by DNS rebinding even under its own
name. Such requests carry that name as Host, so only localhost, IP addresses and names that were allowed are answered.
Origin. Requests that a browser says come from another site (Origin, Sec-Fetch-Site) are refused. There is no CORS.
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

OPEN = ("/health", "/ready")
"""Paths that need no token and are answered however busy the service is: they tell nothing but that it lives."""

_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class Count(Protocol):
    """Who counts requests."""

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """One more."""


class Guard:
    """See the head of the file.

    Args:
        app: what is behind the door.
        limits: bounds.
        token: what a request must show (Bearer, or the password of Basic); None: nothing.
        hosts: names that the service is reached by, besides localhost and IP addresses.
        json_bytes: of a body that is JSON; None takes the limits' own.
        count: told of every request.
    """

    def __init__(
        self,
        app: Any,
        *,
        limits: Limits,
        token: str | None = None,
        hosts: Collection[str] = (),
        json_bytes: int | None = None,
        count: Count | None = None,
    ) -> None:
        self._app, self._limits, self._token, self._count = app, limits, token, count
        self._hosts = {"localhost", *(host.lower() for host in hosts)}
        self._json_bytes = json_bytes or limits.json_bytes
        self._inside = 0

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return None  # a websocket is closed by not being accepted
        start, answered = time.monotonic(), {"status": 500}

        async def tell(message: dict) -> None:
            if message["type"] == "http.response.start":
                answered["status"] = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
            await send(message)

        try:
            await self._checked(scope, receive, tell)
        finally:
            if self._count is not None:
                route = getattr(scope.get("route"), "path", "other")  # never the path itself: anyone may make up paths
                self._count.request(route, _known(scope["method"]), answered["status"], time.monotonic() - start)

    async def _checked(self, scope: dict, receive: Any, send: Any) -> None:
        headers = _headers(scope)
        if (no := self._refusal(scope, headers)) is not None:
            return await _say(send, *no)
        if scope["path"] in OPEN:
            return await self._app(scope, receive, send)
        if self._inside >= self._limits.requests:
            return await _say(send, 503, "Too many requests at the moment. Try again in 1 s.", ("retry-after", "1"))
        self._inside += 1
        try:
            await self._app(scope, self._bounded(receive, headers), send)
        finally:
            self._inside -= 1

    def _refusal(self, scope: dict, headers: dict[str, list[str]]) -> tuple | None:
        """Status, words and headers of a no."""
        host = headers.get("host", [])
        if len(host) != 1 or not self._is_ours(host[0]):
            return 403, (
                "This service does not answer under that host name. Ask for localhost or an IP address, or start it "
                "with --allow-host NAME."
            )
        if _foreign(scope, headers, host[0]):
            return 403, "Requests from pages of other sites are refused."
        if self._token is not None and scope["path"] not in OPEN and not self._shown(headers):
            words = (
                "A token is needed: the header 'Authorization: Bearer TOKEN'. It was printed when the service started."
            )
            return 401, words, ("www-authenticate", "Bearer")
        length = headers.get("content-length", ["0"])[0]
        if not length.isdecimal() or int(length) > self._most(headers):
            return 413, f"At most {self._most(headers):,} bytes are taken."
        return None

    def _is_ours(self, host: str) -> bool:
        name = _name(host)
        if name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _shown(self, headers: dict[str, list[str]]) -> bool:
        kind, _, value = (headers.get("authorization") or [""])[0].partition(" ")
        if kind.lower() == "basic":
            try:
                value = base64.b64decode(value, validate=True).decode("utf-8").partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                return False
        elif kind.lower() != "bearer":
            return False
        return hmac.compare_digest(value.strip().encode(), (self._token or "").encode())

    def _most(self, headers: dict[str, list[str]]) -> int:
        kind = (headers.get("content-type") or [""])[0].lower()
        room = 2**16 if kind.startswith("multipart/") else 0  # boundaries and the question beside the image
        return self._json_bytes if "json" in kind else self._limits.bytes + room

    def _bounded(self, receive: Any, headers: dict[str, list[str]]) -> Any:
        """`receive` that counts what a body without a stated length brings, and does not wait for ever."""
        left, whole = self._most(headers), False

        async def bounded() -> dict:
            nonlocal left, whole
            if whole:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), self._limits.seconds)
            except (TimeoutError, asyncio.TimeoutError) as error:
                raise HTTPException(408, "The upload stopped.") from error
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, f"At most {self._most(headers):,} bytes are taken.")
            whole = not message.get("more_body", False)
            return message

        return bounded


def _headers(scope: dict) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def _name(host: str) -> str:
    """Of "name:port", "1.2.3.4:port" or "[::1]:port", in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().rstrip(".")


def _foreign(scope: dict, headers: dict[str, list[str]], host: str) -> bool:
    """Whether a browser says that a page of another site asks; following a link to here is no such thing."""
    for origin in headers.get("origin", []):
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or parts.netloc.lower() != host.lower():
            return True
    site = (headers.get("sec-fetch-site") or ["none"])[0]
    visit = scope["method"] == "GET" and headers.get("sec-fetch-mode") == ["navigate"]
    return site not in ("none", "same-origin") and not (visit and headers.get("sec-fetch-dest") == ["document"])


def _known(method: str) -> str:
    return method if method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH") else "other"


async def _say(send: Any, status: int, words: str, *headers: tuple[str, str]) -> None:
    body = json.dumps({"error": words}).encode()
    told = [("content-type", "application/json"), ("content-length", str(len(body))), *headers]
    named = [(name.encode(), value.encode()) for name, value in told]
    await send({"type": "http.response.start", "status": status, "headers": named})
    await send({"type": "http.response.body", "body": body})


__all__ = ["OPEN", "Guard"]
