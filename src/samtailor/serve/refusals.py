"""Errors of a service, each with its HTTP status. The message is sent to the client."""

from __future__ import annotations

from samtailor.errors import SamtailorError


class Refused(SamtailorError):
    """A request that cannot be processed."""

    status = 422


class NotAllowed(Refused):
    """A file or address that the service must not access."""

    status = 403


class Unknown(Refused):
    """No embedding of this id, or no adapter of this name."""

    status = 404


class Taken(Refused):
    """The name is in use."""

    status = 409


class TooLarge(Refused):
    """More bytes or pixels than the limits allow."""

    status = 413


class Unreadable(Refused):
    """Not a readable image."""

    status = 415


class NotKept(Refused):
    """The folder that the processes of a service share has no room."""

    status = 507


class TooSlow(Refused):
    """The work on one request took longer than the limit."""

    status = 503


class Busy(Refused):
    """All workers are busy and their queue is full.

    Args:
        jobs: name of the jobs, plural.
        retry_after: seconds after which to retry.
    """

    status = 503

    def __init__(self, jobs: str, retry_after: int) -> None:
        super().__init__(f"Too many {jobs} at the moment. Try again in {retry_after} s.")
        self.retry_after = retry_after


__all__ = ["Busy", "NotAllowed", "NotKept", "Refused", "Taken", "TooLarge", "TooSlow", "Unknown", "Unreadable"]
