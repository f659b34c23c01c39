"""The place of one worker: whoever serves in it, its restarts, its successors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from wsgate.backoff import Backoff
from wsgate.workers.reports import NONE, Figures

log = Logger(namespace="wsgate")


class Run(Protocol):
    """One process of a worker; see `WorkerProcess`."""

    @property
    def pid(self) -> int: ...

    @property
    def figures(self) -> Figures: ...

    def renew(self, line: bytes) -> None: ...

    def drain(self, *, replaced: bool = False) -> None: ...

    def hurry(self) -> None: ...


class Slot:
    """Keeps one worker running.

    At most three processes at a time are in it: one *serving*, one *next* that is not ready yet,
    and one that ends because its successor has taken over. `start_run` starts a process and
    raises OSError when it cannot; the process is told to call `ready` and `ended`.
    """

    def __init__(self, clock: IReactorTime, number: int, start_run: Callable[[Slot], Run]) -> None:
        self.number = number
        self.runs: list[Run] = []
        self.ends = 0
        self._clock = clock
        self._start_run = start_run
        self._serving: Run | None = None
        self._next: Run | None = None
        self._next_is_stale = False
        self._ready_since = 0.0
        self._backoff = Backoff()
        self._timer: IDelayedCall | None = None
        self._ended = NONE
        self._replaced: Deferred[bool] | None = None
        self._gone: Deferred[None] | None = None

    @property
    def is_serving(self) -> bool:
        """Whether a process of it accepts connections."""
        return self._serving is not None

    def figures(self) -> Figures:
        """The sum over all its processes; the connections of those that run."""
        return sum((run.figures for run in self.runs), self._ended)

    def start(self) -> None:
        """Start a process; it serves as soon as it is ready."""
        self._timer = None
        try:
            self._next = self._start_run(self)
        except OSError as error:
            self._next_failed(f"cannot be started: {error}")
        else:
            self.runs.append(self._next)

    def replace(self) -> Deferred[bool]:
        """Start a successor and, once it is ready, let the present process end.

        Fires with True when that has happened; with False when the successor failed, and the
        present process goes on. A start under way has the settings of before, so it is no
        successor: once it is ready, or after the delay if it fails, one more begins.
        """
        self._stop_waiting()
        self._next_is_stale = self._next is not None
        replaced = self._replaced = Deferred()
        if self._next is None:
            self.start()
        return replaced

    def stop(self) -> Deferred[None]:
        """Let all end; fires when they have."""
        self._stop_waiting()
        self._tell_replaced(False)
        if not self.runs:
            return succeed(None)
        self._gone = Deferred()
        for run in self.runs:
            run.drain()
        return self._gone

    def hurry(self) -> None:
        """Let all processes end at once."""
        for run in self.runs:
            run.hurry()

    def ready(self, run: Run) -> None:
        """`run` accepts connections."""
        if self._gone is not None:
            return
        old, self._serving, self._next = self._serving, run, None
        stale, self._next_is_stale = self._next_is_stale, False
        self._ready_since = self._clock.seconds()
        log.info("worker {worker} (pid {pid}) is ready", worker=self.number, pid=run.pid)
        if old is not None:
            old.drain(replaced=True)
        elif stale:
            self.start()
        else:
            self._tell_replaced(True)

    def ended(self, run: Run, cause: str) -> None:
        """`run` has ended."""
        self.runs.remove(run)
        self._ended += run.figures.of_ended()
        self.ends += 1
        if self._gone is not None:
            if not self.runs:
                self._gone.callback(None)
        elif run is self._serving:
            self._serving_ended(run, cause)
        elif run is self._next:
            self._next_failed(f"(pid {run.pid}) ended before it was ready: {cause}")
        else:
            log.info(
                "worker {worker} (pid {pid}) has been replaced: {cause}",
                worker=self.number,
                pid=run.pid,
                cause=cause,
            )
            # While a start is due or under way, its successor does not serve, or not any more.
            if self._serving is not None and self._next is None:
                self._tell_replaced(True)

    def _serving_ended(self, run: Run, cause: str) -> None:
        self._serving = None
        served = self._clock.seconds() - self._ready_since
        what = f"(pid {run.pid}) ended after {served:.1f} s: {cause}"
        if self._next is None:
            self._start_later(served, what)
        else:
            log.error("worker {worker} {what}", worker=self.number, what=what)

    def _next_failed(self, what: str) -> None:
        self._next = None
        stale, self._next_is_stale = self._next_is_stale, False
        if self._serving is None:
            self._start_later(0.0, what)
        else:
            log.error(
                "worker {worker} {what}; its predecessor goes on", worker=self.number, what=what
            )
        if not stale:
            self._tell_replaced(False)

    def _start_later(self, served: float, what: str) -> None:
        delay = self._backoff.after(served)
        log.error(
            "worker {worker} {what}; next start in {delay:g} s",
            worker=self.number,
            what=what,
            delay=delay,
        )
        self._timer = self._clock.callLater(delay, self.start)

    def _tell_replaced(self, done: bool) -> None:
        replaced, self._replaced = self._replaced, None
        if replaced is not None:
            replaced.callback(done)

    def _stop_waiting(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
