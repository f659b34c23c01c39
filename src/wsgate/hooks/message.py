"""A client's message as hooks see it. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsgate.hooks.hook import Answer


class NotToBeAsked(Exception):
    """PHP was asked about this message before, or the hook has had its say."""


class Message:
    """One whole message, and the way to PHP for those who want to see the answer."""

    __slots__ = ("_ask", "id", "is_binary", "payload")

    def __init__(
        self,
        id: str,
        payload: bytes | bytearray,
        is_binary: bool,
        ask: Callable[[Message], Awaitable[Answer]],
    ) -> None:
        self.id = id
        """As in WSGATE_MESSAGE_ID."""
        self.payload = payload
        self.is_binary = is_binary
        self._ask = ask

    @property
    def text(self) -> str | None:
        """The payload of a text message; None of a binary one."""
        return None if self.is_binary else str(self.payload, "utf-8")

    def changed(self, payload: str | bytes) -> Message:
        """The same message with another payload, text or binary."""
        data = payload.encode() if isinstance(payload, str) else payload
        return Message(self.id, data, not isinstance(payload, str), self._ask)

    def ask(self) -> Awaitable[Answer]:
        """Let the hooks behind this one and PHP answer, and see what they say.

        At most once for each message, since none runs twice. An answer that is a stream has gone to
        the client already when this gives it, and its payload is None.

        The awaitable raises what the message failed with. One that nobody awaits any more is asked
        all the same.

        Raises:
            NotToBeAsked: that was done before.
        """
        return self._ask(self)
