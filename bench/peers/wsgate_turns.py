"""`twistd` with wsgate whose reactor notes how long each of its turns keeps everybody waiting.

A turn lasts from one return of `epoll_wait` to the next call of it: all events it told of, and the
delayed calls that were due. At SIGUSR1 the figures since the last time are written to the file
named by WSGATE_TURNS, as JSON: `turns`, and the longest turns in seconds, by the clock and by this
process's CPU time, which other processes on its core do not lengthen.

usage: WSGATE_TURNS=FILE python wsgate_turns.py -n wsgate ...
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

from twisted.internet import reactor
from twisted.scripts.twistd import run

_KEPT = 200


class Meter:
    """Stands between the reactor and its poller."""

    def __init__(self, poller: Any) -> None:
        self._poller = poller
        self._began: tuple[float, float] | None = None
        self.clock: list[float] = []
        self.cpu: list[float] = []
        self.register = poller.register
        self.modify = poller.modify
        self.unregister = poller.unregister

    def poll(self, timeout: float, most: int) -> Any:
        """As epoll's."""
        if self._began is not None:
            clock, cpu = self._began
            self.clock.append(perf_counter() - clock)
            self.cpu.append(thread_time() - cpu)
        found = self._poller.poll(timeout, most)
        self._began = perf_counter(), thread_time()
        return found

    def write(self, *_: object) -> None:
        """Write the figures, and begin anew."""
        target = Path(os.environ["WSGATE_TURNS"])
        figures = {
            "turns": len(self.clock),
            "clock": sorted(self.clock)[-_KEPT:],
            "cpu": sorted(self.cpu)[-_KEPT:],
        }
        part = target.with_suffix(".part")
        part.write_text(json.dumps(figures))
        part.rename(target)
        self.clock, self.cpu = [], []
        # The turn that the signal broke into also holds this.
        self._began = None


def main() -> None:
    """Be twistd."""
    looked_at: Any = reactor
    meter = looked_at._poller = Meter(looked_at._poller)
    signal.signal(signal.SIGUSR1, meter.write)
    run()


if __name__ == "__main__":
    main()
