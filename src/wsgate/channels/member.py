"""What `Channels` knows of an open connection."""

from __future__ import annotations

from typing import Protocol

from wsgate.channels.message import Message

ChannelSet = set[str] | frozenset[str]

NO_CHANNELS: ChannelSet = frozenset()
"""What every connection has until its first subscribe: shared, because most have none."""


class Member(Protocol):
    """An open connection, of any dialect. It is told apart by identity."""

    connection_id: str
    user: str | None
    """The user it is bound to; only `Channels.bind_user` sets it."""
    channels: ChannelSet
    """What it is subscribed to; only `Channels` changes it. First `NO_CHANNELS`."""

    def push(self, message: Message) -> bool:
        """Send one whole message now, or as soon as what was sent before is out.

        False: it was not taken, because the client is gone, closing, or too slow; a client that is
        too slow is closed.
        """

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake."""

    def info(self) -> dict[str, object]:
        """What an operator may know of it, as JSON can hold it."""
