"""One worker process from its parent's side, without a process."""

import os
import signal
import sys

import pytest
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from wsgate.gateway import Tally
from wsgate.workers import reports
from wsgate.workers.inside import ERRORS, OUTPUT, REPORTS
from wsgate.workers.process import START_LIMIT, WorkerProcess


class Process:
    """The transport of a process that was never started."""

    pid = 4711

    def __init__(self):
        self.signals = []
        self.written = b""
        self.exited = False

    def write(self, data):
        self.written += data

    def signalProcess(self, name):
        if self.exited:
            raise ProcessExitedAlready
        self.signals.append(name)


class Reactor(MemoryReactorClock):
    def spawnProcess(self, protocol, *arguments, **keywords):
        self.spawned = (arguments, keywords)
        self.process = Process()
        protocol.makeConnection(self.process)
        return self.process


class Watcher:
    def __init__(self):
        self.saw = []

    def ready(self, worker):
        self.saw.append("ready")

    def ended(self, worker, cause):
        self.saw.append(cause)


@pytest.fixture
def reactor():
    return Reactor()


@pytest.fixture
def watcher():
    return Watcher()


@pytest.fixture
def worker(reactor, watcher):
    worker = WorkerProcess(reactor, 3, watcher, 33.0)
    worker.spawn(b'{"secret": 1}\n', 15, 16, [17, 19])
    return worker


@pytest.fixture
def logged():
    events = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


def lines(logged):
    return [(e["log_level"].name, e["log_namespace"], e["line"]) for e in logged if "line" in e]


def test_the_brief_goes_through_a_pipe_alone(worker, reactor, monkeypatch):
    (program, command), keywords = reactor.spawned
    assert program == sys.executable
    assert command == [sys.executable, "-P", "-m", "wsgate.worker", "3"]
    assert "secret" not in repr(keywords)
    assert keywords["childFDs"] == {0: "w", 1: "r", 2: "r", 3: "r", 4: 15, 5: 16, 6: 17, 7: 19}
    assert reactor.process.written == b'{"secret": 1}\n'
    assert worker.pid == 4711


def test_sockets_of_systemd_are_not_named_to_it(reactor, watcher, monkeypatch):
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("SOME_OTHER", "kept")
    WorkerProcess(reactor, 1, watcher, 1.0).spawn(b"\n", 15, 16, [])
    environment = reactor.spawned[1]["env"]
    assert "LISTEN_FDS" not in environment
    assert environment["SOME_OTHER"] == "kept"
    assert os.path.dirname(os.__file__) in environment["PYTHONPATH"].split(os.pathsep)


def test_it_says_that_it_is_ready_and_how_much_it_did(worker, reactor, watcher):
    worker.childDataReceived(REPORTS, reports.to_line(reports.Ready()))
    assert watcher.saw == ["ready"]
    figures = reports.Figures(Tally(3, 2, 1, 0), 5)
    sent = reports.to_line(figures)
    worker.childDataReceived(REPORTS, sent[:7])
    worker.childDataReceived(REPORTS, sent[7:])
    assert worker.figures == figures
    reactor.advance(START_LIMIT)
    assert not reactor.process.signals


def test_one_that_is_not_ready_in_time_is_killed(worker, reactor, watcher):
    reactor.advance(START_LIMIT - 0.1)
    assert not reactor.process.signals
    reactor.advance(0.1)
    assert reactor.process.signals == [signal.SIGKILL]
    worker.processEnded(Failure(ProcessTerminated(signal=9)))
    assert watcher.saw == ["killed by signal 9 (Killed)"]
    assert not reactor.getDelayedCalls()


def test_one_that_does_not_drain_in_time_is_killed(worker, reactor):
    worker.childDataReceived(REPORTS, reports.to_line(reports.Ready()))
    worker.drain()
    reactor.advance(20)
    worker.drain()
    reactor.advance(12.9)
    assert reactor.process.signals == [signal.SIGTERM]
    reactor.advance(0.1)
    assert reactor.process.signals == [signal.SIGTERM, signal.SIGKILL]


def test_one_told_to_end_is_not_ready_any_more(worker, watcher):
    worker.drain()
    worker.childDataReceived(REPORTS, reports.to_line(reports.Ready()))
    assert watcher.saw == []


def test_a_signal_to_one_that_has_exited_is_no_error(worker, reactor):
    reactor.process.exited = True
    worker.drain()
    worker.kill()


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        (ProcessDone(0), "exit status 0"),
        (ProcessTerminated(exitCode=1), "exit status 1"),
        (ProcessTerminated(signal=11), "killed by signal 11 (Segmentation fault)"),
    ],
)
def test_the_cause_of_its_end_is_in_words(worker, watcher, reason, cause):
    worker.processEnded(Failure(reason))
    assert watcher.saw == [cause]


def test_its_log_is_relayed_at_its_level_as_one_escaped_line_each(worker, logged):
    event = reports.LogEvent("warn", "wsgate.x", "one\ntwo \x1b[31m\r\nthree")
    worker.childDataReceived(REPORTS, reports.to_line(event))
    assert lines(logged) == [("warn", "wsgate.x", r"one | two \x1b[31m | three")]


def test_what_it_writes_to_its_outputs_is_relayed_too(worker, logged):
    worker.childDataReceived(OUTPUT, b"hello\nwor")
    worker.childDataReceived(OUTPUT, b"ld\n")
    worker.childDataReceived(ERRORS, b"Fatal \x07 error\nlast words")
    worker.processEnded(Failure(ProcessTerminated(signal=6)))
    assert lines(logged) == [
        ("info", "wsgate", "hello"),
        ("info", "wsgate", "world"),
        ("error", "wsgate", r"Fatal \x07 error"),
        ("error", "wsgate", "last words"),
    ]


def test_a_report_that_cannot_be_read_is_logged_and_costs_nothing_else(worker, logged, watcher):
    worker.childDataReceived(REPORTS, b"{nonsense\n" + reports.to_line(reports.Ready()))
    assert lines(logged) == [("error", "wsgate", "a report that cannot be read: {nonsense")]
    assert watcher.saw == ["ready"]


def test_a_level_that_is_none_of_twisteds_is_an_unreadable_report(worker, logged):
    worker.childDataReceived(REPORTS, b'{"log": ["loud", "wsgate", "text"]}\n')
    assert lines(logged)[0][0] == "error"
