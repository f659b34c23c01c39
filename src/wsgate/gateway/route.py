"""A route: which script answers, through which pool, and by which rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from wsgate import cgi
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

    def __post_init__(self) -> None:
        self.params = encode_params(
            [
                *cgi.script_params(self.script),
                (b"REQUEST_METHOD", b"POST"),
                (b"WSGATE_EVENT", b"message"),
            ]
        )

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

    def message_params(self, payload: bytes | bytearray, is_binary: bool, message_id: str) -> bytes:
        """The PARAMS record that differs from message to message."""
        return encode_pairs_record(
            _kind_of_message(self.content_type(payload, is_binary), is_binary)
            + encode_pair(b"CONTENT_LENGTH", b"%d" % len(payload))
            + encode_pair(b"WSGATE_MESSAGE_ID", message_id.encode())
        )

    def content_type(self, payload: bytes | bytearray, is_binary: bool) -> str:
        """The `CONTENT_TYPE` of a message.

        JSON by its first byte and forms otherwise, so that PHP's `$_POST` and `$_REQUEST` work for
        the one and `php://input` for both.
        """
        if is_binary:
            return self.binary_content_type or "application/octet-stream"
        if self.text_content_type is not None:
            return self.text_content_type
        if payload[:1] in (b"{", b"["):
            return "application/json"
        return "application/x-www-form-urlencoded"


@cache
def _kind_of_message(content_type: str, is_binary: bool) -> bytes:
    """The pairs that are the same for every message of a kind; the kinds are few."""
    return encode_pair(b"CONTENT_TYPE", content_type.encode()) + encode_pair(
        b"WSGATE_OPCODE", b"binary" if is_binary else b"text"
    )
