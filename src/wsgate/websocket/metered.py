"""No more than so many messages a second from one client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from wsgate.gateway import Conversation
from wsgate.websocket.rates import Rate


class Meter(NamedTuple):
    """How fast clients of some routes may send, and the limit that says so."""

    limit: str
    rate: Rate


class Meters:
    """Of each dialect; 0 means no limit. Who speaks Pusher keeps to both: PHP brakes nobody there.

    Args:
        pusher: messages a second of clients that speak Pusher.
    """

    def __init__(self, per_second: int, pusher: int) -> None:
        self._all = Meter("messages_per_second", Rate(per_second)) if per_second else None
        self._pusher = self._all
        if pusher and not 0 < per_second <= pusher:
            self._pusher = Meter("pusher_messages_per_second", Rate(pusher))

    def of(self, dialect: str) -> Meter | None:
        """What holds for a client; None where nothing does."""
        return self._pusher if dialect == "pusher" else self._all


class MeteredConversation:
    """Stands before a conversation and counts what it is given; there is none without a limit.

    Args:
        conversation: gets every message, and everything else that is asked.
        rate: what the client may send.
        seconds: the time.
        pause: called with seconds for which no further message should be given.
    """

    __slots__ = ("_conversation", "_pause", "_rate", "_seconds", "_spent")

    def __init__(
        self,
        conversation: Conversation,
        rate: Rate,
        seconds: Callable[[], float],
        pause: Callable[[float], object],
    ) -> None:
        self._conversation = conversation
        self._rate = rate
        self._seconds = seconds
        self._pause = pause
        self._spent = 0.0

    def message_received(self, payload: bytes | bytearray, is_binary: bool) -> None:
        """As the conversation's; after the last one allowed, reading pauses."""
        self._conversation.message_received(payload, is_binary)
        now = self._seconds()
        self._spent = self._rate.spend(self._spent, now)
        wait = self._rate.wait(self._spent, now)
        if wait:
            self._pause(wait)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conversation, name)
