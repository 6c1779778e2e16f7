"""What Prometheus may read of a service."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from samtailor.serve.engine import Engine


class Metrics:
    """Counters of one service, in a registry of its own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        kept = {"registry": self.registry}
        self._requests = Counter("samtailor_requests", "Requests answered.", ["route", "method", "status"], **kept)
        self._seconds = Histogram("samtailor_request_seconds", "Time to the answer.", ["route"], **kept)
        self._embeddings = Counter(
            "samtailor_embeddings",
            "Embeddings asked for: made (one pass of the encoder, or read from disk), joined (waited for one that "
            "another request had begun), hit (were in memory).",
            ["how"],
            **kept,
        )
        self._masks = Counter("samtailor_masks", "Masks answered.", ["adapter"], **kept)
        for how in ("made", "joined", "hit"):
            self._embeddings.labels(how)

    def embedding(self, what: str) -> None:
        """One more embedding "made", "joined" or "hit"."""
        self._embeddings.labels(what).inc()

    def masks(self, adapter: str | None, count: int) -> None:
        """Masks that an adapter, or the base, answered."""
        self._masks.labels(adapter or "").inc(count)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """One more request."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def follow(self, engine: Engine) -> None:
        """Show what an engine holds at the moment of asking."""
        shown = {
            "samtailor_encode_waiting": ("Images that wait for the encoder.", lambda: engine.encoding.waiting),
            "samtailor_decode_waiting": ("Questions that wait for the decoder.", lambda: engine.decoding.waiting),
            "samtailor_embeddings_kept": ("Embeddings in memory.", lambda: len(engine.embeddings)),
            "samtailor_embeddings_kept_bytes": ("Their bytes.", lambda: engine.embeddings.bytes),
            "samtailor_adapters": ("Adapters loaded.", lambda: len(engine.adapters)),
        }
        for name, (text, value) in shown.items():
            Gauge(name, text, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """In Prometheus' format."""
        return generate_latest(self.registry)


__all__ = ["Metrics"]
