"""Token authentication for browsers: the token in the address becomes a cookie, and the cookie counts as the token.

Runs before `serve.guard.Guard`, which checks the token. The cookie is limited to this site (SameSite=Strict) and not
readable by scripts. Its name distinguishes servers on other ports of the same host.
"""

from __future__ import annotations

import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs


class TokenCookie:
    """ASGI middleware around the guard.

    Args:
        app: the guard.
        token: the token that the guard checks.
    """

    def __init__(self, app: Any, token: str) -> None:
        self._app, self._token = app, token
        self._name = f"samtailor-{hashlib.sha256(token.encode()).hexdigest()[:8]}"

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        """ASGI interface."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = dict(scope["headers"])
        if scope["method"] == "GET" and scope["path"] == "/" and self._matches(_token_in_address(scope)):
            return await self._set_cookie(send)
        if b"authorization" not in headers and self._matches(self._token_in_cookie(headers.get(b"cookie", b""))):
            authorization = (b"authorization", f"Bearer {self._token}".encode())
            scope = {**scope, "headers": [*scope["headers"], authorization]}
        await self._app(scope, receive, send)

    async def _set_cookie(self, send: Any) -> None:
        cookie = f"{self._name}={self._token}; Path=/; HttpOnly; SameSite=Strict"
        headers = [(b"location", b"/"), (b"set-cookie", cookie.encode()), (b"cache-control", b"no-store"),
                   (b"referrer-policy", b"no-referrer"), (b"content-length", b"0")]  # fmt: skip
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def _token_in_cookie(self, header: bytes) -> str:
        try:
            morsel = SimpleCookie(header.decode("latin-1")).get(self._name)
        except CookieError:
            return ""
        return morsel.value if morsel is not None else ""

    def _matches(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self._token.encode())


def _token_in_address(scope: dict) -> str:
    return parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]


__all__ = ["TokenCookie"]
