"""wsgate.hooks.rate: buckets of one process, and tokens of all while they can be asked."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from wsgate.channels import BusAway
from wsgate.channels.tokens import LEASE, Taken
from wsgate.hooks.rate.bucket import Buckets
from wsgate.hooks.rate.leases import KEEP, Leases
from wsgate.hooks.rate.sharing import ALONE, PATIENCE, SharedTokens
from wsgate.timeouts import Timeouts

# -- buckets of one process


def test_as_many_as_the_burst_pass_at_once_and_one_more_waits():
    buckets = Buckets(2.0, 3, 100, lambda: None)
    assert [buckets.take("a", 10.0) for _ in range(3)] == [0.0] * 3
    assert buckets.take("a", 10.0) == pytest.approx(0.5)
    assert buckets.take("b", 10.0) == 0.0
    assert buckets.take("a", 10.49) > 0
    assert buckets.take("a", 10.5) == 0.0
    assert buckets.take("a", 10.5) == pytest.approx(0.5)


def test_what_is_full_again_takes_no_memory():
    buckets = Buckets(1.0, 2, 100, lambda: None)
    for number in range(50):
        buckets.take(str(number), 0.0)
    assert len(buckets) == 50
    for number in range(30):
        buckets.take("x", 2.0 + number)
    assert len(buckets) == 1


def test_of_more_than_may_be_the_one_asked_for_the_longest_ago_is_forgotten():
    forgotten = []
    buckets = Buckets(0.001, 1, 3, lambda: forgotten.append(1))
    for key in ("1", "2", "3"):
        assert buckets.take(key, 0.0) == 0.0
    assert buckets.take("1", 0.0) > 0
    assert (len(buckets), len(forgotten)) == (3, 0)
    buckets.take("4", 0.0)
    assert (len(buckets), len(forgotten)) == (3, 1)
    assert buckets.take("1", 0.0) > 0
    assert buckets.take("2", 0.0) == 0.0


def test_a_clock_that_is_set_back_keeps_nobody_out_for_long():
    buckets = Buckets(1.0, 1, 3, lambda: None)
    buckets.take("a", 1000.0)
    assert buckets.take("a", 0.0) <= 1.01


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 3)), max_size=100),
    st.sampled_from([0.5, 3.0, 10.0]),
    st.integers(1, 9),
)
def test_no_window_has_more_than_the_burst_and_what_the_time_fills(steps, rate, burst):
    buckets = Buckets(rate, burst, 100, lambda: None)
    now, passed = 0.0, {"a": [], "b": []}
    for key, pause in steps:
        now += pause
        if not buckets.take(key, now):
            passed[key].append(now)
    for times in passed.values():
        for (i, first), (j, last) in itertools.combinations(enumerate(times), 2):
            assert j - i + 1 <= burst + rate * (last - first) + 0.002


# -- tokens of all processes


class Channels:
    """Answers when the test does."""

    def __init__(self):
        self.asked = []
        self.is_away = False

    def take(self, ask):
        if self.is_away:
            return fail(BusAway("the bus is away"))
        self.asked.append((ask, Deferred()))
        return self.asked[-1][1]

    def answer(self, granted=1, ahead=0, wait=0.0):
        _, answer = self.asked.pop(0)
        answer.callback(Taken(granted, ahead, wait))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def channels():
    return Channels()


@pytest.fixture
def log():
    """Events of this log."""
    events = []

    def observe(event):
        if event["log_namespace"] == "wsgate.hooks":
            events.append(event)

    globalLogPublisher.addObserver(observe)
    yield events
    globalLogPublisher.removeObserver(observe)


@pytest.fixture
def happened():
    return []


@pytest.fixture
def tokens(clock, channels, happened):
    leases, alone = Leases("h/", 10.0, 4, 100), Buckets(10.0, 4, 100, lambda: None)
    return SharedTokens(channels, Timeouts(clock), "h", leases, alone, happened.append)


def fired(outcome):
    return getattr(outcome, "result", None)


def test_the_first_of_a_key_asks_and_what_came_ahead_is_there_at_once(tokens, channels):
    first = tokens.take("a")
    ask = channels.asked[0][0]
    assert (ask.key, ask.need, ask.ahead) == ("h/a", 1, 0)
    assert fired(first) is None
    channels.answer(1, 2)
    assert fired(first) == 0.0
    assert [tokens.take("a"), tokens.take("a")] == [0.0, 0.0]
    tokens.take("a")
    assert channels.asked[0][0].ahead == 2


def test_a_key_that_is_refused_is_not_asked_for_again_for_a_while(tokens, channels, clock):
    outcome = tokens.take("a")
    channels.answer(0, 0, 5.0)
    assert fired(outcome) == 5.0
    clock.advance(0.9)
    assert tokens.take("a") == pytest.approx(4.1)
    assert not channels.asked
    clock.advance(0.2)
    tokens.take("a")
    assert len(channels.asked) == 1


def test_those_who_come_meanwhile_share_one_question_at_a_time(tokens, channels, happened):
    outcomes = [tokens.take("a") for _ in range(4)]
    assert len(channels.asked) == 1
    channels.answer(1, 0)
    assert [fired(one) for one in outcomes] == [0.0, None, None, None]
    assert len(channels.asked) == 1
    channels.answer(1, 2)
    assert [fired(one) for one in outcomes[1:]] == [0.0, 0.0, 0.0]
    assert happened == ["asked", "asked"]


def test_what_is_not_used_is_given_back_in_time_and_nothing_runs_any_more(tokens, channels, clock):
    tokens.take("a")
    channels.answer(1, 3)
    assert tokens.take("a") == 0.0
    clock.pump([0.1] * int((KEEP + 0.3) / 0.1))
    ask, _ = channels.asked.pop()
    assert (ask.need, ask.ahead, ask.back) == (0, 0, 2)
    assert clock.seconds() < LEASE
    assert not clock.getDelayedCalls()


def test_without_the_bus_each_process_limits_for_itself_and_says_so_once(
    tokens, channels, clock, happened, log
):
    channels.is_away = True
    passed = [fired(tokens.take("a")) if n == 0 else tokens.take("a") for n in range(5)]
    assert passed == [0.0] * 4 + [pytest.approx(0.1)]
    assert happened == ["asked", *["alone"] * 5]
    clock.advance(ALONE)
    tokens.take("a")
    assert happened.count("asked") == 2
    channels.is_away = False
    clock.advance(ALONE)
    back = tokens.take("a")
    channels.answer(1)
    assert fired(back) == 0.0
    assert [event["log_level"].name for event in log] == ["error", "info"]


def test_a_bus_that_does_not_answer_is_not_waited_for(tokens, channels, clock, happened):
    outcomes = [tokens.take("a") for _ in range(5)]
    clock.advance(PATIENCE - 0.01)
    assert [fired(one) for one in outcomes] == [None] * 5
    clock.advance(0.2)
    assert [fired(one) for one in outcomes] == [0.0] * 4 + [pytest.approx(0.1)]
    channels.answer(1)
    assert tokens.take("b") == 0.0


def test_a_stop_leaves_no_timer(tokens, channels, clock):
    tokens.take("a")
    channels.answer(1, 3)
    tokens.stop()
    clock.advance(1)
    assert not clock.getDelayedCalls()
