"""Run a service: on this machine only, or with a token."""

from __future__ import annotations

import ipaddress
import logging
import secrets
from typing import TYPE_CHECKING, Any

from samtailor.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    import socket

    from uvicorn import Server

GRACE = 30
"""Seconds that requests in progress may take after the service was stopped."""


def need_web() -> None:
    """Raise MissingExtraError unless the web libraries are installed."""
    try:
        import fastapi
        import prometheus_client
        import python_multipart
        import uvicorn
    except ImportError as error:
        raise MissingExtraError(f"{error.name} is needed: pip install 'samtailor[serve]'.") from error
    del fastapi, prometheus_client, python_multipart, uvicorn


def is_local(host: str) -> bool:
    """Whether a host is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def address(host: str, port: int) -> str:
    """Address of the service for a browser on this machine, "http://HOST:PORT".

    For an unspecified host ("all addresses") it is the loopback address.
    """
    try:
        ip = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return f"http://{host}:{port}"
    if ip.is_unspecified:
        ip = ipaddress.ip_address("127.0.0.1" if ip.version == 4 else "::1")
    return f"http://{ip}:{port}" if ip.version == 4 else f"http://[{ip}]:{port}"


def token_for(host: str, given: str | None) -> tuple[str | None, bool]:
    """The token of a service: the given one, or a generated one if other machines can reach the service.

    Returns:
        the token (None: no token), and whether it was generated.

    Raises:
        InputError: a token of fewer than 8 characters, or with characters that a header does not allow.
    """
    if given is not None:
        if len(given) < 8 or not given.isascii() or not given.isprintable() or " " in given:
            raise InputError("A token needs at least 8 ASCII characters and no space. Omit it to generate one.")
        return given, False
    return (None, False) if is_local(host) else (secrets.token_urlsafe(24), True)


def run(app: Any, host: str, port: int) -> None:
    """Serve until Ctrl-C.

    Raises:
        InputError: the port cannot be opened.
    """
    server = make_server(app)
    with opened(host, port) as listening:
        server.run(sockets=[listening])


def make_server(app: Any, kind: type[Server] | None = None) -> Server:
    """uvicorn's server for an application, with the limits of a service."""
    import uvicorn

    from samtailor.serve.connections import patient_protocol

    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, proxy_headers=False,
        ws="none", timeout_keep_alive=10, timeout_graceful_shutdown=GRACE, http=patient_protocol(),
    )  # fmt: skip
    return (kind or uvicorn.Server)(config)


def opened(host: str, port: int) -> socket.socket:
    """A socket that is bound to the port; it does not listen yet.

    Raises:
        InputError: the port cannot be opened.
    """
    import uvicorn

    try:
        return uvicorn.Config(None, host=host, port=port, log_config=None).bind_socket()  # type: ignore[arg-type]
    except SystemExit as error:
        raise InputError(
            f"Port {port} of {host} cannot be opened: it is in use or not allowed. Choose another port."
        ) from error


__all__ = ["GRACE", "address", "is_local", "make_server", "need_web", "opened", "run", "token_for"]
