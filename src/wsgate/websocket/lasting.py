"""How long a connection lasts: without messages, and at all."""

from __future__ import annotations

import random

from wsgate.timeouts import Timeout
from wsgate.websocket.draining import Farewell
from wsgate.websocket.pings import PingingProtocol

IDLE = Farewell(1000, "no message for a long time")
OLD = Farewell(1012, "connect again")

_LOOKS = 4
"""Looks at a connection within `idle_timeout`: nothing is noted when a message comes."""


class LastingProtocol(PingingProtocol):
    """Ends connections that are idle or old, after the answers that are due."""

    _old: Timeout | None = None
    _idle: Timeout | None = None
    _asked_before = 0
    _idle_looks = 0

    def drain(self, farewell: Farewell) -> None:
        """Close as soon as the answers that are due are out."""
        raise NotImplementedError

    def _begin_to_last(self) -> None:
        options = self.options
        if options.max_connection_age:
            # Those that came together, after a restart for example, do not go together.
            age = options.max_connection_age * random.uniform(0.9, 1.0)
            self._old = self.factory.timeouts.call_later(age, self._end, OLD, "max_connection_age")
        if options.idle_timeout:
            self._look_later()

    def _stop_lasting(self) -> None:
        for timeout in (self._old, self._idle):
            if timeout is not None:
                timeout.cancel()

    def _end(self, farewell: Farewell, limit: str) -> None:
        self._stop_lasting()
        self.factory.counts.limits[limit] += 1
        self.drain(farewell)

    def _look_later(self) -> None:
        self._idle = self.factory.timeouts.call_later(
            self.options.idle_timeout / _LOOKS, self._look
        )

    def _look(self) -> None:
        self._idle_looks = self._idle_looks + 1 if self._is_quiet() else 0
        if self._idle_looks < _LOOKS:
            self._look_later()
        else:
            self._end(IDLE, "idle_timeout")

    def _is_quiet(self) -> bool:
        """Whether no message went or came since the last look, and none is under way."""
        conversation = self._conversation
        assert conversation is not None
        before, self._asked_before = self._asked_before, conversation.asked
        was_pushed, self._was_pushed = self._was_pushed, False
        return (
            before == self._asked_before
            and not was_pushed
            and conversation.is_idle
            and self._sending is None
            and self._long_message is None
            and not self.inside_message
        )
