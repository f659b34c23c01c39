"""wsgate.timeouts: never early, at most one resolution late, cheap to cancel."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from wsgate.timeouts import Timeouts


@given(
    start=st.floats(0, 1e6),
    delays=st.lists(st.floats(0, 100), min_size=1, max_size=20),
)
def test_a_timeout_is_never_early_and_at_most_one_resolution_late(start, delays):
    clock = Clock()
    clock.advance(start)
    timeouts = Timeouts(clock, resolution=0.1)
    fired = []
    for delay in delays:
        timeouts.call_later(delay, lambda d=delay: fired.append((d, clock.seconds() - start)))
    while clock.getDelayedCalls():
        # Jump to the next timer as a reactor would.
        clock.advance(clock.getDelayedCalls()[0].getTime() - clock.seconds())
    assert sorted(d for d, _ in fired) == sorted(delays)
    for delay, when in fired:
        assert delay - 1e-6 <= when <= delay + 0.1 + 1e-6
    assert len(timeouts) == 0


def test_a_cancelled_timeout_does_not_run_and_leaves_no_timer_behind():
    clock = Clock()
    timeouts = Timeouts(clock)
    timeouts.call_later(1, lambda: 1 / 0).cancel()
    assert len(timeouts) == 0
    clock.advance(2)
    assert clock.getDelayedCalls() == []


def test_cancelling_twice_or_after_the_call_is_harmless():
    clock = Clock()
    timeouts = Timeouts(clock)
    fired = []
    timeout = timeouts.call_later(1, fired.append, 1)
    clock.advance(2)
    timeout.cancel()
    timeout.cancel()
    assert fired == [1]


def test_an_earlier_timeout_set_later_runs_first():
    clock = Clock()
    timeouts = Timeouts(clock)
    fired = []
    timeouts.call_later(5, fired.append, "late")
    timeouts.call_later(1, fired.append, "early")
    clock.advance(1.2)
    assert fired == ["early"]
    clock.advance(5)
    assert fired == ["early", "late"]


class CountingClock(Clock):
    timers_set = 0

    def callLater(self, when, what, *args, **kw):
        self.timers_set += 1
        return super().callLater(when, what, *args, **kw)


def test_a_full_bucket_is_spread_over_turns_of_the_reactor():
    clock = CountingClock()
    timeouts = Timeouts(clock, at_once=10)
    fired = []
    for n in range(25):
        timeouts.call_later(1, fired.append, n)
    assert clock.timers_set == 1
    clock.advance(1.1)
    assert fired == list(range(25))
    assert clock.timers_set == 3


def test_an_exception_in_one_call_does_not_lose_the_others():
    clock = Clock()
    timeouts = Timeouts(clock)
    fired = []
    timeouts.call_later(1, lambda: 1 / 0)
    timeouts.call_later(1, fired.append, "second")
    for _ in range(2):
        try:
            clock.advance(2)
        except ZeroDivisionError:
            continue
    assert fired == ["second"]


def test_a_timeout_set_while_one_runs_is_kept():
    clock = Clock()
    timeouts = Timeouts(clock)
    fired = []
    timeouts.call_later(1, lambda: timeouts.call_later(1, fired.append, "again"))
    clock.advance(1.2)
    clock.advance(1.2)
    assert fired == ["again"]


def test_closing_drops_what_is_set_and_the_timer():
    clock = Clock()
    timeouts = Timeouts(clock)
    timeouts.call_later(1, lambda: 1 / 0)
    timeouts.close()
    timeouts.close()
    assert clock.getDelayedCalls() == []
    assert len(timeouts) == 0
    fired = []
    timeouts.call_later(1, fired.append, "again")
    clock.advance(2)
    assert fired == ["again"]


def test_one_of_them_may_close_it_all():
    clock = Clock()
    timeouts = Timeouts(clock)
    ran = []
    timeouts.call_later(0.1, timeouts.close)
    timeouts.call_later(0.1, ran.append, 1)
    timeouts.call_later(0.2, ran.append, 2)
    clock.advance(1)
    assert not len(timeouts)
    assert not clock.getDelayedCalls()
