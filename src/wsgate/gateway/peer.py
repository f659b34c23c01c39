"""What a conversation asks of its socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from wsgate.channels import Channels, Message


class Peer(Protocol):
    """What a conversation asks of its socket."""

    @property
    def channels(self) -> Channels:
        """All open connections."""

    def send_message(self, payload: bytes | memoryview, is_binary: bool) -> None:
        """Send one whole message."""

    def push(self, message: Message) -> bool:
        """Send one whole message that nobody asked for; False if it is not taken."""

    def info(self) -> dict[str, object]:
        """Where the client is and since when, as JSON can hold it."""

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake."""

    def pause_reading(self) -> None:
        """Deliver no further message until `resume_reading`."""

    def resume_reading(self) -> None:
        """Go on after `pause_reading`."""

    def call_soon(self, function: Callable[[], None]) -> None:
        """Call `function` in the next turn of the reactor."""

    def conversation_idle(self) -> None:
        """Called when the last message that was waiting has got its answer."""
