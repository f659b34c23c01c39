"""The supervisor's policy: restarts, one-by-one replacement, stops, sums; by a clock of its own."""

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from wsgate.gateway import Tally
from wsgate.workers.reports import NONE, Figures
from wsgate.workers.supervisor import Supervisor


class FakeRun:
    """A process that does what the test says."""

    def __init__(self, slot, pid):
        self.slot = slot
        self.pid = pid
        self.figures = NONE
        self.drained = False

    def drain(self, *, replaced=False):
        self.drained = True

    def is_ready(self):
        self.slot.ready(self)

    def ends(self, cause="exit status 0"):
        self.slot.ended(self, cause)


class Workers:
    """A supervisor, and every process it started in `runs`."""

    def __init__(self, count):
        self.clock = Clock()
        self.runs = []
        self.cannot_fork = False
        self.supervisor = Supervisor(self.clock, count, self.start_run)
        self.supervisor.start()

    def start_run(self, slot):
        if self.cannot_fork:
            raise OSError(11, "Resource temporarily unavailable")
        self.runs.append(FakeRun(slot, 100 + len(self.runs)))
        return self.runs[-1]

    def numbers(self):
        return [run.slot.number for run in self.runs]


@pytest.fixture
def workers():
    both = Workers(2)
    for run in both.runs:
        run.is_ready()
    return both


def test_all_start_at_once():
    assert Workers(3).numbers() == [1, 2, 3]


def test_one_that_dies_is_started_again_after_a_tenth_of_a_second(workers):
    workers.runs[0].ends("killed by signal 9 (Killed)")
    assert workers.numbers() == [1, 2]
    workers.clock.advance(0.1)
    assert workers.numbers() == [1, 2, 1]
    assert not workers.runs[1].drained


def test_one_that_keeps_dying_is_started_ever_later(workers):
    delays = []
    for _ in range(8):
        workers.runs[-1].ends("exit status 1")
        (timer,) = workers.clock.getDelayedCalls()
        delays.append(round(timer.getTime() - workers.clock.seconds(), 3))
        workers.clock.advance(delays[-1])
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_after_ten_seconds_of_service_the_delay_begins_anew(workers):
    for _ in range(3):
        workers.runs[-1].ends("exit status 1")
        workers.clock.advance(5)
    workers.runs[-1].is_ready()
    workers.clock.advance(10)
    workers.runs[-1].ends("exit status 1")
    before = len(workers.runs)
    workers.clock.advance(0.1)
    assert len(workers.runs) == before + 1


def test_one_that_cannot_be_started_is_tried_again(workers):
    workers.cannot_fork = True
    workers.runs[0].ends("exit status 1")
    workers.clock.advance(0.1)
    assert len(workers.runs) == 2
    workers.cannot_fork = False
    workers.clock.advance(0.2)
    assert workers.numbers() == [1, 2, 1]


def test_a_reload_replaces_one_worker_after_the_other(workers):
    first, second = workers.runs
    ensureDeferred(workers.supervisor.reload())
    assert workers.numbers() == [1, 2, 1]
    assert not first.drained
    workers.runs[2].is_ready()
    assert first.drained
    assert not second.drained
    assert len(workers.runs) == 3
    first.ends()
    assert workers.numbers() == [1, 2, 1, 2]
    workers.runs[3].is_ready()
    assert second.drained
    second.ends()
    workers.clock.advance(60)
    assert len(workers.runs) == 4
    assert not workers.runs[2].drained


def test_a_successor_that_fails_ends_the_reload_and_its_predecessor_goes_on(workers):
    ensureDeferred(workers.supervisor.reload())
    workers.runs[2].ends("exit status 1")
    workers.clock.advance(60)
    assert len(workers.runs) == 3
    assert not any(run.drained for run in workers.runs)
    ensureDeferred(workers.supervisor.reload())
    assert workers.numbers() == [1, 2, 1, 1]


def test_a_reload_says_how_many_workers_it_replaced(workers):
    results = []
    ensureDeferred(workers.supervisor.reload()).addCallback(results.append)
    workers.runs[2].ends("exit status 1")
    assert results == [0]
    ensureDeferred(workers.supervisor.reload()).addCallback(results.append)
    workers.runs[3].is_ready()
    workers.runs[0].ends()
    workers.runs[4].ends("exit status 1")
    assert results == [0, 1]
    ensureDeferred(workers.supervisor.reload()).addCallback(results.append)
    workers.runs[5].is_ready()
    workers.runs[3].ends()
    workers.runs[6].is_ready()
    workers.runs[1].ends()
    assert results == [0, 1, 2]


def test_a_reload_that_a_stop_cuts_short_says_how_many_workers_it_replaced(workers):
    results = []
    ensureDeferred(workers.supervisor.reload()).addCallback(results.append)
    workers.runs[2].is_ready()
    workers.runs[0].ends()
    workers.supervisor.stop()
    assert results == [1]


def test_a_successor_that_cannot_be_started_ends_the_reload(workers):
    workers.cannot_fork = True
    ensureDeferred(workers.supervisor.reload())
    workers.clock.advance(60)
    assert len(workers.runs) == 2
    assert not any(run.drained for run in workers.runs)


def test_one_that_dies_while_its_successor_starts_is_not_started_twice(workers):
    ensureDeferred(workers.supervisor.reload())
    workers.runs[0].ends("killed by signal 9 (Killed)")
    workers.clock.advance(60)
    assert workers.numbers() == [1, 2, 1]
    workers.runs[2].is_ready()
    assert workers.numbers() == [1, 2, 1, 2]


def test_a_reload_starts_at_once_what_waits_for_its_restart(workers):
    workers.runs[0].ends("exit status 1")
    ensureDeferred(workers.supervisor.reload())
    assert workers.numbers() == [1, 2, 1]
    workers.clock.advance(60)
    assert workers.numbers() == [1, 2, 1]


@pytest.fixture
def starting():
    """One worker that is still starting when the reload comes, and what the reload says."""
    one = Workers(1)
    one.reloaded = []
    ensureDeferred(one.supervisor.reload()).addCallback(one.reloaded.append)
    assert len(one.runs) == 1
    return one


def test_a_start_under_way_is_no_replacement_because_it_has_the_settings_of_before(starting):
    starting.runs[0].is_ready()
    assert starting.reloaded == []
    assert len(starting.runs) == 2
    assert not starting.runs[0].drained
    starting.runs[1].is_ready()
    assert starting.runs[0].drained
    starting.runs[0].ends()
    assert starting.reloaded == [1]
    starting.clock.advance(60)
    assert len(starting.runs) == 2
    assert not starting.runs[1].drained


def test_so_it_is_with_a_restart_under_way(workers):
    results = []
    workers.runs[0].ends("exit status 1")
    workers.clock.advance(0.1)
    ensureDeferred(workers.supervisor.reload()).addCallback(results.append)
    workers.runs[2].is_ready()
    assert workers.numbers() == [1, 2, 1, 1]
    workers.runs[3].is_ready()
    workers.runs[2].ends()
    assert workers.numbers() == [1, 2, 1, 1, 2]
    workers.runs[4].is_ready()
    workers.runs[1].ends()
    assert results == [2]


def test_a_start_under_way_that_fails_says_nothing_of_the_new_settings(starting):
    starting.runs[0].ends("exit status 1")
    assert starting.reloaded == []
    starting.clock.advance(0.1)
    starting.runs[1].is_ready()
    assert starting.reloaded == [1]
    starting.clock.advance(60)
    assert len(starting.runs) == 2


def test_a_crash_loop_goes_on_ever_later_when_the_new_settings_fail_too(starting):
    starting.runs[0].ends("exit status 1")
    starting.clock.advance(0.1)
    starting.runs[1].ends("exit status 1")
    assert starting.reloaded == [0]
    (timer,) = starting.clock.getDelayedCalls()
    assert timer.getTime() - starting.clock.seconds() == pytest.approx(0.2)
    starting.clock.advance(0.2)
    starting.runs[2].is_ready()
    assert len(starting.runs) == 3


def test_a_start_under_way_goes_on_when_its_successor_fails(starting):
    starting.runs[0].is_ready()
    starting.runs[1].ends("exit status 1")
    assert starting.reloaded == [0]
    starting.clock.advance(60)
    assert len(starting.runs) == 2
    assert not starting.runs[0].drained


def test_a_start_under_way_goes_on_when_its_successor_cannot_be_started(starting):
    starting.cannot_fork = True
    starting.runs[0].is_ready()
    assert starting.reloaded == [0]
    assert not starting.clock.getDelayedCalls()
    assert not starting.runs[0].drained


@pytest.mark.parametrize("ready", [0, 1])
def test_a_stop_ends_a_start_under_way_and_its_successor(starting, ready):
    for run in starting.runs[:ready]:
        run.is_ready()
    begun = list(starting.runs)
    stopped = starting.supervisor.stop()
    assert starting.reloaded == [0]
    for run in begun:
        assert run.drained
        run.is_ready()
        assert not stopped.called
        run.ends()
    assert stopped.called
    starting.clock.advance(60)
    assert starting.runs == begun


def test_a_stop_drops_the_start_that_a_failed_one_left_to_a_reload(starting):
    starting.runs[0].ends("exit status 1")
    assert starting.supervisor.stop().called
    assert starting.reloaded == [0]
    starting.clock.advance(60)
    assert len(starting.runs) == 1


def test_the_end_of_one_replaced_long_ago_is_not_that_of_a_later_reload():
    one, results = Workers(1), []
    one.runs[0].is_ready()
    ensureDeferred(one.supervisor.reload())
    one.runs[1].is_ready()
    one.runs[1].ends("exit status 1")
    one.clock.advance(0.1)
    one.runs[2].is_ready()
    ensureDeferred(one.supervisor.reload()).addCallback(results.append)
    one.runs[0].ends()
    assert results == []
    one.runs[3].is_ready()
    one.runs[2].ends()
    assert results == [1]


def test_a_stop_drains_all_at_once_and_fires_when_all_have_ended(workers):
    ensureDeferred(workers.supervisor.reload())
    stopped = workers.supervisor.stop()
    assert all(run.drained for run in workers.runs)
    workers.runs[2].is_ready()
    for run in workers.runs[:2]:
        run.ends()
    assert not stopped.called
    workers.runs[2].ends("killed by signal 15 (Terminated)")
    assert stopped.called
    ensureDeferred(workers.supervisor.reload())
    workers.clock.advance(60)
    assert len(workers.runs) == 3


def test_a_stop_drops_a_restart_that_is_due(workers):
    workers.runs[0].ends("exit status 1")
    stopped = workers.supervisor.stop()
    workers.runs[1].ends()
    assert stopped.called
    workers.clock.advance(60)
    assert len(workers.runs) == 2


def test_the_figures_keep_the_messages_of_those_that_ended_but_not_their_connections(workers):
    workers.runs[0].figures = Figures(Tally(5, 4, 1, 0), 3)
    workers.runs[1].figures = Figures(Tally(10, 10, 0, 0), 4)
    assert workers.supervisor.figures() == Figures(Tally(15, 14, 1, 0), 7)
    workers.runs[0].ends("killed by signal 9 (Killed)")
    assert workers.supervisor.figures() == Figures(Tally(15, 14, 1, 0), 4)
    workers.clock.advance(0.1)
    workers.runs[2].figures = Figures(Tally(2, 1, 0, 1), 1)
    assert workers.supervisor.figures() == Figures(Tally(17, 15, 1, 1), 5)


def test_the_figures_of_the_old_and_the_new_both_count_during_a_reload(workers):
    workers.runs[0].figures = Figures(Tally(5, 5, 0, 0), 3)
    ensureDeferred(workers.supervisor.reload())
    workers.runs[2].figures = Figures(Tally(1, 1, 0, 0), 1)
    assert workers.supervisor.figures() == Figures(Tally(6, 6, 0, 0), 4)
