"""A worker's reports: what goes up, when, and what does not."""

import os
import signal

import pytest
from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel

from wsgate.gateway import Tally
from wsgate.workers import inside, reports


class Pipes:
    """What StandardIO would be."""

    def __init__(self, protocol, stdin, stdout, reactor):
        self.descriptors = (stdin, stdout)
        self.lines = []
        self.disconnected = False
        self.closing = False

    def registerProducer(self, producer, streaming):
        self.producer = producer

    def unregisterProducer(self):
        self.producer = None

    def write(self, data):
        self.lines += [reports.from_line(line) for line in data.splitlines()]

    def loseConnection(self):
        self.closing = True


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def gone():
    return []


@pytest.fixture
def to_parent(monkeypatch, clock, gone):
    monkeypatch.setattr(inside, "StandardIO", Pipes)
    return inside.Reports(clock, lambda: gone.append(True))


def test_the_brief_comes_on_0_and_reports_go_to_3(to_parent):
    assert to_parent._pipes.descriptors == (0, 3)


def test_an_event_goes_up_with_its_level_and_namespace(to_parent):
    log = Logger(namespace="wsgate.test", observer=to_parent)
    log.warn("{what} happened", what="it")
    try:
        raise ValueError("broken")
    except ValueError:
        log.failure("doing it")
    first, second = to_parent._pipes.lines
    assert first == reports.LogEvent("warn", "wsgate.test", "it happened")
    assert second.level == "critical"
    assert second.text.startswith("doing it\nTraceback")
    assert "ValueError: broken" in second.text


def test_figures_go_up_only_when_they_have_changed(to_parent):
    first = reports.Figures(Tally(1, 1, 0, 0), 1)
    to_parent.figures(first)
    to_parent.figures(reports.Figures(Tally(1, 1, 0, 0), 1))
    second = first._replace(connections=0)
    to_parent.figures(second)
    assert to_parent._pipes.lines == [first, second]


def test_while_the_parent_does_not_read_log_lines_are_dropped_and_counted(to_parent):
    log = Logger(namespace="wsgate", observer=to_parent)
    figures = reports.Figures(Tally(1, 1, 0, 0), 1)
    to_parent.pauseProducing()
    for _ in range(3):
        log.info("lost")
    to_parent.figures(figures)
    assert to_parent._pipes.lines == []
    seen = []
    inside._log, before = Logger(namespace="wsgate", observer=seen.append), inside._log
    try:
        to_parent.resumeProducing()
        to_parent.resumeProducing()
    finally:
        inside._log = before
    (event,) = seen
    assert (event["log_level"], event["count"]) == (LogLevel.warn, 3)
    to_parent.figures(figures)
    assert to_parent._pipes.lines == [figures._replace(samples={("wsgate_log_lost_total",): 3})]


def test_the_end_waits_for_the_last_reports_but_not_for_ever(to_parent, clock, gone):
    finished = to_parent.finish()
    assert to_parent._pipes.closing
    clock.advance(inside.FLUSH_LIMIT - 0.1)
    assert not finished.called
    clock.advance(0.1)
    assert finished.called
    to_parent.connectionLost()
    assert not gone


def test_the_end_comes_when_all_is_written(to_parent, gone):
    finished = to_parent.finish()
    to_parent.connectionLost()
    assert finished.called
    assert not gone


def test_a_worker_whose_parent_has_gone_stops_and_kills_itself_if_it_cannot(
    to_parent, clock, gone, monkeypatch
):
    killed = []
    monkeypatch.setattr(os, "kill", lambda *arguments: killed.append(arguments))
    to_parent.connectionLost()
    to_parent._pipes.disconnected = True
    assert gone == [True]
    assert to_parent.finish().called
    clock.advance(inside.ORPHAN_LIMIT - 0.1)
    assert not killed
    clock.advance(0.1)
    assert killed == [(os.getpid(), signal.SIGKILL)]


def test_a_second_signal_does_nothing():
    calls = []
    once = inside.Once(lambda: calls.append(1))
    once()
    once()
    assert calls == [1]
