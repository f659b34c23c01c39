"""The stages of the cases, and the check of the invariants after each."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults.invariants import Watch, check_end
from tests.faults.stage import Stage, php_stage, scripted_stage
from tests.integration.gateway_process import rss


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

    def record(text: str) -> None:
        request.node.user_properties.append(("figure", text))

    return record
