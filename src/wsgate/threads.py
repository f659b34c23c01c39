"""Threads that a stop waits for as long as it may, and no longer.

Twisted joins the threads of its pool at the end, and Python once more all that are no daemons: one
that hangs (a disk, a look-up of a name, a hook's own call) would hold the process up until it is
killed.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

log = Logger(namespace="wsgate")

T = TypeVar("T")

GLANCE = 0.05
"""Seconds between two looks whether threads are still busy."""


class _Daemon(Thread):
    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, daemon=True, **named)


class OwnThreads:
    """At most `most` threads, for what may hang and should hold up nothing but its like.

    There is none before the first call. One that hangs ends with the process.
    """

    def __init__(self, reactor: Any, most: int) -> None:
        self._reactor = reactor
        self._most = most
        self._pool: ThreadPool | None = None
        self._is_stopped = False

    def call(self, function: Callable[[], T]) -> Deferred[T]:
        """What `function` gives, called in a thread; it waits while all are busy.

        Fails with what it raises, and after `stop` with CancelledError.
        """
        if self._is_stopped:
            return fail(CancelledError())
        if self._pool is None:
            self._pool = ThreadPool(0, self._most)
            self._pool.threadFactory = _Daemon
            self._pool.start()
        return deferToThreadPool(self._reactor, self._pool, function)

    def stop(self) -> None:
        """Take no call any more, and wait for none; threads end when those that came are over."""
        self._is_stopped = True
        pool, self._pool = self._pool, None
        if pool is not None:
            # Else they are joined.
            pool.threads.clear()
            pool.stop()


class ReactorThreads:
    """The reactor's own pool, which `deferToThread` and look-ups of names use.

    A reactor without threads has none that could hang.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._is_given_up = False

    def start(self) -> None:
        """Before the reactor runs: from then on its threads may be left behind."""
        pool = self._pool()
        if pool is not None:
            pool.threadFactory = _Daemon

    def give_up(self) -> None:
        """Wait no longer."""
        self._is_given_up = True

    async def finish(self, seconds: float) -> None:
        """Wait for what threads are doing, so long at most; what hangs ends with the process."""
        pool = self._pool()
        if pool is None:
            return
        deadline = self._reactor.seconds() + seconds
        while pool.working and not self._is_given_up and self._reactor.seconds() < deadline:
            await deferLater(self._reactor, GLANCE)
        if pool.working:
            log.warn("threads that hang are left behind: {count}", count=len(pool.working))
            # Else they are joined when the reactor ends.
            pool.threads.clear()

    def _pool(self) -> ThreadPool | None:
        reactor = self._reactor
        pool: ThreadPool | None = None
        if IReactorThreads.providedBy(reactor):
            pool = reactor.getThreadPool()
        return pool
