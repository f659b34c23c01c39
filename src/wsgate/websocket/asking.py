"""Between the handshake and its answer: the client waits while its conversation decides."""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from wsgate.floods import CalmLogger
from wsgate.gateway import Accepted, Conversation, RefusedByBackend, failure_of
from wsgate.websocket.entering import retry_after
from wsgate.websocket.handshake import Refused, Upgrade
from wsgate.websocket.opening import OpeningProtocol

KEPT = 64 * 1024
"""Bytes that are taken from a client which speaks before it is let in; then it is not read."""

_log = CalmLogger(namespace="wsgate")


class AskingProtocol(OpeningProtocol):
    """Holds a handshake that is good but for its conversation's word.

    How long that takes is the pool's matter, which has deadlines for it.
    """

    _asking: Conversation | None = None
    """The conversation that is not open yet."""
    _kept = b""
    """What the client said meanwhile."""

    def _begin(
        self,
        conversation: Conversation,
        upgrade: Upgrade,
        accepted: Accepted | None,
        rest: bytes,
    ) -> None:
        """Answer 101 and go on with `rest`.

        Raises:
            Refused: it cannot be accepted after all.
        """
        raise NotImplementedError

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone, by whichever end."""
        super().connectionLost(reason)
        self._forget_asking()

    def _ask(
        self,
        conversation: Conversation,
        answer: Deferred[Accepted],
        upgrade: Upgrade,
        rest: bytes,
    ) -> None:
        self._asking = conversation
        self._keep(rest)
        answer.addCallbacks(partial(self._let_in, upgrade), self._turn_away)
        answer.addErrback(self._fault)

    def _keep(self, data: bytes) -> None:
        self._kept += data
        if len(self._kept) >= KEPT:
            self.transport.pauseProducing()

    def _let_in(self, upgrade: Upgrade, accepted: Accepted) -> None:
        conversation, kept = self._asking, self._kept
        if conversation is None:
            return
        self._stop_asking()
        try:
            self._begin(conversation, upgrade, accepted, kept)
        except Refused as refused:
            conversation.connection_lost(1006, "")
            self._answer_late(refused.status, str(refused))
            return
        if len(kept) >= KEPT and not self._reading_is_paused():
            self.transport.resumeProducing()

    def _reading_is_paused(self) -> bool:
        """Whether something else stands against reading on."""
        raise NotImplementedError

    def _turn_away(self, failure: Failure) -> None:
        if self._asking is None:
            return
        self._stop_asking()
        error = failure.value
        assert error is not None
        if isinstance(error, RefusedByBackend):
            self._turn_away_as_said(error)
            return
        row = failure_of(error)
        later = (retry_after(),) if row.overload else ()
        self._answer_late(row.status, row.reason[:1].upper() + row.reason[1:], later)

    def _turn_away_as_said(self, said: RefusedByBackend) -> None:
        if len(said.body) > self.options.push_buffer:
            # It would stay in memory for a client that does not read.
            self.factory.counts.limits["push_buffer"] += 1
            headers = tuple((n, v) for n, v in said.headers if not n.startswith("Content-"))
            self._answer_late(said.status, "Refused", headers)
            return
        self.factory.counts.refused[said.status] += 1
        self._limit_reading_of_answer()
        self._respond(said.status, said.headers, said.body)

    def _stop_asking(self) -> None:
        # Back to those of the class: an open connection has none of its own.
        del self._asking, self._kept

    def _forget_asking(self) -> None:
        """The client is gone, or waits in vain."""
        conversation = self._asking
        if conversation is not None:
            self._stop_asking()
            conversation.connection_lost(1006, "")

    def _end_opening(self) -> None:
        """Let no client in any more."""
        if self._asking is None:
            self.transport.loseConnection()
        else:
            self._forget_asking()
            self._answer_late(503, "The server is shutting down", (retry_after(),))

    def _answer_late(
        self, status: int, reason: str, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self._limit_reading_of_answer()
        self._refuse(status, reason, headers)

    def _limit_reading_of_answer(self) -> None:
        """Wait no longer for a client that does not read than for one that does not speak."""
        self._handshake_timeout = self.factory.timeouts.call_later(
            self.options.handshake_timeout, self._handshake_timed_out
        )

    def _fault(self, failure: Failure) -> None:
        _log.failure("letting a client in", failure)
        self.transport.abortConnection()
