"""All workers together: started at once, restarted one by one, stopped together."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from wsgate.workers.reports import NONE, Figures
from wsgate.workers.slot import Run, Slot

log = Logger(namespace="wsgate")


class Supervisor:
    """Keeps `count` workers running, numbered from 1.

    `start_run` starts the process of a slot's worker; see `Slot`.
    """

    def __init__(self, clock: IReactorTime, count: int, start_run: Callable[[Slot], Run]) -> None:
        self.slots = [Slot(clock, number, start_run) for number in range(1, count + 1)]
        self._stopping = False

    def figures(self) -> Figures:
        """Messages of all workers since the start, ended ones too; connections open now."""
        return sum((slot.figures() for slot in self.slots), NONE)

    def start(self) -> None:
        """Start all workers at once."""
        for slot in self.slots:
            slot.start()

    def stop(self) -> Deferred[list[tuple[bool, None]]]:
        """Let all workers end at once; fires when they have."""
        self._stopping = True
        return DeferredList([slot.stop() for slot in self.slots])

    def hurry(self) -> None:
        """Let all workers end at once, whatever they are doing."""
        for slot in self.slots:
            slot.hurry()

    async def reload(self) -> int:
        """Replace the workers one by one; how many were, before one could not be or all stop.

        One time after the other only.
        """
        if self._stopping:
            return 0
        log.info("restarting {count} workers, one by one", count=len(self.slots))
        for replaced, slot in enumerate(self.slots):
            done = await slot.replace()
            if self._stopping:
                return replaced
            if not done:
                log.error(
                    "worker {worker} could not be replaced; those after it are left as they are",
                    worker=slot.number,
                )
                return replaced
        log.info("restarted {count} workers", count=len(self.slots))
        return len(self.slots)
