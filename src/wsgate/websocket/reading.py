"""The open part of a connection's life, inwards: from bytes to whole messages."""

from __future__ import annotations

from wsgate.gateway import Conversation
from wsgate.websocket.fastlane import LONG_HEADER, LongMessage, take_message
from wsgate.websocket.intake import IntakeProtocol

_POLICY_VIOLATION = 1008
_OPEN = IntakeProtocol.STATE_OPEN


class ReadingProtocol(IntakeProtocol):
    """Gives whole messages to the conversation, read by the fast lane or by Autobahn."""

    _conversation: Conversation | None = None
    """Set once the connection is open."""
    _long_message: LongMessage | None = None
    _heard = False
    """Whether bytes came since the last ping, beside whole short messages."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes came from the client."""
        conversation = self._conversation
        if conversation is not None:
            if self._is_clear and self.state == _OPEN:
                # Nearly always it is one message and nothing else.
                taken = take_message(data, 0, self.fast_limit)
                if taken is not None:
                    payload, is_binary, end = taken
                    if end == len(data):
                        conversation.message_received(payload, is_binary)
                        return
            self._is_clear = False
            self._receive(data)
            self._is_clear = self._long_message is None and self._is_between_messages()
        elif self._head is not None:
            self._receive_head(data)
        elif self._asking is not None:
            self._keep(data)
        elif self._reader is not None:
            self._reader.dataReceived(data)

    def _receive(self, data: bytes) -> None:
        if self._long_message is not None:
            data = self._go_on_with_long_message(data)
        if data and self._is_between_messages():
            data = self._take_messages(data)
        if data:
            self._heard = True
            self._hand_over(data)

    def _is_between_messages(self) -> bool:
        """Whether a chunk may begin with a message that Autobahn need not see."""
        return (
            not self.data
            and self.state == self.STATE_OPEN
            and self.current_frame is None
            and not self.inside_message
            and not self.failedByMe
            and not self._reading_paused
            and self._held is None
            # Any message counts as a sign of life; Autobahn's parser notes that.
            and self.autoPingTimeoutCall is None
        )

    def _take_messages(self, data: bytes) -> bytes:
        """Deliver the messages that `data` begins with; give what is left for Autobahn."""
        conversation = self._conversation
        assert conversation is not None
        start = 0
        end = len(data)
        limit = self.fast_limit
        while start < end:
            taken = take_message(data, start, limit)
            if taken is None:
                self._long_message = LongMessage.begin(data, start, limit)
                break
            payload, is_binary, start = taken
            conversation.message_received(payload, is_binary)
            if self._reading_paused or self.state != self.STATE_OPEN:
                break
        if self._long_message is not None:
            return self._go_on_with_long_message(data[start + LONG_HEADER :])
        return data[start:] if start else data

    def _go_on_with_long_message(self, data: bytes) -> bytes:
        """Add to the long message; deliver it when it is whole. Give what is left for Autobahn."""
        long_message = self._long_message
        assert long_message is not None
        assert self._conversation is not None
        self._heard = True
        rest = long_message.receive_data(data)
        if not long_message.is_valid:
            self._long_message = None
            return long_message.received() + rest
        if long_message.is_whole:
            self._long_message = None
            self._conversation.message_received(long_message.payload, long_message.is_binary)
        return rest

    def onMessageBegin(self, isBinary: bool) -> None:
        """The first frame of a message began."""
        super().onMessageBegin(isBinary)
        # One buffer: a list of pieces would cost 50 bytes for each byte a client sends singly.
        self._message = bytearray()
        self._fragments = 0

    def onMessageFrameBegin(self, length: int) -> None:
        """A frame's header was read; Autobahn checks the sizes, we the number of frames."""
        self._fragments += 1
        if self._fragments > self.options.max_fragments and not self.failedByMe:
            self.factory.counts.limits["max_fragments"] += 1
            self._fail_connection(_POLICY_VIOLATION, "too many fragments in one message")
        super().onMessageFrameBegin(length)

    def _max_message_size_exceeded(self, msg_size: int, max_msg_size: int, reason: str) -> None:
        """Autobahn found a message or a frame longer than allowed."""
        exceeded = "frame" if self.wasMaxFramePayloadSizeExceeded else "message"
        self.factory.counts.limits[f"max_{exceeded}_size"] += 1
        super()._max_message_size_exceeded(msg_size, max_msg_size, reason)

    def onMessageFrameData(self, payload: bytes) -> None:
        """Unmasked, decompressed and, for text, valid so far."""
        if not self.failedByMe:
            self._message += payload

    def onMessageFrameEnd(self) -> None:
        """Nothing to do: the data was taken as it came."""

    def onMessageEnd(self) -> None:
        """The message is whole."""
        message, self._message = self._message, bytearray()
        if not self.failedByMe and self._conversation is not None:
            self._conversation.message_received(bytes(message), self.message_is_binary)
