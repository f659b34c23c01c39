"""Control messages: what a script asks of the gateway, in a TEXT that begins with `c:`. Pure.

Each is a JSON object with a `type`. The types and their fields are Pushpin's.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from typing import Any, Literal, NamedTuple, cast, get_args

CONTROL_PREFIX = b"c:"

MAX_CONTROL = 64 * 1024
"""Bytes of a control message."""

LONGEST_TIMEOUT = 86400
"""Seconds; what a script asks beyond is cut to it."""

MessageType = Literal["text", "binary", "ping", "pong"]
Mode = Literal["idle", "interval"]


class BadControl(ValueError):
    """A control message cannot be followed; `str()` says why, for the log."""


class Subscribe(NamedTuple):
    """Messages published to `channel` go to this connection."""

    channel: str


class Unsubscribe(NamedTuple):
    """They go there no more."""

    channel: str


class Detach(NamedTuple):
    """The connection stays, for what is published; the script hears nothing of it any more."""


class KeepAlive(NamedTuple):
    """Send `content` after each `timeout` seconds without anything sent, or at each such interval.

    `content` None ends it.
    """

    content: bytes | None
    type: MessageType = "text"
    timeout: float = 55.0
    mode: Mode = "idle"


class SendDelayed(NamedTuple):
    """Send `content` once, `timeout` seconds from now, unless another takes its place."""

    content: bytes
    type: MessageType = "text"
    timeout: float = 1.0


class FlushDelayed(NamedTuple):
    """Send now what `SendDelayed` holds back."""


Control = Subscribe | Unsubscribe | Detach | KeepAlive | SendDelayed | FlushDelayed


def parse_control(text: bytes) -> Control:
    """The control message in `text`, without its `c:`.

    Raises:
        BadControl: it is longer than `MAX_CONTROL`, no JSON object, of a type that is not
            supported, or a field is missing or wrong. A subscription with filters is refused,
            because without them it would give the client more than it may see.
    """
    message = _object(text)
    kind = message.get("type")
    match kind:
        case "subscribe":
            if message.get("filters"):
                raise BadControl("subscribe: filters are not supported")
            return Subscribe(_text(message, "channel"))
        case "unsubscribe":
            return Unsubscribe(_text(message, "channel"))
        case "detach":
            return Detach()
        case "keep-alive":
            return _keep_alive(message)
        case "send-delayed":
            return _send_delayed(message)
        case "flush-delayed":
            return FlushDelayed()
    raise BadControl(f"the type {str(kind)[:40]!r} is not supported")


def _object(text: bytes) -> dict[str, Any]:
    if len(text) > MAX_CONTROL:
        raise BadControl(f"longer than {MAX_CONTROL} bytes")
    try:
        message = json.loads(text)
    # Deep nesting ends in a RecursionError.
    except (ValueError, RecursionError):
        raise BadControl("not JSON") from None
    if not isinstance(message, dict):
        raise BadControl("not a JSON object")
    return message


def _text(message: dict[str, Any], name: str) -> str:
    value = message.get(name)
    if not isinstance(value, str) or not value:
        raise BadControl(f"{message['type']}: {name} is missing or not a text")
    return value


def _keep_alive(message: dict[str, Any]) -> KeepAlive:
    content = content_of(message)
    if content is None:
        return KeepAlive(None)
    mode = message.get("mode", "idle")
    if mode not in ("idle", "interval"):
        raise BadControl("keep-alive: mode is idle or interval")
    return KeepAlive(content, _message_type(message), _timeout(message, 55.0), mode)


def _send_delayed(message: dict[str, Any]) -> SendDelayed:
    content = content_of(message)
    if content is None:
        raise BadControl("send-delayed: content is missing")
    return SendDelayed(content, _message_type(message), _timeout(message, 1.0))


def content_of(message: dict[str, Any]) -> bytes | None:
    """The bytes of `content`, a text, or `content-bin`, base64; None without either.

    Raises:
        BadControl: it is something else.
    """
    text, encoded = message.get("content"), message.get("content-bin")
    if encoded is not None:
        try:
            return b64decode(encoded, validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise BadControl("content-bin is not base64") from None
    if text is None:
        return None
    if not isinstance(text, str):
        raise BadControl("content is not a text")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise BadControl("content holds half a surrogate pair") from None


def _message_type(message: dict[str, Any]) -> MessageType:
    kind = message.get("message-type", "text")
    for known in get_args(MessageType):
        if kind == known:
            return cast(MessageType, known)
    raise BadControl(f"{message['type']}: message-type is text, binary, ping or pong")


def _timeout(message: dict[str, Any], default: float) -> float:
    value = message.get("timeout", default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise BadControl(f"{message['type']}: timeout is a number of seconds above 0")
    return float(min(value, LONGEST_TIMEOUT))
