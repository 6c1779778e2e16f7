"""Metrics of a service for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from samtailor.serve.engine import Engine


class Metrics:
    """Counters of one service, in a separate registry."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
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
        }
        for name, (text, value) in gauges.items():
            Gauge(name, text, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


__all__ = ["Metrics"]
