"""One connection to a database, in a thread of its own, so that whoever hangs, hangs alone."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from wsgate.stores.errors import StoreAnswer, StoreError
from wsgate.stores.link import Driver, Link, Row
from wsgate.stores.statement import SQLValue, Statement


class Job(Protocol):
    """A statement to run, and who is told what came of it."""

    statement: Statement
    values: tuple[SQLValue, ...]
    limit: int
    """Rows."""

    def done(self, outcome: list[Row] | StoreError) -> None: ...


class Owner(Protocol):
    """Who has lanes. All is called by the reactor."""

    def connected(self, lane: Lane) -> None:
        """It takes jobs."""

    def not_connected(self, lane: Lane, why: str) -> None:
        """It could not connect, and is over."""

    def idle(self, lane: Lane) -> None:
        """It has done its job and takes another."""

    def lost(self, lane: Lane, why: str) -> None:
        """It was connected, and is over."""

    def ended(self, lane: Lane) -> None:
        """Its thread has ended, whatever it was told before."""


@implementer(IReadDescriptor)
class Lane:
    """One connection; connects at once. It takes one job at a time.

    A thread that blocks is never waited for: `abandon` shuts its socket down, which wakes it, and
    forgets it.
    """

    def __init__(self, reactor: Any, driver: Driver, owner: Owner) -> None:
        self.job: Job | None = None
        self.since = 0.0
        """When it was connected, by the reactor's clock; 0: not yet."""
        self._reactor = reactor
        self._driver = driver
        self._owner = owner
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._socket: socket.socket | None = None
        """The connection's, once more: to be watched and shut down, never read."""
        self._is_over = False
        self._is_watched = False
        threading.Thread(target=self._run, name="wsgate-store", daemon=True).start()

    # -- by the reactor

    def run(self, job: Job) -> None:
        """Run a job; it must be idle."""
        self._watch(False)
        self.job = job
        self._jobs.put(job)

    def close(self) -> None:
        """End it, when its job is done if it has one. Nobody is told but `ended`."""
        self._is_over = True
        self._watch(False)
        self._jobs.put(None)

    def abandon(self) -> None:
        """End it at once, whatever it does. Nobody is told but `ended`, its job neither."""
        self.close()
        self.job = None
        self._cut()

    def _connected(self) -> None:
        if not self._is_over:
            self.since = self._reactor.seconds()
            self._watch(True)
            self._owner.connected(self)

    def _not_connected(self, error: StoreError) -> None:
        if not self._is_over:
            self._is_over = True
            self._owner.not_connected(self, str(error))

    def _done(self, job: Job, outcome: list[Row] | StoreError, is_usable: bool) -> None:
        if self.job is not job:
            return
        self.job = None
        if self._is_over:
            pass
        elif is_usable:
            self._watch(True)
            self._owner.idle(self)
        else:
            self._over(str(outcome) if isinstance(outcome, StoreError) else "it was used up")
        job.done(outcome)

    def _over(self, why: str) -> None:
        self.close()
        self._owner.lost(self, why)

    def _ended(self) -> None:
        self._watch(False)
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._owner.ended(self)

    def _watch(self, wanted: bool) -> None:
        if wanted == self._is_watched or self._socket is None:
            return
        self._is_watched = wanted
        if wanted:
            self._reactor.addReader(self)
        else:
            self._reactor.removeReader(self)

    def fileno(self) -> int:
        """Twisted: what to watch."""
        return -1 if self._socket is None else self._socket.fileno()

    def doRead(self) -> None:
        """Twisted: nothing was asked, and something came, which is the end as a rule."""
        self._over("the connection was closed by the server")

    def connectionLost(self, reason: Failure) -> None:
        """Twisted: the descriptor is of no use any more, or the reactor stops."""
        self._is_watched = False
        if not self._is_over:
            self._over("the connection was lost")

    def logPrefix(self) -> str:
        """Twisted: who this is in its log."""
        return "store"

    # -- by its thread

    def _run(self) -> None:
        link = self._connect()
        if link is not None:
            self._tell(self._connected)
            self._serve(link)
            # Whatever a driver says of a connection that is broken.
            with contextlib.suppress(Exception):
                link.close()
        self._tell(self._ended)

    def _connect(self) -> Link | None:
        try:
            return self._driver.connect(self._seen)
        except StoreError as error:
            self._tell(self._not_connected, error)
        except Exception as error:
            self._tell(self._not_connected, StoreAnswer(type(error).__name__))
        return None

    def _serve(self, link: Link) -> None:
        while (job := self._jobs.get()) is not None:
            outcome: list[Row] | StoreError
            try:
                outcome = link.query(job.statement, job.values, job.limit)
            except StoreError as error:
                outcome = error
            except Exception as error:
                # Its text may be anything.
                outcome = StoreAnswer(type(error).__name__)
                self._tell(self._done, job, outcome, False)
                return
            is_usable = link.is_usable
            self._tell(self._done, job, outcome, is_usable)
            if not is_usable:
                return

    def _seen(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=os.dup(descriptor))
        if self._is_over:
            self._cut()

    def _cut(self) -> None:
        with contextlib.suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)

    def _tell(self, function: Callable[..., object], *arguments: object) -> None:
        self._reactor.callFromThread(function, *arguments)
