"""What a client says, as values. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple


class BadMessage(Exception):
    """It is none of the protocol; `str()` is a fixed text for the client."""


class Ping(NamedTuple):
    """The client wants a sign of life."""


class Pong(NamedTuple):
    """The client gives a sign of life."""


class Subscribe(NamedTuple):
    """The client wants the events of a channel. `channel_data` is exactly as it was signed."""

    channel: str
    auth: str
    channel_data: str | None


class Unsubscribe(NamedTuple):
    """The client wants no more of them."""

    channel: str


class SignIn(NamedTuple):
    """The client says which user it is. `user_data` is exactly as it was signed."""

    auth: str
    user_data: str


class ClientEvent(NamedTuple):
    """An event for the other subscribers of a channel."""

    name: str
    channel: str
    data: object


class Unknown(NamedTuple):
    """An event that servers do not know; they ignore it."""


Said = Ping | Pong | Subscribe | Unsubscribe | SignIn | ClientEvent | Unknown


def parse(payload: bytes | bytearray | str) -> Said:
    """What a text message of a client says.

    Raises:
        BadMessage: it is no JSON object with an `event`, or one of the protocol's without what
            belongs to it.
    """
    message = json_object(payload)
    name = message.get("event")
    if not isinstance(name, str):
        raise BadMessage("Invalid message format")
    if name.startswith("client-"):
        return ClientEvent(name, _text(message, "channel"), message.get("data"))
    match name:
        case "pusher:ping":
            return Ping()
        case "pusher:pong":
            return Pong()
        case "pusher:subscribe":
            return _subscribe(_data(message))
        case "pusher:unsubscribe":
            return Unsubscribe(_text(_data(message), "channel"))
        case "pusher:signin":
            data = _data(message)
            return SignIn(_text(data, "auth"), _text(data, "user_data"))
    return Unknown()


def _subscribe(data: Mapping[str, object]) -> Subscribe:
    return Subscribe(
        _text(data, "channel"),
        # pusher-js sends an empty text, or null, where there is none.
        _text(data, "auth", optional=True),
        # An empty one is not signed: libraries leave it out then.
        _text(data, "channel_data", optional=True) or None,
    )


def _text(values: Mapping[str, object], name: str, *, optional: bool = False) -> str:
    value = values.get(name)
    if value is None and optional:
        return ""
    if not isinstance(value, str):
        raise BadMessage(f"Invalid message format: {name} must be a string")
    return value


def _data(message: Mapping[str, object]) -> Mapping[str, object]:
    """The data of a message, which may be an object, or one as JSON in a string."""
    data = message.get("data")
    if isinstance(data, str):
        return json_object(data)
    if not isinstance(data, dict):
        raise BadMessage("Invalid message format: data must be an object")
    return data


def json_object(text: bytes | bytearray | str) -> dict[str, Any]:
    """A JSON object (RFC 8259) in UTF-8, nothing but JSON taken, without half characters.

    Raises:
        BadMessage: it is anything else.
    """
    try:
        raw = text if isinstance(text, str) else text.decode()
        value = json.loads(raw, parse_constant=_no_constant, parse_float=_finite)
        if isinstance(value, dict):
            if "\\u" in raw:
                # An escape may stand for half a surrogate pair, which is no character.
                json.dumps(value, ensure_ascii=False).encode()
            return value
    # Too many brackets within each other are too deep for the parser.
    except (ValueError, RecursionError):
        pass
    raise BadMessage("Invalid message format")


def _no_constant(name: str) -> object:
    raise ValueError(name)


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("too large")
    return number
