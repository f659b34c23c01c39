"""Who takes an answer part by part, while the application still works on it. Sans-IO."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from wsgate.fastcgi.errors import FastCGIError


class Flow(Protocol):
    """What the taker of a stream may do with its request, until it is told that this is over."""

    def pause(self) -> None:
        """Read no more of the stream for now: the application will have to wait as it writes."""

    def resume(self) -> None:
        """Go on reading."""

    def stop(self, error: FastCGIError) -> None:
        """End the request, which then fails with `error`: its connection is closed.

        PHP stops the script when it next says something.
        """


class Sink(Protocol):
    """Takes a stream. Its request's turn is told the end, as of any other request."""

    @property
    def timeout(self) -> float:
        """Seconds the stream may last, from its beginning."""

    def feed(self, content: bytes, /) -> None:
        """Take the content of one STDOUT record.

        Raises:
            StreamStopped: no more of it is wanted; what came before may still be.
        """

    def deliver(self, flow: Flow, /) -> None:
        """Pass on what was fed. Called after each read, the first time as the stream begins."""


Streaming = Callable[[bytearray], Sink | Literal[False] | None]
"""The optional method `streaming` of a turn, which gets all STDOUT that came so far.

It is asked after each STDOUT record of an answer that did not come as one record and END_REQUEST in
one read, until it has decided: False if the answer is to be collected, None if it cannot know yet,
or who takes the rest of STDOUT. It may raise StreamStopped.
"""
