"""Whether a client is let in: what PHP's answer to a `connect` means. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from wsgate import cgi
from wsgate.gateway.answer import (
    NotAnAnswer,
    Reply,
    ScriptFailed,
    ScriptMissing,
    has_died,
    is_missing,
    reply_to_response,
)
from wsgate.gateway.streams import stream_kind
from wsgate.http1 import RequestHead

Headers = tuple[tuple[str, str], ...]


class Accepted(NamedTuple):
    """The client is let in. `headers` go into the 101, their values as Latin-1 text.

    `subprotocol` must be one that the client has offered.
    """

    headers: Headers = ()
    subprotocol: str | None = None


class RefusedByBackend(Exception):
    """PHP does not let the client in, who sees just this answer."""

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        super().__init__(f"refused with status {status}")
        self.status = status
        self.headers = headers
        self.body = body


class Admission(NamedTuple):
    """A client that PHP lets in.

    `first` is what follows the 101, if anything; `fault` why a body that is there cannot follow;
    `warnings` are about headers that could not be followed.
    """

    accepted: Accepted
    first: Reply | None
    fault: NotAnAnswer | None
    warnings: tuple[str, ...]


def offered_subprotocols(head: RequestHead) -> frozenset[str]:
    """The subprotocols that a handshake offers, RFC 6455 §4.2.1."""
    offered = head.tokens(b"sec-websocket-protocol")
    return frozenset(token.decode("latin-1") for token in offered)


def admission(
    stdout: bytes | bytearray, stderr: bytes, offered: Collection[str], subprotocol: str | None
) -> Admission:
    """What PHP's answer to a `connect` says.

    Args:
        stdout: the whole output of the script.
        stderr: what it logged.
        offered: the client's subprotocols.
        subprotocol: the one of them that is taken unless PHP names another.

    Raises:
        RefusedByBackend: the status is not 2xx.
        cgi.MalformedResponse, ScriptFailed, ScriptMissing: no answer.
    """
    head, body = cgi.parse_response(stdout)
    if head.status >= 300:
        raise refusal_of(head, body, stderr)
    if has_died(stderr):
        raise ScriptFailed(500)
    first, fault, warnings = _first_message(stdout, stderr, body)
    chosen, warning = taken_subprotocol(head.headers, offered, subprotocol)
    cookies = tuple(("Set-Cookie", value) for name, value in head.headers if name == "set-cookie")
    if stream_kind(head.headers) is not None:
        warning += ("Wsgate-Stream: the answer to a connect goes out whole; stream to a message",)
    return Admission(Accepted(cookies, chosen), first, fault, warnings + warning)


def refusal_of(head: cgi.ResponseHead, body: bytes | memoryview, stderr: bytes) -> Exception:
    """What to raise for an answer that is no 2xx: RefusedByBackend, unless PHP itself failed."""
    if has_died(stderr):
        return ScriptFailed(max(head.status, 500))
    if is_missing(head.status, body, stderr):
        return ScriptMissing(head.status)
    # RFC 9110 §15.4.5: a 304 has no body.
    shown = b"" if head.status == 304 else bytes(body)
    return RefusedByBackend(head.status, _for_client(head.headers), shown)


# RFC 9110 §7.6.1: about one connection, which is ours. Content-Length is counted anew.
_OURS = frozenset(
    {
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding"),
        *("upgrade", "content-length", "status", "x-powered-by"),
    }
)


def _for_client(headers: Headers) -> Headers:
    return tuple(
        (name.title(), value)
        for name, value in headers
        if name not in _OURS and not name.startswith("wsgate-")
    )


def _first_message(
    stdout: bytes | bytearray, stderr: bytes, body: bytes | memoryview
) -> tuple[Reply | None, NotAnAnswer | None, tuple[str, ...]]:
    try:
        reply, warnings = reply_to_response(stdout, stderr)
    except NotAnAnswer as fault:
        return None, fault, ()
    return (reply if len(body) else reply._replace(payload=None)), None, warnings


def taken_subprotocol(
    headers: Headers, offered: Collection[str], chosen: str | None
) -> tuple[str | None, tuple[str, ...]]:
    """The subprotocol that the connection has: the one PHP names, else `chosen`; and warnings."""
    asked = [value for name, value in headers if name == "sec-websocket-protocol"]
    if not asked:
        return chosen, ()
    if len(asked) == 1 and asked[0] in offered:
        return asked[0], ()
    return None, ("Sec-WebSocket-Protocol: not one of those that the client offered; none is used",)
