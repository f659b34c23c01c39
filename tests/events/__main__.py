"""Clients that come, speak and leave, while PHP and wsgate are killed at random.

usage: scripts/events NUMBER [--clients N] [--kill-every SECONDS] [--minutes N] [--bus] [--seed N]

A real wsgate with a private php-fpm, and clients one after the other in each of 32 places. They
close in order, vanish with a message under way, or leave while PHP still decides. Every five
seconds a php-fpm worker, its master or wsgate itself is killed with SIGKILL, and with --bus Redis
too; wsgate is started again with the same journal. PHP appends each event to a file. At NUMBER
events, or after --minutes, no more clients come; then every connection that PHP has let in, or
that a client saw open, must have a disconnect. Exit status 1 if one has none. The figures are also
in reports/events.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from tests.events.clients import Crowd
from tests.events.ledger import SCRIPT, Progress, Verdict, judge
from tests.events.mischief import Mischief, Redis
from tests.integration.gateway_process import Gateway, gateway

ROOT = Path(__file__).parents[2]
LOOK_EVERY = 1.0
SETTLE = 180.0
"""Seconds for disconnects that are still due: pauses between tries are up to a minute long."""

OPTIONS = (
    "--events=connect,message,disconnect",
    "--set=gateway.state={folder}/state",
    "--set=limits.max_connections_per_address=0",
)
WORKERS = 4


async def _load(crowd: Crowd, mischief: Mischief, progress: Progress, asked: Any) -> float:
    """Until there are enough events; how long that took, in seconds."""
    began = last = time.monotonic()
    visits = asyncio.create_task(crowd.run())
    while progress.look() < asked.events and time.monotonic() - began < asked.minutes * 60:
        await asyncio.sleep(LOOK_EVERY)
        now = time.monotonic()
        if now - last >= asked.kill_every:
            last = now
            await asyncio.to_thread(mischief.strike)
            print(
                f"{now - began:7.0f} s  {progress.events:9,} events  {len(crowd.accepted):8,} "
                f"accepted  killed: {dict(mischief.counts)}",
                flush=True,
            )
    crowd.stop()
    await visits
    return time.monotonic() - began


def _settle(ledger: Path, crowd: Crowd, state: Path) -> Verdict:
    """Wait until nothing is due any more."""
    deadline = time.monotonic() + SETTLE
    while True:
        verdict = judge(ledger, crowd.accepted)
        if verdict.is_good or time.monotonic() > deadline:
            return verdict
        time.sleep(LOOK_EVERY)


def _run(running: Gateway, asked: Any, redis: Redis | None) -> dict[str, Any]:
    running.ask_php()
    ledger = running.place.scripts / "ledger"
    state = running.place.folder / "state"
    mischief = Mischief(running, redis, asked.seed)
    crowd = Crowd(running.port, asked.clients, asked.seed)
    try:
        seconds = asyncio.run(_load(crowd, mischief, Progress(ledger), asked))
        verdict = _settle(ledger, crowd, state)
        status = mischief.gateway.stop()
        left = sorted(path.name for path in state.iterdir())
    finally:
        mischief.gateway.end()
    return {
        **verdict._asdict(),
        "lost": len(verdict.lost),
        "events": verdict.connects + verdict.messages + verdict.disconnects,
        "seen_by_clients": len(crowd.accepted),
        "clients": dict(crowd.counts),
        "killed": dict(mischief.counts),
        "seconds": round(seconds),
        "exit_status": status,
        "journal_files_left": left,
    }


def _report(figures: dict[str, Any], report: Path) -> None:
    for name, value in figures.items():
        print(f"{name:>20}: {value:,}" if isinstance(value, int) else f"{name:>20}: {value}")
    report.parent.mkdir(exist_ok=True)
    report.write_text(json.dumps(figures, indent=1) + "\n")


def main() -> int:
    """Run as asked on the command line; the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/events")
    parser.add_argument("events", type=int)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--kill-every", type=float, default=5.0)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--bus", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, default=ROOT / "reports/events.json")
    asked = parser.parse_args()
    redis = Redis(Path("/tmp")) if asked.bus else None
    if redis is not None:
        redis.start()
    options = [*OPTIONS, *([f"--bus={redis.url}"] if redis is not None else [])]
    scripts = {"ledger.php": SCRIPT}
    try:
        with gateway(*options, scripts=scripts, script="ledger.php", workers=WORKERS) as running:
            figures = _run(running, asked, redis)
    finally:
        if redis is not None:
            redis.kill()
    _report(figures, asked.report)
    return 1 if figures["lost"] else 0


if __name__ == "__main__":
    sys.exit(main())
