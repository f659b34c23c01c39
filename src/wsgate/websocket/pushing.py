"""Messages that no request asked for: between the answers, in order, and never waited for."""

from __future__ import annotations

import time

from wsgate.channels import WAITING_OVERHEAD, Channels, Message
from wsgate.floods import CalmLogger
from wsgate.websocket.reading import _OPEN
from wsgate.websocket.writing import WritingProtocol

TOO_SLOW = (1013, "too slow")

_log = CalmLogger(namespace="wsgate")


class PushingProtocol(WritingProtocol):
    """Takes pushed messages as long as its client takes them too.

    Behind a long message, or while the client takes no data, they wait. Beyond
    `limits.push_buffer` the client is closed, and what waits for it is dropped.
    """

    _opened_at = 0.0
    """When the conversation began, by the reactor."""
    _was_pushed = False
    """Whether anything was, since `LastingProtocol` looked."""

    @property
    def channels(self) -> Channels:
        """All open connections."""
        return self.factory.channels

    def push(self, message: Message) -> bool:
        """Send one whole message; False if it is not taken: closing, an end is held, too slow."""
        if self.state != _OPEN or self._held is not None or self._close_later is not None:
            return False
        self._was_pushed = True
        if self._sending is not None or self._output_paused:
            return self._push_later(message)
        first, *others = self._parts_of(message)
        self.transport.write(first)
        if others:
            self._begin_sending(iter(others))
        return True

    def _push_later(self, message: Message) -> bool:
        size = len(message) + WAITING_OVERHEAD
        # A single one may be longer than the limit: its bytes are those that others get, too.
        if self._waiting_size and self._waiting_size + size > self.options.push_buffer:
            self._end_too_slow()
            return False
        self._wait(message, size)
        if self._sending is None:
            self._begin_sending(iter(()))
        return True

    def _end_too_slow(self) -> None:
        """Close at once: a close frame may stand within a fragmented message (RFC 6455 §5.4)."""
        self.factory.counts.limits["push_buffer"] += 1
        _log.warn(
            "connection {id} from {host} is closed: it does not take what is pushed to it; see "
            "limits.push_buffer",
            id=self._conversation.connection_id,  # type: ignore[union-attr]  # it is the caller
            host=self._host,
            kind="too slow",
        )
        self._sending = self._waiting = None
        self._waiting_size = 0
        self._conversation.close(*TOO_SLOW)  # type: ignore[union-attr]  # likewise

    def info(self) -> dict[str, object]:
        """Where the client is, and since when, Unix time."""
        age = self.factory.reactor.seconds() - self._opened_at
        return {"connected_at": round(time.time() - age, 3), "remote_addr": self._host}
