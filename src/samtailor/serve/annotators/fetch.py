"""Read the image of a task: only from the given Label Studio, or from below the given folder.

The data of a task is user input. If every address were fetched, anyone who can create a task could make the service
send requests inside the network. Redirects are not followed for the same reason.
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
    """See the module docstring.

    Args:
        url: address of Label Studio, e.g. "http://localhost:8080"; None: nothing is fetched.
        token: of a Label Studio user: a legacy token, or a personal access token (exchanged for short-lived ones).
        root: folder below which images may be read, e.g. Label Studio's local storage; None: no folder.
        max_bytes: maximum size of an image.
        seconds: timeout of a request.

    Raises:
        InputError: an invalid address, or there is no such folder.
    """

    def __init__(
        self, url: str | None, token: str | None, root: Path | None, *, max_bytes: int = 32 * 2**20, seconds: float = 30
    ) -> None:
        self._url = None if url is None else _base(url)
        self._token, self._root, self._max_bytes, self._seconds = token, root and root.resolve(), max_bytes, seconds
        if self._root is not None and not self._root.is_dir():
            raise InputError(f"There is no folder {root} for images.")
        self._opener = urllib.request.OpenerDirector()  # http and https only; no file:, no ftp:, no redirects
        for handler in ("HTTPHandler", "HTTPSHandler", "HTTPErrorProcessor", "HTTPDefaultErrorHandler"):
            self._opener.add_handler(getattr(urllib.request, handler)())

    def get(self, address: object) -> bytes:
        """Read the image at an address in the data of a task.

        Raises:
            NotAllowed: another host, or a path outside the folder.
            TooLarge: more than `max_bytes`.
            DataError: it does not exist, or Label Studio returns an error.
            InputError: no address.
        """
        if not isinstance(address, str) or not address:
            raise InputError("The task has no image address.")
        parts = urlsplit(address)
        if not parts.scheme and not parts.netloc and (path := self._path(parts)) is not None:
            return self._read(path)
        return self._fetch(address)

    def _path(self, parts: Any) -> Path | None:
        """The file at an address, if it is below the folder."""
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
            raise NotAllowed(f"{_shown(address)} is not below the folder for images, and no Label Studio was given.")
        parts, allowed = urlsplit(address), urlsplit(self._url)
        if not parts.scheme and not parts.netloc and parts.path.startswith("/"):
            address = self._url + address
        elif parts.username or (parts.scheme, parts.netloc.lower()) != (allowed.scheme, allowed.netloc.lower()):
            raise NotAllowed(
                f"{_shown(address)} is not at the Label Studio {self._url}; other addresses are not fetched."
            )
        return self._open(quote(address, safe="%/:=&?~#+!$,;'@()*[]"), None, _shown(address))

    def _open(self, url: str, body: bytes | None, name: str) -> bytes:
        request = urllib.request.Request(url, body)
        if body is not None:
            request.add_header("Content-Type", "application/json")
        elif self._token:
            request.add_header("Authorization", self._authorization())
        try:
            with self._opener.open(request, timeout=self._seconds) as response:
                return self._bounded(response, name)
        except HTTPError as error:
            hint = {401: " Check the token.", 403: " Check the token."}.get(error.code, "")
            hint = " Redirects are not followed." if error.code in (301, 302, 303, 307, 308) else hint
            raise DataError(f"Label Studio returned status {error.code} for {name}.{hint}") from error
        except (URLError, OSError, ValueError) as error:
            raise DataError(f"{name} cannot be fetched from Label Studio: {error}.") from error

    def _authorization(self) -> str:
        token = self._token or ""
        if token.count(".") != 2:
            return f"Token {token}"
        body = json.dumps({"refresh": token}).encode()
        access = json.loads(self._open(f"{self._url}/api/token/refresh", body, "a token"))["access"]
        return f"Bearer {access}"

    def _bounded(self, stream: Any, name: str) -> bytes:
        data = stream.read(self._max_bytes + 1)
        if len(data) > self._max_bytes:
            raise TooLarge(f"{name}: more than {self._max_bytes:,} bytes.")
        return data


def _base(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise InputError(f"Expected the address of Label Studio, such as http://localhost:8080, got {url!r}.")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _shown(address: str) -> str:
    return repr(address[:200])


__all__ = ["ImageFetcher"]
