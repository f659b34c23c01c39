"""wsgate.websocket.rates: so many a second, twice as many at once, in bounded memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.websocket.rates import Rate, Rates


def used_up(per_second, now):
    """What `2 * per_second` events at once leave."""
    rate, spent = Rate(per_second), 0.0
    for _ in range(2 * per_second):
        assert rate.wait(spent, now) == 0.0
        spent = rate.spend(spent, now)
    return rate, spent


@pytest.mark.parametrize("per_second", [1, 7, 20, 50, 1000])
@pytest.mark.parametrize("now", [0.0, 5.0, 1.8e9])
def test_twice_as_many_come_at_once_and_one_more_does_not(per_second, now):
    rate, spent = used_up(per_second, now)
    assert 0 < rate.wait(spent, now) <= 1 / per_second


@pytest.mark.parametrize("per_second", [1, 20, 50])
def test_after_the_wait_one_more_comes(per_second):
    rate, spent = used_up(per_second, 10.0)
    later = 10.0 + rate.wait(spent, 10.0)
    assert rate.wait(spent, later + 1e-9) == 0.0
    assert rate.wait(rate.spend(spent, later), later) > 0


def test_two_seconds_of_quiet_bring_everything_back():
    rate, spent = used_up(20, 10.0)
    for _ in range(40):
        assert rate.wait(spent, 12.0) == 0.0
        spent = rate.spend(spent, 12.0)
    assert rate.wait(spent, 12.0) > 0


@given(st.lists(st.floats(0, 3), max_size=100), st.integers(1, 30))
def test_no_pattern_of_arrivals_gets_more_than_the_rate_and_one_burst(pauses, per_second):
    rate, spent, now, allowed = Rate(per_second), 0.0, 0.0, []
    for pause in pauses:
        now += pause
        if not rate.wait(spent, now):
            spent = rate.spend(spent, now)
            allowed.append(now)
    for first, start in enumerate(allowed):
        for last in range(first, len(allowed)):
            length = allowed[last] - start
            assert last - first + 1 <= per_second * (2 + length) + 0.5


def test_a_clock_that_is_set_back_locks_nobody_out():
    rate, spent = used_up(20, 10_000.0)
    assert rate.wait(spent, 10_000.0) > 0
    assert rate.wait(spent, 6_400.0) == 0.0
    assert rate.spend(spent, 6_400.0) < 6_401


def test_each_key_has_its_own_rate():
    rates = Rates(1)
    assert [rates.allow("a", 0.0) for _ in range(3)] == [True, True, False]
    assert rates.allow("b", 0.0)


def test_keys_are_forgotten_once_they_have_nothing_spent():
    rates = Rates(20)
    for number in range(100_000):
        assert rates.allow(str(number), number * 0.01)
    assert len(rates) <= 1024


def test_a_million_addresses_at_once_take_bounded_memory():
    rates = Rates(20)
    most = 0
    for number in range(300_000):
        rates.allow(str(number), 0.0)
        most = max(most, len(rates))
    assert most <= 2**16


def test_an_event_that_is_taken_back_leaves_its_place():
    rates = Rates(1)
    assert [rates.allow("a", 0) for _ in range(3)] == [True, True, False]
    rates.forgive("a")
    rates.forgive("unknown")
    assert [rates.allow("a", 0) for _ in range(2)] == [True, False]
