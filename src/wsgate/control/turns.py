"""A share of the reactor's time: so much in one of its turns, and the rest in the next ones.

Between two turns the reactor looks at everything else. So a flood of requests takes what clients
leave over, however long each of them takes, and makes a client wait for one such share at most.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Turns:
    """Does what it is given in its order, for about `share` seconds in one turn of the reactor.

    `watch` tells seconds, from any start. What has begun runs to its end.
    """

    def __init__(
        self, reactor: IReactorTime, share: float, watch: Callable[[], float] = perf_counter
    ) -> None:
        self._reactor = reactor
        self._share = share
        self._watch = watch
        self._waiting: deque[Callable[[], object]] = deque()
        self._next: IDelayedCall | None = None
        self._spent = 0.0
        self._began: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether this turn's share is used up."""
        if self._began is None:
            return self._spent >= self._share
        return self._spent + self._watch() - self._began >= self._share

    def do(self, work: Callable[[], object]) -> None:
        """Call `work`, which raises nothing: now if there is time, else when its turn comes."""
        if self._next is None:
            self._next = self._reactor.callLater(0, self._begin_turn)
        if self._waiting or self.is_over:
            self._waiting.append(work)
        elif self._began is None:
            self._do(work)
        else:
            work()

    def stop(self) -> None:
        """Forget what waits."""
        self._waiting.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _begin_turn(self) -> None:
        self._next = None
        self._spent = 0.0
        while self._waiting and not self.is_over:
            self._do(self._waiting.popleft())
        if self._spent and self._next is None:
            self._next = self._reactor.callLater(0, self._begin_turn)

    def _do(self, work: Callable[[], object]) -> None:
        self._began = self._watch()
        work()
        self._spent += self._watch() - self._began
        self._began = None
