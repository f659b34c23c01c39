"""Runs the gateway under a steady load while one thing after another goes wrong.

usage: scripts/soak MINUTES [--connections N] [--rate N]

A real php-fpm of four workers, a real wsgate, 1,000 connections, 100 messages a second, and every
three seconds a fault: PHP-FPM reloaded, stopped, its workers killed or frozen, clients that vanish,
break the protocol, or never read. At the end every message is accounted for, twice: by the clients
and by wsgate itself. Exit status 1 if one was lost or ran twice, if memory grew, or descriptors or
workers did not come back. The figures are also written to reports/soak.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.integration.gateway_process import Gateway, eventually, gateway, rss
from tests.integration.php_fpm import PHPFPM, php_fpm
from tests.soak.clients import Crowd
from tests.soak.mischief import Mischief

MIB = 2**20
FAULT_EVERY = 3.0
SAMPLE_EVERY = 5.0
MAX_SLOPE = 4.0
"""MiB an hour, after the first quarter; only judged after ten minutes, before that it is noise."""
MAX_GROWTH = 32.0
"""MiB above what 1,000 idle connections took."""

SCRIPT = """<?php
file_put_contents(__DIR__ . '/runs', $_SERVER['WSGATE_MESSAGE_ID'] . "\\n", FILE_APPEND);
echo file_get_contents('php://input');
"""
OPTIONS = (
    "--set=limits.max_connections_per_address=0",
    "--set=limits.new_connections_per_address=0",
    "--set=limits.send_timeout=10s",
    "--set=pools.default.max_in_flight=4",
)


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


class Samples:
    """Memory and descriptors of wsgate, over time."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._began = time.monotonic()
        self.hours: list[float] = []
        self.memory: list[float] = []
        self.descriptors: list[int] = []

    def take(self) -> None:
        """One more of each."""
        self.hours.append((time.monotonic() - self._began) / 3600)
        self.memory.append(rss(self._pid) / MIB)
        self.descriptors.append(descriptors(self._pid))

    def slope(self) -> float:
        """MiB an hour, as a straight line through all but the first quarter."""
        start = len(self.hours) // 4
        hours, memory = self.hours[start:], self.memory[start:]
        return statistics.linear_regression(hours, memory).slope if len(hours) > 2 else 0.0


def quantile(sorted_values: list[float], share: float) -> float:
    """In milliseconds."""
    if not sorted_values:
        return 0.0
    return round(sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * share))] * 1e3)


async def soak(
    process: Gateway, fpm: PHPFPM, minutes: float, connections: int, rate: float
) -> dict[str, Any]:
    """Run it; the figures."""
    crowd = Crowd(process.url, connections)
    await crowd.arrive()
    before = rss(process.pid) / MIB, descriptors(process.pid)
    samples = Samples(process.pid)
    mischief = Mischief(process, fpm, crowd)
    until = time.monotonic() + minutes * 60
    tasks = [
        asyncio.create_task(crowd.talk(rate, until)),
        asyncio.create_task(mischief.go_on(FAULT_EVERY)),
    ]
    reported = time.monotonic()
    while time.monotonic() < until:
        await asyncio.sleep(min(SAMPLE_EVERY, max(0.0, until - time.monotonic())))
        assert process.process.poll() is None, f"wsgate ended: {process.log()[-2000:]}"
        samples.take()
        for task in tasks:
            if task.done():
                task.result()
        for client in crowd.clients:
            client.check(time.monotonic())
        if time.monotonic() - reported >= 60:
            reported = time.monotonic()
            progress(crowd, samples, mischief, until)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await crowd.settle()
    return figures(crowd, samples, mischief, before)


def progress(crowd: Crowd, samples: Samples, mischief: Mischief, until: float) -> None:
    """One line a minute."""
    outcome = crowd.outcome
    print(
        f"{(until - time.monotonic()) / 60:4.0f} min left: {outcome.sent} sent, "
        f"{outcome.answered} answered, {outcome.refused.total()} refused, {outcome.gone} gone, "
        f"{len(outcome.wrong)} wrong; {samples.memory[-1]:.1f} MiB, "
        f"{samples.descriptors[-1]} descriptors; {mischief.done.total()} faults",
        flush=True,
    )


def figures(
    crowd: Crowd, samples: Samples, mischief: Mischief, before: tuple[float, int]
) -> dict[str, Any]:
    """What the clients saw, and what wsgate used."""
    outcome = crowd.outcome
    latencies = sorted(outcome.latencies)
    return {
        "sent": outcome.sent,
        "answered": outcome.answered,
        "refused": dict(sorted(outcome.refused.items())),
        "gone with their client": outcome.gone,
        "wrong or lost": outcome.wrong[:20],
        "faults": dict(sorted(mischief.done.items())),
        "connections ended": dict(sorted(outcome.ends.items())),
        "latency in ms": {
            name: quantile(latencies, share)
            for name, share in {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "most": 1.0}.items()
        },
        "memory in MiB": {
            "before": round(before[0], 1),
            "at the end": round(samples.memory[-1], 1),
            "most": round(max(samples.memory), 1),
            "slope per hour": round(samples.slope(), 2),
        },
        "descriptors": {
            "before": before[1],
            "most": max(samples.descriptors),
            "at the end": samples.descriptors[-1],
        },
    }


TALLY = re.compile(r"(\d+) received, (\d+) answered, (\d+) refused, (\d+) gone")


def accounts(process: Gateway, fpm: PHPFPM) -> dict[str, Any]:
    """Stop wsgate; what it counted itself, and how often each message ran."""
    status = process.stop()
    log = process.log()
    match = TALLY.search(log)
    assert match is not None, f"no tally in the log: {log[-2000:]}"
    names = ("received", "answered", "refused", "gone")
    runs = Counter((fpm.scripts / "runs").read_text().split())
    return {
        "exit status": status,
        "tally": dict(zip(names, map(int, match.groups()), strict=True)),
        "runs": runs.total(),
        "ran twice": sum(count > 1 for count in runs.values()),
        "tracebacks in the log": log.count("Traceback"),
    }


def faults_found(found: dict[str, Any], minutes: float) -> list[str]:
    """In what the run fell short, in words."""
    tally = found["tally"]
    memory = found["memory in MiB"]
    sent = found["answered"] + sum(found["refused"].values()) + found["gone with their client"]
    checks = {
        "messages are lost or answers wrong": not found["wrong or lost"] and found["sent"] == sent,
        "wsgate's own accounts do not add up": tally["received"]
        == tally["answered"] + tally["refused"] + tally["gone"],
        "messages ran twice": found["ran twice"] == 0,
        "wsgate did not end with 0": found["exit status"] == 0,
        "there are tracebacks in the log": found["tracebacks in the log"] == 0,
        "memory grows": memory["at the end"] - memory["before"] <= MAX_GROWTH
        and (minutes < 10 or memory["slope per hour"] <= MAX_SLOPE),
        "descriptors are left open": found["descriptors"]["idle"]
        <= found["descriptors"]["before"] + 10,
    }
    return [words for words, holds in checks.items() if not holds]


def show(found: dict[str, Any], indent: str = "") -> None:
    """As indented lines."""
    for name, value in found.items():
        if isinstance(value, dict):
            print(f"{indent}{name}:")
            show(value, indent + "    ")
        else:
            print(f"{indent}{name}: {value}")


def main() -> None:
    """Parse the command line, run, report."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__.split("\n\n")[0])
    parser.add_argument("minutes", type=float, help="how long, in minutes")
    parser.add_argument("--connections", type=int, default=1000, help="default: 1000")
    parser.add_argument("--rate", type=float, default=100, help="messages per second, default: 100")
    asked = parser.parse_args()
    scripts = {"soak.php": SCRIPT}
    with php_fpm(4, scripts=scripts, fpm={"process_control_timeout": "10s"}) as fpm:
        fpm.scripts.chmod(0o777)
        options = (f"--fastcgi={fpm.endpoint}", f"--script={fpm.script_path('soak.php')}", *OPTIONS)
        with gateway(*options, script=None) as process:
            empty = descriptors(process.pid)
            found = asyncio.run(soak(process, fpm, asked.minutes, asked.connections, asked.rate))
            # The clients are gone with their event loop; give the last ones their farewell.
            eventually(lambda: descriptors(process.pid) <= empty + 10, 60, "descriptors closed")
            found["descriptors"]["idle"] = descriptors(process.pid)
            found |= accounts(process, fpm)
    Path("reports").mkdir(exist_ok=True)
    Path("reports/soak.json").write_text(json.dumps(found, indent=2))
    show(found)
    short = faults_found(found, asked.minutes)
    print("FAILED: " + "; ".join(short) if short else "all messages accounted for, none ran twice")
    sys.exit(1 if short else 0)


if __name__ == "__main__":
    main()
