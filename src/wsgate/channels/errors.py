"""What cannot be done with channels, or not now."""

from __future__ import annotations


class ChannelError(Exception):
    """A name that none may have, or too many of something; `str()` is one line for people.

    `limit` is the setting of `[limits]` that stands against it, empty where none does.
    """

    def __init__(self, text: str, limit: str = "") -> None:
        super().__init__(text)
        self.limit = limit


class BusError(Exception):
    """Other processes could not be asked, and nothing was done; `str()` is one line for people."""


class BusAway(BusError):
    """What connects them is away, or more waits for it than may."""


class BusUnanswered(BusError):
    """They were asked and did not answer in time: nobody knows what was done."""
