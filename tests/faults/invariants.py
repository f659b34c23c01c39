"""What holds after every case: the invariants I1 to I9, checked from outside the process."""

from __future__ import annotations

import re
import time
from pathlib import Path

from tests.faults.bystanders import Report
from tests.faults.stage import Stage, stop, until
from tests.integration.gateway_process import rss
from wsgate.control.metrics import KEPT as PAGE_KEPT

MIB = 2**20

MEMORY = 32 * MIB
"""What an attack may add to the resident memory while it lasts."""
KEPT = 24 * MIB
"""What may be left of that since the stage began: memory that Python keeps for the next time."""
BYSTANDERS_P99 = 0.5
"""Seconds: far above what is seen on an idle machine, far below what starvation looks like."""
REACTOR_LAG = 1.0
"""Seconds, as for the bystanders: what a starved reactor would exceed."""

# Everything but printable text and the line feed that ends each line.
_CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]")


class Watch:
    """One case on one stage: what was at its beginning, and what has to hold at its end.

    `memory` is how much the resident memory may grow meanwhile, `kept` how much of that may still
    be there at the end: malloc keeps what thousands of TLS connections had for the next ones; `p99`
    bounds what the bystanders wait, in seconds. A case may change them.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.memory = MEMORY
        self.kept = KEPT
        self.p99 = BYSTANDERS_P99
        self.bystanders: Report | None = None
        self.grown = 0
        self._log_size = len(stage.wsgate.log())
        # Linux then counts the peak (VmHWM) anew.
        Path(f"/proc/{stage.wsgate.pid}/clear_refs").write_text("5")
        self._resident = rss(stage.wsgate.pid)
        self._told = set(stage.told)
        self._began = time.monotonic()
        stage.bystanders.watch()

    def check(self) -> None:
        """Raise AssertionError for an invariant that does not hold."""
        stage = self.stage
        if stage.wsgate.process.poll() is None:
            self._check_bystanders()
            self._check_accounts()
            self._check_resources()
        else:
            assert stage.ended_by_the_case, f"I9: wsgate ended: {stage.wsgate.errors()}"
        if stage.peer is not None:
            twice = [message for message, times in stage.peer.runs.items() if times > 1]
            assert not twice, f"I2: run more than once: {twice}"
            assert not stage.peer.violations, f"not FastCGI: {stage.peer.violations}"
        self._check_log()

    def _check_bystanders(self) -> None:
        # At least one round, so that even the shortest case has their word.
        until(lambda: time.monotonic() - self._began > 0.15)
        seen = self.bystanders = self.stage.bystanders.report()
        assert seen.disconnects == self.stage.disconnects, f"I6: {seen}"
        assert not seen.wrong, f"I6: {seen}"
        assert seen.answers, f"I6: {seen}"
        assert seen.p99 < self.p99 or seen.answers < 100, f"I6: {seen}"

    def _check_accounts(self) -> None:
        # A page of figures serves all who ask within a second: the rest is left to the next case
        # of this stage, and to its closing tally.
        stage = self.stage
        if time.monotonic() - stage.scraped < PAGE_KEPT + 0.1:
            return

        def at_rest() -> bool:
            metrics = stage.metrics()
            return not (metrics.unaccounted or metrics.unaccounted_requests)

        until(at_rest, what="I1: every message and every request is accounted for")
        lag = stage.metrics().total("wsgate_reactor_lag_max_seconds")
        assert lag < REACTOR_LAG, f"I7: {lag:.2f} s"

    def _check_resources(self) -> None:
        stage = self.stage
        pid = stage.wsgate.pid
        until(
            lambda: stage.open_files() <= stage.descriptors + stage.kept,
            what=f"I5: descriptors back to {stage.descriptors}, now {stage.open_files()}",
        )
        if stage.peer is not None:
            until(lambda: stage.peer.open <= stage.kept, what="I5: backend connections closed")
        if stage.fpm is not None and stage.fpm_runs:
            until(stage.workers_idle, what="I5: the workers of php-fpm are idle")
        self.grown = _peak(pid) - self._resident
        assert self.grown <= self.memory, f"I4: grew by {self.grown / MIB:.1f} MiB"
        until(
            lambda: rss(pid) <= stage.resident * 1.1 + self.kept,
            what=f"I4: memory {rss(pid) / MIB:.0f} MiB, at first {stage.resident / MIB:.0f}",
        )

    def _check_log(self) -> None:
        stage = self.stage
        log = stage.wsgate.log()[self._log_size :]
        for text in (log, stage.wsgate.errors()):
            assert "Traceback" not in text, f"I8: {text}"
            assert "Unhandled" not in text, f"I8: {text}"
            found = _CONTROL.search(text.encode())
            assert not found, f"I8: control byte in the log: {found}"
        for message in stage.told - self._told:
            lines = stage.log_of(message)
            assert len(lines) <= 1, f"I8: more than one line for {message}: {lines}"


def check_end(stage: Stage) -> None:
    """Stop a stage that no case has stopped, and check its closing tally (I1)."""
    if stage.wsgate.process.poll() is None and not stage.silent:
        tally = stop(stage.wsgate)
        assert tally["refused"] >= len(stage.told), f"I1: {tally}, but {len(stage.told)} were told"


def _peak(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")
