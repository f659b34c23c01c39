"""Offers a gateway three times as many messages as its PHP can do.

usage: scripts/overload [--workers N] [--connections N] [--times N] [--seconds N]

A real php-fpm of four workers, a script that takes 5 ms, a real wsgate. First the peak: as many
clients as workers, and twice as many, each with one message under way; the better of the two. Then
three times that, spread over 600 connections, at even times whatever becomes of them. Then PHP-FPM
is stopped and started again beside a trickle of messages. Exit status 1 unless goodput stays at
90 % of the peak, refusals come within 50 ms (99 of 100), no message is lost, and the first answer
comes within 2 seconds of PHP's return. The figures are also written into docs/reliability.md with
--write.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.integration.gateway_process import Gateway, gateway
from tests.integration.php_fpm import PHPFPM, php_fpm
from tests.overload.clients import Crowd, Figures

DOCUMENT = Path(__file__).parents[2] / "docs/reliability.md"
BEGIN, END = "<!-- overload:begin -->", "<!-- overload:end -->"
LEAST_RATIO = 0.9
REFUSAL_LIMIT = 0.05
RECOVERY_LIMIT = 2.0
QUEUE = 256
WORK = 0.005
"""Seconds that the script takes."""
SCRIPT = f"<?php usleep({WORK * 1e6:.0f}); echo file_get_contents('php://input');"
TRICKLE = 50
"""Messages a second while PHP-FPM is away."""
AWAY = 3.0


def quantile(values: list[float], share: float) -> float:
    """Of values in any order; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


@dataclass
class Result:
    """All figures of a run. Rates are per second, times in seconds."""

    options: argparse.Namespace
    peak: float
    offered: float
    overload: Figures
    cpu: float
    """Share of a core that wsgate had at overload."""
    longest: int
    """Requests in the pool's queue, at most."""
    outage: Figures
    recovery: float | None

    @property
    def goodput(self) -> float:
        """Answered messages a second at overload."""
        return self.overload.in_time / self.options.seconds

    def lines(self) -> list[tuple[str, str, bool]]:
        """What was measured, its value, and whether it is good."""
        over, away = self.overload, self.outage
        ratio = self.goodput / self.peak
        refusal = quantile(over.refused, 0.99)
        outage = quantile(away.refused, 0.5)
        recovery = f"{self.recovery:.2f} s" if self.recovery is not None else "never"
        return [
            ("peak", f"{self.peak:.0f} answers/s", self.peak > 0),
            ("offered", f"{self.offered:.0f} messages/s", over.nobody_free == 0),
            ("goodput at that", f"{self.goodput:.0f} answers/s", True),
            ("goodput / peak", f"{ratio:.1%}", ratio >= LEAST_RATIO),
            ("refused", f"{len(over.refused)} of {over.sent}", set(over.statuses) == {503}),
            (
                "refusals: half within, 99 % within",
                f"{quantile(over.refused, 0.5) * 1e3:.1f} ms, {refusal * 1e3:.1f} ms",
                refusal < REFUSAL_LIMIT,
            ),
            (
                "answers at overload: half within, 99 % within",
                f"{quantile(over.answered, 0.5) * 1e3:.0f} ms, "
                f"{quantile(over.answered, 0.99) * 1e3:.0f} ms",
                True,
            ),
            ("longest queue", f"{self.longest} requests", self.longest <= QUEUE),
            ("wsgate's CPU at overload", f"{self.cpu:.0%} of a core", True),
            (
                "PHP-FPM stopped: refusals, half within",
                f"{len(away.refused)}, {outage * 1e3:.1f} ms",
                outage < REFUSAL_LIMIT,
            ),
            (
                "PHP-FPM started: first answer after",
                recovery,
                self.recovery is not None and self.recovery <= RECOVERY_LIMIT,
            ),
            (
                "lost, or answered wrongly",
                str(len(over.wrong) + len(away.wrong)),
                not over.wrong and not away.wrong,
            ),
        ]

    @property
    def good(self) -> bool:
        """Whether all is as promised."""
        return all(good for _, _, good in self.lines())


async def measure(process: Gateway, fpm: PHPFPM, options: argparse.Namespace) -> Result:
    """One run."""
    crowd = Crowd(process.port)
    await crowd.arrive(options.connections)
    await crowd.keep_busy(2 * options.workers, 1.0)
    peak = 0.0
    for clients in (options.workers, 2 * options.workers):
        figures = await crowd.keep_busy(clients, options.seconds / 2)
        rate = figures.in_time / (options.seconds / 2)
        print(f"{clients} clients: {rate:.0f} answers/s", flush=True)
        peak = max(peak, rate)
    offered = options.times * peak
    before = cpu_seconds(process.pid)
    overload = await crowd.offer(offered, options.seconds)
    cpu = (cpu_seconds(process.pid) - before) / options.seconds
    longest = longest_queue(process.place.folder / "control")
    outage, recovery = await stop_and_start(crowd, fpm)
    await crowd.leave()
    return Result(options, peak, offered, overload, cpu, longest, outage, recovery)


def cpu_seconds(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def longest_queue(control: Path) -> int:
    """From /metrics of the control interface, a UNIX socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(control))
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        page = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    match = re.search(r'^wsgate_pool_waiting_most{pool="default"} (\d+)', page, re.MULTILINE)
    assert match, page
    return int(match.group(1))


async def stop_and_start(crowd: Crowd, fpm: PHPFPM) -> tuple[Figures, float | None]:
    """PHP-FPM goes and comes back; seconds from its return to the first answer."""
    fpm.stop()
    figures = await crowd.offer(TRICKLE, AWAY)
    started = 0.0

    async def start() -> None:
        nonlocal started
        await asyncio.to_thread(fpm.start)
        started = time.monotonic()

    begun = asyncio.ensure_future(start())
    limit = time.monotonic() + 20
    while time.monotonic() < limit:
        after = await crowd.offer(TRICKLE, 0.05)
        figures.refused += after.refused
        figures.wrong += after.wrong
        if after.answered:
            answered = time.monotonic()
            await begun
            return figures, max(0.0, answered - started)
    await begun
    return figures, None


def write(result: Result) -> None:
    """Put the figures between the marks of docs/reliability.md."""
    options = result.options
    text = [
        f"`scripts/overload`, on {os.cpu_count()} cores of a machine with a load of "
        f"{os.getloadavg()[0]:.1f}: php-fpm of {options.workers} workers, "
        f"a script that takes {WORK * 1e3:.0f} ms, {options.connections} connections; "
        f"{options.times:g} times the peak offered for "
        f"{options.seconds:g} s.\n",
        "| | measured |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value, _ in result.lines()),
    ]
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{DOCUMENT} has no {BEGIN} … {END}")
    whole = f"{before}{BEGIN}\n" + "\n".join(text) + f"\n{END}{after}"
    DOCUMENT.write_text(whole, encoding="utf-8")


def main() -> None:
    """Parse the command line, run, exit 0 or 1."""
    parser = argparse.ArgumentParser(prog="scripts/overload")
    parser.add_argument("--workers", type=int, default=4, help="of PHP; default %(default)s")
    parser.add_argument("--connections", type=int, default=600, help="default %(default)s")
    parser.add_argument("--times", type=float, default=3, help="the peak; default %(default)s")
    parser.add_argument("--seconds", type=float, default=8, help="default %(default)s")
    parser.add_argument("--write", action="store_true", help="into docs/reliability.md")
    options = parser.parse_args()
    with (
        php_fpm(workers=options.workers, scripts={"work.php": SCRIPT}) as fpm,
        gateway(
            f"--fastcgi={fpm.endpoint}",
            f"--script={fpm.script_path('work.php')}",
            f"--set=pools.default.max_in_flight={options.workers}",
            f"--set=pools.default.queue={QUEUE}",
            "--control=unix:{folder}/control",
            "--set=limits.max_connections_per_address=0",
            "--set=limits.new_connections_per_address=0",
            script=None,
        ) as process,
    ):
        result = asyncio.run(measure(process, fpm, options))
        log = process.log()
    for name, value, good in result.lines():
        print(f"{name}: {value}" + ("" if good else "   NOT GOOD"))
    for wrong in (result.overload.wrong + result.outage.wrong)[:5]:
        print(wrong)
    if "Traceback" in log:
        print("there is a traceback in wsgate's log:", log[-2000:], sep="\n")
    if options.write:
        write(result)
    sys.exit(not result.good or "Traceback" in log)


if __name__ == "__main__":
    main()
