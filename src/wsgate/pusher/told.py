"""What the server says: events as JSON texts. Pure.

Of an event the `data` is JSON inside a JSON string, as Pusher has it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

SUBSCRIBED = "pusher_internal:subscription_succeeded"
MEMBER_ADDED = "pusher_internal:member_added"
MEMBER_REMOVED = "pusher_internal:member_removed"
SUBSCRIPTION_COUNT = "pusher_internal:subscription_count"


def encoded(value: object) -> str:
    """`value` as JSON, without spaces.

    Raises:
        ValueError: a number is infinite or not a number.
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # Half a surrogate pair can be written in JSON only as an escape.
    return text if text.isascii() or _is_unicode(text) else json.dumps(value, separators=(",", ":"))


def event(name: str, data: object = None, *, channel: str | None = None, **more: object) -> bytes:
    """An event: `data` goes into a JSON string unless it is one already; None: `{}`."""
    said: dict[str, object] = {"event": name}
    if channel is not None:
        said["channel"] = channel
    said["data"] = data if isinstance(data, str) else encoded({} if data is None else data)
    return encoded(said | more).encode()


def client_event(name: str, channel: str, data: object, user_id: str | None) -> bytes:
    """An event of a client's own, for the others: `data` as it came, and who sent it."""
    said = {"event": name, "channel": channel, "data": data}
    if user_id is not None:
        said["user_id"] = user_id
    return encoded(said).encode()


def established(socket_id: str, activity_timeout: float) -> bytes:
    """The first event of a connection. pusher-js wants whole seconds, and not zero of them."""
    seconds = max(1, round(activity_timeout))
    data = {"socket_id": socket_id, "activity_timeout": seconds}
    return event("pusher:connection_established", data)


def presence(members: Mapping[str, object]) -> dict[str, object]:
    """Who is in a presence channel, for a new subscriber: information by user id."""
    return {"presence": {"count": len(members), "ids": list(members), "hash": dict(members)}}


def subscription_error(channel: str, kind: str, reason: str, status: int) -> bytes:
    """A subscription is refused."""
    data = {"type": kind, "error": reason, "status": status}
    return event("pusher:subscription_error", data, channel=channel)


def error(code: int | None, reason: str) -> bytes:
    """An error that concerns the connection, or one event that it sent."""
    return event("pusher:error", {"code": code, "message": reason})


PONG = event("pusher:pong")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
