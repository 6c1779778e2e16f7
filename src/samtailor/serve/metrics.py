"""Metrics of a service for Prometheus.

A service with several processes writes them to files in one folder, the multi-process mode of prometheus_client, which
must be chosen by PROMETHEUS_MULTIPROC_DIR before that library is imported. Whichever process answers, the metrics are
those of all: counters are added up, also those of processes that have ended; gauges are those of the running ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

if TYPE_CHECKING:
    from samtailor.serve.engine import Engine

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_MODES = {"samtailor_adapters": "livemax"}  # the same ones in every process; other gauges are added up


class Metrics:
    """Counters of one service, in a separate registry."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._folder = os.environ.get(VARIABLE)
        self._gauges: list[tuple[Gauge, Callable[[], float]]] = []
        registry = self.registry
        self._requests = Counter(
            "samtailor_requests", "Completed requests.", ["route", "method", "status"], registry=registry
        )
        self._seconds = Histogram("samtailor_request_seconds", "Response time.", ["route"], registry=registry)
        self._embeddings = Counter(
            "samtailor_embeddings",
            "Requested embeddings: made (encoded, or read from disk), joined (waited for the encoding of another "
            "request), hit (in memory).",
            ["how"],
            registry=registry,
        )
        self._masks = Counter("samtailor_masks", "Predicted masks.", ["adapter"], registry=registry)
        for how in ("made", "joined", "hit"):
            self._embeddings.labels(how)

    def embedding(self, event: str) -> None:
        """Count an embedding: "made", "joined" or "hit"."""
        self._embeddings.labels(event).inc()

    def masks(self, adapter: str | None, count: int) -> None:
        """Count masks of an adapter; None is the base."""
        self._masks.labels(adapter or "").inc(count)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        self._refresh()

    def follow(self, engine: Engine) -> None:
        """Add gauges that read the state of an engine."""
        gauges: dict[str, tuple[str, Callable[[], float]]] = {
            "samtailor_encode_waiting": ("Images waiting for the encoder.", lambda: engine.encoding.waiting),
            "samtailor_decode_waiting": ("Requests waiting for the decoder.", lambda: engine.decoding.waiting),
            "samtailor_embeddings_kept": ("Embeddings in memory.", lambda: len(engine.embeddings)),
            "samtailor_embeddings_kept_bytes": (
                "Size of the embeddings in memory, bytes.",
                lambda: engine.embeddings.bytes,
            ),
            "samtailor_adapters": ("Loaded adapters.", lambda: len(engine.adapters)),
            "samtailor_workers": ("Processes that answer requests.", lambda: 1),
        }
        for name, (text, value) in gauges.items():
            gauge = Gauge(name, text, registry=self.registry, multiprocess_mode=_MODES.get(name, "livesum"))  # type: ignore[arg-type]
            if self._folder is None:
                gauge.set_function(value)
            self._gauges.append((gauge, value))
        self._refresh()

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        if self._folder is None:
            return generate_latest(self.registry)
        self._refresh()
        of_all = CollectorRegistry()
        MultiProcessCollector(of_all, path=self._folder)
        return generate_latest(of_all)

    def _refresh(self) -> None:
        """Write the gauges to the file of this process, where the others read them."""
        if self._folder is not None:
            for gauge, value in self._gauges:
                gauge.set(value())


def forget_worker(process: int, folder: str) -> None:
    """Remove the gauges of a process that has ended; its counters stay."""
    mark_process_dead(process, folder)


__all__ = ["VARIABLE", "Metrics", "forget_worker"]
