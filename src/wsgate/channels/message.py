"""One message for any number of receivers. Pure."""

from __future__ import annotations


class Message:
    """One whole WebSocket message, text or binary.

    `encoded` is for whoever sends it: what was made for the first receiver is kept for the others,
    with what it hangs on.
    """

    __slots__ = ("encoded", "is_binary", "payload")

    def __init__(self, payload: bytes, is_binary: bool = False) -> None:
        self.payload = payload
        self.is_binary = is_binary
        self.encoded: tuple[int, tuple[bytes, ...]] | None = None

    def __len__(self) -> int:
        """The size of the payload in bytes."""
        return len(self.payload)
