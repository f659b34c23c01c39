"""What cannot be done with channels."""

from __future__ import annotations


class ChannelError(Exception):
    """A name that none may have, or too many of something; `str()` is one line for people.

    `limit` is the setting of `[limits]` that stands against it, empty where none does.
    """

    def __init__(self, text: str, limit: str = "") -> None:
        super().__init__(text)
        self.limit = limit
