"""The command line of the measuring; scripts/bench sets up what it needs and runs it."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from statistics import mean
from typing import Any

from bench import report
from bench.gateways import GATEWAYS, PHP, Bench, Gateway
from bench.measure import Cell, MeasureFailed, Measurer
from bench.processes import Processes, StartFailed, raise_file_limit
from bench.rows import ROWS, Row

ROOT = Path(__file__).parent.parent
_WANTED_FILES = 24000
_TRIES = 2
"""Rounds after which a cell that always failed is left alone: each failure takes a minute."""


def main() -> None:
    """Measure, print, write and plot."""
    arguments = _arguments()
    # As Ctrl-C: what was measured until then is shown.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.time()
    usual = [row for row in ROWS if row.in_quick or not arguments.quick]
    rows = _chosen(arguments.only, ROWS, usual)
    gateways = _chosen(arguments.gateways, GATEWAYS, list(GATEWAYS))
    seconds = arguments.seconds or (0.4 if arguments.quick else 1.5)
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    with tempfile.TemporaryDirectory(prefix="wsgate-bench-") as folder:
        Path(folder).chmod(0o755)
        files = raise_file_limit(_WANTED_FILES)
        python = os.path.abspath(arguments.python)
        bench = Bench(Path(folder), files, python, ROOT / ".tools" / "bench")
        php = PHP(bench)
        measurer = Measurer(bench, php, seconds, min(0.5, seconds / 3), arguments.quick)
        run = Run(bench, measurer, rows, gateways, rounds, arguments.quick)
        was_stopped = False
        try:
            php.start()
            run.measure()
        except KeyboardInterrupt:
            was_stopped = True
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
    is_part = arguments.quick or arguments.only or arguments.gateways or was_stopped
    report.write(results, rows, gateways, ROOT, with_page=arguments.publish or not is_part)
    sys.exit(130 if was_stopped else 0 if run.measured else 1)


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
            together = quick and row.kind != "idle" and not row.variant
            groups.setdefault("together" if together else row.group, []).append(row)
        self._groups = list(groups.values())
        self._progress = Progress(
            [
                row
                for row in rows
                for _ in range(min(rounds, row.rounds))
                for gateway in gateways
                if row.is_for(gateway.variants, gateway.once)
            ]
        )
        self.measured = 0
        self.cells: dict[str, dict[str, list[Cell | None]]] = {
            row.name: {gateway.name: [None] * rounds for gateway in gateways} for row in rows
        }
        self.failures: list[dict[str, Any]] = []

    def measure(self) -> None:
        """Fill `cells`."""
        for round_number in range(self._rounds):
            for group in self._groups:
                rows = [row for row in group if round_number < row.rounds]
                # Who comes first changes from round to round.
                first = round_number % len(self._gateways)
                for gateway in (*self._gateways[first:], *self._gateways[:first]):
                    self._visit(round_number, gateway, rows)

    def _visit(self, round_number: int, gateway: Gateway, rows: Sequence[Row]) -> None:
        waiting = [row for row in rows if row.is_for(gateway.variants, gateway.once)]
        for row in tuple(waiting):
            if self._is_hopeless(gateway, row):
                waiting.remove(row)
                self._say(round_number, gateway, row, f"failed {_TRIES} times: left alone")
        if not waiting:
            return
        try:
            processes = gateway.run(self._bench, waiting[0].variant)
        except Exception as failed:
            for row in waiting:
                self._failed(round_number, gateway, row, f"did not start: {_in_words(failed)}")
            return
        try:
            for row in waiting:
                self._cell(round_number, gateway, row, processes)
        finally:
            processes.stop()

    def _cell(self, round_number: int, gateway: Gateway, row: Row, processes: Processes) -> None:
        try:
            cell = self._measurer.measure(row, gateway, processes)
        except Exception as failed:
            # Whatever it is: it costs this cell, not the half hour before and after it.
            self._failed(round_number, gateway, row, _in_words(failed))
            return
        self.cells[row.name][gateway.name][round_number] = cell
        self.measured += cell is not None
        self._say(round_number, gateway, row, report.one_line(row, cell))

    def _is_hopeless(self, gateway: Gateway, row: Row) -> bool:
        """Whether it has failed `_TRIES` times and never given a figure."""
        failed = [f for f in self.failures if (f["gateway"], f["row"]) == (gateway.name, row.name)]
        return len(failed) >= _TRIES and not any(self.cells[row.name][gateway.name])

    def _failed(self, round_number: int, gateway: Gateway, row: Row, why: str) -> None:
        self.failures.append(
            {"round": round_number + 1, "gateway": gateway.name, "row": row.name, "why": why}
        )
        self._say(round_number, gateway, row, f"FAILED: {why}")

    def _say(self, round_number: int, gateway: Gateway, row: Row, text: str) -> None:
        where = self._progress.went_on(row)
        print(
            f"[{where}] round {round_number + 1} {row.name:15} {gateway.name:12} {text}",
            flush=True,
        )


class Progress:
    """How many of the cells are done, and how long the others will take.

    A cell to come takes as long as those of its row took; those of a row that has not come yet, as
    long as all others on average.
    """

    def __init__(self, rows: Sequence[Row], clock: Callable[[], float] = time.monotonic) -> None:
        self._waiting = Counter(row.name for row in rows)
        self._took: dict[str, list[float]] = {}
        self._total = len(rows)
        self._clock = clock
        self._last = clock()

    def went_on(self, row: Row) -> str:
        """A cell of `row` is done: "12/34, 56 s left"."""
        now = self._clock()
        self._took.setdefault(row.name, []).append(now - self._last)
        self._last = now
        self._waiting[row.name] -= 1
        left = self._waiting.total()
        return f"{self._total - left}/{self._total}, {self._seconds_left():3.0f} s left"

    def _seconds_left(self) -> float:
        usual = mean(chain.from_iterable(self._took.values()))
        return sum(
            number * (mean(self._took[name]) if name in self._took else usual)
            for name, number in self._waiting.items()
        )


def _in_words(failed: Exception) -> str:
    known = isinstance(failed, MeasureFailed | StartFailed)
    return str(failed) if known else f"{type(failed).__name__}: {failed}"


def _chosen(text: str | None, known: Sequence[Any], otherwise: list[Any]) -> list[Any]:
    if text is None:
        return otherwise
    by_name = {item.name: item for item in known}
    for name in text.split(","):
        if name not in by_name:
            print(f"bench: there is no {name!r}; known are {', '.join(by_name)}", file=sys.stderr)
            sys.exit(2)
    return [item for item in known if item.name in text.split(",")]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measures wsgate beside the alternatives, all in front of one PHP-FPM.",
        epilog=_described(ROWS, GATEWAYS),
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one round of the rows marked with *, 0.4 s each: under two minutes",
    )
    parser.add_argument(
        "--rounds", type=_count, metavar="N", help="how often, 1 or more; default 5, with --quick 1"
    )
    parser.add_argument("--only", metavar="ROW,…", help="these rows; default all")
    parser.add_argument("--gateways", metavar="NAME,…", help="these gateways; default all")
    parser.add_argument(
        "--seconds",
        type=_seconds,
        metavar="S",
        help="each measurement, above 0; default 1.5, with --quick 0.4",
    )
    parser.add_argument(
        "--python",
        default=str(ROOT / ".venv" / "bin" / "python"),
        help="the Python that has wsgate; default .venv/bin/python",
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help="write docs/performance.md, its plots and performance.json even after a quick or "
        "partial run; a whole run always does",
    )
    parser.add_argument(
        "--keep-logs", metavar="FOLDER", help="copy logs and configurations there; default: none"
    )
    return parser.parse_args()


def _described(rows: Sequence[Row], gateways: Sequence[Gateway]) -> str:
    lines = ["rows (* also with --quick):"]
    lines += [f"  {row.name:15}{'*' if row.in_quick else ' '} {row.title}" for row in rows]
    lines += ["", "gateways:"]
    lines += [f"  {gateway.name:16} {gateway.title}" for gateway in gateways]
    lines += [
        "",
        "Exit status: 0 with figures, 1 without a single one, 2 for a wrong option, 130 after",
        "Ctrl-C or SIGTERM, which show what was measured until then. What fails is named in the",
        "table.",
    ]
    return "\n".join(lines)


def _count(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _seconds(text: str) -> float:
    if not 0 < (seconds := float(text)) <= 60:
        raise argparse.ArgumentTypeError("above 0, at most 60")
    return seconds


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
