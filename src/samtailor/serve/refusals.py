"""What a service says no with: an HTTP status and words. The text goes to whoever asked."""

from __future__ import annotations

from samtailor.errors import SamtailorError


class Refused(SamtailorError):
    """A request that is not answered."""

    status = 422


class NotAllowed(Refused):
    """Outside of what the service may touch, or asked by a page of another site."""

    status = 403


class Unknown(Refused):
    """No embedding of that id, no adapter of that name."""

    status = 404


class Taken(Refused):
    """The name belongs to something else."""

    status = 409


class TooLarge(Refused):
    """More bytes or pixels than the limits allow."""

    status = 413


class Unreadable(Refused):
    """Bytes that are not an image."""

    status = 415


class Busy(Refused):
    """All workers are occupied and the queue before them is full.

    Args:
        what: what there is too much of.
        retry_after: whole seconds after which trying again makes sense.
    """

    status = 503

    def __init__(self, what: str, retry_after: int) -> None:
        super().__init__(f"Too many {what} at the moment. Try again in {retry_after} s.")
        self.retry_after = retry_after


__all__ = ["Busy", "NotAllowed", "Refused", "Taken", "TooLarge", "Unknown", "Unreadable"]
