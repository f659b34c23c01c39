"""Run the Autobahn testsuite against wsgate in front of real PHP, and judge its reports."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import signal
import sys
import time
from pathlib import Path

from tests.conformance.report import Expected, Result, load_expected, problems, select, table
from tests.conformance.server import wsgate
from tests.conformance.shards import make_shards, run_shards

HERE = Path(__file__).parent
REPORTS = HERE.parent.parent / "reports" / "conformance"
PLAIN_SLICE = ("1-10", "12.*.1-6", "13.*.1-6")
TLS_SLICE = ("1-7", "9.1.1-3", "9.2.1-3", "12.1.1-2")

Cases = dict[str, tuple[str, ...]]
Results = dict[str, dict[str, Result]]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/conformance",
        description="Run the Autobahn testsuite against wsgate in front of real PHP.",
        epilog="Without arguments: the 301 cases of groups 1-10 and a slice of 12-13 (compression) "
        "plain, and a smaller slice over TLS.",
    )
    add = parser.add_argument
    add("cases", nargs="*", metavar="CASES", help="as 9, 1-7, 12.*.1-6 or 7.1.6: only these, plain")
    add("--tls", action="store_true", help="CASES over TLS as well")
    add("--all", action="store_true", help="all 517 cases, plain and over TLS")
    add("--jobs", type=int, default=2, metavar="N", help="wstest processes at a time (default 2)")
    add("--minutes", type=float, metavar="N", help="time limit (default 15, with --all 90)")
    add("--url", help="test the WebSocket server there instead of wsgate, plain only")
    return parser.parse_args()


def wanted_cases(options: argparse.Namespace, expected: Expected) -> Cases:
    """Give the cases by scheme that the command line asks for."""
    wanted = {"ws": select(expected.cases, PLAIN_SLICE), "wss": select(expected.cases, TLS_SLICE)}
    if options.cases:
        chosen = select(expected.cases, options.cases)
        wanted = {"ws": chosen, "wss": chosen if options.tls else ()}
    elif options.all:
        wanted = {"ws": expected.cases, "wss": expected.cases}
    if options.url:
        wanted["wss"] = ()
    return {scheme: cases for scheme, cases in wanted.items() if cases}


async def measure(options: argparse.Namespace, wanted: Cases) -> Results:
    """Run all that is wanted. Raises TimeoutError if the time limit ends it."""
    shards = [shard for scheme, cases in wanted.items() for shard in make_shards(scheme, cases)]
    # The long ones first, so that none is left to run alone at the end.
    shards.sort(key=lambda shard: (not shard.name.endswith("-9"), shard.name.endswith("-short")))
    minutes = options.minutes or (90 if options.all else 15)
    server = contextlib.nullcontext({"ws": options.url}) if options.url else wsgate(REPORTS)
    async with server as urls, asyncio.timeout(60 * minutes):
        return await run_shards(shards, urls, REPORTS, options.jobs)


def judge(wanted: Cases, results: Results, expected: Expected) -> int:
    """Print the tables and what is wrong; give the number of problems."""
    wrong = 0
    for scheme, cases in wanted.items():
        found = results.get(scheme, {})
        lines = problems(found, cases, expected.allowed)
        wrong += len(lines)
        title = "plain (ws)" if scheme == "ws" else "over TLS (wss)"
        print(f"\n{title}\n{table(found, cases)}", *lines, sep="\n")
    return wrong


def main() -> int:
    options = parse_arguments()
    expected = load_expected(HERE / "expected.toml")
    try:
        wanted = wanted_cases(options, expected)
    except ValueError as error:
        sys.exit(f"scripts/conformance: {error}")
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir(parents=True)
    began = time.monotonic()
    # Ended in either way, asyncio lets every process be stopped that was started here.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        results = asyncio.run(measure(options, wanted))
    except TimeoutError:
        sys.exit("scripts/conformance: not finished within the time limit; see --minutes")
    except KeyboardInterrupt:
        sys.exit("scripts/conformance: interrupted")
    wrong = judge(wanted, results, expected)
    total = sum(map(len, wanted.values()))
    print(f"\n{total} cases in {time.monotonic() - began:.0f} s; reports and logs in {REPORTS}")
    print(f"conformance: {total - min(wrong, total)} passed, {wrong} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
