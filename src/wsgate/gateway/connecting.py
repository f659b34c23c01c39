"""The request that asks PHP whether a client comes in, as long as it is not answered."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from wsgate.fastcgi import ConnectionPool, Lane, Request, Response
from wsgate.gateway.admission import RefusedByBackend


class ClientGone(Exception):
    """The client left before it was let in, and PHP was not asked."""


class Connect:
    """Asks PHP, in the lane of those who come.

    `answer` fires with PHP's response or fails with a FastCGIError; or with ClientGone.
    """

    __slots__ = ("_pool", "_unsent", "answer")

    def __init__(self, pool: ConnectionPool, request: Request) -> None:
        self.answer: Deferred[Response] = Deferred()
        self._pool = pool
        self._unsent = pool.ask(request, self.answer, Lane.CONNECT)

    def abandon(self) -> None:
        """Nobody waits any more: a request that was not sent never is."""
        if self._pool.withdraw(self._unsent):
            self.answer.errback(ClientGone("the client left before PHP was asked"))


def outcome_of(error: Exception) -> str:
    """What a connect that has failed counts as: "refused", "gone" or "failed"."""
    if isinstance(error, RefusedByBackend):
        return "refused"
    return "gone" if isinstance(error, ClientGone) else "failed"
