"""The hooks of a route, in order, and how a word of theirs is waited for."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from traceback import extract_tb
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wsgate.floods import CalmLogger
from wsgate.hooks import Hook, HookFailed, HookTimeout
from wsgate.oneline import one_line
from wsgate.stores.errors import StoreError
from wsgate.timeouts import Timeouts

SLOW = 0.05
"""Seconds that a call may hold everybody up before the log says so."""

_log = CalmLogger(namespace="wsgate")

Count = Callable[[str, str], None]


class Link:
    """One hook, and those of its methods that do anything.

    `uses` are the chains that it is part of.
    """

    __slots__ = ("asks", "hook", "name", "on_connect", "on_disconnect", "on_message", "uses")

    def __init__(self, name: str, hook: Any) -> None:
        self.name = name
        self.hook = hook
        self.asks = bool(getattr(hook, "asks", False))
        self.on_connect = _own(hook, "on_connect")
        self.on_message = _own(hook, "on_message")
        self.on_disconnect = _own(hook, "on_disconnect")
        self.uses = 0


def _own(hook: object, name: str) -> Callable[..., Any] | None:
    method = getattr(hook, name, None)
    is_default = getattr(method, "__func__", None) is getattr(Hook, name)
    return method if callable(method) and not is_default else None


class ChainLimits(NamedTuple):
    """What settings say about the hooks of a route."""

    timeout: float = 2.0
    param_bytes: int = 8 * 1024
    passes: bool = False
    """Whether a hook that fails is passed over."""


class Chain:
    """The hooks of a route for the connections of one time: a reload makes another chain.

    `released` is called once it is `retire`d and the last connection has left.
    """

    def __init__(
        self,
        links: Sequence[Link],
        limits: ChainLimits,
        timeouts: Timeouts,
        count: Count,
        released: Callable[[Chain], object] = lambda _: None,
    ) -> None:
        self.links = tuple(links)
        self.limits = limits
        self.timeouts = timeouts
        self.seconds = timeouts.seconds
        self.count = count
        self.connects = tuple(link for link in links if link.on_connect is not None)
        self.messages = tuple(link for link in links if link.on_message is not None)
        self.disconnects = tuple(link for link in reversed(links) if link.on_disconnect is not None)
        self._released = released
        self._connections = 0
        self._is_retired = False
        for link in self.links:
            link.uses += 1

    @property
    def connections(self) -> int:
        """How many connections use it."""
        return self._connections

    def enter(self) -> None:
        """One more connection uses it."""
        self._connections += 1

    def leave(self) -> None:
        """And one less."""
        self._connections -= 1
        self._look()

    def retire(self) -> None:
        """No connection more will use it."""
        self._is_retired = True
        self._look()

    def _look(self) -> None:
        if self._is_retired and not self._connections:
            self._is_retired = False
            for link in self.links:
                link.uses -= 1
            self._released(self)

    def call(self, link: Link, method: Callable[..., Any], *arguments: object) -> Any:
        """Call a hook, and say in the log if that takes long. Raises what it raises."""
        began = self.seconds()
        try:
            return method(*arguments)
        finally:
            took = self.seconds() - began
            if took > SLOW:
                self.slow(link, took)

    def slow(self, link: Link, took: float) -> None:
        """A call of it has held everybody up."""
        _log.warn(
            "hook {name} has held up everybody for {took} ms: await what takes time, or use "
            "deferToThread",
            name=link.name,
            took=round(1000 * took),
            kind=("slow hook", link.name),
        )

    def note(self, link: Link, what: str, error: BaseException) -> None:
        """Count that a hook has failed, and log it."""
        self.count(link.name, "timeout" if isinstance(error, HookTimeout) else "failed")
        _log.error(
            "hook {name} failed at {what}: {error}",
            name=link.name,
            what=what,
            error=described(error),
            kind=("hook", link.name, type(error)),
        )

    def wait(
        self, said: Awaitable[Any], seconds: float, done: Callable[[Any], object]
    ) -> Wait | None:
        """Wait for a word for so long; None if it has been said by now."""
        wait = Wait(self.timeouts, seconds, done)
        wait.begin(said)
        return None if wait.is_over else wait


def described(error: BaseException) -> str:
    """An exception for the log: the text of those that are meant for it, of others type and place.

    The text of others may hold what the client has sent, or a secret.
    """
    if is_worded(error):
        return one_line(str(error)) or type(error).__name__
    trace = extract_tb(error.__traceback__)
    if not trace:
        return type(error).__name__
    last = trace[-1]
    return f"{type(error).__name__} in line {last.lineno} of {os.path.basename(last.filename)}"


def is_worded(error: BaseException) -> bool:
    """Whether the text of an exception is made for the log."""
    return isinstance(error, (HookFailed, StoreError))


def deferred_of(said: Awaitable[Any]) -> Deferred[Any]:
    """A Deferred of anything that can be awaited."""
    return said if isinstance(said, Deferred) else Deferred.fromCoroutine(_awaited(said))


async def _awaited(said: Awaitable[Any]) -> Any:
    return await said


class Wait:
    """A word that is waited for: `done` gets it, or a Failure, unless the wait is cancelled."""

    __slots__ = ("_deferred", "_done", "_timeout", "_timeouts", "is_over")

    def __init__(self, timeouts: Timeouts, seconds: float, done: Callable[[Any], object]) -> None:
        self.is_over = False
        self._timeouts = timeouts
        self._done = done
        self._deferred: Deferred[Any] | None = None
        self._timeout = timeouts.call_later(seconds, self._too_long, seconds)

    def begin(self, said: Awaitable[Any]) -> None:
        """Wait for this."""
        deferred = deferred_of(said)
        self._deferred = deferred
        deferred.addBoth(self._said)

    def extend(self, seconds: float | None) -> None:
        """Wait for so long from now on; None: without a bound."""
        self._timeout.cancel()
        if seconds is not None and not self.is_over:
            self._timeout = self._timeouts.call_later(seconds, self._too_long, seconds)

    def cancel(self) -> None:
        """Wait no longer, and let it know."""
        if not self.is_over:
            self._end()
            if self._deferred is not None:
                self._deferred.cancel()

    def _end(self) -> None:
        self.is_over = True
        self._timeout.cancel()

    def _said(self, result: Any) -> None:
        if not self.is_over:
            self._end()
            self._done(result)

    def _too_long(self, seconds: float) -> None:
        self.cancel()
        self._done(Failure(HookTimeout(f"no word within {seconds:g} s")))
