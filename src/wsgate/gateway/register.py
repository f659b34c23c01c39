"""Who is connected, where PHP is to hear of the end: nobody leaves this book unnoticed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import Deferred

from wsgate.floods import CalmLogger
from wsgate.gateway.departures import DepartureLimits, Departures, Keeper
from wsgate.journal import Entry
from wsgate.oneline import one_line
from wsgate.timeouts import Timeout, Timeouts

if TYPE_CHECKING:
    from wsgate.gateway.route import Route
    from wsgate.journal.sweep import Swept

SWEEP_EVERY = 30.0
"""Seconds between two looks for what other processes left behind."""

_log = CalmLogger(namespace="wsgate")


class Sequence:
    """Microseconds since the Unix epoch, each time more than before, whatever the clock does."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._last = 0

    def __call__(self) -> int:
        """The next one."""
        self._last = max(self._last + 1, int(self._wall() * 1_000_000))
        return self._last


class Book(Keeper, Protocol):
    """What the register asks of the journal."""

    errors: int
    """Commits that failed."""

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped."""

    def start(self) -> None:
        """Make the file and begin."""

    def sweep(self, paths: Collection[str], age: float) -> Deferred[Swept]:
        """Take over what dead processes have left for `paths`."""

    def stop(self) -> None:
        """Write what is to be written, and end."""


class Visit:
    """One connection, from before its 101 until PHP has heard of its end."""

    __slots__ = ("_entry", "_register", "_route")

    def __init__(self, register: Register, connection_id: str, route: Route) -> None:
        self._register = register
        self._route = route
        self._entry = Entry(connection_id, route.path, b"")

    def begin(self, params: bytes) -> Deferred[None]:
        """Somebody wants in; fires when that will not be forgotten."""
        self._register.open += 1
        self._entry = self._entry._replace(params=params)
        return self._register.book.put(self._entry)

    def cancel(self) -> None:
        """And is not let in."""
        self._register.open -= 1
        self._register.book.remove(self._entry.connection_id)

    def accept(self, params: bytes) -> None:
        """And is let in."""
        self._entry = self._entry._replace(accepted=True, params=params)
        self._register.book.note(self._entry)

    def change(self, params: bytes) -> None:
        """What PHP is told with each event has changed."""
        self._entry = self._entry._replace(params=params)
        self._register.book.note(self._entry)

    def leave(self, code: int, reason: str, *, is_owed: bool) -> None:
        """And has left. While an answer `is_owed`, PHP hears of it only when `deliver` says so."""
        register = self._register
        self._entry = self._entry._replace(left_at=register.wall(), code=code, reason=reason)
        if is_owed:
            register.book.note(self._entry)
        else:
            self.deliver()

    def deliver(self) -> None:
        """Tell PHP of the end."""
        self._register.open -= 1
        self._register.departures.add(self._entry, self._route)


class Register:
    """The connections of routes that ask for `disconnect`, and the numbers of all with events.

    Args:
        book: the journal; it is started when the first route asks for it.
        timeouts: for pauses and sweeps.
        wall: Unix time.
    """

    def __init__(
        self,
        book: Book,
        timeouts: Timeouts,
        wall: Callable[[], float],
        limits: DepartureLimits,
    ) -> None:
        self.book = book
        self.wall = wall
        self.sequence = Sequence(wall)
        self.departures = Departures(book, timeouts, wall, limits)
        self.open = 0
        """Visits whose end PHP is to hear of."""
        self.connects: Counter[tuple[str, str]] = Counter()
        """What became of connects that PHP was asked about, by path and outcome: "accepted",
        "refused" by PHP, "failed", or "gone" before PHP saw it."""
        self.timeouts = timeouts
        self._paths: frozenset[str] = frozenset()
        self._sweep_later: Timeout | None = None
        self._said: set[str] = set()

    @property
    def limits(self) -> DepartureLimits:
        """Those of departures."""
        return self.departures.limits

    @limits.setter
    def limits(self, limits: DepartureLimits) -> None:
        self.departures.limits = limits

    def visit(self, connection_id: str, route: Route) -> Visit:
        """Of one connection to `route`."""
        return Visit(self, connection_id, route)

    def begin(self) -> None:
        """Begin the journal, unless that was done: a route will ask for it.

        Raises:
            JournalError: it cannot be kept.
        """
        if not self.book.is_running:
            self.book.start()

    def serve(self, routes: Mapping[str, Route]) -> None:
        """These are the routes from now on, by their paths; the journal was begun if need be."""
        asking = _asking(routes)
        self._paths = frozenset(asking)
        self.departures.serve(asking)
        if self.book.is_running:
            self._sweep()

    def stop(self) -> None:
        """What PHP has not heard of stays in the journal."""
        if self._sweep_later is not None:
            self._sweep_later.cancel()
        self.departures.stop()
        if self.book.is_running:
            self.book.stop()

    def _sweep(self) -> None:
        if self._sweep_later is not None:
            self._sweep_later.cancel()
        self._sweep_later = self.timeouts.call_later(SWEEP_EVERY, self._sweep)
        self.book.sweep(self._paths, self.limits.age).addCallback(self._swept)

    def _swept(self, swept: Swept) -> None:
        for fault in swept.faults:
            if fault not in self._said:
                self._said.add(fault)
                _log.error("{fault}; it is left alone", fault=one_line(fault))
        if swept.dropped:
            self.departures.outcomes["too old"] += swept.dropped
            _log.error(
                "PHP never hears of the end of {count} connections of an earlier process: "
                "gateway.disconnect_age is exceeded",
                count=swept.dropped,
            )
        if swept.entries:
            _log.warn(
                "{count} connections of a process that was ended: PHP gets their disconnect now",
                count=len(swept.entries),
            )
        for entry in swept.entries:
            self.departures.add(entry)


def _asking(routes: Mapping[str, Route]) -> dict[str, Route]:
    return {path: route for path, route in routes.items() if "disconnect" in route.events}
