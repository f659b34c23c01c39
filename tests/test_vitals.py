"""wsgate.vitals: the reactor's lag, lost lines of log, the process."""

import pytest
from twisted.internet.task import Clock
from twisted.logger import Logger, LogPublisher

from wsgate.figures import CATALOGUE
from wsgate.vitals import Lag, LostLines, Vitals


@pytest.fixture
def clock():
    return Clock()


def test_the_lag_is_how_late_the_timer_was(clock):
    lag = Lag(clock)
    lag.start()
    clock.advance(1.0)
    assert (lag.last, lag.worst) == (0.0, 0.0)
    clock.advance(1.5)
    assert (lag.last, lag.worst) == (0.5, 0.5)
    clock.advance(1.0)
    assert (lag.last, lag.worst) == (0.0, 0.5)


def test_the_worst_is_remembered_for_30_to_60_seconds(clock):
    lag = Lag(clock)
    lag.start()
    clock.advance(3.0)
    clock.pump([1.0] * 29)
    assert lag.worst == 2.0
    clock.pump([1.0] * 29)
    assert lag.worst == 2.0
    clock.pump([1.0])
    assert lag.worst == 0.0


def test_a_stopped_lag_leaves_no_timer(clock):
    lag = Lag(clock)
    lag.stop()
    lag.start()
    lag.stop()
    assert clock.getDelayedCalls() == []


def test_lines_that_another_observer_could_not_write_are_counted():
    def full(event):
        raise OSError(28, "No space left on device")

    lost = LostLines()
    log = Logger(namespace="wsgate", observer=LogPublisher(full, lost))
    for _ in range(3):
        log.info("a line")
    try:
        raise ValueError
    except ValueError:
        log.failure("a failure is one line too")
    assert lost.count == 4


def test_nothing_is_lost_while_all_is_written():
    written = []
    lost = LostLines()
    log = Logger(namespace="wsgate", observer=LogPublisher(written.append, lost))
    log.info("a line", observer="a value of this name is no sign")
    assert (len(written), lost.count) == (1, 0)


def test_the_figures_of_the_process_are_in_the_catalogue_and_sensible(clock):
    vitals = Vitals(clock)
    vitals.start()
    clock.advance(5.0)
    samples = vitals.samples()
    vitals.stop()
    for name, *labels in samples:
        assert len(labels) == len(CATALOGUE[name].labels), name
    assert samples["wsgate_uptime_seconds",] == 5.0
    assert samples["process_resident_memory_bytes",] > 2**20
    assert 3 <= samples["process_open_fds",] <= samples["process_max_fds",]
    assert samples["process_cpu_seconds_total",] > 0
    assert clock.getDelayedCalls() == []


def test_the_start_time_does_not_move(clock):
    first, second = (Vitals(clock).samples() for _ in range(2))
    assert first["process_start_time_seconds",] == second["process_start_time_seconds",]
