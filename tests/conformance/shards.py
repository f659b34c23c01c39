"""Cutting the cases into shards, and running each as a wstest process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.conformance.report import Result, read_report
from tests.conformance.server import end

WSTEST = Path(__file__).parent.parent.parent / ".tools/wstest/wstest"
AGENT = "wsgate"
# A single case of the suite may take 480 s before the suite itself gives it up.
SILENCE_LIMIT = 600.0
PROGRESS_EVERY = 10.0


class Shard(NamedTuple):
    """The cases that one wstest process runs, and where."""

    name: str
    scheme: str
    cases: tuple[str, ...]


def make_shards(scheme: str, cases: Sequence[str]) -> list[Shard]:
    """Cut the cases so that the long ones spread: 9, each of 12.* and 13.*, and the short ones."""
    groups: dict[str, list[str]] = {}
    for case in cases:
        first, second = case.split(".")[:2]
        name = "short"
        if first in {"12", "13"}:
            name = f"{first}.{second}"
        elif first == "9":
            name = first
        groups.setdefault(name, []).append(case)
    return [Shard(f"{scheme}-{name}", scheme, tuple(group)) for name, group in groups.items()]


class Progress:
    """What is running, told in one line now and then."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.ended = 0
        self.running: dict[str, str] = {}
        self.began = time.monotonic()

    def __str__(self) -> str:
        seconds = time.monotonic() - self.began
        running = ", ".join(f"{name} at {case}" for name, case in self.running.items())
        return f"{seconds:5.0f} s  {self.ended:4} of {self.total} cases  {running}"

    def started(self, shard: Shard, case: str) -> None:
        self.case_ended(shard)
        self.running[shard.name] = case

    def case_ended(self, shard: Shard) -> None:
        self.ended += self.running.pop(shard.name, None) is not None

    async def tell(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_EVERY)
            print(self, flush=True)


def write_specification(shard: Shard, url: str, folder: Path) -> Path:
    """Write what wstest wants to know; with a "hostname" it would verify the certificate."""
    specification = {
        "outdir": str(folder),
        "servers": [{"agent": AGENT, "url": url}],
        "cases": shard.cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    path = folder / "fuzzingclient.json"
    path.write_text(json.dumps(specification), encoding="utf-8")
    return path


async def follow(
    process: asyncio.subprocess.Process, shard: Shard, progress: Progress, log: Path
) -> None:
    """Read what wstest says until it ends. Raises TimeoutError if it is silent for too long."""
    assert process.stdout is not None
    with log.open("wb") as file:
        while line := await asyncio.wait_for(process.stdout.readline(), SILENCE_LIMIT):
            file.write(line)
            if found := re.match(rb"Running test case ID (\S+)", line):
                progress.started(shard, found[1].decode())
    progress.case_ended(shard)


async def run_shard(shard: Shard, url: str, folder: Path, progress: Progress) -> dict[str, Result]:
    """Run one wstest to its end, and give what it reports: nothing if it had to be ended."""
    folder.mkdir(parents=True)
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(WSTEST, "--mode", "fuzzingclient"),
        *("--spec", write_specification(shard, url, folder)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        await follow(process, shard, progress, folder / "wstest.log")
    except TimeoutError:
        print(f"{shard.name}: no new case in {SILENCE_LIMIT:.0f} s, ended", flush=True)
    finally:
        await end(process)
    print(f"{progress}  ({shard.name} took {time.monotonic() - began:.0f} s)", flush=True)
    return read_report(folder / "index.json", AGENT)


async def run_shards(
    shards: Sequence[Shard], urls: Mapping[str, str], reports: Path, jobs: int
) -> dict[str, dict[str, Result]]:
    """Run the shards in their order, so many at a time, and give the results by scheme."""
    progress = Progress(sum(len(shard.cases) for shard in shards))
    turn = asyncio.Semaphore(jobs)
    results: dict[str, dict[str, Result]] = {}

    async def one(shard: Shard) -> None:
        async with turn:
            found = await run_shard(shard, urls[shard.scheme], reports / shard.name, progress)
            results.setdefault(shard.scheme, {}).update(found)

    telling = asyncio.create_task(progress.tell())
    try:
        async with asyncio.TaskGroup() as group:
            for shard in shards:
                group.create_task(one(shard))
    finally:
        telling.cancel()
    return results
