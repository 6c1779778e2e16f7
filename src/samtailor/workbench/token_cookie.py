"""The way in for a browser: a token in the address becomes a cookie, and the cookie counts as the token.

Stands before `serve.guard.Guard`, which decides. The cookie is of this site only (SameSite=Strict) and out of reach of
scripts; its name tells servers on other ports of the same host apart.
"""

from __future__ import annotations

import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs


class TokenCookie:
    """Plain ASGI around the guard.

    Args:
        app: the guard.
        token: what it wants to be shown.
    """

    def __init__(self, app: Any, token: str) -> None:
        self._app, self._token = app, token
        self._name = f"samtailor-{hashlib.sha256(token.encode()).hexdigest()[:8]}"

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = dict(scope["headers"])
        if scope["method"] == "GET" and scope["path"] == "/" and self._right(_asked(scope)):
            return await self._let_in(send)
        if b"authorization" not in headers and self._right(self._shown(headers.get(b"cookie", b""))):
            shown = (b"authorization", f"Bearer {self._token}".encode())
            scope = {**scope, "headers": [*scope["headers"], shown]}
        await self._app(scope, receive, send)

    async def _let_in(self, send: Any) -> None:
        cookie = f"{self._name}={self._token}; Path=/; HttpOnly; SameSite=Strict"
        headers = [(b"location", b"/"), (b"set-cookie", cookie.encode()), (b"cache-control", b"no-store"),
                   (b"referrer-policy", b"no-referrer"), (b"content-length", b"0")]  # fmt: skip
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def _shown(self, header: bytes) -> str:
        try:
            found = SimpleCookie(header.decode("latin-1")).get(self._name)
        except CookieError:
            return ""
        return found.value if found is not None else ""

    def _right(self, shown: str) -> bool:
        return hmac.compare_digest(shown.encode(), self._token.encode())


def _asked(scope: dict) -> str:
    return parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]


__all__ = ["TokenCookie"]
