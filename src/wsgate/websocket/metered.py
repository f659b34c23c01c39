"""No more than so many messages a second from one client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wsgate.gateway import Conversation
from wsgate.websocket.rates import Rate


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
