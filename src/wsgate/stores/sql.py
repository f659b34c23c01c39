"""PostgreSQL, MySQL or MariaDB as a store: a few connections, each in a thread of its own."""

from __future__ import annotations

import random
from collections import deque
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from wsgate.backoff import Backoff
from wsgate.stores.errors import StoreAnswer, StoreAway, StoreError
from wsgate.stores.lane import Lane
from wsgate.stores.link import Driver, Row
from wsgate.stores.statement import SQLValue, Statement, StatementError, parse
from wsgate.stores.store import Announcer, Recipe, Store, away
from wsgate.timeouts import Timeouts

STOP_PATIENCE = 1.0
"""Seconds that a stop waits for threads to end; those that hang end with the process."""


class _Job:
    """A statement that somebody waits for."""

    __slots__ = ("asked", "limit", "statement", "values")

    def __init__(self, statement: Statement, values: tuple[SQLValue, ...], limit: int) -> None:
        self.statement = statement
        self.values = values
        self.limit = limit
        self.asked: Deferred[list[Row]] = Deferred()

    def done(self, outcome: list[Row] | StoreError) -> None:
        """Tell who waits."""
        if isinstance(outcome, StoreError):
            self.asked.errback(outcome)
        else:
            self.asked.callback(outcome)


class SQLStore(Store):
    """A database.

    The first connection is made at the start and kept, others when all are busy, up to the
    settings' `connections`. One whose statement takes longer than `timeout` is thrown away.
    """

    kind: ClassVar[str] = "sql"

    def __init__(self, reactor: Any, timeouts: Timeouts, recipe: Recipe, driver: Driver) -> None:
        super().__init__(reactor, timeouts, recipe)
        self._queue: deque[_Job] = deque()
        self._lanes: set[Lane] = set()
        """Those in use, connecting ones too."""
        self._idle: list[Lane] = []
        self._threads: set[Lane] = set()
        """All whose threads have not ended yet."""
        self._stopped: Deferred[None] | None = None
        self._is_running = False
        self._retry: IDelayedCall | None = None
        self._begin(recipe, driver)

    def _begin(self, recipe: Recipe, driver: Driver) -> None:
        self.recipe = recipe
        self._driver = driver
        self._announcer = Announcer(recipe.settings.name, driver.place)
        self._backoff = Backoff(first=0.05, longest=5.0)
        self._is_up = False
        self._is_unknown = True
        """Whether the first attempt is under way; who asks then may wait."""

    @property
    def is_up(self) -> bool:
        """Whether it takes statements now."""
        return self._is_up

    @property
    def in_use(self) -> int:
        """Connections that are open now."""
        return sum(1 for lane in self._lanes if lane.since)

    @property
    def descriptors(self) -> int:
        """Two for each connection, which is watched by another."""
        return 2 * self.recipe.settings.connections

    @property
    def waiting(self) -> int:
        """Statements that have no answer yet."""
        return self._owed

    def query(self, sql: str, *values: SQLValue) -> Deferred[list[Row]]:
        """Run one statement; fires with its rows by the names of their columns.

        `?` stands for a value, `??` for a question mark. At most the settings' `max_rows` rows, the
        first ones. Values of rows are None, bool, int, float, str, bytes or lists; what else
        databases have is text. Fails with a StoreError: with StoreValue for a value that the server
        cannot convert.

        Raises:
            ValueError: the statement cannot be used, or has another number of `?`.
        """
        statement = self.check(sql, len(values))
        job = _Job(statement, values, self.recipe.settings.max_rows)

        def begin() -> Deferred[list[Row]]:
            if not self._is_running or not (self._is_up or self._is_unknown):
                return fail(away(self.name))
            self._queue.append(job)
            self._serve()
            return job.asked

        return self._ask(begin, self._translate, lambda _: self._give_up(job))

    def check(self, sql: str, count: int) -> Statement:
        """See whether `query` would take a statement with so many values; asks nobody.

        Raises:
            ValueError: it would not.
        """
        statement = parse(sql, self._driver.dialect)
        if statement.count != count:
            raise StatementError(f"needs {statement.count} values for its ?, and gets {count}")
        return statement

    # -- its life

    def start(self) -> None:
        """Connect, and connect again whenever that is lost, until `stop`."""
        self._is_running = True
        self._open()

    def stop(self) -> Deferred[None]:
        """End all connections; fires when their threads have ended, or do not for a second."""
        self._is_running = False
        stopped: Deferred[None] = Deferred()
        self._stopped = stopped
        self._cancel_retry()
        for lane in list(self._threads):
            job = lane.job
            lane.abandon()
            if job is not None:
                job.done(StoreAway("wsgate stops"))
        self._lanes.clear()
        self._idle.clear()
        if self._is_up:
            self._is_up = False
            self._announcer.down("wsgate stops")
        self._fail_all("wsgate stops")
        if not self._threads:
            stopped.callback(None)
        else:
            self._timeouts.call_later(STOP_PATIENCE, self._has_stopped)
        return stopped

    def become(self, recipe: Recipe, driver: Driver) -> None:
        """Be another database; statements under way run on in the old one, others do not wait."""
        before = list(self._lanes)
        self._lanes.clear()
        self._idle.clear()
        self._cancel_retry()
        self._begin(recipe, driver)
        for lane in before:
            lane.close()
        if self._is_running:
            self._open()

    def _has_stopped(self) -> None:
        if self._stopped is not None and not self._stopped.called:
            self._stopped.callback(None)

    # -- who runs what

    def _is_full(self) -> bool:
        return len(self._queue) >= self.recipe.settings.waiting

    def _serve(self) -> None:
        while self._queue and self._idle:
            self._idle.pop().run(self._queue.popleft())
        connecting = sum(1 for lane in self._lanes if not lane.since)
        if len(self._queue) > connecting and self._retry is None:
            self._open()

    def _open(self) -> None:
        """Connect once more, if there may be another connection."""
        most = self.recipe.settings.connections
        # Threads that hang are given up, and counted: there are never more than twice as many.
        if len(self._lanes) >= most or len(self._threads) >= 2 * most:
            return
        lane = Lane(self._reactor, self._driver, self)
        self._lanes.add(lane)
        self._threads.add(lane)
        seconds = self.recipe.settings.connect_timeout
        self._timeouts.call_later(seconds, self._not_in_time, lane, seconds)

    def _not_in_time(self, lane: Lane, seconds: float) -> None:
        if lane in self._lanes and not lane.since:
            lane.abandon()
            self.not_connected(lane, f"not connected within {seconds:g} s")

    def _give_up(self, job: _Job) -> None:
        # Nobody will tell it anything, so it would count among those that wait for ever.
        job.asked.cancel()
        if job in self._queue:
            self._queue.remove(job)
            return
        lane = next((lane for lane in self._threads if lane.job is job), None)
        if lane is None:
            return
        lane.abandon()
        if lane in self._lanes:
            self._lanes.remove(lane)
            # It may be the statement, or the server: another connection finds out.
            self._open()

    # -- what lanes tell

    def connected(self, lane: Lane) -> None:
        """A lane takes jobs."""
        self._is_unknown = False
        if not self._is_up:
            self._is_up = True
            self._announcer.up()
        self.idle(lane)

    def idle(self, lane: Lane) -> None:
        """A lane takes another job."""
        if lane in self._lanes:
            self._idle.append(lane)
            self._serve()

    def not_connected(self, lane: Lane, why: str) -> None:
        """A lane could not connect."""
        self._lanes.discard(lane)
        self._announcer.failed(why)
        self._pause(0.0)
        if not self.in_use:
            self._down(why)

    def lost(self, lane: Lane, why: str) -> None:
        """A lane is over."""
        self._lanes.discard(lane)
        if lane in self._idle:
            self._idle.remove(lane)
        if not self.in_use:
            self._pause(self._reactor.seconds() - lane.since)
            self._down(why)

    def ended(self, lane: Lane) -> None:
        """A thread has ended."""
        self._threads.discard(lane)
        if self._is_running:
            if not self._lanes and self._retry is None:
                self._open()
        elif not self._threads:
            self._has_stopped()

    def _down(self, why: str) -> None:
        if self._is_up:
            self._is_up = False
            self._announcer.down(why)
        self._is_unknown = False
        self._fail_all(why)

    def _fail_all(self, why: str) -> None:
        queue, self._queue = self._queue, deque()
        for job in queue:
            job.asked.errback(StoreAway(why))

    def _pause(self, served: float) -> None:
        if self._retry is None and self._is_running:
            pause = self._backoff.after(served) * random.uniform(0.75, 1.25)
            self._retry = self._reactor.callLater(pause, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        if not self._lanes or self._queue:
            self._open()

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _translate(self, failure: Failure) -> StoreError:
        error = failure.value
        if isinstance(error, StoreError):
            text = str(error).removeprefix(f"store {self.name}: ")
            return type(error)(f"store {self.name}: {text}")
        return StoreAnswer(f"store {self.name}: {type(error).__name__}")


class PostgreSQLStore(SQLStore):
    """PostgreSQL, or what speaks its protocol.

    Raises:
        StoreUnusable: a file of the URL cannot be used.
    """

    kind: ClassVar[str] = "postgresql"

    def __init__(self, reactor: Any, timeouts: Timeouts, recipe: Recipe) -> None:
        super().__init__(reactor, timeouts, recipe, _postgresql(recipe))

    def change(self, recipe: Recipe) -> None:
        """Be another one. Raises as when made; then nothing has changed."""
        self.become(recipe, _postgresql(recipe))


class MySQLStore(SQLStore):
    """MySQL or MariaDB.

    Raises:
        StoreUnusable: a file of the URL cannot be used.
    """

    kind: ClassVar[str] = "mysql"

    def __init__(self, reactor: Any, timeouts: Timeouts, recipe: Recipe) -> None:
        super().__init__(reactor, timeouts, recipe, _mysql(recipe))

    def change(self, recipe: Recipe) -> None:
        """Be another one. Raises as when made; then nothing has changed."""
        self.become(recipe, _mysql(recipe))


def _postgresql(recipe: Recipe) -> Driver:
    # Only here: it needs what only `wsgate[stores]` installs.
    from wsgate.stores.postgresql import PostgreSQL

    return PostgreSQL(recipe.settings, recipe.password)


def _mysql(recipe: Recipe) -> Driver:
    from wsgate.stores.mysql import MySQL

    return MySQL(recipe.settings, recipe.password)
