"""Buckets of tokens of one process. Pure.

A bucket is one number, the time at which it is full (the "generic cell rate algorithm" of ITU-T
I.371): nothing runs while nobody comes, and a full one takes no memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

ROUNDING = 1e-3
"""Tokens that may be missing for a whole one: times are sums of fractions."""


class Buckets:
    """One bucket of `burst` tokens for each key, filled by `rate` of them in a second.

    In any `t` seconds a key takes `burst + rate * t` tokens at most. Of more than `most` that are
    not full the one asked for the longest ago is forgotten, and `forgotten` called: for whoever
    comes back it is full again, as it would be for a stranger.
    """

    def __init__(self, rate: float, burst: int, most: int, forgotten: Callable[[], object]) -> None:
        self._rate = rate
        self._burst = burst
        self._most = most
        self._forgotten = forgotten
        self._full_at: OrderedDict[str, float] = OrderedDict()
        """The least recently asked for first."""

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: str, now: float) -> float:
        """Take a token; 0.0 if there is one, else the seconds until there will be."""
        full_at = max(self._full_at.pop(key, now), now)
        # Should the clock be set back.
        full_at = min(full_at, now + self._burst / self._rate)
        there = self._burst - (full_at - now) * self._rate + ROUNDING
        if there < 1:
            self._full_at[key] = full_at
            return (1 + ROUNDING - there) / self._rate
        self._full_at[key] = full_at + 1 / self._rate
        self._forget(now)
        return 0.0

    def _forget(self, now: float) -> None:
        """The oldest, two in each call at most: those that are full, or one that is too many."""
        oldest = self._full_at
        for _ in range(2):
            key = next(iter(oldest))
            if oldest[key] > now:
                if len(oldest) <= self._most:
                    return
                self._forgotten()
            del oldest[key]
            if not oldest:
                return
