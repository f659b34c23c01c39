"""The service's waiting, by a clock of its own; its work with real PHP is in tests/integration."""

import os
import signal

import pytest
from twisted.internet.error import (
    ConnectionDone,
    ProcessDone,
    ProcessExitedAlready,
    ProcessTerminated,
)
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure

from wsgate.backoff import Backoff
from wsgate.php import PHPSettingError, PHPUserError, PrivatePHP, Program
from wsgate.php.guarded import FRESH, LAST_WORDS
from wsgate.php.guardian import FINISHING, KILLING, TERMINATING
from wsgate.php.probe import EVERY, PATIENCE, QUESTION
from wsgate.php.service import KILL_PATIENCE, SLOW_START, STOP_PATIENCE

FPM = Program("php-fpm", "/usr/sbin/php-fpm8.2", "8.2.36")


class RecordedProcess:
    """The transport of a process that was never started."""

    def __init__(self):
        self.signals = []
        self.stdin_closed = False
        self.exited = False

    def closeStdin(self):
        self.stdin_closed = True

    def signalProcess(self, name):
        if self.exited:
            raise ProcessExitedAlready
        self.signals.append(name)

    def loseConnection(self):
        pass


class Reactor(MemoryReactorClock):
    """Records what is spawned, and plays the guardian's part when told."""

    cannot_fork = False

    def __init__(self):
        super().__init__()
        self.spawned = []

    def spawnProcess(self, protocol, *arguments, **keywords):
        if self.cannot_fork:
            raise OSError(11, "Resource temporarily unavailable")
        self.spawned.append((protocol, RecordedProcess()))
        protocol.makeConnection(self.spawned[-1][1])

    def guardian_ends(self, *lines, log=b"", pipes_stay_open=False):
        protocol, process = self.spawned[-1]
        process.exited = True
        for line in lines:
            protocol.childDataReceived(1, line + b"\n")
        protocol.childDataReceived(2, log)
        reason = Failure(ProcessDone(0))
        protocol.processExited(reason)
        if not pipes_stay_open:
            protocol.processEnded(reason)

    def answer(self):
        """PHP answers the newest connection."""
        question = self.unixClients[-1][1].buildProtocol(None)
        transport = StringTransport()
        question.makeConnection(transport)
        assert transport.value() == QUESTION
        question.dataReceived(b"\x01\x0a")
        return transport

    def refuse(self):
        """The newest connection cannot be made."""
        self.unixClients[-1][1].clientConnectionFailed(None, Failure(ConnectionRefusedError()))


@pytest.fixture
def reactor():
    return Reactor()


@pytest.fixture
def told():
    return []


@pytest.fixture
def logged():
    events = []
    globalLogPublisher.addObserver(events.append)
    yield lambda level: [event["log_format"] for event in events if event["log_level"] == level]
    globalLogPublisher.removeObserver(events.append)


@pytest.fixture
def make(reactor, told):
    made = []

    def make(**changes):
        keywords = {"name": "default", "workers": 2, "ini": {}, "program": FPM, **changes}
        php = PrivatePHP(
            reactor,
            keywords.pop("program"),
            on_ready=lambda: told.append("ready"),
            on_gone=lambda: told.append("gone"),
            **keywords,
        )
        made.append(php)
        return php

    yield make
    for php in made:
        if php._folder is not None:
            php._folder.remove()


@pytest.fixture
def php(make):
    php = make()
    php.startService()
    return php


def test_ready_is_told_when_php_answers_and_not_before(php, reactor, told):
    assert told == []
    transport = reactor.answer()
    assert told == ["ready"]
    assert transport.disconnecting


def test_it_asks_again_every_20_ms_until_there_is_an_answer(php, reactor, told):
    for attempt in range(1, 5):
        assert len(reactor.unixClients) == attempt
        reactor.refuse()
        reactor.advance(EVERY)
    reactor.answer()
    reactor.advance(1)
    assert len(reactor.unixClients) == 5
    assert told == ["ready"]


def test_a_connection_without_an_answer_is_given_up_after_a_while(php, reactor):
    question = reactor.unixClients[-1][1].buildProtocol(None)
    question.makeConnection(StringTransport())
    reactor.advance(PATIENCE - 0.1)
    assert not question.transport.disconnecting
    reactor.advance(0.1)
    assert question.transport.disconnecting
    question.connectionLost(Failure(ConnectionDone()))
    reactor.advance(EVERY)
    assert len(reactor.unixClients) == 2


def test_a_slow_start_is_logged_once_at_its_bound(php, reactor, logged):
    reactor.advance(SLOW_START - 0.1)
    assert logged(LogLevel.warn) == []
    reactor.advance(0.1)
    reactor.advance(SLOW_START)
    assert len(logged(LogLevel.warn)) == 1


def test_ready_and_gone_alternate(php, reactor, told):
    reactor.guardian_ends(b"started 4000000", b"ended 19968")
    assert told == []
    reactor.advance(0.1)
    reactor.answer()
    reactor.guardian_ends(b"started 4000000", b"ended 9")
    assert told == ["ready", "gone"]
    reactor.advance(0.2)
    reactor.answer()
    assert told == ["ready", "gone", "ready"]


def test_a_pipe_that_a_grandchild_keeps_open_does_not_hold_up_the_restart(php, reactor, told):
    reactor.answer()
    reactor.guardian_ends(b"started 4000000", b"ended 9", pipes_stay_open=True)
    assert told == ["ready"]
    reactor.advance(LAST_WORDS)
    assert told == ["ready", "gone"]
    reactor.advance(0.1)
    assert len(reactor.spawned) == 2


def test_the_waits_between_starts_double_up_to_five_seconds():
    backoff = Backoff()
    assert [backoff.after(0) for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_ten_seconds_of_service_make_the_next_wait_short_again():
    backoff = Backoff()
    for _ in range(8):
        backoff.after(9.99)
    assert backoff.after(9.99) == 5.0
    assert backoff.after(10.0) == 0.1
    assert backoff.after(0) == 0.2


def test_the_service_waits_as_backoff_says(php, reactor):
    for count, delay in enumerate([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0], 1):
        reactor.guardian_ends(b"started 4000000", b"ended 19968")
        reactor.advance(delay - 0.01)
        assert len(reactor.spawned) == count
        reactor.advance(0.011)
        assert len(reactor.spawned) == count + 1


def test_a_machine_that_cannot_fork_is_asked_again_later(make, reactor, logged):
    reactor.cannot_fork = True
    make().startService()
    assert len(logged(LogLevel.error)) == 1
    reactor.cannot_fork = False
    reactor.advance(0.1)
    assert len(reactor.spawned) == 1


def test_a_stop_closes_the_lifeline_and_fires_when_the_guardian_has_ended(php, reactor, told):
    reactor.answer()
    fired = []
    php.stopService().addCallback(fired.append)
    assert reactor.spawned[0][1].stdin_closed
    assert fired == []
    reactor.guardian_ends(b"ended 0")
    assert fired == [None]
    assert told == ["ready"]
    assert not os.path.exists(os.path.dirname(php.socket_path))
    assert reactor.getDelayedCalls() == []


def test_a_second_stop_waits_for_the_first_and_keeps_its_limit(php, reactor):
    fired = []
    php.stopService().addCallback(lambda _: fired.append(1))
    reactor.advance(1)
    php.stopService().addCallback(lambda _: fired.append(2))
    reactor.advance(STOP_PATIENCE - 1)
    assert reactor.spawned[0][1].signals == ["KILL"]
    reactor.guardian_ends(b"ended 9")
    assert sorted(fired) == [1, 2]


def test_a_stop_while_a_restart_is_due_starts_nothing(php, reactor):
    reactor.guardian_ends(b"started 4000000", b"ended 9")
    fired = []
    php.stopService().addCallback(fired.append)
    assert fired == [None]
    reactor.advance(60)
    assert len(reactor.spawned) == 1


def test_a_stop_before_the_first_answer_asks_no_more(php, reactor, told):
    php.stopService()
    reactor.guardian_ends(b"ended 0")
    reactor.advance(60)
    assert told == []
    assert len(reactor.unixClients) == 1


def test_a_guardian_that_does_not_end_is_killed_and_then_left_behind(php, reactor, logged):
    fired = []
    php.stopService().addCallback(fired.append)
    reactor.advance(STOP_PATIENCE - 0.1)
    assert reactor.spawned[0][1].signals == []
    reactor.advance(0.1)
    assert reactor.spawned[0][1].signals == ["KILL"]
    reactor.advance(KILL_PATIENCE - 0.1)
    assert fired == []
    reactor.advance(0.1)
    assert fired == [None]
    assert len(logged(LogLevel.error)) == 2


def test_the_guardian_has_time_for_all_it_does_before_it_is_killed():
    assert STOP_PATIENCE > FINISHING + TERMINATING + KILLING


def test_a_stop_of_what_was_never_started_fires_at_once(make):
    fired = []
    make().stopService().addCallback(fired.append)
    assert fired == [None]


def test_php_is_killed_by_its_group_when_its_guardian_ended_without_a_word(
    php, reactor, monkeypatch
):
    killed = []
    monkeypatch.setattr(os, "killpg", lambda *arguments: killed.append(arguments))
    reactor.guardian_ends(b"started 4000000")
    assert killed == [(4000000, signal.SIGKILL)]


def test_php_whose_end_was_reported_is_never_signalled(php, reactor, monkeypatch):
    monkeypatch.setattr(os, "killpg", lambda *_: pytest.fail("that number is another process's"))
    reactor.guardian_ends(b"started 4000000", b"ended 9")


def test_a_cause_of_death_quotes_what_php_complained_of(php, reactor, logged):
    events = []
    globalLogPublisher.addObserver(events.append)
    complaint = b"[22-Nov-2026 21:18:32] ERROR: [/x:7] unknown entry 'pn'\n[22-N] ERROR: no"
    reactor.guardian_ends(b"started 4000000", b"ended 19968", log=complaint)
    globalLogPublisher.removeObserver(events.append)
    causes = [event["cause"] for event in events if "cause" in event]
    assert causes == ["exit status 78: [/x:7] unknown entry 'pn'; no"]


@pytest.mark.parametrize(("age", "quoted"), [(FRESH, True), (FRESH + 0.1, False)])
def test_an_old_complaint_is_not_taken_for_the_cause(php, reactor, age, quoted):
    events = []
    reactor.spawned[-1][0].childDataReceived(2, b"[22-N] WARNING: child exited\n")
    reactor.advance(age)
    globalLogPublisher.addObserver(events.append)
    reactor.guardian_ends(b"started 4000000", b"ended 9")
    globalLogPublisher.removeObserver(events.append)
    (cause,) = [event["cause"] for event in events if "cause" in event]
    assert ("child exited" in cause) is quoted


def test_a_guardian_killed_by_a_signal_is_a_cause_too(php, reactor):
    events = []
    globalLogPublisher.addObserver(events.append)
    protocol, process = reactor.spawned[-1]
    process.exited = True
    reason = Failure(ProcessTerminated(None, 9, 9))
    protocol.processExited(reason)
    protocol.processEnded(reason)
    globalLogPublisher.removeObserver(events.append)
    assert any("guardian ended first" in event.get("cause", "") for event in events)


def test_settings_and_users_are_checked_before_anything_starts(make):
    with pytest.raises(PHPSettingError):
        make(ini={"x": "a\nb"})
    with pytest.raises(PHPSettingError):
        make(extensions=["php"])
    with pytest.raises(PHPUserError):
        make(user="no-such-user")


def test_a_start_that_fails_leaves_no_folder(make, tmp_path, monkeypatch):
    monkeypatch.setenv("RUNTIME_DIRECTORY", "")
    php = make()
    monkeypatch.setattr(php, "_prepare", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        php.startService()
    assert not os.path.exists(os.path.dirname(php.socket_path))


def test_its_repr_names_pool_and_program(php):
    assert repr(php) == "<PrivatePHP default: php-fpm 8.2.36>"
