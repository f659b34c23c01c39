"""The messages of one connection that wait for their turn."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class QueueLimits(NamedTuple):
    """How much may wait on one connection before reading stops: messages, and their bytes."""

    messages: int = 16
    size: int = 1024 * 1024


class Waiting(deque[tuple[bytes | bytearray, bool]]):
    """Messages, each with whether it is binary, in the order in which they came.

    An empty one takes 700 bytes, and most connections never have two messages at a time: they share
    `NOTHING_WAITS`, which must not be added to.
    """

    __slots__ = ("size",)

    def __init__(self) -> None:
        super().__init__()
        self.size = 0
        """Their bytes."""

    def add(self, payload: bytes | bytearray, is_binary: bool) -> None:
        """Let a message wait, behind the others."""
        self.append((payload, is_binary))
        self.size += len(payload)

    def take(self) -> tuple[bytes | bytearray, bool]:
        """The next, which then waits no longer. IndexError if there is none."""
        message = self.popleft()
        self.size -= len(message[0])
        return message

    def is_full(self, limits: QueueLimits) -> bool:
        """Whether no further message should come."""
        return len(self) >= limits.messages or self.size >= limits.size


NOTHING_WAITS = Waiting()
