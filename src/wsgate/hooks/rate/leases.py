"""What this process has of buckets that all processes share. Pure.

Who takes a token of the shared bucket for each message pays a round trip for each. So a key that
was used lately gets some tokens ahead, at most half of the bucket, and twice what it used before;
what it does not use it gives back in time. `wsgate.bus.buckets` says why nobody has more by that.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice

from wsgate.channels.tokens import LEASE, Ask, Taken

KEEP = LEASE * 3 / 4
"""Seconds after which tokens that were not used are given back."""

BELIEVE = 1.0
"""Seconds for which a key is refused without asking again: others may give some back."""

AT_ONCE = 500
"""Leases that are looked at in one call of `idle`."""


class _Lease:
    """Of one key."""

    __slots__ = ("asked_at", "free_at", "is_asked", "refused_until", "tokens", "used")

    def __init__(self) -> None:
        self.asked_at = float("-inf")
        self.free_at = float("-inf")
        """When there may be a token again, if nobody else comes."""
        self.is_asked = False
        """Whether an answer is due."""
        self.refused_until = float("-inf")
        self.tokens = 0
        self.used = 0
        """Since the time before it was asked for."""


class Leases:
    """By keys, at most `most` of them; `name` tells these buckets from others of the bus."""

    def __init__(self, name: str, rate: float, burst: int, most: int) -> None:
        self._name = name
        self._rate = rate
        self._burst = burst
        self._most = most
        self._leases: OrderedDict[str, _Lease] = OrderedDict()
        """The one asked for the longest ago first."""

    def __len__(self) -> int:
        return len(self._leases)

    def take(self, key: str, now: float) -> float | None:
        """Take a token that is here: 0.0 if there was one.

        Else the seconds until one may be there, or None: ask.
        """
        lease = self._leases.get(key)
        if lease is None:
            return None
        if lease.tokens and now < lease.asked_at + LEASE:
            lease.tokens -= 1
            lease.used += 1
            return 0.0
        if now < lease.refused_until:
            return lease.free_at - now
        return None

    def ask(self, key: str, need: int, now: float) -> Ask:
        """What to ask for now; nothing of this key is here until `answered`."""
        lease = self._leases.setdefault(key, _Lease())
        self._leases.move_to_end(key)
        is_current = now < lease.asked_at + LEASE
        ahead = min(self._burst // 2, 2 * lease.used) if is_current else 0
        back = lease.tokens if is_current else 0
        lease.tokens = lease.used = 0
        lease.asked_at = now
        lease.is_asked = True
        if len(self._leases) > self._most:
            self._leases.popitem(last=False)
        return Ask(self._name + key, self._rate, self._burst, need, ahead, back)

    def answered(self, key: str, taken: Taken, now: float) -> None:
        """What came of it."""
        lease = self._leases.get(key)
        if lease is None:
            return
        lease.is_asked = False
        lease.tokens = taken.ahead
        lease.used = taken.granted
        lease.free_at = now + taken.wait
        lease.refused_until = now + min(taken.wait, BELIEVE)

    def failed(self, key: str) -> None:
        """Nothing came of it."""
        self._leases.pop(key, None)

    def idle(self, now: float) -> list[Ask]:
        """Forget what was not asked for lately; what to give back of it."""
        given = []
        for key, lease in tuple(islice(self._leases.items(), AT_ONCE)):
            if lease.asked_at + KEEP > now:
                break
            if lease.is_asked:
                continue
            del self._leases[key]
            if lease.tokens and now < lease.asked_at + LEASE:
                ask = Ask(self._name + key, self._rate, self._burst, 0, 0, lease.tokens)
                given.append(ask)
        return given
