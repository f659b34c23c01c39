"""How fast a client is read: a little per turn, nothing while anything stands against it."""

from __future__ import annotations

from collections.abc import Callable

from wsgate.websocket.asking import AskingProtocol

QUEUE, RATE, TURN = 1, 2, 4
"""Why reading is paused: messages wait for PHP, too many came, others have their turn first."""

PIECE = 8 * 1024
"""Bytes that Autobahn gets in one turn of the reactor.

The frames of a chunk cost it the square of the chunk's size, since it copies what is left after
each: half a megabyte of the shortest frames would hold everybody up for seconds.
"""

_STEPS_AFTER_FAILURE = 512
"""Steps of Autobahn's parser, two for each frame, after the client broke the rules."""


class IntakeProtocol(AskingProtocol):
    """Hands bytes to Autobahn as long as nothing stands against it.

    It stops between two frames while reading is paused or an end is held.
    """

    _reading_paused = 0
    """Reasons why it is, added up."""
    _held: Callable[[], object] | None = None
    """The end of the connection, while it waits for answers that are due."""
    _unread = b""
    """What came and was not handed over."""
    _consuming = False
    _is_clear = False
    """Whether nothing but the state can keep the next chunk from beginning with a message that
    Autobahn need not see. Whoever changes anything else that it hangs on makes it False."""
    _steps_after_failure = 0

    def _stop_reading(self, reason: int) -> None:
        self._reading_paused |= reason
        self._is_clear = False
        self.transport.pauseProducing()

    def _go_on_reading(self, reason: int) -> None:
        self._reading_paused &= ~reason
        self._read_on()

    def _reading_is_paused(self) -> bool:
        """Whether something stands against reading on."""
        return self._is_stopped()

    def _is_stopped(self) -> bool:
        return bool(self._reading_paused or self._held is not None or self._is_over())

    def _is_over(self) -> bool:
        """Whether nothing more is wanted from this client."""
        return self.state == self.STATE_CLOSED or self._steps_after_failure >= _STEPS_AFTER_FAILURE

    def _hand_over(self, data: bytes) -> None:
        """Let Autobahn parse `data`, a piece in this turn of the reactor."""
        if self._is_over():
            self._unread = b""
            return
        self._unread += data
        if not self._is_stopped():
            self._hand_over_piece()

    def _hand_over_piece(self) -> None:
        piece, self._unread = self._unread[:PIECE], self._unread[PIECE:]
        self._dataReceived(piece)
        if self._is_over():
            self._unread = b""
        elif self._unread and not self._is_stopped():
            self._wait_a_turn()

    def _wait_a_turn(self) -> None:
        self._stop_reading(TURN)
        self.factory.reactor.callLater(0, self._go_on_reading, TURN)

    def _read_on(self) -> None:
        """Go on with what is buffered, then with the socket, unless something stands against it."""
        if self._is_stopped():
            return
        if self._consuming:
            # From within Autobahn's parser, which goes on by itself.
            if self._unread:
                self._wait_a_turn()
            else:
                self.transport.resumeProducing()
            return
        if self.data:
            self.consumeData()
        if self._unread and not self._is_stopped():
            self._hand_over_piece()
        if not self._is_stopped():
            self.transport.resumeProducing()

    def consumeData(self) -> None:
        """Parse what is buffered, but stop as soon as reading is paused or an end is held."""
        self._is_clear = False
        if self.state not in (self.STATE_OPEN, self.STATE_CLOSING):
            super().consumeData()
            return
        self._consuming = True
        try:
            while not self._is_stopped() and self.processData():
                if self.failedByMe:
                    # RFC 6455 §7.1.7: what follows need not be read; a close frame that is the
                    # answer to ours lets it end at once.
                    self._steps_after_failure += 1
        finally:
            self._consuming = False
