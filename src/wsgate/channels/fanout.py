"""One thing done to many connections, a few at a time, so that nobody else waits for it."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from wsgate.channels.member import Member

SLICE = 0.005
"""Seconds of one turn of the reactor that all deliveries together may take."""

AT_A_TIME = 32
"""Receivers between two looks at the clock, and before another channel has its turn."""

BYTES_AT_A_TIME = 512 * 1024
"""The same for long messages, in bytes over all receivers."""

Act = Callable[[Member], bool]

_log = Logger(namespace="wsgate")


class _Job:
    """One act, and who is yet to have it."""

    __slots__ = ("act", "count", "done", "next", "receivers", "size", "step")

    def __init__(self, receivers: Sequence[Member], act: Act, size: int) -> None:
        self.receivers = receivers
        self.act = act
        self.size = size
        self.step = max(1, min(AT_A_TIME, BYTES_AT_A_TIME // (size + 1)))
        self.next = 0
        self.count = 0
        self.done: Deferred[int] = Deferred()

    def some(self) -> bool:
        """Do it for the next few; whether all have had it."""
        act = self.act
        end = self.next + self.step
        count = 0
        for member in self.receivers[self.next : end]:
            try:
                count += act(member)
            except Exception:
                _log.failure("connection {id} could not be told", id=member.connection_id)
        self.next = end
        self.count += count
        return end >= len(self.receivers)


class Fanout:
    """Does things to many connections, at most `SLICE` seconds in one turn of the reactor.

    What has the same key is done in order, one after the other; what has another takes turns with
    it. A little is done at once, within the call.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._jobs: OrderedDict[Hashable, deque[_Job]] = OrderedDict()
        self._deadline = float("-inf")
        self._is_scheduled = False
        self._working = False
        self.waiting_bytes = 0
        """Bytes of all messages that somebody is yet to be given."""

    def send(
        self, key: Hashable, receivers: Sequence[Member], act: Act, size: int = 0
    ) -> Deferred[int]:
        """Call `act` with each of `receivers`; fires with how often it gave True.

        Args:
            key: of what is kept in order, a channel for example.
            receivers: must not change.
            act: an exception of it is logged, and counts as False.
            size: of the message, in bytes.
        """
        job = _Job(receivers, act, size)
        self.waiting_bytes += size
        self._jobs.setdefault(key, deque()).append(job)
        if not (self._is_scheduled or self._working):
            self._work_now()
        return job.done

    def _work_now(self) -> None:
        now = self._clock.seconds()
        # So long after the last slice others have had their turn, or as much time.
        if now >= self._deadline + SLICE:
            self._deadline = now + SLICE
        self._work()
        if self._jobs:
            self._is_scheduled = True
            # Timers come behind what was read, still in the same turn: the next is one later.
            self._clock.callLater(0, self._clock.callLater, 0, self._next_turn)

    def _next_turn(self) -> None:
        self._deadline = self._clock.seconds() + SLICE
        self._work()
        if self._jobs:
            self._clock.callLater(0, self._next_turn)
        else:
            self._is_scheduled = False

    def _work(self) -> None:
        # An act may cause further ones; they wait here for their turn, not within it.
        self._working = True
        try:
            while self._jobs and self._clock.seconds() < self._deadline:
                key = next(iter(self._jobs))
                self._jobs.move_to_end(key)
                job = self._jobs[key][0]
                if job.some():
                    self._over(key, job)
        finally:
            self._working = False

    def _over(self, key: Hashable, job: _Job) -> None:
        jobs = self._jobs[key]
        jobs.popleft()
        if not jobs:
            del self._jobs[key]
        self.waiting_bytes -= job.size
        job.done.callback(job.count)
