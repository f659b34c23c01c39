"""Requests to the HTTP API: who may call, and what the bodies say. Pure.

Pusher's documentation, "HTTP API reference". Errors are plain text, as Pusher's are: the libraries
show it to the developer.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote_to_bytes

from wsgate.pusher import names
from wsgate.pusher.app import App
from wsgate.pusher.asked import BadMessage, json_object
from wsgate.pusher.signatures import body_is, request_is_signed
from wsgate.pusher.socketid import connection_id_of

CLOCKS_DIFFER = 600
"""Seconds that the application's clock may differ from ours."""

MOST_CHANNELS = 100
"""Of one event."""

MOST_EVENTS = 10
"""In one batch."""

LONGEST_EVENT_NAME = 200
_MOST_FIELDS = 32


class Refused(Exception):
    """The call is refused with an HTTP status; `str()` is a fixed text for the developer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Call(NamedTuple):
    """One request. `path` is as it was sent, without the app's prefix; `query` likewise."""

    method: str
    path: str
    query: str
    body: bytes


class Trigger(NamedTuple):
    """One event for some channels. `except_id` is a connection that does not get it."""

    name: str
    data: str
    channels: tuple[str, ...]
    except_id: str | None
    info: frozenset[str]


def body_limit(app: App) -> int:
    """How long a body may be: a batch of the longest events, with their quotes escaped."""
    return MOST_EVENTS * 2 * app.max_event_size + 64 * 1024


def check_call(app: App, call: Call, now: float) -> dict[str, str]:
    """See whether a call is the application's; give the decoded values of its query.

    Raises:
        Refused: 401, it is not, or not of this time; 400 for a query that cannot be read.
    """
    query = _query(call.query)
    if query.get("auth_key") != app.key:
        raise Refused(401, "Unknown auth_key")
    if query.get("auth_version") != "1.0":
        raise Refused(401, "Unsupported auth_version: 1.0 is expected")
    if not _is_signed(app, call, query):
        raise Refused(
            401,
            "Invalid signature: auth_signature must be the hexadecimal HMAC-SHA256, by the app's "
            "secret, of method, path and sorted query",
        )
    _check_time(query.get("auth_timestamp", ""), now)
    if call.body and not body_is(call.body, query.get("body_md5", "")):
        raise Refused(401, "Invalid body_md5: it is not the MD5 of the body")
    return query


def _check_time(timestamp: str, now: float) -> None:
    if not re.fullmatch(r"[0-9]{1,15}", timestamp, re.ASCII):
        raise Refused(401, "Invalid auth_timestamp: Unix time in seconds is expected")
    if abs(int(timestamp) - now) > CLOCKS_DIFFER:
        raise Refused(
            401,
            f"Timestamp expired: Given timestamp not within {CLOCKS_DIFFER}s of server time",
        )


def _is_signed(app: App, call: Call, query: dict[str, str]) -> bool:
    if request_is_signed(app, call.method, call.path, query):
        return True
    # Libraries sign what they then encode for the URL.
    decoded = unquote_to_bytes(call.path).decode("utf-8", "surrogateescape")
    return decoded != call.path and request_is_signed(app, call.method, decoded, query)


# How PHP writes the items of a list into a query; what is signed is the list with commas.
_ITEM = re.compile(r"([^\[\]]+)\[[0-9]*\]")


def _query(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            query,
            keep_blank_values=True,
            errors="surrogateescape",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:
        raise Refused(400, "The query has too many fields") from None
    values: dict[str, str] = {}
    for name, value in pairs:
        item = _ITEM.fullmatch(name)
        if item is not None and item[1] in values:
            values[item[1]] += "," + value
        elif (item[1] if item is not None else name) in values:
            raise Refused(400, "A field of the query is repeated")
        else:
            values[item[1] if item is not None else name] = value
    return values


def trigger(app: App, body: bytes) -> Trigger:
    """The event that a body of `/events` says.

    Raises:
        Refused: 400, or 413 for too much data.
    """
    return _trigger(app, _object(body))


def batch(app: App, body: bytes) -> list[Trigger]:
    """The events that a body of `/batch_events` says.

    Raises:
        Refused: 400 or 413; none of them is to happen then.
    """
    events = _object(body).get("batch")
    if not isinstance(events, list):
        raise Refused(400, "The batch must be a list of events")
    if len(events) > MOST_EVENTS:
        raise Refused(400, f"A batch may have {MOST_EVENTS} events")
    return [_trigger(app, event) for event in events]


def _object(body: bytes) -> dict[str, Any]:
    try:
        return json_object(body)
    except BadMessage:
        raise Refused(400, "The body must be a JSON object") from None


def _trigger(app: App, event: object) -> Trigger:
    if not isinstance(event, dict):
        raise Refused(400, "An event must be an object")
    name, data = event.get("name"), event.get("data")
    if not isinstance(name, str) or not name:
        raise Refused(400, "An event needs a name, which is a string")
    if len(name) > LONGEST_EVENT_NAME:
        raise Refused(400, f"The name of an event may have {LONGEST_EVENT_NAME} characters")
    if not isinstance(data, str):
        raise Refused(400, "An event needs data, which must be a string (JSON, mostly)")
    if len(data.encode()) > app.max_event_size:
        raise Refused(413, f"The data of an event may have {app.max_event_size} bytes")
    return Trigger(
        name, data, _channels(event), _except_id(event.get("socket_id")), info(event.get("info"))
    )


def _channels(event: dict[str, Any]) -> tuple[str, ...]:
    given = event.get("channels", event.get("channel"))
    channels = [given] if isinstance(given, str) else given
    if not isinstance(channels, list) or not channels:
        raise Refused(400, "An event needs a channel, or a list of channels")
    if len(channels) > MOST_CHANNELS:
        raise Refused(400, f"An event may go to {MOST_CHANNELS} channels")
    for channel in channels:
        if not isinstance(channel, str) or not (
            names.is_channel(channel) or names.user_of(channel)
        ):
            raise Refused(400, "Invalid channel name")
    return tuple(dict.fromkeys(channels))


def _except_id(socket_id: object) -> str | None:
    # Laravel sends null for a request that came without X-Socket-ID.
    if socket_id is None:
        return None
    found = connection_id_of(socket_id) if isinstance(socket_id, str) else None
    if found is None:
        raise Refused(400, "Invalid socket_id")
    return found


def info(attributes: object) -> frozenset[str]:
    """The attributes that an `info` asks for; unknown ones are left out.

    Raises:
        Refused: 400, it is no text.
    """
    if attributes is None:
        return frozenset()
    if not isinstance(attributes, str):
        raise Refused(400, "info must be a string, like user_count,subscription_count")
    return frozenset(part.strip() for part in attributes.split(",")) & _ATTRIBUTES


_ATTRIBUTES = frozenset({"user_count", "subscription_count"})
