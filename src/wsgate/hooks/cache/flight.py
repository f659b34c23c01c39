"""A question on its way to PHP, and those who wait for its answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from twisted.internet.defer import Deferred

from wsgate.hooks.cache.keys import Varying, variant_key
from wsgate.hooks.hook import Answer

AT_ONCE = 256
"""Waiting messages that are answered in one turn of the reactor."""


class Landing(NamedTuple):
    """What became of a question: an answer or a failure.

    An answer is for all whose key, made with `names`, is `variant`; without one it is for who asked
    alone. A failure is for who asked, and `is_final` for all. `attempts` is how often PHP has
    failed for those who wait. `outcome` is what it was for who asked: missed, hit or stale.
    """

    answer: Answer | None = None
    names: tuple[str, ...] = ()
    variant: bytes | None = None
    failure: Exception | None = None
    is_final: bool = False
    attempts: int = 0
    outcome: str = "missed"

    def is_for(self, primary: bytes, connection: Varying) -> bool:
        """Whether it is for this message too, which was not the one that was asked about."""
        if self.failure is not None:
            return self.is_final
        return self.variant is not None and self.variant == variant_key(
            primary, self.names, connection
        )

    def given(self) -> Answer:
        """The answer. Raises the failure."""
        if self.failure is not None:
            # Raised for each who waits; its traceback would grow with them.
            raise self.failure.with_traceback(None)
        assert self.answer is not None
        return self.answer


class Flight:
    """Who waits, in the order they came: the one who asked is the first.

    `epoch` is that of the cache when PHP was asked, `asked` the time, `attempts` how often PHP has
    failed before for those who wait.
    """

    __slots__ = ("_waiting", "asked", "attempts", "epoch")

    def __init__(self, asked: float, epoch: int, attempts: int) -> None:
        self.asked = asked
        self.epoch = epoch
        self.attempts = attempts
        self._waiting: dict[Deferred[Landing], None] = {}

    def wait(self) -> Deferred[Landing]:
        """Fires when it is over; who cancels it does not disturb the others."""
        waits: Deferred[Landing] = Deferred(self._forget)
        self._waiting[waits] = None
        return waits

    def land(self, landing: Landing, later: Callable[[Callable[[], None]], object]) -> None:
        """Tell all who wait, `AT_ONCE` of them now, the rest when `later` calls back."""
        for waits in list(self._waiting)[:AT_ONCE]:
            # One that is told may let another leave.
            if waits in self._waiting:
                del self._waiting[waits]
                waits.callback(landing)
        if self._waiting:
            later(lambda: self.land(landing, later))

    def _forget(self, waits: Deferred[Landing]) -> None:
        self._waiting.pop(waits, None)
