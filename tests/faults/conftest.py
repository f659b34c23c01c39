"""The stages of the cases, the check of the invariants after each, the record of the figures."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.cases import CASES
from tests.faults.invariants import Watch, check_end
from tests.faults.stage import Stage, php_stage, scripted_stage
from tests.integration.gateway_process import rss

RECORD = Path(__file__).parents[2] / "reports/faults.json"

_FIGURES = pytest.StashKey[list[str]]()
_RESULTS = pytest.StashKey[dict[str, dict[str, Any]]]()


class Running:
    """The stages of a module, by how they were asked for; ended with the module."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._stages: dict[str, Stage] = {}

    def get(self, make: Callable[..., Any], **asked: Any) -> Stage:
        """The stage made by `make(**asked)`, now or before."""
        key = f"{make.__name__} {asked}"
        if key not in self._stages:
            self._stages[key] = begin(self._stack, make, **asked)
        return self._stages[key]


def begin(stack: contextlib.ExitStack, make: Callable[..., Any], **asked: Any) -> Stage:
    """A stage that is warm: PHP has answered once, and the bystanders are connected."""
    stage: Stage = stack.enter_context(make(**asked))
    stack.callback(check_end, stage)
    stage.bystanders.connect(stage.port)
    stage.resident = rss(stage.wsgate.pid)
    stage.descriptors = stage.open_files()
    return stage


class Stages:
    """Gives a case its stages, and watches over each from then on.

    `fresh=True` makes one for this case alone, which it may end.
    """

    def __init__(self, running: Running, stack: contextlib.ExitStack) -> None:
        self._running = running
        self._stack = stack
        self.watches: dict[int, Watch] = {}

    def scripted(self, *, fresh: bool = False, **asked: Any) -> Stage:
        """With a `ScriptedFastCGI` behind it."""
        return self._stage(scripted_stage, fresh, asked)

    def php(self, *, fresh: bool = False, **asked: Any) -> Stage:
        """With a real php-fpm behind it."""
        return self._stage(php_stage, fresh, asked)

    def watch(self, stage: Stage) -> Watch:
        """The watch over a stage."""
        return self.watches[id(stage)]

    def _stage(self, make: Callable[..., Any], fresh: bool, asked: dict[str, Any]) -> Stage:
        stage = begin(self._stack, make, **asked) if fresh else self._running.get(make, **asked)
        if id(stage) not in self.watches:
            self.watches[id(stage)] = Watch(stage)
        return stage


@pytest.fixture(scope="module")
def running_stages() -> Iterator[Running]:
    """The stages that the cases of a module share."""
    with contextlib.ExitStack() as stack:
        yield Running(stack)


@pytest.fixture
def stages(running_stages: Running, request: pytest.FixtureRequest) -> Iterator[Stages]:
    """The stages of one case. After it, the invariants I1 to I9 are checked on each."""
    with contextlib.ExitStack() as stack:
        stages = Stages(running_stages, stack)
        yield stages
        for watch in stages.watches.values():
            watch.check()


@pytest.fixture
def outcome(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Record what a case came to, with its figure; it goes into docs/reliability.md."""
    figures = request.node.stash.setdefault(_FIGURES, [])
    return figures.append


# -- the record


def pytest_configure(config: pytest.Config) -> None:
    """Begin an empty record."""
    config.stash[_RESULTS] = {}


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
    result["figures"] = item.stash.get(_FIGURES, [])
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the record; the tests that did not run keep what was there before."""
    results = session.config.stash.get(_RESULTS, {})
    if not results:
        return
    before = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps({**before, **results}, indent=1, sort_keys=True) + "\n")
