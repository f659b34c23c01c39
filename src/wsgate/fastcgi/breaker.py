"""When a backend that fails is left alone, and when it is tried again. Sans-IO."""

from __future__ import annotations

from typing import NamedTuple

from wsgate.backoff import Backoff

WINDOW = 10.0
"""Seconds over which requests that fail are compared with those that are answered."""

LEAST_REQUESTS = 20
"""Requests within `WINDOW` below which their share of failures says nothing."""

SHORT_REST = 1.0
LONGEST_REST = 10.0
"""Seconds between two probes: at first, and at most."""

BLIP = 0.31
"""Seconds of refusals that the tries of a single request outlast, such as a restart of PHP-FPM."""


class BreakerRules(NamedTuple):
    """What opens a breaker: connects that fail in a row, or percent of the requests. 0: never."""

    connects: int = 10
    percent: int = 50


class Breaker:
    """The circuit breaker of one backend.

    closed     requests go there.
    open       none does, until `probe_at`. A single request may then find out (half-open), and
               another one each rest later, until one succeeds.

    It opens on failures of transport only, never on what a script answers:

    - a connect that failed, if another backend can take the requests; else `connects` of them in a
      row, over more than `BLIP` seconds;
    - within `WINDOW` seconds `percent` of at least `LEAST_REQUESTS` requests that were sent and
      then lost.

    After the first it closes with a connection, after the second with an answer. The rest grows
    from `SHORT_REST` to `LONGEST_REST` seconds where each probe costs somebody a message that
    another backend would have answered; otherwise it stays short, so that an application that is
    back is found within a second.
    """

    __slots__ = (
        "_backoff",
        "_closed_at",
        "_failures",
        "_needs_answer",
        "_probes",
        "_refused_at",
        "_rules",
        "_window",
        "_window_responses",
        "cause",
        "failures",
        "is_open",
        "opened",
        "probe_at",
        "refusals",
        "rest",
    )

    def __init__(self, rules: BreakerRules) -> None:
        self._rules = rules
        self._backoff = Backoff(SHORT_REST, LONGEST_REST, healthy=WINDOW)
        self.is_open = False
        self.probe_at = 0.0
        """While open: the time from which one request may try."""
        self.cause = ""
        """Why it opened last, for people."""
        self.opened = 0
        """How often it has opened."""
        self.failures = 0
        """Requests that were sent and lost, ever."""
        self.refusals = 0
        """Connects that have failed since the last one that did not."""
        self._refused_at = 0.0
        self._closed_at = 0.0
        self.rest = SHORT_REST
        """Seconds between two probes, as of now."""
        self._needs_answer = False
        self._probes: set[object] = set()
        self._window = -WINDOW
        self._window_responses = 0
        self._failures = 0

    @property
    def state(self) -> str:
        """For metrics: "closed", "open", or "half-open" while a probe is under way."""
        if not self.is_open:
            return "closed"
        return "half-open" if self._probes else "open"

    def allows(self, now: float) -> bool:
        """Whether a request may go there: closed, or time for a probe."""
        return not self.is_open or now >= self.probe_at

    def probe(self, now: float, connection: object) -> None:
        """While open: `connection` is made for the one request that may try."""
        self.probe_at = now + self.rest
        self._probes.add(connection)

    def refused(self, now: float, cause: str, connection: object, *, others: bool) -> bool:
        """A connect failed; whether that opens it. `others`: another backend is closed."""
        self._probes.discard(connection)
        if not self.refusals:
            self._refused_at = now
        self.refusals += 1
        if self.is_open:
            self.probe_at = now + self.rest
            return False
        if not self._rules.connects:
            return False
        if not others and (self.refusals < self._rules.connects or now - self._refused_at <= BLIP):
            return False
        self._open(now, cause, SHORT_REST)
        return True

    def accepted(self, now: float) -> bool:
        """A connect succeeded; whether that closes it."""
        self.refusals = 0
        return self.is_open and not self._needs_answer and self._close(now)

    def lost(
        self, now: float, cause: str, connection: object, responses: int, *, others: bool
    ) -> bool:
        """A request was sent and lost; whether that opens it.

        `responses` are all that the backend has ever given.
        """
        self.failures += 1
        if self.is_open:
            if connection in self._probes:
                self._probes.discard(connection)
                self.rest = self._backoff.after(0) if others else SHORT_REST
                self.probe_at = now + self.rest
            return False
        if now - self._window >= WINDOW:
            self._window, self._window_responses, self._failures = now, responses, 0
        self._failures += 1
        requests = self._failures + responses - self._window_responses
        percent = self._rules.percent
        if not percent or requests < LEAST_REQUESTS or self._failures * 100 < percent * requests:
            return False
        served = self._backoff.after(now - self._closed_at)
        self._open(now, cause, served if others else SHORT_REST)
        self._needs_answer = True
        return True

    def answered(self, now: float, connection: object) -> bool:
        """An answer came while it is open; whether that closes it: only a probe's does."""
        return connection in self._probes and self._close(now)

    def over(self, connection: object) -> None:
        """A probe ended and says nothing about the backend."""
        self._probes.discard(connection)

    def no_others(self, now: float) -> None:
        """While open: the last of the others has opened too, so that a long rest spares nobody."""
        self.rest = SHORT_REST
        self.probe_at = min(self.probe_at, now + SHORT_REST)

    def reset(self) -> None:
        """Forget all failures."""
        self._close(self._closed_at)

    def _open(self, now: float, cause: str, rest: float) -> None:
        self.is_open = True
        self.opened += 1
        self.cause = cause
        self._needs_answer = False
        self.rest = rest
        self.probe_at = now + rest

    def _close(self, now: float) -> bool:
        self.is_open = False
        self.refusals = 0
        self._probes.clear()
        self._closed_at = now
        self._window = now - WINDOW
        return True
