"""How this process is: its age, its size, how late its reactor is, log lines it lost."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from wsgate import __version__
from wsgate.compiled import DESCRIPTION
from wsgate.figures import Samples
from wsgate.floods import OF_THIS_PROCESS

PERIOD = 1.0
WINDOW = 30
"""Periods after which the largest lag of the window before last is forgotten."""


class Lag:
    """Measures how late a timer of one second is.

    `last` is how late the latest was, `worst` the largest of the last 30 to 60, in seconds.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.last = 0.0
        self._clock = clock
        self._call: IDelayedCall | None = None
        self._due = 0.0
        self._worst = [0.0, 0.0]
        self._count = 0

    @property
    def worst(self) -> float:
        return max(self._worst)

    def start(self) -> None:
        """Begin to measure."""
        self._due = self._clock.seconds() + PERIOD
        self._call = self._clock.callLater(PERIOD, self._tick)

    def stop(self) -> None:
        """Measure no more."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def _tick(self) -> None:
        self.last = max(0.0, self._clock.seconds() - self._due)
        self._count += 1
        if self._count % WINDOW == 0:
            self._worst = [self._worst[1], 0.0]
        self._worst[1] = max(self._worst[1], self.last)
        self.start()


@implementer(ILogObserver)
class LostLines:
    """Counts the log lines that could not be written: disk full, pipe closed.

    Twisted goes on when an observer fails, and tells the other observers of it.
    """

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, event: LogEvent) -> None:
        """One event of the log."""
        if "observer" in event and "log_failure" in event:
            self.count += 1


class Vitals:
    """The figures of this process, from `start` to `stop`."""

    def __init__(self, reactor: IReactorTime) -> None:
        self.lag = Lag(reactor)
        self.lost = LostLines()
        self._reactor = reactor
        self._began = reactor.seconds()

    def start(self) -> None:
        """Begin to measure."""
        self._began = self._reactor.seconds()
        self.lag.start()
        globalLogPublisher.addObserver(self.lost)

    def stop(self) -> None:
        """Measure no more; what was counted stays."""
        self.lag.stop()
        globalLogPublisher.removeObserver(self.lost)

    def samples(self) -> Samples:
        """The figures now."""
        return {
            ("wsgate_build_info", *_build()): 1,
            ("wsgate_uptime_seconds",): self._reactor.seconds() - self._began,
            ("wsgate_reactor_lag_seconds",): self.lag.last,
            ("wsgate_reactor_lag_max_seconds",): self.lag.worst,
            ("wsgate_log_lost_total",): self.lost.count,
            ("wsgate_log_suppressed_total",): OF_THIS_PROCESS.suppressed,
            **dict(_process()),
        }


def _process() -> Iterator[tuple[tuple[str, ...], float]]:
    yield ("process_cpu_seconds_total",), time.process_time()
    yield ("process_max_fds",), resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield ("process_start_time_seconds",), _start_time()
    try:
        with open("/proc/self/statm", "rb") as file:
            virtual, resident = map(int, file.read().split()[:2])
        # Newer kernels tell their number as the size of the folder; listing 10,000 takes a while.
        descriptors = os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))
    except OSError:
        # No descriptor is left, or this is not Linux.
        return
    page = resource.getpagesize()
    yield ("process_virtual_memory_bytes",), virtual * page
    yield ("process_resident_memory_bytes",), resident * page
    yield ("process_open_fds",), descriptors


@cache
def _start_time() -> float:
    """When this process was started, Unix time; when it was first asked for where that is unknown.

    Asked once: a clock that is set must not look like a restart.
    """
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        with open("/proc/uptime", "rb") as file:
            uptime = float(file.read().split()[0])
    except (OSError, ValueError, IndexError):
        return time.time()
    return time.time() - uptime + ticks / os.sysconf("SC_CLK_TCK")


@cache
def _build() -> tuple[str, ...]:
    return (
        __version__,
        version("twisted"),
        version("autobahn"),
        platform.python_version(),
        "yes" if DESCRIPTION == "compiled" else "no",
    )
