"""Connections of a service: those that send no complete request, or do not read the response, are ended.

uvicorn limits the time between two requests of a connection only. Unfinished headers, the rest of a body after its
request was answered, and a response that is not read would keep a connection open forever.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

SECONDS = 30.0
"""Longest time for the headers of a request, and for a response to make progress."""
WAITING = 256
"""Largest number of connections without a complete request; the oldest is closed for a new one."""


class _Patience:
    """Mixed into a protocol of uvicorn; `waiting` holds the connections without a complete request, oldest first."""

    waiting: dict[Any, None]
    cycle: Any
    transport: Any
    _timer: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)  # type: ignore[misc]
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        self._moving()
        super().connection_lost(exc)  # type: ignore[misc]

    def data_received(self, data: bytes) -> None:
        super().data_received(data)  # type: ignore[misc]
        if self.cycle is not None and not self.cycle.response_complete:
            self._arrived()
        elif self._timer is None and not self.transport.is_closing():
            self._wait()

    def pause_writing(self) -> None:
        super().pause_writing()  # type: ignore[misc]
        self._moving()
        self._stuck = asyncio.get_running_loop().call_later(SECONDS, self._end)

    def resume_writing(self) -> None:
        super().resume_writing()  # type: ignore[misc]
        self._moving()

    def _wait(self) -> None:
        """Start the time of a request; more bytes do not prolong it."""
        self.waiting[self] = None
        self._timer = asyncio.get_running_loop().call_later(SECONDS, self._end)
        while len(self.waiting) > WAITING:
            next(iter(self.waiting))._end()

    def _arrived(self) -> None:
        self.waiting.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _moving(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _end(self) -> None:
        self._arrived()
        self._moving()
        if self.transport is not None:
            self.transport.abort()


def patient_protocol(place: str = "uvicorn.protocols.http.auto.AutoHTTPProtocol") -> type:
    """uvicorn's HTTP protocol with these limits; each service has its own.

    Args:
        place: module and name of the protocol.
    """
    module, _, name = place.rpartition(".")
    return type("PatientProtocol", (_Patience, getattr(import_module(module), name)), {"waiting": {}})


__all__ = ["SECONDS", "WAITING", "patient_protocol"]
