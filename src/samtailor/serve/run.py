"""Open the port. Safe by default: only this machine, or a token."""

from __future__ import annotations

import ipaddress
import logging
import secrets
from typing import Any

from samtailor.errors import InputError, MissingExtraError


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
    """Whether only this machine reaches what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def address(host: str, port: int) -> str:
    """Where a browser on this machine finds what listens there, "http://HOST:PORT".

    "All addresses" is nowhere to go to; this machine's own stands for it.
    """
    try:
        ip = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return f"http://{host}:{port}"
    if ip.is_unspecified:
        ip = ipaddress.ip_address("127.0.0.1" if ip.version == 4 else "::1")
    return f"http://{ip}:{port}" if ip.version == 4 else f"http://[{ip}]:{port}"


def token_for(host: str, given: str | None) -> tuple[str | None, bool]:
    """(token, whether it was made here): as given; made where others than this machine can reach the service.

    Raises:
        InputError: a token that is empty or has other characters than a header takes.
    """
    if given is not None:
        if len(given) < 8 or not given.isascii() or not given.isprintable() or " " in given:
            raise InputError("A token has at least 8 ASCII characters and no space. Leave it out to have one made.")
        return given, False
    return (None, False) if is_local(host) else (secrets.token_urlsafe(24), True)


def run(app: Any, host: str, port: int) -> None:
    """Serve until Ctrl-C.

    Raises:
        InputError: the port cannot be had.
    """
    import uvicorn

    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    config = uvicorn.Config(
        app, host=host, port=port, log_config=None, access_log=False, server_header=False, proxy_headers=False,
        ws="none", timeout_keep_alive=10, timeout_graceful_shutdown=30,
    )  # fmt: skip
    try:
        listening = config.bind_socket()
    except SystemExit as error:
        raise InputError(
            f"Port {port} of {host} cannot be opened: it is in use or not allowed. Take another."
        ) from error
    uvicorn.Server(config).run(sockets=[listening])


__all__ = ["address", "is_local", "need_web", "run", "token_for"]
