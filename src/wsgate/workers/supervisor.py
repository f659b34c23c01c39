"""All workers together: started at once, restarted one by one, stopped together."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsgate.workers.reports import NONE, Figures
from wsgate.workers.slot import Run, Slot

log = Logger(namespace="wsgate")


class Supervisor:
    """Keeps `count` workers running, numbered from 1.

    `start_run` starts the process of a slot's worker; see `Slot`.
    """

    def __init__(self, clock: IReactorTime, count: int, start_run: Callable[[Slot], Run]) -> None:
        self.slots = [Slot(clock, number, start_run) for number in range(1, count + 1)]
        self._rolling = False
        self._again = False
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

    def reload(self) -> None:
        """Replace the workers one by one. Asked again meanwhile, it begins anew afterwards."""
        if self._stopping:
            return
        if self._rolling:
            self._again = True
            return
        self._rolling = True
        ensureDeferred(self._roll()).addErrback(self._bug)

    async def _roll(self) -> None:
        try:
            self._again = True
            while self._again and not self._stopping:
                self._again = False
                await self._replace_all()
        finally:
            self._rolling = False

    async def _replace_all(self) -> None:
        log.info("restarting {count} workers, one by one", count=len(self.slots))
        for slot in self.slots:
            done = await slot.replace()
            if self._stopping:
                return
            if not done:
                log.error(
                    "worker {worker} could not be replaced; those after it are left as they are",
                    worker=slot.number,
                )
                return
        log.info("restarted {count} workers", count=len(self.slots))

    def _bug(self, failure: Failure) -> None:
        log.failure("the restart of the workers failed", failure)
