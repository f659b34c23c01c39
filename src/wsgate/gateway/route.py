"""A route: which script answers, through which pool, and by which rules."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from wsgate import cgi
from wsgate.compiled import compiled
from wsgate.fastcgi import ConnectionPool, encode_pair, encode_pairs_record, encode_params
from wsgate.gateway.answer import OnError
from wsgate.http1 import RequestHead


@dataclass(slots=True)
class Tally:
    """What became of the messages: at rest `received` is the sum of the other three.

    `answered` by PHP (204 too), `refused` with an error, `gone` with their client.
    """

    received: int = 0
    answered: int = 0
    refused: int = 0
    gone: int = 0

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
        )


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

    def connection_params(
        self, head: RequestHead, client: cgi.Client, connection_id: str, subprotocol: str | None
    ) -> bytes:
        """The PARAMS records that every request of a connection goes on with.

        Raises:
            ValueError: a variable is too long for a record (64 KiB).
        """
        pairs = cgi.connection_params(head, client)
        pairs.append((b"WSGATE_CONNECTION_ID", connection_id.encode()))
        if subprotocol is not None:
            pairs.append((b"WSGATE_SUBPROTOCOL", subprotocol.encode()))
        return encode_params(pairs)

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


@compiled
def request_params(
    route: bytes, connection: bytes, kind: bytes, connection_id: str, number: int, size: int, /
) -> bytes:
    """All PARAMS records of the request for one message.

    Args:
        route: the records of `Route.params`.
        connection: the records of `Route.connection_params`.
        kind: the pairs of `Route.kind_of_message`.
        connection_id: as in `WSGATE_CONNECTION_ID`.
        number: of the message on its connection, from 1.
        size: of the message, in bytes.
    """
    record = encode_pairs_record(
        kind
        + encode_pair(b"CONTENT_LENGTH", b"%d" % size)
        + encode_pair(b"WSGATE_MESSAGE_ID", f"{connection_id}:{number}".encode())
    )
    return b"".join((route, connection, record))


_JSON_STARTS = (b"{", b"[")


def _kind_of_message(content_type: str, is_binary: bool) -> bytes:
    return encode_pair(b"CONTENT_TYPE", content_type.encode()) + encode_pair(
        b"WSGATE_OPCODE", b"binary" if is_binary else b"text"
    )
