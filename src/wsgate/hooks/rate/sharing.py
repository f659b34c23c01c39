"""Tokens of buckets that all processes share, as long as they can be asked for."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from wsgate.channels import BusError, Channels
from wsgate.channels.tokens import Ask, Taken
from wsgate.floods import CalmLogger
from wsgate.hooks.rate.bucket import Buckets
from wsgate.hooks.rate.leases import KEEP, Leases
from wsgate.timeouts import Timeout, Timeouts

PATIENCE = 0.5
"""Seconds for a word from the bus; a client waits for it."""

LOOK = 0.2
"""Seconds between two looks at what is to be given back, while there is anything."""

ALONE = 1.0
"""Seconds that a bus which has not answered is left alone."""

_log = CalmLogger(namespace="wsgate.hooks")


class SharedTokens:
    """Takes from shared buckets; from `alone`, which are this process's, while the bus is away.

    Args:
        name: tells these buckets from others of the bus.
        happened: counts `asked`, each round trip, and `alone`, each decision without the bus.
    """

    def __init__(
        self,
        channels: Channels,
        timeouts: Timeouts,
        name: str,
        leases: Leases,
        alone: Buckets,
        happened: Callable[[str], None],
    ) -> None:
        self._channels = channels
        self._timeouts = timeouts
        self._name = name
        self._leases = leases
        self._alone = alone
        self._happened = happened
        self._alone_until = float("-inf")
        self._is_alone = False
        self._waiting: dict[str, list[Deferred[float]]] = {}
        """Who waits for the answer about a key."""
        self._timer: Timeout | None = None

    def stop(self) -> None:
        """Nothing more is taken."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def take(self, key: str) -> float | Deferred[float]:
        """Take a token: 0.0 if there is one, else the seconds until there may be."""
        now = self._timeouts.seconds()
        if now < self._alone_until:
            return self._take_alone(key, now)
        wait = self._leases.take(key, now)
        if wait is not None:
            return wait
        outcome: Deferred[float] = Deferred()
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append(outcome)
        else:
            self._waiting[key] = [outcome]
            self._ask(key, now)
        return outcome

    def _take_alone(self, key: str, now: float) -> float:
        self._happened("alone")
        return self._alone.take(key, now)

    def _ask(self, key: str, now: float) -> None:
        self._happened("asked")
        asked = self._channels.take(self._leases.ask(key, 1, now))
        patience = self._timeouts.call_later(PATIENCE, asked.cancel)

        def over(outcome: Taken | Failure) -> Taken | Failure:
            patience.cancel()
            return outcome

        asked.addBoth(over)
        asked.addCallbacks(self._answered, self._failed, callbackArgs=(key,), errbackArgs=(key,))
        if self._timer is None:
            self._timer = self._timeouts.call_later(KEEP, self._give_back)

    def _answered(self, taken: Taken, key: str) -> None:
        if self._is_alone:
            self._is_alone = False
            _log.info("hook {name}: limits hold for all processes again", name=self._name)
        self._leases.answered(key, taken, self._timeouts.seconds())
        first, *others = self._waiting.pop(key)
        first.callback(0.0 if taken.granted else taken.wait)
        for outcome in others:
            self._again(key, outcome)

    def _again(self, key: str, outcome: Deferred[float]) -> None:
        taken = self.take(key)
        if isinstance(taken, Deferred):
            taken.chainDeferred(outcome)
        else:
            outcome.callback(taken)

    def _failed(self, failure: Failure, key: str) -> None:
        failure.trap(BusError, CancelledError)
        now = self._timeouts.seconds()
        self._leases.failed(key)
        self._alone_until = now + ALONE
        if not self._is_alone:
            self._is_alone = True
            why = (
                failure.getErrorMessage() if failure.check(BusError) else "the bus does not answer"
            )
            _log.error(
                "hook {name}: {why}; limits hold for each process until it is back",
                name=self._name,
                why=why,
            )
        for outcome in self._waiting.pop(key):
            outcome.callback(self._take_alone(key, now))

    def _give_back(self) -> None:
        self._timer = None
        for ask in self._leases.idle(self._timeouts.seconds()):
            self._give(ask)
        if len(self._leases):
            self._timer = self._timeouts.call_later(LOOK, self._give_back)

    def _give(self, ask: Ask) -> None:
        # What does not arrive counts as used when the lease ends.
        self._channels.take(ask).addErrback(lambda failure: failure.trap(BusError))
