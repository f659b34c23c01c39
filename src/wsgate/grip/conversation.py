"""One connection in the dialect GRIP: messages become events for PHP, and its events messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from twisted.internet.defer import Deferred

from wsgate.channels import Message
from wsgate.fastcgi import Lane, Request, Response, encode_params
from wsgate.gateway import (
    Accepted,
    Arrival,
    Conversation,
    Reply,
    Route,
)
from wsgate.gateway.actions import Close
from wsgate.gateway.admission import offered_subprotocols
from wsgate.gateway.connecting import Connect, outcome_of
from wsgate.gateway.route import subprotocol_params
from wsgate.grip.answer import Deed, GripAnswer, Say, deeds, opening, read_answer
from wsgate.grip.controlled import Controlled
from wsgate.grip.events import DISCONNECT, OPEN, Event, close_event, encode_events
from wsgate.grip.pulses import Interval
from wsgate.grip.sharing import MAX_BATCH, Shared


class GripConversation(Conversation):
    """Asks PHP in WebSocket-over-HTTP: OPEN before the 101, then messages, then how it ended.

    What comes while a request is in flight goes together into the next one, up to `MAX_BATCH`
    bytes. A request that fails refuses all messages of it, with one error. After an interval
    without a request, where the script wants one, it is asked without any event.
    """

    __slots__ = (
        "_batch",
        "_controlled",
        "_farewell",
        "_hears",
        "_interval",
        "_is_leaving",
        "_is_lost",
        "_offered",
        "_opening",
        "_serial",
        "_shared",
        "_subprotocol",
        "_todo",
    )

    def __init__(self, shared: Shared, route: Route, arrival: Arrival) -> None:
        params = arrival.params.removesuffix(subprotocol_params(arrival.subprotocol))
        params += encode_params([(b"HTTP_CONNECTION_ID", arrival.connection_id.encode())])
        super().__init__(route, arrival._replace(params=params))
        self._offered = offered_subprotocols(arrival.head)
        self._subprotocol = arrival.subprotocol
        self._shared = shared
        self._controlled = Controlled(self, arrival.peer.channels, shared)
        self._opening: Connect | None = None
        self._todo: list[Deed] = []
        self._batch = 0
        self._serial = 0
        self._hears = False
        """Whether PHP hears of it: from when it let the client in, until it knows of the end."""
        self._farewell: Event | None = None
        """How it ended, until PHP is told."""
        self._is_leaving = False
        """Whether the last request is out."""
        self._is_lost = False
        self._interval: Interval | None = None

    # -- opening

    def open(self) -> Deferred[Accepted]:
        """Ask PHP with OPEN."""
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> Accepted:
        try:
            answer, accepted = await self._admit()
        except Exception as error:
            outcome = outcome_of(error)
            self._count(outcome)
            if outcome == "failed":
                self._log_failure(error, getattr(error, "stderr", b""))
            raise
        self._count("accepted")
        self._hears = True
        self._learn(answer)
        if self._is_lost:
            self._end_with(DISCONNECT)
            self._tell_end()
        return accepted

    def _count(self, outcome: str) -> None:
        self._shared.connects[self._route.path, outcome] += 1

    async def _admit(self) -> tuple[GripAnswer, Accepted]:
        response = await self._ask_open()
        answer, accepted = opening(
            response.stdout, response.stderr, self._offered, self._subprotocol
        )
        self._controlled.prefix = answer.prefix
        self._todo, warnings = deeds(answer.events[1:], answer.prefix)
        self._note(response.stderr, warnings)
        return answer, accepted

    async def _ask_open(self) -> Response:
        self._opening = Connect(self._route.pool, self._request(encode_events([OPEN])))
        try:
            return await self._opening.answer
        finally:
            self._opening = None

    def opened(self) -> None:
        """Do what PHP said when it let the client in."""
        todo, self._todo = self._todo, []
        self._do(todo)

    # -- messages

    def message_received(self, payload: bytes | bytearray, is_binary: bool) -> None:
        """Take one whole message; nobody hears it once PHP has detached."""
        if not (self._hears or self._closed):
            self._route.tally.received += 1
            self._route.tally.gone += 1
        else:
            super().message_received(payload, is_binary)

    def _ask(self, payload: bytes | bytearray, is_binary: bool) -> None:
        self._send([_event(payload, is_binary)])

    def _ask_next(self) -> None:
        self._asking = True
        while self._queue and not (self._closed or self._in_flight or self._output_paused):
            self._send(self._take_batch())
        self._asking = False

    def _take_batch(self) -> list[Event]:
        """The messages that go together: as many as wait, of `MAX_BATCH` bytes, or a single one."""
        batch: list[Event] = []
        size = 0
        while self._queue and (not batch or size + len(self._queue[0][0]) <= MAX_BATCH):
            payload, is_binary = self._take()
            size += len(payload)
            batch.append(_event(payload, is_binary))
        return batch

    def _send(self, events: Sequence[Event], lane: Lane = Lane.MESSAGE) -> None:
        """Ask PHP about messages, of which there may be none, or, in another lane, tell the end."""
        self._batch = len(events) if lane is Lane.MESSAGE else 0
        self._number += bool(self._batch)
        self._serial = serial = self._serial + 1
        self._in_flight = True
        if self._interval is not None:
            self._interval.used()
        pool = self._route.pool
        unsent = pool.ask(self._request(encode_events(events)), self, lane)
        # It may have failed by now, and the next one may have been asked.
        if unsent is not None and self._in_flight and serial == self._serial:
            self._unsent = (pool, unsent)

    @property
    def _shared_now(self) -> Shared:
        """That of the route, to which a reload may have given another."""
        now = self._route.make_conversation
        return now if isinstance(now, Shared) else self._shared

    def _request(self, body: bytes) -> Request:
        shared = self._shared_now
        pairs = [(b"CONTENT_LENGTH", b"%d" % len(body))]
        if self._batch:
            pairs.append((b"WSGATE_MESSAGE_ID", self._message_id.encode()))
        if shared.signature is not None:
            pairs.append((b"HTTP_GRIP_SIG", shared.signature.token()))
        fixed = shared.fixed_params(self._route.script)
        params = fixed + self._params + self._controlled.params + encode_params(pairs)
        return Request(params, body)

    # -- answers

    def callback(self, response: Response, /) -> None:
        """The request in flight is answered."""
        if self._in_flight:
            try:
                self._answered(response)
            except Exception:
                self._broken()

    def streaming(self, stdout: bytes | bytearray) -> Literal[False]:
        """An answer of this dialect is events, which are read when they are whole."""
        return False

    def _answered(self, response: Response) -> None:
        if self._is_leaving:
            # Whatever it is: PHP libraries throw where they find DISCONNECT.
            self._end_is_told()
            return
        try:
            answer = read_answer(response.stdout, response.stderr)
            todo, warnings = deeds(answer.events, self._controlled.prefix)
        except Exception as error:
            self._refuse(error, response.stderr)
            return
        self._note(response.stderr, warnings)
        self._learn(answer)
        count = self._batch
        self._over()
        if self._closed:
            self._route.tally.gone += count
            self._tell_end()
        else:
            self._route.tally.answered += count
            self._do(todo)

    def _refuse(self, error: BaseException, stderr: bytes) -> None:
        if self._is_leaving:
            self._log_failure(error, stderr)
            self._end_is_told()
        else:
            super()._refuse(error, stderr)

    def _finish(self, reply: Reply, *, answered: bool) -> None:
        """The request in flight has failed."""
        count = self._batch
        self._over()
        if self._closed:
            self._route.tally.gone += count
            self._tell_end()
        else:
            self._route.tally.refused += count
            # A client that asked nothing is told nothing.
            self._follow(reply if count else Reply(None))

    def _note(self, stderr: bytes, warnings: Sequence[str]) -> None:
        self._heed(stderr)
        for warning in warnings:
            self._warn(warning)

    def _learn(self, answer: GripAnswer) -> None:
        """Keep what the header of an answer says."""
        if answer.meta:
            self._note(b"", self._controlled.keep(answer.meta))
        if answer.keep_alive is not None:
            self._set_interval(answer.keep_alive)

    def _set_interval(self, seconds: float) -> None:
        if self._interval is not None:
            self._interval.stop()
            self._interval = None
        if seconds and self._hears:
            self._interval = Interval(self._shared.timeouts, seconds, self._ask_again)

    def _ask_again(self) -> None:
        """Ask PHP without any event."""
        if self.is_idle and not (self._closed or self._output_paused):
            self._send([])

    def _do(self, todo: Sequence[Deed]) -> None:
        """Follow the events of an answer, and take the next messages."""
        for deed in todo:
            if self._closed:
                return
            if isinstance(deed, Say):
                self._controlled.said()
                self._peer.send_message(deed.payload, deed.is_binary)
            elif isinstance(deed, Close):
                self._hears = False
                self._set_interval(0)
                self._follow(Reply(None, close=deed))
                return
            else:
                self._note(b"", self._controlled.follow(deed))
        if self._farewell is not None:
            self._tell_end()
        else:
            self._next()

    # -- what comes without a request

    def push(self, message: Message) -> bool:
        """Send a message that no request asked for; False if it is not taken."""
        self._controlled.said()
        return super().push(message)

    def detach(self) -> None:
        """PHP wants to hear nothing more of this connection, which stays open."""
        self._forget_waiting()
        self._end_with(Event("CLOSE"))

    # -- the end

    def abandon(self) -> None:
        """Nobody waits for answers any more; a request that was not sent never is."""
        self._stop()
        self._controlled.stop()
        if self._in_flight and not self._is_leaving and self._withdraw():
            self._route.tally.gone += self._batch
            self._over()
        if self._opening is not None:
            self._opening.abandon()

    def connection_lost(self, code: int = 1006, reason: str = "") -> None:
        """The client is gone. PHP hears of it once, after the request in flight."""
        self._is_lost = True
        self.abandon()
        self._end_with(DISCONNECT if code == 1006 else close_event(code, reason))
        if not self._in_flight:
            self._tell_end()

    def _end_with(self, event: Event) -> None:
        if self._hears:
            self._hears = False
            self._farewell = event
            self._shared.departures.begin_elsewhere()
            self._set_interval(0)

    def _tell_end(self) -> None:
        """Tell PHP how it ended, if that is due."""
        event, self._farewell = self._farewell, None
        if event is not None:
            self._is_leaving = True
            self._send([event], Lane.DISCONNECT)

    def _end_is_told(self) -> None:
        self._over()
        self._shared.departures.end_elsewhere()
        self._next()


def _event(payload: bytes | bytearray, is_binary: bool) -> Event:
    return Event("BINARY" if is_binary else "TEXT", bytes(payload))
