"""The journal of a running process: changes go to the disk together, in a thread of its own."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable
from queue import Empty, SimpleQueue
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from wsgate.journal.entry import Entry
from wsgate.journal.files import JournalError, JournalFile, prepare_folder
from wsgate.journal.store import Change, Store
from wsgate.journal.sweep import Swept, sweep

_log = Logger(namespace="wsgate")

CallFromThread = Callable[..., object]

AT_ONCE = 1000
"""Changes in one commit at most."""

UNDONE = 100_000
"""Changes that are kept for a disk that takes none; of more, the oldest are forgotten."""

AGAIN = 1.0
"""Seconds between two tries of a disk that takes none."""


class _Put(NamedTuple):
    change: Change
    done: Deferred[None] | None


class _Sweep(NamedTuple):
    paths: Collection[str]
    age: float
    done: Deferred[Swept]


_Order = _Put | _Sweep | None
"""None: the end."""


class Journal:
    """The file `name` in `folder`, written by a thread from `start` to `stop`.

    A disk that is full or broken while it runs costs its promise, not the service: that is logged
    and counted, everybody goes on, and the changes are tried again.

    Args:
        call_from_thread: calls a function in the reactor's thread.
        wall: Unix time.
    """

    def __init__(
        self,
        folder: str,
        name: str,
        call_from_thread: CallFromThread,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._name = name
        self._call_from_thread = call_from_thread
        self._wall = wall
        self._orders: SimpleQueue[_Order] = SimpleQueue()
        self._undone: list[Change] = []
        self._thread: threading.Thread | None = None
        self.errors = 0
        """Commits that failed."""

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._thread is not None

    def start(self) -> None:
        """Make the file and begin.

        Raises:
            JournalError: it cannot be made.
        """
        prepare_folder(self._folder)
        self._file = JournalFile.create(self._folder, self._name)
        try:
            self._store = Store(self._file.path)
        except sqlite3.Error as error:
            self._file.close(remove=True)
            raise _broken(self._file.path, error) from None
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> Deferred[None]:
        """Keep `entry` as it is now; fires when it is on the disk, or cannot be."""
        done: Deferred[None] = Deferred()
        self._orders.put(_Put(entry, done))
        return done

    def note(self, entry: Entry) -> None:
        """As `put`, where nobody waits for it."""
        self._orders.put(_Put(entry, None))

    def remove(self, connection_id: str) -> None:
        """Forget an entry."""
        self._orders.put(_Put(connection_id, None))

    def sweep(self, paths: Collection[str], age: float) -> Deferred[Swept]:
        """Take over what dead processes have left for `paths`; see `wsgate.journal.sweep`."""
        done: Deferred[Swept] = Deferred()
        self._orders.put(_Sweep(paths, age, done))
        return done

    def stop(self) -> None:
        """Write what is to be written, and end. What is left waits for the next process."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._orders.put(None)
            thread.join()

    # -- in the thread

    def _run(self) -> None:
        while self._step():
            pass
        entries = self._left()
        self._store.close()
        self._file.close(remove=entries == 0)

    def _step(self) -> bool:
        """Commit what has come; whether to go on."""
        orders = self._gather()
        self._commit([order for order in orders if isinstance(order, _Put)])
        for order in orders:
            if isinstance(order, _Sweep):
                self._sweep(order)
        return None not in orders

    def _gather(self) -> list[_Order]:
        """Wait for the first order; it, and those behind it."""
        orders: list[_Order] = []
        try:
            orders.append(self._orders.get(timeout=AGAIN if self._undone else None))
            while len(orders) < AT_ONCE:
                orders.append(self._orders.get_nowait())
        except Empty:
            pass
        return orders

    def _commit(self, puts: list[_Put]) -> None:
        changes = [*self._undone, *(put.change for put in puts)]
        if not changes:
            return
        try:
            self._store.change(changes)
            self._undone = []
        except sqlite3.Error as error:
            self._failed(error)
            self._undone = changes[-UNDONE:]
        waiting = [put.done for put in puts if put.done is not None]
        if waiting:
            self._call_from_thread(_fire, waiting)

    def _sweep(self, order: _Sweep) -> None:
        swept = Swept([], 0, [])
        try:
            swept = sweep(
                self._folder, self._name, self._store, order.paths, self._wall(), order.age
            )
        except (OSError, sqlite3.Error) as error:
            self._failed(error)
        self._call_from_thread(order.done.callback, swept)

    def _left(self) -> int:
        """How many entries there are; -1 if that cannot be said."""
        try:
            return -1 if self._undone else self._store.remove(())
        except sqlite3.Error as error:
            self._failed(error)
            return -1

    def _failed(self, error: Exception) -> None:
        if not self.errors:
            self._call_from_thread(_log_failure, self._file.path, str(error))
        self.errors += 1


def _fire(waiting: Iterable[Deferred[None]]) -> None:
    for done in waiting:
        done.callback(None)


def _log_failure(path: str, why: str) -> None:
    _log.error(
        "{path} cannot be written: {why}; disconnects that are due when wsgate ends are lost until "
        "it can. Said once, counted in wsgate_journal_errors_total",
        path=path,
        why=why,
    )


def _broken(path: str, error: sqlite3.Error) -> JournalError:
    return JournalError(f"gateway.state: {path}: {error}")
