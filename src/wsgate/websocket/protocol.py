"""The open part of a connection's life: Autobahn, then whole messages to a conversation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

from autobahn.util import encode_truncate
from autobahn.websocket.protocol import WebSocketProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from wsgate.cgi import Client
from wsgate.floods import CalmLogger
from wsgate.gateway import Accepted, Arrival, Conversation, Route, is_sendable
from wsgate.node import new_connection_id
from wsgate.oneline import one_line
from wsgate.timeouts import Timeout
from wsgate.websocket.counts import code_label
from wsgate.websocket.draining import Farewell
from wsgate.websocket.handshake import Refused, Upgrade, accept_response, autobahn_head
from wsgate.websocket.intake import QUEUE, RATE
from wsgate.websocket.lasting import LastingProtocol
from wsgate.websocket.metered import MeteredConversation
from wsgate.websocket.opening import OpeningProtocol
from wsgate.websocket.writing import LOST, is_of_tls, is_ordinary_end, socket_of

_log = CalmLogger(namespace="wsgate")


class _Silence:
    """Autobahn's logger on our protocol: it writes a page for each connection, and text that holds
    the client's bytes. What an operator needs to know is logged by us."""

    def debug(self, *args: object, **kwargs: object) -> None:
        """Write nothing."""

    info = warn = error = critical = failure = trace = debug


_NO_CLOSE = (1006, "")


def _close_status(code: int | None, reason: bytes | None) -> tuple[int, str]:
    """What a close frame says, RFC 6455 §7.1.5; Autobahn fails those that may not say it."""
    if code is None:
        return 1005, ""
    if not is_sendable(code):
        return _NO_CLOSE
    return code, (reason or b"").decode("utf-8", "replace")


class GatewayProtocol(LastingProtocol):
    """The life of a connection after its handshake:

    - *open*: Autobahn reads the bytes; whole messages go to `_conversation`.
    - *holding*: the client's close, or a violation of the protocol, came while answers are due.
      `_held` waits until the conversation is idle, so that what was asked before is answered.
    - *closing*, *closed*: Autobahn's own states.

    It is the `Peer` of its conversation.
    """

    log = _Silence()

    def __init__(self) -> None:
        """Leave Autobahn's attributes to the class that `template` makes."""

    _upgrade: Upgrade
    """What Autobahn is asked to accept, while it does."""
    failedByMe: bool
    """Autobahn's: whether it has found a violation."""
    _closed_by_client: tuple[int, str] | None = None
    """Code and reason of the client's close frame (RFC 6455 §7.1.5)."""
    _close_timeout: Timeout | None = None
    _rate_timeout: Timeout | None = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone, by whichever end."""
        super().connectionLost(reason)
        self._stop_lasting()
        for timeout in (self._send_timeout, self._close_timeout, self._rate_timeout):
            if timeout is not None:
                timeout.cancel()
        self._held = self._sending = None
        self._waiting = None
        if self._conversation is not None:
            # While it still knows its user, of whom a disconnect tells PHP.
            self._conversation.connection_lost(*(self._closed_by_client or _NO_CLOSE))
            self.factory.channels.remove(self._conversation)
            self._connectionLost(LOST if is_of_tls(reason) else reason)
        if not is_ordinary_end(reason):
            self._log_fault(reason)

    # -- opening

    def accept(self, route: Route, upgrade: Upgrade, client: Client, rest: bytes) -> None:
        """Begin the conversation, and answer 101 once it says so."""
        connection_id = new_connection_id()
        try:
            params = route.connection_params(
                upgrade.head, client, connection_id, upgrade.subprotocol
            )
        except ValueError:
            raise Refused(431, "Request header too large", limit="max_header_bytes") from None
        head, subprotocol = upgrade.head, upgrade.subprotocol
        conversation = route.converse(
            Arrival(connection_id, params, self, self.options.queue, head, subprotocol)
        )
        answer = conversation.open()
        if answer is None:
            self._begin(conversation, upgrade, None, rest)
            self._head_is_complete()
        else:
            self._head_is_complete()
            self._ask(conversation, answer, upgrade, rest)

    def _begin(
        self,
        conversation: Conversation,
        upgrade: Upgrade,
        accepted: Accepted | None,
        rest: bytes,
    ) -> None:
        """Answer 101, with what `accepted` says, and go on with `rest`."""
        if accepted is not None:
            upgrade = Upgrade(upgrade.head, accepted.subprotocol, accepted.headers)
        if self.options.compression:
            self._open_by_autobahn(upgrade)
        else:
            self._open_as_template(upgrade)
        self.factory.counts.accepted += 1
        self._converse(conversation)
        self._begin_to_last()
        if accepted is not None:
            conversation.opened()
        if rest:
            self.dataReceived(rest)
        if self.factory.farewell is not None:
            self.drain(self.factory.farewell)

    def _converse(self, conversation: Conversation) -> None:
        factory = self.factory
        factory.channels.add(conversation)
        self._opened_at = factory.reactor.seconds()
        meter = factory.meters.of(conversation.route.dialect)
        if meter is None:
            self._conversation = conversation
        else:
            pause = partial(self._pause_for, meter.limit)
            metered = MeteredConversation(conversation, meter.rate, factory.reactor.seconds, pause)
            self._conversation = cast(Conversation, metered)

    def _open_by_autobahn(self, upgrade: Upgrade) -> None:
        """Let Autobahn answer, because it has to negotiate an extension."""
        self._upgrade = upgrade
        WebSocketProtocol.__init__(self)
        super(OpeningProtocol, self).connectionMade()
        self._dataReceived(autobahn_head(upgrade))
        del self._upgrade
        if self.state != self.STATE_OPEN:
            raise Refused(400, "Malformed WebSocket handshake")

    def _open_as_template(self, upgrade: Upgrade) -> None:
        """Answer as Autobahn would; its state after that is in the class (`template`)."""
        factory = self.factory
        factory.countConnections += 1
        self.transport.write(accept_response(upgrade))
        if self.options.ping_interval:
            self.autoPingPendingCall = factory.timeouts.call_later(
                self.options.ping_interval, self._sendAutoPing
            )
        self.onOpen()

    def onConnect(self, request: object) -> tuple[str | None, dict[str, list[str]]]:
        """Autobahn asks for the subprotocol and further headers; all was decided before."""
        headers: dict[str, list[str]] = {}
        for name, value in self._upgrade.headers:
            # It writes them in UTF-8.
            text = value.encode("latin-1").decode("utf-8", "replace")
            headers.setdefault(name, []).append(text)
        return self._upgrade.subprotocol, headers

    def onOpen(self) -> None:
        """The 101 was written."""
        socket_of(self.transport).bufferSize = self.options.send_high_water
        self.transport.registerProducer(self, True)

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: object = None) -> None:
        """Autobahn found a fault that the guard let pass; its text may hold the client's bytes."""
        _log.warn("Autobahn refuses a handshake: {reason}", reason=one_line(reason))

    # -- ends, which wait for the answers that are due

    def onCloseFrame(self, code: int | None, reasonRaw: bytes | None) -> bool | None:
        """The client closes. Answers that are due go out first."""
        self._closed_by_client = _close_status(code, reasonRaw)
        if self._is_owing():
            self._hold_without_stream(partial(super().onCloseFrame, code, reasonRaw))
            return True
        closed: bool | None = super().onCloseFrame(code, reasonRaw)
        return closed

    def _fail_connection(self, code: int = 1001, reason: str = "going away") -> None:
        """Autobahn found a violation: close with `code`, after the answers that are due.

        Only the first of a connection counts. Autobahn judges a frame anew with each piece of its
        header that comes, and would take that for a second fault, upon which it does not wait for
        the client's close.
        """
        if self._held is not None or self.failedByMe:
            return
        if self._is_owing():
            # Makes Autobahn skip the rest of the frame that is at fault.
            self.failedByMe = True
            self._hold_without_stream(partial(self._fail, code, reason))
        else:
            self._fail(code, reason)

    def _fail(self, code: int, reason: str) -> None:
        self._log_end("closed with {code}: {reason}", code=code, reason=one_line(reason))
        super()._fail_connection(code, reason)

    def _is_owing(self) -> bool:
        return (
            self.state == self.STATE_OPEN
            and self._conversation is not None
            and (self._sending is not None or not self._conversation.is_idle)
        )

    def _hold(self, end: Callable[[], object]) -> None:
        self._held = end
        self._is_clear = False
        self.transport.pauseProducing()

    def _hold_without_stream(self, end: Callable[[], object]) -> None:
        """As `_hold`, but the client does not wait for the rest of a stream."""
        self._hold(end)
        if self._conversation is not None:
            self._conversation.leave()

    def onCloseHandshakeTimeout(self) -> None:
        """The client did not answer our close in time."""
        self._dropped("close timeout", "close_timeout")
        super().onCloseHandshakeTimeout()

    def _closeConnection(self, abort: bool = False) -> None:
        """Autobahn ends the connection. Over TLS a graceful end waits for the client's answer."""
        super()._closeConnection(abort)
        if not abort:
            self._close_timeout = self.factory.timeouts.call_later(
                self.options.close_timeout, self._close_timed_out
            )

    def _close_timed_out(self) -> None:
        self._dropped("close timeout", "close_timeout")
        self.transport.abortConnection()

    # -- the conversation's peer

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake, behind a message that is going out.

        The one place that does: Autobahn's `sendClose` refuses the codes a server needs.
        """
        if self._sending is not None:
            self._close_later = (code, reason)
        elif self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=code, reasonUtf8=encode_truncate(reason, 123))

    def sendCloseFrame(
        self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False
    ) -> None:
        """Send a close frame; every one goes through here, ours and answers to the client's."""
        if not isReply and self.state == self.STATE_OPEN:
            self.factory.counts.closes[code_label(code)] += 1
        super().sendCloseFrame(code, reasonUtf8, isReply)

    def pause_reading(self) -> None:
        """Deliver no further message, and let TCP tell the client."""
        self.factory.counts.limits[self._full_queue()] += 1
        self._stop_reading(QUEUE)

    def _pause_for(self, limit: str, seconds: float) -> None:
        """Too many messages came."""
        self.factory.counts.limits[limit] += 1
        self._stop_reading(RATE)
        self._rate_timeout = self.factory.timeouts.call_later(seconds, self._go_on_reading, RATE)

    def _full_queue(self) -> str:
        """The limit because of which the conversation takes no more."""
        assert self._conversation is not None
        messages = self.options.queue.messages
        by_number = self._conversation.queue_length >= messages
        return "queue_per_connection" if by_number else "queue_bytes_per_connection"

    def resume_reading(self) -> None:
        """Go on with what is buffered, then with the socket."""
        self._go_on_reading(QUEUE)

    def conversation_idle(self) -> None:
        """All answers are out: what was held may happen."""
        if self._held is not None and not self._is_owing():
            held, self._held = self._held, None
            held()
            self._read_on()

    @property
    def is_conversing(self) -> bool:
        """Whether the handshake is over."""
        return self._conversation is not None

    @property
    def route(self) -> Route | None:
        """The route of a connection that is open, or waits to be let in."""
        conversation = self._conversation or self._asking
        return conversation.route if conversation is not None else None

    def drain(self, farewell: Farewell) -> None:
        """Close as soon as the answers that are due are out."""
        if not self._is_owing():
            self.shut_down(farewell)
        elif self._held is None:
            self._hold(partial(self.shut_down, farewell))

    def give_up(self) -> None:
        """Wait no longer for the answer that is due."""
        if self._conversation is not None:
            self._conversation.give_up()

    def shut_down(self, farewell: Farewell) -> None:
        """Close now, or end an opening connection."""
        if self._conversation is None:
            self._end_opening()
            return
        self._conversation.abandon()
        self.close(*farewell)
        self.conversation_idle()
