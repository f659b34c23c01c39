"""Those who wait for a place in the pool: in lanes, each with its bound, all with a deadline."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import chain, takewhile

from twisted.logger import Logger

from wsgate.fastcgi.unsent import Lane, Unsent
from wsgate.timeouts import Timeout, Timeouts

PASSED_OVER = 3
"""How often a lane with somebody in it is passed over in a row before it gets the next place."""


class Queue:
    """Requests that wait, first come first served within their lane.

    The lanes are served in the order of `Lane`, but none for ever: one that has waited while
    `PASSED_OVER` places went to lanes before it gets the next one. Each holds at most `bound`
    requests, whatever waits in the others.

    `on_timeout` is called with a request whose time is over, after it has left. Deadlines are in
    the order in which requests came, so that one timer serves all: it waits for the first of each
    lane, and a request that gets its place in time costs no timer at all.
    """

    __slots__ = (
        "_bound",
        "_lanes",
        "_log",
        "_messages",
        "_on_timeout",
        "_passed_over",
        "_refused",
        "_sorted",
        "_timeouts",
        "_timer",
        "_timer_due",
        "count",
        "most",
        "name",
    )

    def __init__(
        self, timeouts: Timeouts, bound: int, name: str, on_timeout: Callable[[Unsent], object]
    ) -> None:
        self._timeouts = timeouts
        self._bound = bound
        self._on_timeout = on_timeout
        self._log = Logger()
        self.name = name
        self.count = 0
        """How many wait, in all lanes."""
        self.most = 0
        """The highest `count` so far."""
        self._lanes: tuple[OrderedDict[Unsent, None], ...] = tuple(OrderedDict() for _ in Lane)
        self._messages = self._lanes[Lane.MESSAGE]
        self._passed_over = [0] * len(Lane)
        self._refused = 0
        self._timer: Timeout | None = None
        self._timer_due = 0.0
        self._sorted = True
        """Whether nobody came in front of others."""

    def __contains__(self, unsent: Unsent) -> bool:
        return unsent in self._lanes[unsent.lane]

    def waiting(self, lane: Lane) -> int:
        """How many wait in one lane."""
        return len(self._lanes[lane])

    def refuse(self) -> None:
        """Count one whom a full lane did not take; the log hears of it once, until the queue is
        half empty."""
        if not self._refused:
            self._log.warn(
                "Pool {pool} is full, {bound} requests wait: more are refused",
                pool=self.name,
                bound=self._bound,
            )
        self._refused += 1

    def offer(self, unsent: Unsent) -> bool:
        """Let a request wait until its deadline, behind the others of its lane; False if it is
        full."""
        lane = self._lanes[unsent.lane]
        if len(lane) >= self._bound:
            return False
        self._add(lane, unsent)
        return True

    def put_back(self, unsent: Unsent) -> None:
        """Let a request that had its turn wait for another, in front of the others of its lane."""
        lane = self._lanes[unsent.lane]
        self._add(lane, unsent)
        lane.move_to_end(unsent, last=False)
        self._sorted = False

    def _add(self, lane: OrderedDict[Unsent, None], unsent: Unsent) -> None:
        lane[unsent] = None
        self.count = count = self.count + 1
        if count > self.most:
            self.most = count
        if self._timer is None or unsent.deadline < self._timer_due:
            self._start_timer(unsent.deadline)

    def take(self) -> Unsent:
        """The next, which then waits no longer. KeyError if nobody waits."""
        lane = self._messages
        if self.count != len(lane):
            lane = self._lanes[self._next_lane()]
        unsent, _ = lane.popitem(last=False)
        self.count -= 1
        if self._refused or not self.count:
            self._left()
        return unsent

    def remove(self, unsent: Unsent) -> None:
        """Let a request that waits go. KeyError if it does not."""
        del self._lanes[unsent.lane][unsent]
        self.count -= 1
        self._left()

    def _next_lane(self) -> int:
        waiting = [lane for lane in Lane if self._lanes[lane]]
        overdue = [lane for lane in waiting if self._passed_over[lane] >= PASSED_OVER]
        chosen = overdue[-1] if overdue else waiting[0]
        for lane in waiting:
            self._passed_over[lane] += 1
        self._passed_over[chosen] = 0
        return chosen

    def _start_timer(self, due: float) -> None:
        self._stop_timer()
        delay = max(0.0, due - self._timeouts.seconds())
        self._timer = self._timeouts.call_later(delay, self._look)
        self._timer_due = due

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Let those go whose time is over, and come back for the next."""
        self._timer = None
        for unsent in self._over(self._timeouts.seconds()):
            # The one before it may have led to its being withdrawn.
            if unsent in self:
                self.remove(unsent)
                self._on_timeout(unsent)
        if self.count:
            due = self._first_due()
            # Whoever came meanwhile may have started it.
            if self._timer is None or due < self._timer_due:
                self._start_timer(due)

    def _over(self, now: float) -> list[Unsent]:
        def is_over(unsent: Unsent) -> bool:
            return unsent.deadline <= now

        if not self._sorted:
            return list(filter(is_over, chain(*self._lanes)))
        return [unsent for lane in self._lanes for unsent in takewhile(is_over, lane)]

    def _first_due(self) -> float:
        if not self._sorted:
            return min(unsent.deadline for unsent in chain(*self._lanes))
        return min(next(iter(lane)).deadline for lane in self._lanes if lane)

    def _left(self) -> None:
        if not self.count:
            self._stop_timer()
            self._sorted = True
        if self._refused and self.count <= self._bound // 2:
            self._log.info(
                "Pool {pool} has room again; {refused} requests were refused",
                pool=self.name,
                refused=self._refused,
            )
            self._refused = 0
