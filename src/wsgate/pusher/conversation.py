"""One client that speaks Pusher."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from twisted.internet.defer import Deferred, succeed

from wsgate.channels import ChannelError, Message
from wsgate.gateway import Accepted, Arrival, Conversation, Route
from wsgate.http1 import RequestHead
from wsgate.pusher import faults, names, told
from wsgate.pusher.asked import (
    BadMessage,
    ClientEvent,
    Ping,
    Said,
    SignIn,
    Subscribe,
    Unsubscribe,
    json_object,
    parse,
)
from wsgate.pusher.faults import Fault
from wsgate.pusher.signatures import user_is_signed
from wsgate.pusher.socketid import socket_id_of
from wsgate.pusher.subscribing import NotSubscribed, check_subscribe

if TYPE_CHECKING:
    from wsgate.pusher.application import Application

NextTurn = Callable[[Callable[[], object]], object]
"""Calls a function in the reactor's next turn."""

AT_ONCE = 32
"""Messages of one client in a turn of the reactor; then others have theirs."""

LONGEST_EVENT_NAME = 200
_LONGEST_SHOWN = 200
_PROTOCOLS = frozenset({"5", "6", "7"})


class PusherConversation(Conversation):
    """Answers a client by itself: PHP is not asked.

    Messages are taken in order, `AT_ONCE` in a turn; while the client does not take what it is
    sent, they wait, as those of a plain one.
    """

    __slots__ = (
        "_application",
        "_next_turn",
        "_protocol",
        "_second",
        "_sent_in_second",
        "_subprotocol",
        "_taken_in_turn",
        "_user_id",
        "socket_id",
    )

    def __init__(
        self,
        application: Application,
        next_turn: NextTurn,
        route: Route,
        arrival: Arrival,
    ) -> None:
        super().__init__(route, arrival)
        self.socket_id = socket_id_of(arrival.connection_id)
        self._application = application
        self._next_turn = next_turn
        self._subprotocol = arrival.subprotocol
        self._protocol = _protocol_of(arrival.head)
        self._user_id: str | None = None
        self._taken_in_turn = 0
        self._second = 0.0
        self._sent_in_second = 0

    # -- its life

    def open(self) -> Deferred[Accepted]:
        """Everybody is let in; what a client may is decided later."""
        return succeed(Accepted((), self._subprotocol))

    def opened(self) -> None:
        """Say who the client is."""
        if self._protocol is not None and self._protocol not in _PROTOCOLS:
            self.close(*faults.OLD_PROTOCOL)
            return
        self._tell(told.established(self.socket_id, self._application.app.activity_timeout))

    def close(self, code: int, reason: str) -> None:
        """Close. Clients look at the error before the close for what to do then."""
        if 4000 <= code < 4300:
            self._tell(told.error(code, reason))
        super().close(code, reason)

    def abandon(self) -> None:
        """Nobody waits for answers any more: what was not looked at never is."""
        self._in_flight = False
        super().abandon()

    def give_up(self) -> None:
        """Nothing is waited for."""

    def connection_lost(self, code: int = 1006, reason: str = "") -> None:
        """The client is gone."""
        super().connection_lost(code, reason)
        self._application.forget(self)

    # -- messages, in turns

    def _ask(self, payload: bytes | bytearray, is_binary: bool) -> None:
        self._number += 1
        self._spend(1)
        self._route.tally.answered += 1
        try:
            if is_binary:
                raise BadMessage("Invalid message format: text is expected")
            self._do(parse(payload))
        except BadMessage as bad:
            self._refuse_event(Fault(faults.INVALID_MESSAGE, str(bad)))

    def _spend(self, messages: int) -> None:
        """Count what is as much work as so many messages in this turn."""
        if not self._taken_in_turn:
            self._next_turn(self._begin_turn)
        self._taken_in_turn += messages
        if self._taken_in_turn >= AT_ONCE:
            # Makes the others wait in the queue.
            self._in_flight = True

    def _begin_turn(self) -> None:
        self._taken_in_turn = 0
        if self._in_flight:
            self._in_flight = False
            self._next()

    def _do(self, said: Said) -> None:
        match said:
            case Ping():
                self._tell(told.PONG)
            case Subscribe():
                self._subscribe(said)
            case Unsubscribe(channel):
                if names.user_of(channel) is None:
                    self._spend(self._application.presence.audience(channel))
                    self._application.unsubscribe(self, channel)
            case ClientEvent():
                self._client_event(said)
            case SignIn():
                self._sign_in(said)

    def _tell(self, event: bytes) -> None:
        self.push(Message(event))

    def _refuse_event(self, fault: Fault) -> None:
        self._application.refusals += 1
        self._tell(told.error(*fault))

    # -- what it asks for

    def _subscribe(self, asked: Subscribe) -> None:
        try:
            person = check_subscribe(self._application.app, asked, self.socket_id, self._user_id)
            if person is not None and self._application.is_full(asked.channel, person):
                raise NotSubscribed("LimitReached", _FULL, 4100)
            self._application.subscribe(self, asked.channel, person)
            if person is not None:
                # It has been told of each member, and each connection of it.
                presence = self._application.presence
                self._spend(len(presence.members(asked.channel)))
                self._spend(presence.audience(asked.channel))
        except NotSubscribed as error:
            self._not_subscribed(asked.channel, error)
        except ChannelError:
            self._not_subscribed(asked.channel, NotSubscribed("LimitReached", _TOO_MANY, 4100))

    def _not_subscribed(self, channel: str, error: NotSubscribed) -> None:
        self._application.refusals += 1
        shown = channel[:_LONGEST_SHOWN]
        self._tell(told.subscription_error(shown, error.kind, str(error), error.status))

    def _client_event(self, asked: ClientEvent) -> None:
        fault = self._fault_of(asked)
        if fault is None:
            try:
                self._application.client_event(self, asked.name, asked.channel, asked.data)
            except ChannelError:
                fault = faults.OVERLOADED
        if fault is not None:
            self._refuse_event(fault)

    def _fault_of(self, asked: ClientEvent) -> Fault | None:
        app = self._application.app
        if not app.client_events:
            return faults.CLIENT_EVENTS_OFF
        if not names.takes_client_events(asked.channel):
            return faults.NOT_THIS_CHANNEL
        if not self._application.is_subscribed(self, asked.channel):
            return faults.NOT_A_MEMBER
        if len(asked.name) > LONGEST_EVENT_NAME:
            return faults.LONG_EVENT_NAME
        if len(told.encoded(asked.data).encode()) > app.max_event_size:
            return faults.LONG_EVENT
        return None if self._is_calm() else faults.TOO_MANY_CLIENT_EVENTS

    def _is_calm(self) -> bool:
        """Count one client event; whether there were few enough within a second."""
        now = self._application.seconds()
        if not 0 <= now - self._second < 1:
            self._second = now
            self._sent_in_second = 0
        self._sent_in_second += 1
        return self._sent_in_second <= self._application.app.client_events_per_second

    def _sign_in(self, asked: SignIn) -> None:
        user_id = self._signed_user(asked)
        if user_id is None or self._user_id not in (None, user_id):
            self.close(*faults.UNAUTHORIZED)
            return
        try:
            self._application.sign_in(self, user_id)
        except ChannelError:
            self._refuse_event(Fault(4301, _TOO_MANY))
            return
        self._user_id = user_id
        self._tell(told.event("pusher:signin_success", {"user_data": asked.user_data}))

    def _signed_user(self, asked: SignIn) -> str | None:
        """The id of the user that the application has signed, None if it has signed none."""
        if not user_is_signed(self._application.app, self.socket_id, asked.user_data, asked.auth):
            return None
        try:
            user_id = json_object(asked.user_data).get("id")
        except BadMessage:
            return None
        if isinstance(user_id, int) and not isinstance(user_id, bool):
            user_id = str(user_id)
        return user_id if isinstance(user_id, str) and names.is_user(user_id) else None


_FULL = "The maximum members per presence channel limit was reached"
_TOO_MANY = "Too many channels"


class TurnedAway(Conversation):
    """A client that asks for an application which is not here.

    It is let in to be told so: of a refused handshake browsers know nothing, and try it for ever.
    """

    __slots__ = ()

    def open(self) -> Deferred[Accepted]:
        """Let it in."""
        return succeed(Accepted())

    def opened(self) -> None:
        """Tell it, and close."""
        self.push(Message(told.error(*faults.NOT_FOUND)))
        self.close(*faults.NOT_FOUND)


def _protocol_of(head: RequestHead) -> str | None:
    query = head.target.partition(b"?")[2].decode("latin-1")
    try:
        given = parse_qs(query, max_num_fields=100).get("protocol")
    except ValueError:
        return None
    return given[0] if given else None
