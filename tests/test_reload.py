"""Reloads one after the other, and what a failed one leaves."""

from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from wsgate.config import ConfigError, Gateway, Limits, Settings
from wsgate.ports import CannotStart
from wsgate.reload import NotTaken, Reload, changed, fixed_changes
from wsgate.secretfile import SecretUnusable

BEFORE = Settings(gateway=Gateway(port=("tcp:1",), drain_timeout=1.0))


class Gate:
    """Applies when the test says so."""

    def __init__(self):
        self.written = BEFORE
        self.events = []
        self.pending = None
        self.reload = Reload(
            BEFORE,
            self.read,
            self.apply,
            others=[lambda: self.events.append("other")],
            begins=lambda: self.events.append("begins"),
            is_over=lambda: self.events.append("is over"),
        )

    def read(self):
        if isinstance(self.written, BaseException):
            raise self.written
        return self.written

    async def apply(self, asked):
        self.events.append(asked)
        self.pending = Deferred()
        await self.pending


@pytest.fixture
def gate():
    return Gate()


def test_new_settings_are_applied_and_then_in_place(gate):
    gate.written = replace(BEFORE, limits=Limits(max_fragments=7))
    gate.reload()
    assert gate.events == ["begins", "other", gate.written]
    assert gate.reload.settings is BEFORE
    gate.pending.callback(None)
    assert gate.reload.settings == gate.written
    assert gate.events[-1] == "is over"


def test_what_follows_the_settings_does_so_once_they_are_in_place(gate):
    gate.reload.followers.append(lambda asked: lambda: gate.events.append(("follows", asked)))
    gate.written = replace(BEFORE, limits=Limits(max_fragments=7))
    gate.reload()
    assert gate.events[-1] == gate.written
    gate.pending.callback(None)
    assert gate.events[-2:] == [("follows", gate.written), "is over"]
    gate.reload()
    gate.pending.errback(NotTaken("no PHP"))
    assert gate.events[-1] == "is over"
    assert gate.events.count(("follows", gate.written)) == 1


def test_what_cannot_follow_new_settings_keeps_them_from_being_put_in_place(gate):
    def follow(asked):
        raise SecretUnusable("no key")

    gate.reload.followers += [lambda asked: lambda: gate.events.append("follows"), follow]
    gate.written = replace(BEFORE, limits=Limits(max_fragments=7))
    with capturedLogs() as logs:
        gate.reload()
    assert gate.events == ["begins", "other", "is over"]
    assert gate.reload.settings is BEFORE
    assert [event["line"] for event in logs] == ["no key"]


def test_asked_again_meanwhile_it_reads_once_more_afterwards(gate):
    gate.reload()
    first = gate.pending
    gate.reload()
    gate.reload()
    gate.written = replace(BEFORE, limits=Limits(max_fragments=7))
    first.callback(None)
    gate.pending.callback(None)
    assert gate.events.count("begins") == gate.events.count("is over") == 2
    assert gate.reload.settings == gate.written
    gate.reload()
    assert gate.events.count("begins") == 3


@pytest.mark.parametrize(
    "error", [ConfigError("x: wrong"), CannotStart("x: wrong"), OSError("x: wrong")]
)
def test_a_file_that_is_wrong_changes_nothing(gate, error):
    gate.written = error
    gate.reload()
    assert gate.events == ["begins", "other", "is over"]
    assert gate.reload.settings is BEFORE
    gate.written = BEFORE
    gate.reload()
    assert gate.events[-1] == BEFORE


def test_what_cannot_be_applied_is_not_in_place(gate):
    gate.written = replace(BEFORE, limits=Limits(max_fragments=7))
    gate.reload()
    gate.pending.errback(NotTaken("no PHP"))
    assert gate.reload.settings is BEFORE
    assert gate.events[-1] == "is over"


def test_what_needs_a_restart_is_named_and_stays():
    after = replace(BEFORE, gateway=Gateway(port=("tcp:2",), drain_timeout=2.0, workers=4))
    assert fixed_changes(BEFORE, after) == ["gateway.port", "gateway.workers"]
    taken = changed(BEFORE, after)
    assert taken.gateway == Gateway(port=("tcp:1",), drain_timeout=2.0)
    assert fixed_changes(BEFORE, taken) == []
