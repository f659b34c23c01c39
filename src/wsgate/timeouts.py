"""Many timeouts for the price of few timers.

A gateway sets a timeout for nearly everything it does and cancels nearly every one. A reactor's own
`callLater` keeps a heap; here timeouts that end within the same tenth of a second share one bucket,
so that setting and cancelling is one dictionary operation and the reactor sees one timer.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Timeouts:
    """Calls functions after a delay, grouped in buckets.

    A function runs at `delay` seconds or up to `resolution` seconds later, never earlier. At most
    `at_once` functions run in one turn of the reactor; the rest of a full bucket runs in the next.
    """

    def __init__(self, clock: IReactorTime, *, resolution: float = 0.1, at_once: int = 256) -> None:
        self._clock = clock
        self.seconds: Callable[[], float] = clock.seconds
        """The time of the clock."""
        self._resolution = resolution
        self._at_once = at_once
        self._buckets: dict[int, dict[Timeout, None]] = {}
        self._timer: IDelayedCall | None = None
        self._timer_bucket = 0

    def call_later(self, delay: float, function: Callable[..., object], *args: object) -> Timeout:
        """Arrange for `function(*args)` after `delay` seconds; the result can be cancelled."""
        # One past the rounded-down bucket: never early, at most one resolution late.
        bucket = int((self.seconds() + delay) / self._resolution) + 1
        timeout = Timeout(self, bucket, function, args)
        members = self._buckets.get(bucket)
        if members is None:
            self._buckets[bucket] = {timeout: None}
            if self._timer is None or bucket < self._timer_bucket:
                self._arm(bucket)
        else:
            members[timeout] = None
        return timeout

    def __len__(self) -> int:
        """How many timeouts are set."""
        return sum(map(len, self._buckets.values()))

    def close(self) -> None:
        """Drop every timeout that is set, and the reactor's timer with them."""
        self._buckets.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _forget(self, timeout: Timeout) -> None:
        members = self._buckets.get(timeout.bucket)
        if members is not None:
            members.pop(timeout, None)

    def _arm(self, bucket: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_bucket = bucket
        delay = bucket * self._resolution - self.seconds()
        self._timer = self._clock.callLater(max(0.0, delay), self._fire)

    def _fire(self) -> None:
        self._timer = None
        # Half a resolution forgives the rounding of bucket * resolution.
        now = int(self.seconds() / self._resolution + 0.5)
        left = self._at_once
        try:
            for bucket in sorted(b for b in self._buckets if b <= now):
                members = self._buckets[bucket]
                while members and left:
                    timeout = next(iter(members))
                    del members[timeout]
                    left -= 1
                    timeout.run()
                    if self._buckets.get(bucket) is not members:
                        # It has closed it all.
                        return
                if members:
                    return
                del self._buckets[bucket]
        finally:
            self._arm_next()

    def _arm_next(self) -> None:
        while self._buckets:
            first = min(self._buckets)
            if self._buckets[first]:
                if self._timer is None or first < self._timer_bucket:
                    self._arm(first)
                return
            del self._buckets[first]


class Timeout:
    """One pending call of `Timeouts`."""

    __slots__ = ("_args", "_function", "_timeouts", "bucket")

    def __init__(
        self,
        timeouts: Timeouts,
        bucket: int,
        function: Callable[..., object],
        args: tuple[object, ...],
    ) -> None:
        self._timeouts = timeouts
        self.bucket = bucket
        self._function = function
        self._args = args

    def cancel(self) -> None:
        """Drop the call. Harmless when it has run or was cancelled before."""
        self._timeouts._forget(self)

    def run(self) -> None:
        """Make the call; only `Timeouts` does this."""
        self._function(*self._args)
