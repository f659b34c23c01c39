"""A request that the pool has taken and not sent."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Protocol

from wsgate.fastcgi.backend import Backend
from wsgate.fastcgi.connection import Request, Response
from wsgate.fastcgi.errors import FastCGIError
from wsgate.timeouts import Timeout


class Turn(Protocol):
    """Who waits for the answer to a request: a Deferred, or whoever has these of a Deferred's.

    One of the two methods is called, once, unless `called` is true by then.
    """

    @property
    def called(self) -> Any:
        """Whether nothing more is to be told: it was, or it was cancelled."""

    def callback(self, result: Response, /) -> None:
        """The answer is here."""

    def errback(self, error: FastCGIError, /) -> None:
        """There is none, because of `error`."""


class Lane(IntEnum):
    """What a request is about. Who waits for a place gets it in this order."""

    DISCONNECT = 0
    """A client has gone: work that ends other work, and nobody can send it again."""
    CONNECT = 1
    """A client wants in, and its handshake has a deadline."""
    MESSAGE = 2


class Unsent:
    """A request of which nothing was sent: it waits for a place, or for a connection."""

    __slots__ = (
        "busy",
        "cause",
        "deadline",
        "lane",
        "request",
        "rounds",
        "timeout",
        "tried",
        "turn",
    )

    def __init__(
        self, request: Request, turn: Turn, deadline: float, lane: Lane = Lane.MESSAGE
    ) -> None:
        self.request = request
        self.turn = turn
        self.lane = lane
        self.deadline = deadline
        """On the pool's clock: from then on it is not tried again."""
        self.timeout: Timeout | None = None
        self.tried: tuple[Backend, ...] = ()
        """The backends tried in this round."""
        self.rounds = 0
        """How many rounds over the backends were begun after the first."""
        self.busy = False
        """Whether a backend of this round was there, but had no room."""
        self.cause = ""

    def next_round(self) -> None:
        """Try every backend once more."""
        self.rounds += 1
        self.tried = ()
        self.busy = False

    def begin_again(self) -> None:
        """Forget the tries so far."""
        self.rounds = 0
        self.tried = ()

    def stop_timeout(self) -> None:
        """It was taken from the queue, or its connect has ended."""
        if self.timeout is not None:
            self.timeout.cancel()
            self.timeout = None
