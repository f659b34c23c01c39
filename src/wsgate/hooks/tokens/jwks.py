"""The keys that a server publishes: fetched, kept, and fetched again when they have changed.

A server that is slow or away is asked seldom, and what it said last stays in use for a while. A
token that names an unknown key makes nobody ask more often than every `PAUSE` seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from wsgate.floods import CalmLogger
from wsgate.hooks.errors import HookFailed
from wsgate.hooks.tokens.keys import Key, KeyUnusable, chosen
from wsgate.oneline import one_line
from wsgate.timeouts import Timeouts

PAUSE = 10.0
"""Seconds from one question to the next, at least, as long as there are keys."""

RETRY = 2.0
"""The same where there are none."""

SHORTEST, USUAL, LONGEST = 60.0, 600.0, 3600.0
"""Seconds for which an answer is fresh: at least, without a word of the server, and at most."""

PATIENCE = 1.0
"""Seconds that a token waits for a key: less than `limits.hook_timeout`, so that a token of a
made-up key is refused for what it is, and not for the time that its server takes."""

_log = CalmLogger(namespace="wsgate")


class KeysAway(HookFailed):
    """There are no keys, since their server does not give them; `str()` is for the log."""


class Fetched(NamedTuple):
    """What the server sent: a body, and the seconds of `max-age`, if it said so."""

    body: bytes
    max_age: float | None


class PublishedKeys:
    """The keys behind a URL.

    Args:
        fetch: gets them once; its Deferred may be cancelled.
        read: makes keys of what came; raises KeyUnusable.
        timeouts: for waiting, and for the time.
        stale: seconds that keys stay in use when their server does not answer any more.
        named: how the log calls them.
    """

    def __init__(
        self,
        fetch: Callable[[], Deferred[Fetched]],
        read: Callable[[bytes], tuple[Key, ...]],
        timeouts: Timeouts,
        stale: float,
        named: str,
    ) -> None:
        self.asked = 0
        """How often the server was asked."""
        self._fetch = fetch
        self._read = read
        self._timeouts = timeouts
        self._stale = stale
        self._named = named
        self._keys: tuple[Key, ...] = ()
        self._came = self._asked_at = float("-inf")
        self._fresh_for = 0.0
        self._asking: Deferred[Fetched] | None = None
        self._waiting: dict[Deferred[None], None] = {}

    def start(self) -> None:
        """Ask for the first time, so that the first client need not wait."""
        self._ask_if_due()

    def stop(self) -> None:
        """Give up what is under way."""
        if self._asking is not None:
            self._asking.cancel()

    async def find(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """The keys for a token that says this, none if its `kid` is unknown.

        Raises:
            KeysAway: there are no keys at all.
        """
        if not self._are_usable():
            await self._answer()
            if not self._are_usable():
                raise KeysAway(f"{self._named}: no keys; their server does not give them")
        elif self._age() >= self._fresh_for:
            self._ask_if_due()
        found = chosen(self._keys, algorithm, kid)
        if not found and (self._asking is not None or self._is_due()):
            await self._answer()
            found = chosen(self._keys, algorithm, kid)
        return found

    def _age(self) -> float:
        return self._timeouts.seconds() - self._came

    def _are_usable(self) -> bool:
        return bool(self._keys) and self._age() < self._fresh_for + self._stale

    def _is_due(self) -> bool:
        pause = PAUSE if self._are_usable() else RETRY
        return self._timeouts.seconds() - self._asked_at >= pause

    def _answer(self) -> Deferred[None]:
        """Fires when the server has answered or failed to, or after `PATIENCE`.

        Whoever waits may give up without taking the answer from others.
        """
        waiter: Deferred[None] = Deferred(lambda waiter: self._waiting.pop(waiter, None))
        self._ask_if_due()
        if self._asking is None:
            waiter.callback(None)
            return waiter
        self._waiting[waiter] = None
        self._timeouts.call_later(PATIENCE, self._release, waiter)
        return waiter

    def _release(self, waiter: Deferred[None]) -> None:
        if waiter in self._waiting:
            del self._waiting[waiter]
            waiter.callback(None)

    def _ask_if_due(self) -> None:
        if self._asking is not None or not self._is_due():
            return
        self._asked_at = self._timeouts.seconds()
        self.asked += 1
        self._asking = asking = self._fetch()
        asking.addCallback(self._came_in).addErrback(self._failed).addBoth(self._over)

    def _came_in(self, fetched: Fetched) -> None:
        self._keys = self._read(fetched.body)
        self._came = self._timeouts.seconds()
        age = USUAL if fetched.max_age is None else fetched.max_age
        self._fresh_for = min(max(age, SHORTEST), LONGEST)

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        stay = "; the keys from before stay for now" if self._are_usable() else ""
        if failure.check(KeyUnusable):
            why = f"what its server gives {failure.value}"
        else:
            why = failure.getErrorMessage()
        _log.warn("{named}: {why}{stay}", named=self._named, why=one_line(why, 256), stay=stay)

    def _over(self, _: None) -> None:
        self._asking = None
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting:
            waiter.callback(None)
