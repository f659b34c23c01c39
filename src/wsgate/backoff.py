"""How long to wait before a process that ended is started again. Pure."""

from __future__ import annotations


class Backoff:
    """`first` seconds, then twice as long each time up to `longest`; after `healthy` seconds of
    service it begins anew."""

    def __init__(self, first: float = 0.1, longest: float = 5.0, healthy: float = 10.0) -> None:
        self._first = first
        self._longest = longest
        self._healthy = healthy
        self._next = first

    def after(self, served: float) -> float:
        """The delay after a run that answered for `served` seconds (0: it never did)."""
        if served >= self._healthy:
            self._next = self._first
        delay = self._next
        self._next = min(2 * delay, self._longest)
        return delay
