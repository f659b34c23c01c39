"""Pings both ways: ours find clients that are gone, theirs are answered, but not without end."""

from __future__ import annotations

from wsgate.websocket.pushing import PushingProtocol

_POLICY_VIOLATION = 1008
_CLOSE, _PONG = 8, 10


class PingingProtocol(PushingProtocol):
    """Meters the client's control frames, but for its close and for pongs that we asked for."""

    control_frame_data: list[bytes] | None
    _control_spent = 0.0
    _pong_due: bytes | None = None
    """The newest ping, while the client takes no data."""

    # -- ours

    def _sendAutoPing(self) -> None:
        self._heard = False
        self._is_clear = False
        super()._sendAutoPing()

    def onAutoPingTimeout(self) -> None:
        """No pong came in time; but while we do not read, or a long message comes in, none can."""
        if self._reading_paused or self._held is not None or self._heard:
            self._heard = False
            self.autoPingTimeoutCall = self.factory.timeouts.call_later(
                self.options.pong_timeout, self.onAutoPingTimeout
            )
            return
        self._dropped("no pong", "pong_timeout")
        self._log_end("dropped: no pong within {seconds} s", seconds=self.autoPingTimeout)
        super().onAutoPingTimeout()

    # -- theirs

    def processControlFrame(self) -> bool:
        """Autobahn: a control frame is whole."""
        if self._is_one_too_many():
            self.control_frame_data = None
            self.factory.counts.limits["control_frames_per_second"] += 1
            self._fail_connection(_POLICY_VIOLATION, "too many control frames")
            return True
        go_on: bool = super().processControlFrame()
        return go_on

    def _is_one_too_many(self) -> bool:
        rate = self.factory.control_rate
        opcode = self.current_frame.opcode
        if rate is None or opcode == _CLOSE or self.state != self.STATE_OPEN or self.failedByMe:
            return False
        payload = b"".join(self.control_frame_data or ())
        if opcode == _PONG and payload == self.autoPingPending:
            return False
        now = self.factory.reactor.seconds()
        if rate.wait(self._control_spent, now):
            return True
        self._control_spent = rate.spend(self._control_spent, now)
        return False

    def onPing(self, payload: bytes) -> None:
        """Answer; of several only the newest while the client takes no data, RFC 6455 §5.5.3."""
        if self._output_paused:
            self._pong_due = payload
        else:
            self.sendPong(payload)

    def resumeProducing(self) -> None:
        """The client takes data again."""
        if self._pong_due is not None:
            payload, self._pong_due = self._pong_due, None
            self.sendPong(payload)
        super().resumeProducing()
