"""A conversation whose script hears of more than messages: who comes, and who has left."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from wsgate.fastcgi import (
    ApplicationOverloaded,
    NotSent,
    Request,
    Response,
    encode_params,
)
from wsgate.gateway.admission import (
    Accepted,
    Admission,
    RefusedByBackend,
    admission,
    offered_subprotocols,
)
from wsgate.gateway.answer import ScriptMissing, reply_to_failure
from wsgate.gateway.arrival import Arrival
from wsgate.gateway.connecting import ClientGone, Connect, outcome_of
from wsgate.gateway.conversation import Conversation
from wsgate.gateway.failing import log_failure
from wsgate.gateway.register import Register, Visit
from wsgate.gateway.route import Route, subprotocol_params
from wsgate.oneline import one_line

NO_MESSAGES = (1008, "this path takes no messages")


NEVER_RAN = (RefusedByBackend, ClientGone, NotSent, ApplicationOverloaded, ScriptMissing)
"""Of a `connect` that ends so PHP does not think that it has let somebody in."""


class EventfulConversation(Conversation):
    """Asks PHP on `connect`, before the 101, and tells it on `disconnect`.

    Which of them holds for a connection is settled when it comes; a later reload is for later ones.

    Args:
        register: of all such conversations.
    """

    __slots__ = (
        "_admission",
        "_connecting",
        "_is_opening",
        "_is_running_on",
        "_lost",
        "_offered",
        "_register",
        "_subprotocol",
        "_visit",
    )

    def __init__(self, register: Register, route: Route, arrival: Arrival) -> None:
        number = encode_params([(b"WSGATE_SEQUENCE", str(register.sequence()).encode())])
        super().__init__(route, arrival._replace(params=number + arrival.params))
        self._offered = offered_subprotocols(arrival.head)
        """The subprotocols in the handshake, of which PHP may take one."""
        self._subprotocol = arrival.subprotocol
        """The one that is taken otherwise."""
        self._connecting: Connect | None = None
        self._admission: Admission | None = None
        self._register = register
        self._visit: Visit | None = None
        if "disconnect" in route.events:
            self._visit = register.visit(arrival.connection_id, route)
        self._is_opening = False
        self._is_running_on = False
        """Whether PHP works on a message whose answer nobody waits for."""
        self._lost: tuple[int, str] | None = None

    def open(self) -> Deferred[Accepted] | None:
        """Make a note of who comes, and ask PHP, as the route says."""
        if self._visit is None and "connect" not in self._route.events:
            return None
        self._is_opening = True
        return Deferred.fromCoroutine(self._open())

    def opened(self) -> None:
        """Send what PHP said when it let the client in."""
        admitted, self._admission = self._admission, None
        if admitted is None:
            return
        if admitted.fault is not None:
            self._note_failure(admitted.fault, b"")
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
            self._connecting.abandon()

    def connection_lost(self, code: int = 1006, reason: str = "") -> None:
        """The client is gone; PHP hears of it after the last message it has."""
        self.abandon()
        self._lost = (code, reason)
        if self._visit is not None and not self._is_opening:
            self._visit.leave(code, reason, is_owed=self._is_running_on)

    def _withdraw(self) -> bool:
        withdrawn = super()._withdraw()
        self._is_running_on = not withdrawn
        return withdrawn

    def callback(self, response: Response, /) -> None:
        """The message in flight is answered."""
        if self._is_running_on:
            self._answered_late(response)
            self._is_over()
        else:
            super().callback(response)

    def errback(self, error: Exception, /) -> None:
        """The message in flight gets no answer."""
        if self._is_running_on:
            self._is_over()
        else:
            super().errback(error)

    def _is_over(self) -> None:
        """The last message has ended, for which nobody waits any more."""
        self._is_running_on = False
        if self._lost is not None and self._visit is not None:
            self._visit.deliver()

    def params_changed(self) -> None:
        """User or variables are others now, on the disk too."""
        # Who is about to come in is noted once that is so, and whose end is known stays as it was.
        if self._visit is not None and not self._is_opening and self._lost is None:
            self._visit.change(self._params)

    async def _open(self) -> Accepted:
        try:
            accepted = await self._admit()
        except NEVER_RAN:
            if self._visit is not None:
                self._visit.cancel()
            raise
        except Exception:
            # PHP may have let the client in; it hears that it did so in vain.
            self._leave_unseen()
            raise
        self._is_opening = False
        if self._visit is not None:
            self._visit.accept(self._params)
        if self._lost is not None:
            self._leave_unseen()
        return accepted

    def _leave_unseen(self) -> None:
        """The client will not be, or was not, there for the 101."""
        if self._visit is not None:
            code, reason = self._lost or (1006, "")
            self._visit.leave(code, reason, is_owed=False)

    async def _admit(self) -> Accepted:
        if self._visit is not None:
            await self._visit.begin(self._params)
            if self._lost is not None:
                raise ClientGone("the client left before PHP was asked")
        if "connect" not in self._route.events:
            return Accepted((), self._subprotocol)
        try:
            response = await self._ask_connect()
            admitted = admission(response.stdout, response.stderr, self._offered, self._subprotocol)
        except Exception as error:
            outcome = outcome_of(error)
            self._count(outcome)
            if outcome == "failed":
                self._note_failure(error, getattr(error, "stderr", b""))
            raise
        self._count("accepted")
        self._use_subprotocol(admitted.accepted.subprotocol)
        self._note_warnings(admitted.warnings, response.stderr)
        if self._lost is not None:
            self._answered_late(response)
        self._admission = admitted
        return admitted.accepted

    def _count(self, outcome: str) -> None:
        self._register.connects[self._route.path, outcome] += 1

    def _note_warnings(self, warnings: tuple[str, ...], stderr: bytes) -> None:
        said = ("PHP says: " + one_line(stderr),) if stderr else ()
        for warning in (*warnings, *said):
            self._note(one_line(warning), kind=warning)

    async def _ask_connect(self) -> Response:
        params = self._route.event_params("connect") + self._params
        self._connecting = Connect(self._route.pool, Request(params, b""))
        try:
            return await self._connecting.answer
        finally:
            self._connecting = None

    def _use_subprotocol(self, subprotocol: str | None) -> None:
        if subprotocol != self._subprotocol:
            base = self._params.removesuffix(subprotocol_params(self._subprotocol))
            self._params = base + subprotocol_params(subprotocol)
            self._subprotocol = subprotocol

    def _note_failure(self, error: Exception, stderr: bytes) -> None:
        kind = ("connect", self._route.path, type(error))
        log_failure(self.log, "connect of {id}", error, stderr, kind, id=self.connection_id)

    def _note(self, text: str, kind: object) -> None:
        self.log.warn("connect of {id}: {text}", id=self.connection_id, text=text, kind=kind)
