"""Close codes and error codes of the protocol, and what they say. Pure.

What pusher-js makes of them: 4000 to 4099, do not connect again; 4100 to 4199, after a pause; 4200
to 4299, at once. 4300 and more are told in an event, and never close a connection.
"""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """A code, and what the client is told with it."""

    code: int
    reason: str


NOT_FOUND = Fault(4001, "Application does not exist")
UNAUTHORIZED = Fault(4009, "Connection is unauthorized")
TERMINATED = Fault(4009, "You got disconnected by the app.")
INVALID_MESSAGE = 4200
OLD_PROTOCOL = Fault(4007, "Unsupported protocol version")
CLIENT_EVENTS_OFF = Fault(4301, "The app does not have client messaging enabled.")
TOO_MANY_CLIENT_EVENTS = Fault(4301, "The rate limit for sending client events exceeded the quota.")
NOT_THIS_CHANNEL = Fault(
    4301, "Client event rejected - only supported on private and presence channels"
)
NOT_A_MEMBER = Fault(4301, "The client is not a member of the specified channel.")
LONG_EVENT_NAME = Fault(4301, "Event name is too long. Maximum allowed size is 200.")
LONG_EVENT = Fault(4301, "The data of the event is too long.")
OVERLOADED = Fault(4301, "Too much is being sent, try again later.")
