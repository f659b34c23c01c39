"""wsgate.fastcgi.breaker: each rule at its bound and one past it."""

import pytest

from wsgate.fastcgi.breaker import BLIP, Breaker, BreakerRules


def refuse(breaker, times, now, *, others=False):
    return [breaker.refused(now, "no", None, others=others) for _ in range(times)]


def test_the_tenth_refusal_in_a_row_opens_it():
    breaker = Breaker(BreakerRules())
    refuse(breaker, 1, 0.0)
    assert refuse(breaker, 8, 5.0) == [False] * 8
    assert refuse(breaker, 1, 5.0) == [True]
    assert (breaker.state, breaker.opened, breaker.cause) == ("open", 1, "no")
    assert refuse(breaker, 1, 5.0) == [False]


def test_a_connection_between_begins_the_count_anew():
    breaker = Breaker(BreakerRules())
    refuse(breaker, 9, 0.0)
    assert not breaker.accepted(1.0)
    assert not any(refuse(breaker, 9, 2.0))


def test_refusals_that_one_request_outlasts_do_not_open_it():
    breaker = Breaker(BreakerRules())
    assert not any(refuse(breaker, 50, 1.0) + refuse(breaker, 50, 0.99 + BLIP))
    assert refuse(breaker, 1, 1.01 + BLIP) == [True]


def test_while_another_backend_serves_one_refusal_opens_it():
    breaker = Breaker(BreakerRules())
    assert refuse(breaker, 1, 0.0, others=True) == [True]


def test_rules_of_0_never_open_it():
    breaker = Breaker(BreakerRules(connects=0, percent=0))
    refuse(breaker, 1, 0.0, others=True)
    assert not any(refuse(breaker, 100, 9.0, others=True))
    assert not any(breaker.lost(9.0, "no", None, 0, others=True) for _ in range(100))
    assert breaker.failures == 100


def lose(breaker, times, now, responses=0, *, others=False, connection=None):
    return [breaker.lost(now, "no", connection, responses, others=others) for _ in range(times)]


@pytest.mark.parametrize(("responses", "needed"), [(0, 20), (9, 11), (10, 10), (11, 11), (15, 15)])
def test_half_of_at_least_20_requests_open_it(responses, needed):
    breaker = Breaker(BreakerRules())
    lose(breaker, 1, 0.0, 100)
    assert not any(lose(breaker, needed - 2, 1.0, 100 + responses))
    assert lose(breaker, 1, 1.0, 100 + responses) == [True]


def test_the_percentage_is_a_setting():
    breaker = Breaker(BreakerRules(percent=10))
    lose(breaker, 1, 0.0, 0)
    assert not any(lose(breaker, 9, 1.0, 91))
    assert lose(breaker, 1, 1.0, 90) == [True]


def test_failures_count_for_ten_seconds():
    breaker = Breaker(BreakerRules())
    assert not any(lose(breaker, 19, 0.0) + lose(breaker, 19, 10.0))
    assert lose(breaker, 1, 19.9) == [True]


def flap(breaker, now, **options):
    """Open, or open again; the rest that follows."""
    lose(breaker, 20, now, **options)
    return breaker.rest


def test_the_rest_grows_with_each_probe_that_is_lost_and_begins_anew_after_ten_good_seconds():
    breaker = Breaker(BreakerRules())
    assert flap(breaker, 100.0, others=True) == 1
    now = 101.0
    for rest in (2, 4, 8, 10, 10):
        assert breaker.allows(now)
        breaker.probe(now, "probe")
        assert breaker.state == "half-open"
        lose(breaker, 1, now, others=True, connection="probe")
        assert breaker.rest == rest
        assert not breaker.allows(now + rest - 0.01)
        now += rest
    breaker.probe(now, "probe")
    assert not breaker.answered(now, "an older one")
    assert breaker.answered(now, "probe")
    assert breaker.state == "closed"
    assert flap(breaker, now + 9, others=True) == 10
    breaker.probe(now + 19, "probe")
    assert breaker.answered(now + 19, "probe")
    assert flap(breaker, now + 29, others=True) == 1


def test_the_only_backend_is_tried_each_second_however_often_it_fails():
    breaker = Breaker(BreakerRules())
    assert flap(breaker, 0.0) == 1
    for now in range(1, 10):
        breaker.probe(now, "probe")
        lose(breaker, 1, now, connection="probe")
        assert breaker.rest == 1


def test_what_was_sent_before_it_opened_changes_nothing():
    breaker = Breaker(BreakerRules())
    lose(breaker, 20, 0.0)
    breaker.probe(1.0, "probe")
    assert not any(lose(breaker, 5, 1.0, connection="older"))
    assert (breaker.state, breaker.probe_at) == ("half-open", 2.0)
    breaker.over("probe")
    assert breaker.state == "open"


def test_one_that_lost_requests_needs_an_answer_not_a_connection():
    breaker = Breaker(BreakerRules())
    lose(breaker, 20, 0.0)
    breaker.probe(1.0, "first")
    breaker.refused(1.0, "no", "first", others=False)
    breaker.probe(2.0, "second")
    assert not breaker.accepted(2.0)
    assert breaker.answered(2.0, "second")


def test_reset_closes_it_without_a_word():
    breaker = Breaker(BreakerRules())
    lose(breaker, 20, 0.0)
    breaker.reset()
    assert breaker.state == "closed"
    assert breaker.opened == 1
