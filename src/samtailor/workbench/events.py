"""Server-sent events: what happens, to every page that listens."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

_ROOM = 2000  # events that may wait for one page; beyond, it is cut off, and looks at everything anew
_HEARTBEAT = 15.0  # seconds


class Events:
    """Anyone may publish from any thread; each listener gets all that comes after it began."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[asyncio.Queue[str | None], asyncio.AbstractEventLoop] = {}
        self._closed = False

    def publish(self, event: str, data: Any) -> None:
        """Send an event to all who listen."""
        self._send(f"event: {event}\ndata: {json.dumps(data)}\n\n")

    def close(self) -> None:
        """End all streams; they would keep a server from ending."""
        self._closed = True
        self._send(None)

    async def listen(self, *first: tuple[str, Any]) -> AsyncIterator[str]:
        """The stream of one page, beginning with some events."""
        queue: asyncio.Queue[str | None] = asyncio.Queue(_ROOM)
        with self._lock:
            self._listeners[queue] = asyncio.get_running_loop()
        try:
            yield "retry: 2000\n\n"
            for event, data in first:
                yield f"event: {event}\ndata: {json.dumps(data)}\n\n"
            while not self._closed:
                try:
                    text = await asyncio.wait_for(queue.get(), _HEARTBEAT)
                except (TimeoutError, asyncio.TimeoutError):
                    text = ": still here\n\n"
                if text is None or queue.full():
                    return
                yield text
        finally:
            with self._lock:
                self._listeners.pop(queue, None)

    def _send(self, text: str | None) -> None:
        with self._lock:
            for queue, loop in self._listeners.items():
                with contextlib.suppress(RuntimeError):  # its loop has ended
                    loop.call_soon_threadsafe(_put, queue, text)


def _put(queue: asyncio.Queue[str | None], text: str | None) -> None:
    if queue.full():
        queue.get_nowait()  # its end is seen by `listen`, which cuts the page off
    queue.put_nowait(text)


__all__ = ["Events"]
