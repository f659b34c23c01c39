"""What all stores have in common: a name, a deadline for each request, and figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred, DeferredList, fail, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsgate.config import StoreSettings
from wsgate.oneline import one_line
from wsgate.stores.errors import StoreAnswer, StoreAway, StoreError, StoreFull, StoreTimeout
from wsgate.timeouts import Timeouts

log = Logger(namespace="wsgate")

T = TypeVar("T")

IsLate = Callable[[], bool]
"""Whether the time of a request is over, and nobody waits for it any more."""

OUTCOMES = ("answered", "error", "late", "away", "full")
"""What comes of a request: answered; an error or nonsense; not in time; the store is away, or
was lost; too many waited."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a store is made of; equal where it need not be made anew."""

    settings: StoreSettings
    password: str = field(default="", repr=False)
    """That of `password_file`."""


class Store:
    """A store of the settings, for hooks. Made for all its life; a reload may change it in place.

    Every request fails with a StoreError where it is not answered: with StoreTimeout after the
    settings' `timeout` (up to 0.1 s later), with StoreFull if too many wait.
    """

    kind: ClassVar[str]

    def __init__(self, reactor: Any, timeouts: Timeouts, recipe: Recipe) -> None:
        self.name = recipe.settings.name
        self.outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self.recipe = recipe
        self._reactor = reactor
        self._timeouts = timeouts
        self._owed = 0

    @property
    def is_up(self) -> bool:
        """Whether it was reached, and has not been lost since."""
        raise NotImplementedError

    @property
    def in_use(self) -> int:
        """Connections that are open now."""
        return int(self.is_up)

    @property
    def descriptors(self) -> int:
        """How many file descriptors it may need."""
        return 1

    @property
    def waiting(self) -> int:
        """Requests that have no answer yet."""
        return self._owed

    def start(self) -> None:
        """Connect, and connect again whenever that is lost, until `stop`."""
        raise NotImplementedError

    def stop(self) -> Deferred[None]:
        """Let go of it; fires when nothing is left. What is owed fails."""
        raise NotImplementedError

    def change(self, recipe: Recipe) -> None:
        """Be another store of the same kind; what the old one owes it may still answer."""
        raise NotImplementedError

    def _ask(
        self,
        begin: Callable[[], Deferred[T]],
        translate: Callable[[Failure], StoreError],
        give_up: Callable[[Deferred[T]], object] = lambda _: None,
    ) -> Deferred[T]:
        """Begin a request, unless too many have begun, and fail it when its time is over.

        `translate` makes a StoreError of what it failed with; `give_up` is told of one whose time
        is over, which counts among those that wait until it fires. Who cancels it is not told any
        more; it runs on.
        """
        settings = self.recipe.settings
        if self._is_full():
            self.outcomes["full"] += 1
            return fail(StoreFull(f"store {self.name}: {settings.waiting} requests wait already"))
        is_late = False
        outer: Deferred[T] = Deferred()

        def late() -> None:
            nonlocal is_late
            is_late = True
            self.outcomes["late"] += 1
            give_up(inner)
            if not outer.called:
                why = f"store {self.name}: no answer within {settings.timeout:g} s"
                outer.errback(StoreTimeout(why))

        def over(result: T | Failure) -> None:
            self._owed -= 1
            if is_late:
                return
            timeout.cancel()
            told = Failure(translate(result)) if isinstance(result, Failure) else result
            self._count(told)
            if not outer.called:
                outer.callback(told)

        self._owed += 1
        timeout = self._timeouts.call_later(settings.timeout, late)
        inner = maybeDeferred(begin)
        inner.addBoth(over)
        return outer

    def _is_full(self) -> bool:
        return self._owed >= self.recipe.settings.waiting

    def _count(self, result: object) -> None:
        error = result.value if isinstance(result, Failure) else None
        if error is None:
            outcome = "answered"
        elif isinstance(error, StoreTimeout):
            outcome = "late"
        else:
            outcome = "error" if isinstance(error, StoreAnswer) else "away"
        self.outcomes[outcome] += 1


class Lasting(Protocol):
    """What keeps a connection."""

    @property
    def is_up(self) -> bool: ...

    def start(self) -> None: ...

    def stop(self) -> Deferred[None]: ...

    def first_attempt(self) -> Deferred[None] | None: ...


L = TypeVar("L", bound=Lasting)


class OneConnection(Store, Generic[L]):
    """A store with one connection, on which requests do not wait for each other's answers."""

    def __init__(self, reactor: Any, timeouts: Timeouts, recipe: Recipe) -> None:
        super().__init__(reactor, timeouts, recipe)
        self._client = self._make(recipe)
        self._leaving: list[L] = []

    def _make(self, recipe: Recipe) -> L:
        raise NotImplementedError

    @property
    def is_up(self) -> bool:
        """Whether it takes requests now."""
        return self._client.is_up

    def start(self) -> None:
        """Connect, and connect again whenever that is lost, until `stop`."""
        self._client.start()

    def stop(self) -> Deferred[None]:
        """End the connection at once; fires when it has ended. What is owed fails."""
        leaving, self._leaving = self._leaving, []
        stopped: Deferred[Any] = DeferredList([c.stop() for c in (self._client, *leaving)])
        return stopped.addCallback(lambda _: None)

    def change(self, recipe: Recipe) -> None:
        """Be another one; what the old one owes it may still answer.

        Raises:
            StoreError, RedisMissing: it cannot be. Nothing has changed.
        """
        client = self._make(recipe)
        before, patience = self._client, self.recipe.settings.timeout
        self._client, self.recipe = client, recipe
        client.start()
        self._leaving.append(before)
        self._timeouts.call_later(patience, self._retire, before)

    def _request(
        self, ask: Callable[[IsLate], Deferred[T]], translate: Callable[[Failure], StoreError]
    ) -> Deferred[T]:
        """Ask as `_ask` does; at first, once it is known whether the store is there.

        So clients that come back in the moment after a start are not turned away for nothing. What
        is late by then is not sent at all; `ask` is told of a way to know the same later.
        """
        first: Deferred[Any] | None = None
        is_late = False

        def begin() -> Deferred[T]:
            nonlocal first
            first = self._client.first_attempt()
            if first is None:
                return ask(lambda: is_late)
            return first.addCallback(lambda _: ask(lambda: is_late))

        def give_up(_: object) -> None:
            nonlocal is_late
            is_late = True
            # What was sent stays counted among those that wait, until it is answered.
            if first is not None and not first.called:
                first.cancel()

        return self._ask(begin, translate, give_up)

    def _retire(self, client: L) -> None:
        if client in self._leaving:
            self._leaving.remove(client)
            client.stop()


class Announcer:
    """Tells the log when a store comes and goes, and once why it does not come."""

    def __init__(self, name: str, place: str) -> None:
        self._name = name
        self._place = place
        self._said = ""

    def up(self) -> None:
        """It is there."""
        self._said = ""
        log.info("store {name}: {place} answers", name=self._name, place=self._place)

    def down(self, why: str) -> None:
        """It was lost."""
        self._warn("store {name}: {place} is lost: {why}", one_line(why))

    def failed(self, why: str) -> None:
        """It cannot be reached; the next attempts fail in silence, if for the same reason."""
        why = one_line(why)
        if why != self._said:
            self._said = why
            self._warn("store {name}: {place}: {why}", why)

    def _warn(self, line: str, why: str) -> None:
        log.warn(line, name=self._name, place=self._place, why=why)

    def pushed(self, _message: object) -> None:
        """Redis: a message that nobody asked for."""


def away(name: str) -> StoreAway:
    """The error of a store that is not there."""
    return StoreAway(f"store {name}: it is away")
