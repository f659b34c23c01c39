"""What became of the cases of the fault suite, wherever they are tested: reports/faults.json.

A test of a case is marked `case("A1")`, and gives its figures as properties named "figure".

And: signals reach the programs that tests start, and a fixture reads the log.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from tests.faults.cases import CASES

RECORD = Path(__file__).parents[1] / "reports/faults.json"

# A test says what is true, not how fast: on a busy machine any example may take long.
hypothesis.settings.register_profile("any-speed", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("any-speed")

_RESULTS = pytest.StashKey[dict[str, dict[str, Any]]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin an empty record."""
    config.stash[_RESULTS] = {}
    # A shell starts what runs in its background with these ignored, and so would be what we start;
    # a function of ours is not inherited.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Note what became of each test of a case."""
    report = yield
    marker = item.get_closest_marker("case")
    if marker is None:
        return report
    (case,) = marker.args
    assert case in CASES, f"there is no case {case}"
    result = item.config.stash[_RESULTS].setdefault(
        item.nodeid, {"case": case, "outcome": "passed", "figures": [], "reason": ""}
    )
    if report.failed or (report.skipped and result["outcome"] == "passed"):
        result["outcome"] = report.outcome
    if report.skipped and isinstance(report.longrepr, tuple):
        result["reason"] = report.longrepr[2].removeprefix("Skipped: ")
    result["figures"] = [text for name, text in item.user_properties if name == "figure"]
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the record; the tests that did not run keep what was there before."""
    results = session.config.stash.get(_RESULTS, {})
    if not results:
        return
    before = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps({**before, **results}, indent=1, sort_keys=True) + "\n")


@pytest.fixture
def logged() -> Iterator[Callable[[], list[str]]]:
    """A function that gives the lines of the log so far."""
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    yield lambda: [formatEvent(event) for event in events]
    globalLogPublisher.removeObserver(events.append)
