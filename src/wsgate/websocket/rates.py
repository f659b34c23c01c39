"""So many a second, and twice as many at once. Pure.

What was spent is one number: the time until which it counts (a leaky bucket as a meter, the
"generic cell rate algorithm" of ITU-T I.371). So a rate costs a float for each who is metered, and
nothing runs while nobody comes.
"""

from __future__ import annotations

_MOST = 2**16


class Rate:
    """`per_second` events a second, 1 or more, and `2 * per_second` at once after quiet.

    `spent` is always what `spend` gave for the event before, 0.0 before the first; `now` is a time
    in seconds. Should the clock be set back, all that was spent is forgotten.
    """

    __slots__ = ("_grace", "_step")

    def __init__(self, per_second: float) -> None:
        self._step = 1 / per_second
        # Events are whole: half a one forgives the rounding of sums.
        self._grace = 2.0 - self._step / 2

    def spend(self, spent: float, now: float) -> float:
        """Count one event."""
        if not now <= spent <= now + 2 + self._step:
            spent = now
        return spent + self._step

    def take_back(self, spent: float) -> float:
        """Count one event less."""
        return max(0.0, spent - self._step)

    def wait(self, spent: float, now: float) -> float:
        """Seconds until one more event is within the rate; 0.0 when it is."""
        wait = spent - now - self._grace
        return wait if 0 < wait < 2 * self._step else 0.0


class Rates:
    """One `Rate` for each of many keys, in memory that is bounded whoever comes.

    A key is kept while it has anything spent, at most two seconds after its last event. Should more
    than 65,536 of them come in that time, all are forgotten: a table for each address in the world
    is no protection either.
    """

    __slots__ = ("_rate", "_spent", "_tidy_at")

    def __init__(self, per_second: float) -> None:
        self._rate = Rate(per_second)
        self._spent: dict[str, float] = {}
        self._tidy_at = 1024

    def __len__(self) -> int:
        """How many keys are kept."""
        return len(self._spent)

    def allow(self, key: str, now: float) -> bool:
        """Count one event of `key` if it is within the rate, and say whether it is."""
        spent = self._spent.get(key, 0.0)
        if self._rate.wait(spent, now):
            return False
        if len(self._spent) >= self._tidy_at:
            self._tidy(now)
        self._spent[key] = self._rate.spend(spent, now)
        return True

    def forgive(self, key: str) -> None:
        """Take back one event of `key`."""
        spent = self._spent.get(key)
        if spent is not None:
            self._spent[key] = self._rate.take_back(spent)

    def _tidy(self, now: float) -> None:
        self._spent = {key: spent for key, spent in self._spent.items() if spent > now}
        if len(self._spent) >= _MOST:
            self._spent.clear()
        # Doubling makes the price of tidying one step for each event.
        self._tidy_at = min(_MOST, max(1024, 2 * len(self._spent)))
