"""The places that streams take beside their places in the pool."""

from __future__ import annotations


class StreamPlaces:
    """How many streams are open, and whether there may be another."""

    __slots__ = ("begun", "cut", "most", "open")

    def __init__(self, most: int) -> None:
        self.most = most
        """How many may be open at a time."""
        self.open = 0
        self.begun = 0
        """Streams that were let in, ever."""
        self.cut = 0
        """How many of these ended without END_REQUEST."""

    def begin(self) -> bool:
        """An answer turns out to be a stream; False if there may be none."""
        if self.open >= self.most:
            return False
        self.open += 1
        self.begun += 1
        return True

    def over(self, *, is_whole: bool) -> None:
        """A stream that was begun has come to its END_REQUEST, or to another end."""
        self.open -= 1
        self.cut += not is_whole
