"""A route: which script answers, through which pool, and by which rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Literal

from wsgate import cgi
from wsgate.fastcgi import ConnectionPool, encode_pair, encode_params
from wsgate.gateway.answer import OnError
from wsgate.gateway.arrival import Arrival
from wsgate.gateway.conversation import Conversation
from wsgate.gateway.streams import StreamLimits
from wsgate.http1 import RequestHead


@dataclass(slots=True)
class Tally:
    """What became of the messages: at rest `received` is the sum of the other three.

    `answered` by PHP (204 too), `refused` with an error, `gone` with their client. A stream counts
    once, by its end; `streamed` are the messages that streams were made of.
    """

    received: int = 0
    answered: int = 0
    refused: int = 0
    gone: int = 0
    streamed: int = 0

    def __str__(self) -> str:
        return (
            f"{self.received} received, {self.answered} answered, "
            f"{self.refused} refused, {self.gone} gone"
        )

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.received + other.received,
            self.answered + other.answered,
            self.refused + other.refused,
            self.gone + other.gone,
            self.streamed + other.streamed,
        )


Dialect = Literal["plain", "grip", "pusher"]

MakeConversation = Callable[["Route", Arrival], Conversation]


@dataclass(slots=True, kw_only=True)
class Route:
    """One path of the gateway. `path` "/" serves every path."""

    path: str
    script: cgi.Script
    pool: ConnectionPool
    origins: frozenset[str] = frozenset()
    subprotocols: tuple[str, ...] = ()
    on_error: OnError = "reply"
    text_content_type: str | None = None
    binary_content_type: str | None = None
    events: frozenset[str] = frozenset({"message"})
    """Those that PHP gets: connect, message, disconnect."""
    dialect: Dialect = "plain"
    make_conversation: MakeConversation | None = None
    """For routes that ask for more than messages; None: plain ones."""
    replayed: Callable[[RequestHead], RequestHead] | None = None
    """Leaves of a handshake what PHP may see; None: everything that can be a variable."""
    streams: StreamLimits = field(default_factory=StreamLimits)
    tally: Tally = field(default_factory=Tally)
    params: bytes = field(init=False)
    """The PARAMS records that every request of the route begins with."""
    _binary_kind: bytes = field(init=False)
    _json_kind: bytes = field(init=False)
    _text_kind: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.params = encode_params(
            [
                *cgi.script_params(self.script),
                (b"REQUEST_METHOD", b"POST"),
                (b"WSGATE_EVENT", b"message"),
            ]
        )
        self._binary_kind = _kind_of_message(self.content_type(b"", True), True)
        self._json_kind = _kind_of_message(self.content_type(b"{", False), False)
        self._text_kind = _kind_of_message(self.content_type(b"", False), False)

    def become(self, other: Route) -> None:
        """Be as `other` is, of the same path: its connections go on with that. The tally stays."""
        for name in _BECOMES:
            setattr(self, name, getattr(other, name))

    def converse(self, arrival: Arrival) -> Conversation:
        """What stands between a new connection and PHP."""
        if self.make_conversation is None:
            return Conversation(self, arrival)
        return self.make_conversation(self, arrival)

    def event_params(self, event: str) -> bytes:
        """The PARAMS records that the request for `connect` or `disconnect` begins with."""
        method = b"GET" if event == "connect" else b"POST"
        return encode_params(
            [
                *cgi.script_params(self.script),
                (b"REQUEST_METHOD", method),
                (b"WSGATE_EVENT", event.encode()),
                (b"CONTENT_TYPE", b""),
                (b"CONTENT_LENGTH", b"0"),
            ]
        )

    def connection_params(
        self, head: RequestHead, client: cgi.Client, connection_id: str, subprotocol: str | None
    ) -> bytes:
        """The PARAMS records that every request of a connection goes on with.

        They end with `subprotocol_params`.

        Raises:
            ValueError: a variable is too long for a record (64 KiB).
        """
        shown = head if self.replayed is None else self.replayed(head)
        pairs = cgi.connection_params(shown, client)
        pairs.append((b"WSGATE_CONNECTION_ID", connection_id.encode()))
        return encode_params(pairs) + subprotocol_params(subprotocol)

    def kind_of_message(self, payload: bytes | bytearray, is_binary: bool) -> bytes:
        """The pairs that all messages of a kind have, for `request_params`."""
        if is_binary:
            return self._binary_kind
        return self._json_kind if payload[:1] in _JSON_STARTS else self._text_kind

    def content_type(self, payload: bytes | bytearray, is_binary: bool) -> str:
        """The `CONTENT_TYPE` of a message.

        JSON by its first byte and forms otherwise, so that PHP's `$_POST` and `$_REQUEST` work for
        the one and `php://input` for both.
        """
        if is_binary:
            return self.binary_content_type or "application/octet-stream"
        if self.text_content_type is not None:
            return self.text_content_type
        if payload[:1] in _JSON_STARTS:
            return "application/json"
        return "application/x-www-form-urlencoded"


_BECOMES = tuple(field.name for field in fields(Route) if field.name not in ("path", "tally"))


def subprotocol_params(subprotocol: str | None) -> bytes:
    """The PARAMS records that say which subprotocol a connection has."""
    if subprotocol is None:
        return b""
    return encode_params([(b"WSGATE_SUBPROTOCOL", subprotocol.encode())])


_JSON_STARTS = (b"{", b"[")


def _kind_of_message(content_type: str, is_binary: bool) -> bytes:
    return encode_pair(b"CONTENT_TYPE", content_type.encode()) + encode_pair(
        b"WSGATE_OPCODE", b"binary" if is_binary else b"text"
    )
