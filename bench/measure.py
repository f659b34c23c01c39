"""One cell of the table: one row of work through one gateway that runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.gateways import KEPT_CONNECTIONS, PHP, Bench, Gateway
from bench.processes import Processes, cpu_seconds, forget_peak, memory
from bench.rows import CALM_CLIENTS, CALM_PAUSE, Row

Cell = dict[str, Any]
Begin = Callable[[], object]

_LONGEST = 90.0


class MeasureFailed(Exception):
    """There is no figure for this cell; the text says why."""


class Generator:
    """A process that makes work: it says "ready", is told to go on, and ends with its result."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        )
        # A gateway that never answers must not keep the whole run.
        self._watchdog = threading.Timer(_LONGEST, self._process.kill)
        self._watchdog.daemon = True
        self._watchdog.start()

    def wait_until_ready(self) -> None:
        """Raises MeasureFailed if it ends instead."""
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise MeasureFailed(f"the load generator ended: {self._last_error()}")

    def go(self) -> None:
        """Let it go on."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def result(self) -> Cell:
        """What it has measured."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise MeasureFailed(f"the load generator ended: {self._last_error()}")
        result: Cell = json.loads(line)
        return result

    def stop(self) -> None:
        """End it, whatever it does."""
        self._watchdog.cancel()
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def _last_error(self) -> str:
        self._process.kill()
        lines = self._process.communicate()[1].strip().splitlines()
        return lines[-1][:200] if lines else f"without a word (at most {_LONGEST:g} s each)"


class Measurer:
    """Measures cells. `seconds` and `warm_up` are those of one cell."""

    def __init__(self, bench: Bench, php: PHP, seconds: float, warm_up: float, quick: bool) -> None:
        self._bench = bench
        self._php = php
        self._seconds = seconds
        self._warm_up = warm_up
        self._quick = quick
        self._generators: list[Generator] = []

    def measure(self, row: Row, gateway: Gateway, processes: Processes) -> Cell | None:
        """The figures of one cell; None where there can be none. Raises MeasureFailed."""
        if not row.is_for(gateway.variants, gateway.once):
            return None
        if gateway.is_limit:
            if row.kind != "messages" or row.clients > 32:
                return None
            return self._messages(row, [], self._limit_command(row, self._php, self._seconds))
        pids = processes.pids()
        try:
            if row.kind == "messages":
                cell = self._messages(row, pids, self._load_command(row, row.clients))
            elif row.kind == "handshakes":
                cell = self._handshakes(row, pids)
            elif row.kind == "idle":
                cell = self._idle(row, pids)
            elif row.kind == "fanout":
                cell = self._fanout(row, pids)
            elif row.kind == "beside":
                cell = self._beside(row, pids)
            else:
                cell = self._turns(row, pids)
            processes.check()
            return cell
        finally:
            while self._generators:
                self._generators.pop().stop()

    # -- kinds of rows

    def _messages(self, row: Row, pids: list[int], command: list[str]) -> Cell:
        cell = self._between(pids, [self._generator(command)])
        cell["rate"] = cell["count"] / cell["seconds"]
        cell["megabytes"] = cell["rate"] * row.size / 1e6
        return cell

    def _handshakes(self, row: Row, pids: list[int]) -> Cell:
        spec = {
            **self._address(row.tls),
            "at_once": row.clients,
            "warm_up": self._warm_up,
            "seconds": self._seconds,
        }
        cell = self._between(pids, [self._generator(_python("bench.opening", spec))])
        cell["rate"] = cell["count"] / cell["seconds"]
        return cell

    def _idle(self, row: Row, pids: list[int]) -> Cell:
        clients = row.quick_clients if self._quick else row.clients
        clients = min(clients, self._bench.files - 100)
        spec = {**self._address(row.tls), "hold": clients}
        generator = self._generator(_python("bench.opening", spec))
        generator.wait_until_ready()
        time.sleep(0.3)
        before = memory(pids)
        forget_peak(pids)
        generator.go()
        generator.wait_until_ready()
        time.sleep(0.3 if self._quick else 1.5)
        after = memory(pids)
        peak = memory(pids, "VmHWM")
        generator.go()
        cell = _without_faults(generator.result())
        each = (after - before) / (clients - clients // 2)
        return {**cell, "per_connection": each, "connections": clients, "peak": peak}

    def _beside(self, row: Row, pids: list[int], begin: Begin = lambda: None) -> Cell:
        if row.past:
            return self._beside_what_goes_past(row, pids)
        generators = []
        if row.clients:
            # It goes on a little longer, so that the calm ones are never alone.
            command = self._load_command(row, row.clients, longer=0.3)
            generators.append(self._generator(command))
            generators[0].wait_until_ready()
        generators.insert(0, self._generator(self._calm_command(row)))
        return self._between(pids, generators, len(generators) - 1, begin)

    def _beside_what_goes_past(self, row: Row, pids: list[int]) -> Cell:
        # The gateway keeps a connection to each worker of the usual one.
        other = PHP(self._bench, "other", workers=1)
        other.start()
        try:
            command = self._limit_command(row, other, 2 * self._seconds + 0.3)
            generators = [self._generator(command)]
            generators[0].wait_until_ready()
            generators.insert(0, self._generator(self._calm_command(row)))
            return self._between(pids, generators, ready=1)
        finally:
            other.stop()

    def _calm_command(self, row: Row) -> list[str]:
        calm = Row(row.name, row.title, "beside", CALM_CLIENTS)
        return self._load_command(calm, CALM_CLIENTS, CALM_PAUSE)

    def _fanout(self, row: Row, pids: list[int]) -> Cell:
        clients = min(row.quick_clients if self._quick else row.clients, self._bench.files - 100)
        spec = {
            **self._address(row.tls),
            "clients": clients,
            "size": row.size,
            "warm_up": self._warm_up,
            # A message to all takes a tenth of a second or more.
            "seconds": 4 * self._seconds,
        }
        generator = self._generator(_python("bench.fanout", spec))
        generator.wait_until_ready()
        time.sleep(0.5)
        before = memory(pids)
        generator.go()
        generator.wait_until_ready()
        time.sleep(0.5)
        each = (memory(pids) - before) / clients
        cell = self._between(pids, [generator], 1, lambda: self._meter(pids[0]))
        cell |= self._longest_turns(pids[0])
        rate = cell["count"] / cell["seconds"]
        return {**cell, "rate": rate, "per_subscription": each, "connections": clients}

    def _turns(self, row: Row, pids: list[int]) -> Cell:
        # Not the turns in which all these clients connected.
        cell = self._beside(row, pids, lambda: self._meter(pids[0]))
        return cell | self._longest_turns(pids[0])

    def _longest_turns(self, pid: int) -> Cell:
        meter = self._meter(pid)
        by_clock, by_cpu = meter["clock"], meter["cpu"]
        return {
            "turns": meter["turns"],
            "longest_cpu": by_cpu[-1],
            "tenth_cpu": by_cpu[-10:][0],
            "longest_clock": by_clock[-1],
            "tenth_clock": by_clock[-10:][0],
        }

    def _meter(self, pid: int) -> Cell:
        """What the meter of `wsgate_turns.py` has noted since the last time."""
        self._bench.turns.unlink(missing_ok=True)
        os.kill(pid, signal.SIGUSR1)
        deadline = time.monotonic() + 5
        while not self._bench.turns.exists():
            if time.monotonic() > deadline:
                raise MeasureFailed("the meter of the reactor's turns says nothing")
            time.sleep(0.02)
        figures: Cell = json.loads(self._bench.turns.read_text())
        return figures

    # -- how

    def _between(
        self,
        pids: list[int],
        generators: list[Generator],
        ready: int = 0,
        begin: Begin = lambda: None,
    ) -> Cell:
        """Run the generators side by side; the result is the first's, with what it cost."""
        for generator in generators[: len(generators) - ready]:
            generator.wait_until_ready()
        begin()
        php = self._php.processes.pids()
        forget_peak(pids)
        cpu, php_cpu = cpu_seconds(pids), cpu_seconds(php)
        began = time.monotonic()
        # The busy ones first.
        for generator in reversed(generators):
            generator.go()
        results = [generator.result() for generator in generators]
        wall = time.monotonic() - began
        cpu, php_cpu = cpu_seconds(pids) - cpu, cpu_seconds(php) - php_cpu
        cells = [_without_faults(result) for result in results]
        count = sum(cell["count"] for cell in cells)
        return {
            **cells[0],
            "cpu_each": cpu / count if pids else None,
            "php_cpu_each": php_cpu / count,
            "cpu_share": cpu / wall,
            "peak": memory(pids, "VmHWM") if pids else None,
        }

    def _address(self, tls: bool) -> Cell:
        return {"port": self._bench.tls_port if tls else self._bench.port, "tls": tls}

    def _load_command(
        self, row: Row, clients: int, pause: float = 0.0, longer: float = 0.0
    ) -> list[str]:
        seconds = self._seconds * row.slower
        if row.kind in ("beside", "turns") or pause:
            # Pausing clients give few figures: a tail needs time.
            seconds = max(seconds * 2, 1.0)
        spec = {
            **self._address(row.tls),
            "clients": clients,
            "size": row.size,
            "warm_up": self._warm_up * row.slower,
            "seconds": seconds + longer,
            "pause": pause,
            "filler": row.filler,
            "same": row.same,
        }
        return _python("bench.load", spec)

    def _limit_command(self, row: Row, php: PHP, seconds: float) -> list[str]:
        return [
            *(str(self._bench.tools / "limit"), str(php.socket), str(self._bench.script)),
            *(str(min(row.clients, KEPT_CONNECTIONS)), str(row.size)),
            *(str(self._warm_up), str(seconds)),
        ]

    def _generator(self, command: list[str]) -> Generator:
        generator = Generator(command)
        self._generators.append(generator)
        return generator


def _python(module: str, spec: Cell) -> list[str]:
    return [sys.executable, "-m", module, json.dumps(spec)]


def _without_faults(result: Cell) -> Cell:
    if result["wrong"] or result["lost"]:
        raise MeasureFailed(
            f"{result['wrong']} wrong answers and {result['lost']} lost connections of "
            f"{result.get('count', '?')}: {result['example']}"
        )
    if result.get("count") == 0:
        raise MeasureFailed("not one answer")
    return result
