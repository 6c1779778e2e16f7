"""Server-sent events for the pages that are open."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

_MAX_QUEUED = 2000  # events per page; a page that falls further behind is disconnected and reloads everything
_HEARTBEAT = 15.0  # seconds


class Events:
    """Publish events from any thread. A listener receives all events from the moment it starts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[asyncio.Queue[str | None], asyncio.AbstractEventLoop] = {}
        self._closed = False

    def publish(self, event: str, data: Any) -> None:
        """Send an event to all listeners; `data` must be JSON-serializable."""
        self._send(_format(event, data))

    def close(self) -> None:
        """End all streams. Open streams would keep the server from shutting down."""
        self._closed = True
        self._send(None)

    async def listen(self, *first: tuple[str, Any]) -> AsyncIterator[str]:
        """Stream of one page: the events in `first` (name, data), then everything that is published."""
        queue: asyncio.Queue[str | None] = asyncio.Queue(_MAX_QUEUED)
        with self._lock:
            self._listeners[queue] = asyncio.get_running_loop()
        try:
            yield "retry: 2000\n\n"
            for event, data in first:
                yield _format(event, data)
            while not self._closed:
                try:
                    text = await asyncio.wait_for(queue.get(), _HEARTBEAT)
                except (TimeoutError, asyncio.TimeoutError):
                    text = ": heartbeat\n\n"
                if text is None or queue.full():
                    return
                yield text
        finally:
            with self._lock:
                self._listeners.pop(queue, None)

    def _send(self, text: str | None) -> None:
        with self._lock:
            for queue, loop in self._listeners.items():
                with contextlib.suppress(RuntimeError):  # the event loop is closed
                    loop.call_soon_threadsafe(_put, queue, text)


def _format(event: str, data: Any) -> str:
    return f"event: {event}\ndata: {json.dumps(data)}\n\n"


def _put(queue: asyncio.Queue[str | None], text: str | None) -> None:
    if queue.full():
        queue.get_nowait()  # the queue stays full, and `listen` disconnects the page
    queue.put_nowait(text)


__all__ = ["Events"]
