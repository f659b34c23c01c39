"""A long request on its way out, piece by piece, and whether the application takes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer

from wsgate.timeouts import Timeout, Timeouts

PIECE = 64 * 1024
"""Bytes that a transport of Twisted's gets at a time, or up to a record more."""

LOOKS = 4
"""How often in the time that nothing may move it is looked at."""


@implementer(IPullProducer)
class Sending:
    """Gives `parts` to a transport as it has room for them.

    `on_stall` is called when the transport has taken nothing for `seconds`, or up to a quarter
    longer. Our own transport gets all parts at once and tells how much is left (`unsent_size`);
    Twisted's get the next `PIECE` when they have sent the last, so that is a step of progress.
    """

    __slots__ = (
        "_left",
        "_looks",
        "_on_stall",
        "_parts",
        "_seconds",
        "_timeout",
        "_timeouts",
        "_transport",
    )

    def __init__(
        self, timeouts: Timeouts, seconds: float, transport: Any, on_stall: Callable[[], object]
    ) -> None:
        self._timeouts = timeouts
        self._seconds = seconds
        self._transport = transport
        self._on_stall = on_stall
        self._parts: deque[bytes | memoryview] = deque()
        self._left = -1
        self._looks = 0
        self._timeout: Timeout | None = None

    def start(self, parts: Iterable[bytes | memoryview]) -> None:
        """Begin. To be called once."""
        self._look_later()
        if hasattr(self._transport, "write_parts"):
            self._transport.write_parts(parts)
        else:
            self._parts.extend(parts)
            self._transport.registerProducer(self, False)

    @property
    def left(self) -> int:
        """What the transport has yet to take, in bytes or parts; 0 when it has all."""
        return len(self._parts) or getattr(self._transport, "unsent_size", 0)

    def cancel(self) -> None:
        """Look no more: the connection, or its request, is over."""
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

    def _look_later(self) -> None:
        self._timeout = self._timeouts.call_later(self._seconds / LOOKS, self._look)

    def _look(self) -> None:
        self._timeout = None
        left = self.left
        if not left:
            return
        self._looks = self._looks + 1 if left == self._left else 0
        self._left = left
        if self._looks >= LOOKS:
            self._on_stall()
        else:
            self._look_later()

    # Called by the transport

    def resumeProducing(self) -> None:
        """There is room for more."""
        parts, piece = self._parts, []
        size = 0
        while parts and size < PIECE:
            piece.append(parts.popleft())
            size += len(piece[-1])
        self._transport.write(b"".join(piece))
        if not parts:
            self._transport.unregisterProducer()

    def stopProducing(self) -> None:
        """The connection is over."""
        self._parts.clear()
