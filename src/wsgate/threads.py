"""Threads that a stop waits for as long as it may, and no longer.

Twisted joins the threads of its pool at the end, and Python once more all that are no daemons: one
that hangs (a disk, a look-up of a name, a hook's own call) would hold the process up until it is
killed.
"""

from __future__ import annotations

from threading import Thread
from typing import Any

from twisted.internet.interfaces import IReactorThreads
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

log = Logger(namespace="wsgate")

GLANCE = 0.05
"""Seconds between two looks whether threads are still busy."""


class _Daemon(Thread):
    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, daemon=True, **named)


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
