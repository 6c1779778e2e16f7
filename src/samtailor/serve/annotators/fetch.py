"""The bytes of a task's image: from the one Label Studio that was named, or from below one folder. Nothing else.

A task's data is what somebody typed or imported. Were every address followed, the service would fetch from inside the
network for anyone who can make a task. Redirections are not followed for the same reason.
"""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qs, quote, unquote, urlsplit

from samtailor.errors import DataError, InputError
from samtailor.serve.refusals import NotAllowed, TooLarge

_LOCAL = "/data/local-files/"


class ImageFetcher:
    """See the head of the file.

    Args:
        url: address of Label Studio, e.g. "http://localhost:8080"; None: nothing is fetched.
        token: of a Label Studio user: a legacy token, or a personal access token (exchanged for short-lived ones).
        root: folder below which images may be read, e.g. Label Studio's local storage; None: none.
        most: bytes of an image.
        seconds: of waiting for an answer.
    """

    def __init__(
        self, url: str | None, token: str | None, root: Path | None, *, most: int = 32 * 2**20, seconds: float = 30
    ) -> None:
        self._url = None if url is None else _base(url)
        self._token, self._root, self._most, self._seconds = token, root and root.resolve(), most, seconds
        if self._root is not None and not self._root.is_dir():
            raise InputError(f"There is no folder {root} for images.")
        self._opener = urllib.request.OpenerDirector()  # only http and https: no file:, no ftp:, no redirection
        for handler in ("HTTPHandler", "HTTPSHandler", "HTTPErrorProcessor", "HTTPDefaultErrorHandler"):
            self._opener.add_handler(getattr(urllib.request, handler)())

    def get(self, address: object) -> bytes:
        """The bytes that stand at an address of a task's data.

        Raises:
            NotAllowed: another host, or a path outside of the folder. TooLarge: more than `most` bytes.
            DataError: not there, or Label Studio does not give it.
        """
        if not isinstance(address, str) or not address:
            raise InputError("The task has no address of an image.")
        parts = urlsplit(address)
        if not parts.scheme and not parts.netloc and (path := self._path(parts)) is not None:
            return self._read(path)
        return self._fetch(address)

    def _path(self, parts: Any) -> Path | None:
        """The file that an address names, if it is one of ours."""
        if self._root is None:
            return None
        if parts.path.startswith(_LOCAL):
            wanted = self._root / (parse_qs(parts.query).get("d") or [""])[0].lstrip("/")
        else:
            wanted = self._root / unquote(parts.path)
        try:
            wanted = wanted.resolve()
        except (OSError, ValueError):
            return None
        return wanted if wanted.is_relative_to(self._root) and wanted.is_file() else None

    def _read(self, path: Path) -> bytes:
        with path.open("rb") as stream:
            return self._bounded(stream, path.name)

    def _fetch(self, address: str) -> bytes:
        if self._url is None:
            raise NotAllowed(f"{_shown(address)} is not below the folder of images, and no Label Studio was named.")
        parts, own = urlsplit(address), urlsplit(self._url)
        if not parts.scheme and not parts.netloc and parts.path.startswith("/"):
            address = self._url + address
        elif parts.username or (parts.scheme, parts.netloc.lower()) != (own.scheme, own.netloc.lower()):
            raise NotAllowed(f"{_shown(address)} is not of the Label Studio at {self._url}; nothing else is fetched.")
        return self._open(quote(address, safe="%/:=&?~#+!$,;'@()*[]"), None, _shown(address))

    def _open(self, url: str, body: bytes | None, name: str) -> bytes:
        request = urllib.request.Request(url, body)
        if body is not None:
            request.add_header("Content-Type", "application/json")
        elif self._token:
            request.add_header("Authorization", self._authorization())
        try:
            with self._opener.open(request, timeout=self._seconds) as answer:
                return self._bounded(answer, name)
        except HTTPError as error:
            hint = {401: " Is the token right?", 403: " Is the token right?", 404: ""}.get(error.code, "")
            hint = " Redirections are not followed." if error.code in (301, 302, 303, 307, 308) else hint
            raise DataError(f"Label Studio answers {error.code} for {name}.{hint}") from error
        except (URLError, OSError, ValueError) as error:
            raise DataError(f"{name} cannot be had from Label Studio: {error}.") from error

    def _authorization(self) -> str:
        token = self._token or ""
        if token.count(".") != 2:
            return f"Token {token}"
        body = json.dumps({"refresh": token}).encode()
        access = json.loads(self._open(f"{self._url}/api/token/refresh", body, "a token"))["access"]
        return f"Bearer {access}"

    def _bounded(self, stream: Any, name: str) -> bytes:
        data = stream.read(self._most + 1)
        if len(data) > self._most:
            raise TooLarge(f"{name}: more than {self._most:,} bytes.")
        return data


def _base(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise InputError(f"Expected the address of Label Studio, such as http://localhost:8080, got {url!r}.")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _shown(address: str) -> str:
    return repr(address[:200])


__all__ = ["ImageFetcher"]
