"""Push: messages to connections, channels and users, from outside of their own scripts.

A message counts as delivered once it was written to the socket of a client that was open, or stands
in line behind what was written before; nobody can say more before the client itself does.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from wsgate.cgi import is_binary_type
from wsgate.channels import BusError, BusUnanswered, ChannelError, Channels, Message
from wsgate.control.answers import (
    Action,
    Answer,
    Asked,
    Endpoint,
    Operation,
    Parameter,
    Refusal,
    Said,
    refused,
    told,
)
from wsgate.control.forms import (
    CHANNEL,
    CHANNEL_INFO,
    CODE,
    CONNECTION,
    EXCEPT,
    GONE,
    INFO,
    REASON,
    SUBSCRIBED,
    TOO_MANY,
    USER,
    USERS,
    count,
)

Source = Callable[[], Channels]
"""Gives the channels, or raises Refusal where there are none to be asked."""

_T = TypeVar("_T")


def push(source: Source, pushed: Counter[str]) -> list[Endpoint]:
    """The endpoints. `pushed` counts the messages taken, by what they were sent to."""
    do = _Actions(source, pushed)
    return [
        Endpoint(("connections", CONNECTION), do.on_connection()),
        Endpoint(("connections", CONNECTION, "channels", CHANNEL), do.on_subscription()),
        Endpoint(("channels", CHANNEL), do.on_channel()),
        Endpoint(("users", USER), do.on_user()),
    ]


class _Actions:
    """What each request does."""

    def __init__(self, source: Source, pushed: Counter[str]) -> None:
        self._source = source
        self._pushed = pushed

    def on_connection(self) -> dict[str, Operation | Action]:
        return {
            "GET": _asking(
                self.connection,
                "getConnection",
                "What is known of a connection",
                {200: Said("It is open.", INFO), 404: GONE},
            ),
            "POST": _asking(
                self.send_to_connection,
                "sendToConnection",
                "Send a message to one connection",
                {200: Said("It is on its way.", count("delivered", 1)), 404: GONE},
                takes_message=True,
            ),
            "DELETE": _asking(
                self.close_connection,
                "closeConnection",
                "Close a connection, behind what was sent to it before",
                {200: Said("Its closing handshake has begun.", count("closed", 1)), 404: GONE},
                (CODE, REASON),
            ),
        }

    def on_channel(self) -> dict[str, Operation | Action]:
        return {
            "GET": _asking(
                self.channel,
                "getChannel",
                "Who listens to a channel",
                {200: Said("How many there are, none perhaps.", CHANNEL_INFO)},
                (USERS,),
            ),
            "POST": _asking(
                self.publish,
                "publish",
                "Send a message to every subscriber of a channel",
                {200: Said("How many got it, none perhaps.", count("delivered"))},
                (EXCEPT,),
                takes_message=True,
            ),
        }

    def on_user(self) -> dict[str, Operation | Action]:
        return {
            "POST": _asking(
                self.send_to_user,
                "sendToUser",
                "Send a message to all connections of a user",
                {200: Said("How many got it, none perhaps.", count("delivered"))},
                takes_message=True,
            ),
            "DELETE": _asking(
                self.close_user,
                "closeUser",
                "Close all connections of a user",
                {200: Said("How many there were, none perhaps.", count("closed"))},
                (CODE, REASON),
            ),
        }

    def on_subscription(self) -> dict[str, Operation | Action]:
        return {
            "PUT": _asking(
                self.subscribe,
                "subscribe",
                "Let a connection get what is published to a channel; harmless if it did before",
                {200: Said("It gets it from now on.", SUBSCRIBED), 404: GONE, 409: TOO_MANY},
            ),
            "DELETE": _asking(
                self.unsubscribe,
                "unsubscribe",
                "Let a connection get nothing more of a channel; harmless if it did not before",
                {200: Said("It gets nothing more of it.", SUBSCRIBED), 404: GONE},
            ),
        }

    async def connection(self, asked: Asked) -> Answer:
        return told(200, _there(await self._source().connection_info(asked.parts[0])))

    async def send_to_connection(self, asked: Asked) -> Answer:
        message = message_of(asked)
        _there(await self._source().send_to_connection(asked.parts[0], message))
        return self._delivered("connection", 1)

    async def close_connection(self, asked: Asked) -> Answer:
        code, reason = asked.values["code"], asked.values["reason"]
        _there(await self._source().close_connection(asked.parts[0], code, reason))
        return told(200, {"closed": 1})

    async def channel(self, asked: Asked) -> Answer:
        users = asked.values["users"]
        return told(200, await self._source().channel_info(asked.parts[0], users=users))

    async def publish(self, asked: Asked) -> Answer:
        message, but = message_of(asked), asked.values["except"]
        number = await self._source().publish(asked.parts[0], message, except_id=but)
        return self._delivered("channel", number)

    async def send_to_user(self, asked: Asked) -> Answer:
        message = message_of(asked)
        return self._delivered("user", await self._source().send_to_user(asked.parts[0], message))

    async def close_user(self, asked: Asked) -> Answer:
        code, reason = asked.values["code"], asked.values["reason"]
        return told(200, {"closed": await self._source().close_user(asked.parts[0], code, reason)})

    async def subscribe(self, asked: Asked) -> Answer:
        connection, channel = asked.parts
        _there(await self._source().subscribe_connection(connection, channel))
        return told(200, {"channel": channel, "subscribed": True})

    async def unsubscribe(self, asked: Asked) -> Answer:
        connection, channel = asked.parts
        _there(await self._source().unsubscribe_connection(connection, channel))
        return told(200, {"channel": channel, "subscribed": False})

    def _delivered(self, to: str, number: int) -> Answer:
        self._pushed[to] += 1
        return told(200, {"delivered": number})


def message_of(asked: Asked) -> Message:
    """The body as one message: text or binary by its Content-Type, as with PHP's answers.

    Raises:
        Refusal: 415 for what is no media type, 400 for a text that is not UTF-8.
    """
    kind, body = asked.content_type, asked.body
    if kind and _MEDIA_TYPE.fullmatch(kind) is None:
        raise Refusal(415, "Content-Type is no media type; write one like text/plain")
    is_binary = is_binary_type(kind)
    if not is_binary:
        _require_utf8(body)
    return Message(body, is_binary)


# RFC 9110 §8.3.1.
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}[ \t]*(?:;[\t\x20-\x7e]*)?")


def _require_utf8(body: bytes) -> None:
    try:
        if not body.isascii():
            body.decode()
    except UnicodeDecodeError as error:
        raise Refusal(
            400,
            f"the body is text by its Content-Type but not UTF-8 at byte {error.start}; "
            "send Content-Type: application/octet-stream for binary",
        ) from None


def _there(found: _T | None) -> _T:
    if not found:
        raise Refusal(404, "no such connection, or it is gone")
    return found


def _asking(
    action: Action,
    name: str,
    what: str,
    says: dict[int, Said],
    parameters: tuple[Parameter, ...] = (),
    takes_message: bool = False,
) -> Operation:
    return Operation(_guarded(action), name, what, says, parameters, takes_message, True)


def _guarded(action: Action) -> Action:
    """`action`, whose ChannelErrors and BusErrors become answers."""

    async def guarded(asked: Asked) -> Answer:
        try:
            given = action(asked)
            return given if isinstance(given, Answer) else await given
        except ChannelError as error:
            if error.limit == "publish_backlog":
                return refused(503, str(error), ("Retry-After", "1"))
            return refused(409 if error.limit else 400, str(error))
        except BusUnanswered as error:
            return refused(504, str(error))
        except BusError as error:
            return refused(503, str(error), ("Retry-After", "1"))

    return guarded
