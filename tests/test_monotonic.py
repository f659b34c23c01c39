from __future__ import annotations

import time

import pytest
from twisted.internet.selectreactor import SelectReactor

from wsgate.monotonic import keep_monotonic


@pytest.fixture
def reactor():
    """A reactor that is not the one of this process, and does not run."""
    reactor = SelectReactor()
    yield reactor
    reactor.fireSystemEvent("shutdown")
    reactor.disconnectAll()


def test_a_new_call_is_planned_by_the_monotonic_clock(reactor):
    keep_monotonic(reactor)
    call = reactor.callLater(10, print)
    assert 9 < call.getTime() - time.monotonic() <= 10


def test_a_planned_call_keeps_the_seconds_it_has_left(reactor):
    soon, later = reactor.callLater(10, print), reactor.callLater(20, print)
    keep_monotonic(reactor)
    assert 9 < soon.getTime() - time.monotonic() <= 10
    assert 19 < later.getTime() - time.monotonic() <= 20
    later.reset(5)
    assert 4 < later.getTime() - time.monotonic() <= 5


def test_a_call_runs_in_its_time(reactor):
    ran = []
    keep_monotonic(reactor)
    reactor.callLater(0, ran.append, "at once")
    reactor.callLater(3600, ran.append, "in an hour")
    reactor.runUntilCurrent()
    assert ran == ["at once"]


def test_doing_it_twice_is_doing_it_once(reactor):
    call = reactor.callLater(10, print)
    keep_monotonic(reactor)
    keep_monotonic(reactor)
    assert 9 < call.getTime() - time.monotonic() <= 10
