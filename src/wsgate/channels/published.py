"""One message of one channel: its place among the others, and how a client is told of that. Pure.

Who subscribes with `recover` gets envelopes, JSON texts:

- first `{"channel":"room","last":"EPOCH:OFFSET","recovered":true}`: false where what was missed is
  not there any more, null where nothing was asked for;
- then `{"channel":"room","last":"EPOCH:OFFSET","data":"text"}` for each message, or `"base64"`
  instead of `"data"` for a binary one.

`last` is what the client asks to go on from when it comes back.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode

from wsgate.channels.message import Message

OVERHEAD = 400
"""Bytes that a message takes besides its payload, while it is kept."""

_PLACE = re.compile(r"([0-9a-f]{1,32}):([0-9]{1,15})")


class Published:
    """A message with its place: the `offset` of those counted from 1 since `epoch` began."""

    __slots__ = ("_envelope", "channel", "epoch", "message", "offset", "time")

    def __init__(
        self, channel: str, epoch: str, offset: int, message: Message, time: float = 0.0
    ) -> None:
        self.channel = channel
        self.epoch = epoch
        self.offset = offset
        self.message = message
        self.time = time
        """When it was published, by the reactor."""
        self._envelope: Message | None = None

    @property
    def envelope(self) -> Message:
        """The message as those get it who may recover. Made once."""
        if self._envelope is None:
            payload = self.message.payload
            if self.message.is_binary:
                data = {"base64": b64encode(payload).decode()}
            else:
                data = {"data": payload.decode("utf-8", "replace")}
            self._envelope = _text(self.channel, place(self.epoch, self.offset), data)
        return self._envelope

    @property
    def size(self) -> int:
        """Bytes that it takes while it is kept: payload and envelope, both as frames as well."""
        return 4 * len(self.message) + OVERHEAD


def opening(channel: str, epoch: str, offset: int, recovered: bool | None) -> Message:
    """What a client gets that subscribes with `recover`, before everything else."""
    return _text(channel, place(epoch, offset), {"recovered": recovered})


def place(epoch: str, offset: int) -> str:
    """A place in a channel as clients keep it."""
    return f"{epoch}:{offset}"


def read_place(text: str) -> tuple[str, int] | None:
    """Epoch and offset of what `place` gave; None for anything else."""
    match = _PLACE.fullmatch(text)
    return (match[1], int(match[2])) if match is not None else None


def _text(channel: str, last: str, more: dict[str, str] | dict[str, bool | None]) -> Message:
    said = {"channel": channel, "last": last, **more}
    return Message(json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode())
