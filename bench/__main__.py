"""The command line of the measuring; scripts/bench sets up what it needs and runs it."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import report
from bench.gateways import GATEWAYS, PHP, Bench, Gateway
from bench.measure import Cell, MeasureFailed, Measurer
from bench.processes import Processes, StartFailed, raise_file_limit
from bench.rows import ROWS, Row

ROOT = Path(__file__).parent.parent
_WANTED_FILES = 24000


def main() -> None:
    """Measure, print, write and plot."""
    arguments = _arguments()
    began = time.time()
    usual = [row for row in ROWS if row.in_quick or not arguments.quick]
    rows = _chosen(arguments.only, ROWS, usual)
    gateways = _chosen(arguments.gateways, GATEWAYS, list(GATEWAYS))
    seconds = arguments.seconds or (0.4 if arguments.quick else 3.0)
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    with tempfile.TemporaryDirectory(prefix="wsgate-bench-") as folder:
        Path(folder).chmod(0o755)
        files = raise_file_limit(_WANTED_FILES)
        python = os.path.abspath(arguments.python)
        bench = Bench(Path(folder), files, python, ROOT / ".tools" / "bench")
        php = PHP(bench)
        measurer = Measurer(bench, php, seconds, min(0.5, seconds / 3), arguments.quick)
        run = Run(bench, measurer, rows, gateways, rounds, arguments.quick)
        try:
            php.start()
            run.measure()
        except KeyboardInterrupt:
            print("\nstopped; what follows is what was measured until then", file=sys.stderr)
        except StartFailed as failed:
            sys.exit(f"bench: PHP-FPM could not be started: {failed}")
        finally:
            php.stop()
            if arguments.keep_logs:
                subprocess.run(["cp", "-r", folder, arguments.keep_logs], check=False)
    results = {
        "about": _about(arguments, rounds, seconds, began),
        "cells": run.cells,
        "failures": run.failures,
    }
    is_part = arguments.quick or arguments.only or arguments.gateways
    report.write(results, rows, gateways, ROOT, with_page=arguments.publish or not is_part)


class Run:
    """All rounds. In each every gateway has its turn at each group of rows."""

    def __init__(
        self,
        bench: Bench,
        measurer: Measurer,
        rows: Sequence[Row],
        gateways: Sequence[Gateway],
        rounds: int,
        quick: bool,
    ) -> None:
        self._bench = bench
        self._measurer = measurer
        self._gateways = gateways
        self._rounds = rounds
        groups: dict[str, list[Row]] = {}
        for row in rows:
            # A quick run starts gateways less often; but memory needs one that did nothing before.
            together = quick and row.kind != "idle"
            groups.setdefault("together" if together else row.group, []).append(row)
        self._groups = list(groups.values())
        self._done = 0
        self._total = rounds * len(gateways) * len(rows)
        self._began = time.monotonic()
        self.cells: dict[str, dict[str, list[Cell | None]]] = {
            row.name: {gateway.name: [None] * rounds for gateway in gateways} for row in rows
        }
        self.failures: list[dict[str, Any]] = []

    def measure(self) -> None:
        """Fill `cells`."""
        for round_number in range(self._rounds):
            for rows in self._groups:
                # Who comes first changes from round to round.
                first = round_number % len(self._gateways)
                for gateway in (*self._gateways[first:], *self._gateways[:first]):
                    self._visit(round_number, gateway, rows)

    def _visit(self, round_number: int, gateway: Gateway, rows: Sequence[Row]) -> None:
        waiting = list(rows)
        try:
            processes = gateway.run(self._bench)
        except (StartFailed, FileNotFoundError) as failed:
            for row in waiting:
                self._failed(round_number, gateway, row, f"did not start: {failed}")
            return
        try:
            for row in rows:
                self._cell(round_number, gateway, row, processes)
        finally:
            processes.stop()

    def _cell(self, round_number: int, gateway: Gateway, row: Row, processes: Processes) -> None:
        try:
            cell = self._measurer.measure(row, gateway, processes)
        except (MeasureFailed, StartFailed) as failed:
            self._failed(round_number, gateway, row, str(failed))
            return
        self.cells[row.name][gateway.name][round_number] = cell
        self._progress(round_number, gateway, row, report.one_line(row, cell))

    def _failed(self, round_number: int, gateway: Gateway, row: Row, why: str) -> None:
        self.failures.append(
            {"round": round_number + 1, "gateway": gateway.name, "row": row.name, "why": why}
        )
        self._progress(round_number, gateway, row, f"FAILED: {why}")

    def _progress(self, round_number: int, gateway: Gateway, row: Row, text: str) -> None:
        self._done += 1
        elapsed = time.monotonic() - self._began
        left = elapsed / self._done * (self._total - self._done)
        print(
            f"[{self._done}/{self._total}, {left:3.0f} s left] round {round_number + 1} "
            f"{row.name:15} {gateway.name:12} {text}",
            flush=True,
        )


def _chosen(text: str | None, known: Sequence[Any], otherwise: list[Any]) -> list[Any]:
    if text is None:
        return otherwise
    by_name = {item.name: item for item in known}
    for name in text.split(","):
        if name not in by_name:
            sys.exit(f"bench: there is no {name!r}; known are {', '.join(by_name)}")
    return [item for item in known if item.name in text.split(",")]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Measure wsgate beside the alternatives, in one run."
    )
    parser.add_argument("--quick", action="store_true", help="under two minutes, one round")
    parser.add_argument("--rounds", type=int, metavar="N", help="default 5; with --quick 1")
    parser.add_argument(
        "--only", metavar="ROW,…", help=f"rows: {', '.join(row.name for row in ROWS)}"
    )
    parser.add_argument(
        "--gateways", metavar="NAME,…", help=", ".join(gateway.name for gateway in GATEWAYS)
    )
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="each measurement (default 3; --quick: 0.4)"
    )
    parser.add_argument(
        "--python",
        default=str(ROOT / ".venv" / "bin" / "python"),
        help="the Python that has wsgate (default: .venv/bin/python)",
    )
    parser.add_argument(
        "--publish", action="store_true", help="write docs/ even after a quick or partial run"
    )
    parser.add_argument("--keep-logs", metavar="FOLDER", help="copy logs and configurations there")
    return parser.parse_args()


def _about(arguments: argparse.Namespace, rounds: int, seconds: float, began: float) -> Cell:
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(began)),
        "took": round(time.time() - began),
        "quick": arguments.quick,
        "rounds": rounds,
        "seconds": seconds,
        "cores": os.cpu_count(),
        "processor": _processor(),
        "load_average": os.getloadavg()[0],
        "kernel": platform.release(),
        "commit": _output(["git", "-C", str(ROOT), "describe", "--always", "--dirty"]),
        "versions": dict(_versions(arguments.python)),
    }


def _versions(python: str) -> Iterator[tuple[str, str]]:
    program = (
        "import platform, importlib.metadata as m\n"
        "print('Python', platform.python_version(), *(f'{n} {m.version(n)}' for n in "
        "('wsgate', 'twisted', 'autobahn')), sep=', ')"
    )
    yield "wsgate", _output([python, "-c", program]).replace("Python, ", "Python ")
    yield "Node", _output(["node", "--version"])
    yield "nginx", _output(["nginx", "-v"]).rpartition("/")[2]
    yield "Pushpin", _output(["pushpin", "--version"]).rpartition(" ")[2]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.machine()


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "not there"
    return (done.stdout or done.stderr).strip()


if __name__ == "__main__":
    main()
