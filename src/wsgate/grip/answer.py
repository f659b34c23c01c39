"""What PHP's answer in WebSocket-over-HTTP means. Pure.

The whole answer is read and checked before anything of it happens.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from wsgate import cgi
from wsgate.gateway.actions import Close, is_sendable
from wsgate.gateway.admission import Accepted, refusal_of, taken_subprotocol
from wsgate.gateway.answer import (
    NotAnAnswer,
    ScriptFailed,
    ScriptMissing,
    has_died,
    is_missing,
)
from wsgate.grip.control import CONTROL_PREFIX, BadControl, Control, parse_control
from wsgate.grip.events import (
    CONTENT_TYPE,
    OPEN,
    Event,
    MalformedEvents,
    decode_events,
    read_close,
)

DEFAULT_PREFIX = b"m:"

SHORTEST_INTERVAL = 20.0
"""Seconds; a `Keep-Alive-Interval` below it becomes this."""
LONGEST_INTERVAL = 86400.0


class Say(NamedTuple):
    """One message for the client."""

    payload: bytes
    is_binary: bool


Deed = Say | Control | Close


class GripAnswer(NamedTuple):
    """One answer.

    `keep_alive` are seconds, 0 for no more, None where the answer says nothing of it. `prefix` is
    what messages for the client begin with, None where the answer does not name the extension
    `grip`. `meta` are the `Set-Meta-*`: (name in lower case, value). `headers` are all of them.
    """

    events: tuple[Event, ...]
    meta: tuple[tuple[str, str], ...] = ()
    keep_alive: float | None = None
    prefix: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()


def read_answer(stdout: bytes | bytearray, stderr: bytes = b"") -> GripAnswer:
    """Read the answer to any request but the first. 204, or no body at all, is no event.

    Args:
        stdout: the whole output of the script, header and body.
        stderr: what it logged.

    Raises:
        cgi.MalformedResponse, ScriptFailed, ScriptMissing, NotAnAnswer: it is none; see
            `wsgate.gateway.answer.FAILURES`.
    """
    head, body = cgi.parse_response(stdout)
    if has_died(stderr):
        raise ScriptFailed(max(head.status, 500))
    if head.status not in (200, 204):
        _raise_for(head.status, body, stderr)
    if not body:
        return _answer(head, ())
    kind = next((value for name, value in head.headers if name == "content-type"), "")
    if not is_events(kind):
        raise NotAnAnswer(
            f"the answer is {kind[:80] or 'without a Content-Type'}, not {CONTENT_TYPE}"
        )
    try:
        events = decode_events(body)
    except MalformedEvents as error:
        raise NotAnAnswer(str(error)) from None
    return _answer(head, tuple(events))


def is_events(content_type: str) -> bool:
    """Whether a Content-Type is that of events; parameters are passed over."""
    return content_type.partition(";")[0].strip().lower() == CONTENT_TYPE


def _raise_for(status: int, body: bytes | memoryview, stderr: bytes) -> None:
    if status >= 500:
        raise ScriptFailed(status)
    if is_missing(status, body, stderr):
        raise ScriptMissing(status)
    raise NotAnAnswer(f"the answer has the status {status}, where only 200 or 204 is one")


def _answer(head: cgi.ResponseHead, events: tuple[Event, ...]) -> GripAnswer:
    keep_alive = prefix = None
    meta = []
    for name, value in head.headers:
        if name == "keep-alive-interval":
            keep_alive = _interval(value)
        elif name == "sec-websocket-extensions":
            prefix = _prefix(value) if prefix is None else prefix
        elif name.startswith("set-meta-"):
            meta.append((name.removeprefix("set-meta-"), value))
    return GripAnswer(events, tuple(meta), keep_alive, prefix, head.headers)


def _interval(value: str) -> float:
    # What is no number, and what is below 1, turns it off.
    if not re.fullmatch(r"[0-9]{1,9}", value) or int(value) == 0:
        return 0.0
    return min(max(float(value), SHORTEST_INTERVAL), LONGEST_INTERVAL)


_PREFIX = re.compile(r'\s*message-prefix\s*=\s*(?:"([^"\\]*)"|([^\s";]*))\s*', re.ASCII)


def _prefix(value: str) -> bytes | None:
    """The prefix of the extension `grip` in a list of extensions (RFC 6455 §9.1)."""
    for extension in value.split(","):
        name, *parameters = extension.split(";")
        if name.strip().lower() != "grip":
            continue
        for parameter in parameters:
            match = _PREFIX.fullmatch(parameter)
            if match is not None:
                return (match[1] if match[1] is not None else match[2]).encode("latin-1")
        return DEFAULT_PREFIX
    return None


def opening(
    stdout: bytes | bytearray,
    stderr: bytes,
    offered: Collection[str],
    subprotocol: str | None,
) -> tuple[GripAnswer, Accepted]:
    """Read the answer to OPEN, which lets the client in by an OPEN in front of all other events.

    Args:
        stdout: the whole output of the script.
        stderr: what it logged.
        offered: the client's subprotocols.
        subprotocol: the one of them that is taken unless PHP names another.

    Raises:
        RefusedByBackend: the script refuses, by a status other than 2xx.
        cgi.MalformedResponse, ScriptFailed, ScriptMissing, NotAnAnswer: no answer.
    """
    head, body = cgi.parse_response(stdout)
    if head.status >= 300:
        raise refusal_of(head, body, stderr)
    answer = read_answer(stdout, stderr)
    if answer.events[:1] != (OPEN,):
        raise NotAnAnswer("the answer to OPEN lets nobody in: its first event is not OPEN")
    chosen, _ = taken_subprotocol(head.headers, offered, subprotocol)
    return answer, Accepted(_for_handshake(head.headers), chosen)


# What is about one connection, which is ours, about the body, or for the gateway.
_NOT_PASSED = frozenset(
    {
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding"),
        *("upgrade", "content-length", "content-type", "content-encoding", "status"),
        *("x-powered-by", "keep-alive-interval", "content-bytes-accepted"),
    }
)
_FAMILIES_NOT_PASSED = ("set-meta-", "grip-", "sec-websocket-", "wsgate-")


def _for_handshake(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The fields of the answer to OPEN that go into the 101."""
    return tuple(
        (name.title(), value)
        for name, value in headers
        if name not in _NOT_PASSED and not name.startswith(_FAMILIES_NOT_PASSED)
    )


def deeds(events: tuple[Event, ...], prefix: bytes | None) -> tuple[list[Deed], list[str]]:
    """What the gateway has to do for events, in their order, and warnings for the log.

    Nothing comes after a close. With a `prefix` only what begins with it is for the client, and
    TEXT that begins with `c:` is for the gateway. PING, PONG and what nobody knows is passed over:
    the gateway has pings of its own.

    Raises:
        NotAnAnswer: a TEXT for the client is not UTF-8, or there is an OPEN.
    """
    found: list[Deed] = []
    warnings: list[str] = []
    for event in events:
        if event.name in ("TEXT", "BINARY"):
            try:
                deed = _message(event, prefix)
            except BadControl as error:
                warnings.append(f"control message: {error}")
                continue
            if deed is not None:
                found.append(deed)
            else:
                warnings.append(
                    "a message without the prefix of the extension grip was not sent; begin it "
                    f"with {(prefix or b'').decode('latin-1')}"
                )
        elif event.name in ("CLOSE", "DISCONNECT"):
            found.append(_close(event))
            break
        elif event.name == "OPEN":
            raise NotAnAnswer("OPEN came where the connection is open already")
    return found, warnings


def _message(event: Event, prefix: bytes | None) -> Say | Control | None:
    content = event.content or b""
    is_binary = event.name == "BINARY"
    if prefix is not None:
        if not is_binary and content.startswith(CONTROL_PREFIX):
            return parse_control(content.removeprefix(CONTROL_PREFIX))
        if not content.startswith(prefix):
            return None
        content = content[len(prefix) :]
    if not is_binary:
        _require_utf8(content)
    return Say(content, is_binary)


def _require_utf8(content: bytes) -> None:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        # RFC 6455 §8.1: it would cost the client its connection.
        raise NotAnAnswer(
            f"a TEXT is not UTF-8 at its byte {error.start}; send BINARY for anything else"
        ) from None


def _close(event: Event) -> Close:
    if event.name == "DISCONNECT":
        return Close(1011, "")
    code, reason = read_close(event.content)
    # PHP libraries send the code 0 where the script gives none.
    return Close(code if code is not None and is_sendable(code) else 1000, reason)
