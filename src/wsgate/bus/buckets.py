"""Buckets of tokens that several nodes share, exactly. Pure.

Whatever nodes take ahead, and whichever of them asks: what they use in any `t` seconds is never
more than `burst + rate * t`. For tokens that a node keeps count as in the bucket, which fills up to
`burst` with them and not beyond; they leave it when the node says that they are used, or when its
lease ends and nobody can know. A node's lease ends earlier, for it counts from when it asked. A
token that is needed is used when it leaves the bucket, though its node hears so a little later.

A bucket is one number, the time at which it is full (the "generic cell rate algorithm" of ITU-T
I.371), and what nodes have of it. `lua.TAKE` is the same in Redis.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from wsgate.channels.tokens import LEASE, Ask, Taken

MOST = 100_000
"""Buckets that are kept; the one not asked for the longest goes, and begins full when it comes."""

ROUNDING = 1e-3
"""Tokens that may be missing for a whole one: times are sums of fractions."""


class _Lease(NamedTuple):
    """What a node has taken ahead."""

    tokens: int
    until: float


class Bucket:
    """One of them, full at first."""

    __slots__ = ("_full_at", "_leases", "_rate")

    def __init__(self) -> None:
        self._full_at = float("-inf")
        self._leases: dict[str, _Lease] = {}
        self._rate = 1.0

    def is_full(self, now: float) -> bool:
        """Whether it needs no memory."""
        self._expire(now)
        return not self._leases and self._full_at <= now

    def take(self, node: str, ask: Ask, now: float) -> Taken:
        """What `node` gets at the time `now`, in seconds."""
        self._rate = ask.rate
        self._correct(now, now + ask.burst / ask.rate)
        self._expire(now)
        mine = self._leases.pop(node, None)
        if mine is not None:
            self._spend(mine.tokens - min(ask.back, mine.tokens), now)
        out = sum(lease.tokens for lease in self._leases.values())
        there = ask.burst - max(0.0, self._full_at - now) * ask.rate - out + ROUNDING
        granted = min(ask.need, max(0, int(there)))
        self._spend(granted, now)
        if granted < ask.need:
            return Taken(granted, 0, (1 + ROUNDING + granted - there) / ask.rate)
        ahead = min(ask.ahead, max(0, int(there) - granted))
        if ahead:
            self._leases[node] = _Lease(ahead, now + LEASE)
        return Taken(granted, ahead, 0.0)

    def _correct(self, now: float, full_at: float) -> None:
        """Should the clock have been set back, or the bucket have been larger before."""
        self._full_at = min(self._full_at, full_at)
        for name, lease in self._leases.items():
            if lease.until > now + LEASE:
                self._leases[name] = lease._replace(until=now + LEASE)

    def _expire(self, now: float) -> None:
        """What nodes have kept for too long counts as used when their time was over."""
        for name, lease in sorted(self._leases.items(), key=lambda item: item[1].until):
            if lease.until > now:
                return
            del self._leases[name]
            self._spend(lease.tokens, lease.until)

    def _spend(self, count: int, when: float) -> None:
        if count:
            self._full_at = max(self._full_at, when) + count / self._rate


class Buckets:
    """All of them, by their keys."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        """The least recently asked for first."""

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, node: str, ask: Ask) -> Taken:
        """What `node` gets."""
        now = self._now()
        bucket = self._buckets.pop(ask.key, None) or Bucket()
        taken = bucket.take(node, ask, now)
        if not bucket.is_full(now):
            self._buckets[ask.key] = bucket
        self._forget(now)
        return taken

    def _forget(self, now: float) -> None:
        """The oldest, a few in each call: those that are full, or that are too many."""
        for _ in range(2):
            oldest = next(iter(self._buckets.values()), None)
            if oldest is None:
                return
            if len(self._buckets) > MOST or oldest.is_full(now):
                self._buckets.popitem(last=False)
