"""A conversation whose script hears of more than messages: it lets the client in."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from wsgate.fastcgi import ConnectionPool, Lane, Request, Response, Unsent
from wsgate.gateway.admission import Accepted, Admission, RefusedByBackend, admission
from wsgate.gateway.answer import failure_of, reply_to_failure
from wsgate.gateway.conversation import Conversation, QueueLimits
from wsgate.gateway.peer import Peer
from wsgate.gateway.route import Route, subprotocol_params
from wsgate.http1 import RequestHead
from wsgate.oneline import one_line

NO_MESSAGES = (1008, "this path takes no messages")


class ClientGone(Exception):
    """The client left before it was let in, and PHP was not asked."""


class EventfulConversation(Conversation):
    """Asks PHP on `connect`, before the 101.

    Args:
        offered: the subprotocols in the handshake, of which PHP may take one.
        subprotocol: the one that is taken otherwise; `params` end with it.
    """

    __slots__ = ("_admission", "_connecting", "_offered", "_subprotocol")

    def __init__(
        self,
        connection_id: str,
        route: Route,
        params: bytes,
        peer: Peer,
        limits: QueueLimits,
        head: RequestHead,
        subprotocol: str | None,
    ) -> None:
        super().__init__(connection_id, route, params, peer, limits)
        offered = head.tokens(b"sec-websocket-protocol")
        self._offered = frozenset(token.decode("latin-1") for token in offered)
        self._subprotocol = subprotocol
        self._connecting: tuple[ConnectionPool, Unsent, Deferred[Response]] | None = None
        self._admission: Admission | None = None

    def open(self) -> Deferred[Accepted] | None:
        """Ask PHP, where the route says so."""
        if "connect" not in self._route.events:
            return None
        return Deferred.fromCoroutine(self._open())

    def opened(self) -> None:
        """Send what PHP said when it let the client in."""
        admitted, self._admission = self._admission, None
        if admitted is None:
            return
        if admitted.fault is not None:
            self._note_failure("connect", admitted.fault, b"")
            message_id = f"{self.connection_id}:0"
            self._follow(reply_to_failure(admitted.fault, message_id, self._route.on_error))
        elif admitted.first is not None:
            self._follow(admitted.first)

    def message_received(self, payload: bytes | bytearray, is_binary: bool) -> None:
        """Take one whole message; a route without this event closes instead."""
        if "message" in self._route.events:
            super().message_received(payload, is_binary)
            return
        self._route.tally.received += 1
        self._route.tally.gone += 1
        if not self._closed:
            self._stop()
            self._peer.close(*NO_MESSAGES)

    def abandon(self) -> None:
        """Nobody waits any more: a request that was not sent never is."""
        super().abandon()
        if self._connecting is not None:
            pool, unsent, turn = self._connecting
            if pool.withdraw(unsent):
                turn.errback(ClientGone("the client left before PHP was asked"))

    async def _open(self) -> Accepted:
        try:
            response = await self._ask_connect()
            admitted = admission(response.stdout, response.stderr, self._offered, self._subprotocol)
        except (RefusedByBackend, ClientGone):
            raise
        except Exception as error:
            self._note_failure("connect", error, getattr(error, "stderr", b""))
            raise
        self._use_subprotocol(admitted.accepted.subprotocol)
        for warning in admitted.warnings:
            self._note("connect", LogLevel.warn, one_line(warning), kind=warning)
        if response.stderr:
            said = "PHP says: " + one_line(response.stderr)
            self._note("connect", LogLevel.warn, said, kind=said)
        self._admission = admitted
        return admitted.accepted

    async def _ask_connect(self) -> Response:
        turn: Deferred[Response] = Deferred()
        pool = self._route.pool
        params = self._route.event_params("connect") + self._params
        unsent = pool.ask(Request(params, b""), turn, Lane.CONNECT)
        if unsent is not None and not turn.called:
            self._connecting = (pool, unsent, turn)
        try:
            return await turn
        finally:
            self._connecting = None

    def _use_subprotocol(self, subprotocol: str | None) -> None:
        if subprotocol != self._subprotocol:
            base = self._params.removesuffix(subprotocol_params(self._subprotocol))
            self._params = base + subprotocol_params(subprotocol)
            self._subprotocol = subprotocol

    def _note_failure(self, event: str, error: Exception, stderr: bytes) -> None:
        level = failure_of(error).level
        if level is None:
            return
        if level is LogLevel.critical:
            self.log.failure("{event} of {id}", Failure(error), event=event, id=self.connection_id)
            return
        said = one_line(stderr)
        text = one_line(str(error)) + (f"; PHP says: {said}" if said else "")
        self._note(event, level, text, kind=(event, self._route.path, type(error)))

    def _note(self, event: str, level: LogLevel, text: str, kind: object) -> None:
        self.log.emit(
            level,
            "{event} of {id}: {text}",
            event=event,
            id=self.connection_id,
            text=text,
            kind=kind,
        )
