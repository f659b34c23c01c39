"""wsgate.signals: what SIGTERM, SIGINT and SIGHUP do, sent to this very process."""

import os
import pty
import signal

import pytest
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from wsgate.signals import OVERDUE, SAME, Signals

LIMIT = 1000.0


class Reactor(Clock):
    """Runs at once, stops by counting, and calls from threads when it is asked to."""

    def __init__(self):
        super().__init__()
        self.stops = 0
        self.runs = True
        self._from_threads = []

    def callWhenRunning(self, function):
        function()

    def callFromThread(self, function, *arguments):
        self._from_threads.append((function, arguments))

    def iterate(self):
        calls, self._from_threads = self._from_threads, []
        for function, arguments in calls:
            function(*arguments)

    def stop(self):
        if not self.runs:
            raise ReactorNotRunning
        self.stops += 1


class Installed:
    """Signals of a reactor that runs, and what they have asked for."""

    def __init__(self):
        self.reactor = Reactor()
        self.hurries = self.reloads = 0
        self.lines = []
        made = Signals(self.reactor, hurry=self._hurry, reload=self._reload, limit=lambda: LIMIT)
        made.install()

    def _hurry(self):
        self.hurries += 1

    def _reload(self):
        self.reloads += 1

    def get(self, *numbers):
        """Let signals come, one right after the other."""
        for number in numbers:
            signal.raise_signal(number)
        with capturedLogs() as logs:
            self.reactor.iterate()
        self.lines += [event["log_format"].format(**event) for event in logs]


@pytest.fixture
def before():
    """Handlers as the reactor leaves them; afterwards those of the tests are back."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM)
    kept = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def installed(before):
    return Installed()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_stops_in_the_reactor_s_own_time(installed, number):
    signal.raise_signal(number)
    assert installed.reactor.stops == 0
    installed.get()
    assert installed.reactor.stops == 1
    assert installed.hurries == 0
    assert installed.lines == [f"{number.name}: stopping"]


def test_one_that_comes_twice_to_process_and_group_is_one(installed):
    installed.get(signal.SIGTERM, signal.SIGTERM)
    installed.reactor.advance(SAME - 0.01)
    installed.get(signal.SIGINT)
    assert (installed.reactor.stops, installed.hurries) == (1, 0)


def test_a_second_one_later_ends_at_once(installed):
    installed.get(signal.SIGTERM)
    installed.reactor.advance(SAME)
    installed.get(signal.SIGINT)
    assert (installed.reactor.stops, installed.hurries) == (1, 1)
    assert installed.lines[-1] == "SIGINT again: ending at once"


def test_a_stop_that_takes_too_long_ends_at_its_limit(installed):
    installed.get(signal.SIGTERM)
    installed.reactor.advance(LIMIT - 0.01)
    assert installed.hurries == 0
    with capturedLogs() as logs:
        installed.reactor.advance(0.01)
    assert installed.hurries == 1
    assert logs[0]["seconds"] == LIMIT


def test_should_the_reactor_hang_the_kernel_ends_it_a_little_later(installed):
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    installed.get(signal.SIGTERM)
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    left, _ = signal.getitimer(signal.ITIMER_REAL)
    assert LIMIT < left <= LIMIT + OVERDUE


def test_a_reactor_that_has_stopped_by_itself_is_no_error(installed):
    installed.reactor.runs = False
    installed.get(signal.SIGTERM)
    assert installed.lines == ["SIGTERM: stopping"]


def test_sighup_reloads_but_not_while_it_stops(installed):
    installed.get(signal.SIGHUP, signal.SIGHUP)
    assert (installed.reloads, installed.reactor.stops) == (2, 0)
    installed.get(signal.SIGTERM, signal.SIGHUP)
    assert installed.reloads == 2


def test_who_debugs_keeps_sigint(before):
    def debugger(*_):
        raise AssertionError

    signal.signal(signal.SIGINT, debugger)
    Installed()
    assert signal.getsignal(signal.SIGINT) is debugger
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL


@pytest.fixture
def terminal(before, monkeypatch):
    """Standard input is a terminal, until its window is closed by what this gives."""
    window, ours = pty.openpty()
    kept = os.dup(0)
    os.dup2(ours, 0)
    os.close(ours)
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: 1)
    yield lambda: monkeypatch.setattr(os, "tcgetpgrp", _gone)
    os.dup2(kept, 0)
    os.close(kept)
    os.close(window)


def _gone(_):
    raise OSError


def test_sighup_stops_when_the_window_was_closed_and_else_reloads(terminal):
    installed = Installed()
    installed.get(signal.SIGHUP)
    assert (installed.reloads, installed.reactor.stops) == (1, 0)
    terminal()
    installed.get(signal.SIGHUP)
    assert (installed.reloads, installed.reactor.stops) == (1, 1)
    assert installed.lines == ["SIGHUP: stopping"]
